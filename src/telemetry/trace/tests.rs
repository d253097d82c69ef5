//! Which traces are recorded, and that a collector that is not there costs spans and nothing else.

use http::HeaderValue;

use super::*;

fn trace(ratio: f64, parent: Option<&'static str>) -> Trace {
    let traces = Traces::new(ratio, Metrics::new());
    let mut headers = HeaderMap::new();
    if let Some(parent) = parent {
        headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
    }
    traces.begin(&headers, (Instant::now(), SystemTime::now()))
}

#[test]
fn the_parent_decides_and_chance_where_there_is_none() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert!(trace(0.0, Some(parent)).request.is_sampled);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    assert!(!trace(1.0, Some(parent)).request.is_sampled);
    assert!(trace(1.0, Some("nonsense")).request.is_sampled);
    assert!(!trace(0.0, None).request.is_sampled);
    let chosen = (0..4000_u32).filter(|_| is_chosen(u128::from(random()) << 64, 0.25));
    let chosen = chosen.count();
    assert!((700..1300).contains(&chosen), "{chosen}");
}

#[test]
fn spans_beyond_the_queue_are_counted() {
    let trace = trace(1.0, None);
    for _ in 0..5000 {
        drop(trace.span("fill"));
    }
    let exposition = trace.request.traces.metrics.expose();
    assert!(exposition.contains("s3proxy_spans_dropped_total 904"));
    assert!(!trace.request.traces.flush(Duration::from_millis(1)));
    assert_eq!(trace.request.traces.next_batch().1, 4096);
}

#[tokio::test]
async fn a_task_of_its_own_takes_the_trace_along() {
    assert!(current().is_none());
    let trace = trace(1.0, None);
    let (root, id) = (trace.span_id, trace.request.trace_id);
    let work = async {
        tokio::spawn(carry(async {
            in_span("fill", async { current().unwrap() }).await
        }))
        .await
        .unwrap()
    };
    let inside = within(Some(trace), work).await;
    assert_eq!(inside.request.trace_id, id);
    assert_ne!(inside.span_id, root);
}
