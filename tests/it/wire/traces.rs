//! Traces: the spans of a request's way at a collector, the context passed on to the origin, and that
//! a collector that is not there changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::cached::CacheSetup;
use super::call::Call;
use super::object_origin::ObjectOrigin;
use super::origin::Origin;
use super::poll_until;
use super::proxy::{Proxy, Setup, everything};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Takes OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (bodies, heads) = <(Arc<Mutex<Vec<Vec<u8>>>>, Arc<Mutex<Vec<String>>>)>::default();
        let kept = (Arc::clone(&bodies), Arc::clone(&heads));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some((head, body)) = read_request(&mut stream).await {
                        kept.1.lock().push(head);
                        kept.0.lock().push(body);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        Self {
            address,
            bodies,
            heads,
            task,
        }
    }

    fn yaml(&self, more: &str) -> String {
        format!("traces: {{endpoint: 'http://{}'{more}}}", self.address)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies.lock();
        let requests = requests
            .iter()
            .map(|body| ExportTraceServiceRequest::decode(&**body).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The spans of the trace whose server span is of this operation, once all of them are there.
    async fn trace(&self, operation: &str, count: usize) -> Vec<Span> {
        let of_trace = || -> Vec<Span> {
            let spans = self.spans();
            let root = spans.iter().find(|span| span.name == operation);
            let id = root.map(|root| root.trace_id.clone());
            let of_it = |span: &Span| Some(&span.trace_id) == id.as_ref();
            spans.into_iter().filter(of_it).collect()
        };
        poll_until("trace", || of_trace().len() >= count).await;
        of_trace()
    }

    fn forget(&self) {
        self.bodies.lock().clear();
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split_once("content-length: ").unwrap().1;
    let length = length.split_once("\r\n").unwrap().0.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "two of {name}");
    span
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let attribute = span.attributes.iter().find(|it| it.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn number(span: &Span, name: &str) -> Option<i64> {
    let attribute = span.attributes.iter().find(|it| it.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

#[track_caller]
fn assert_within(inner: &Span, outer: &Span) {
    let (inner_name, outer_name) = (&inner.name, &outer.name);
    assert_eq!(inner.parent_span_id, outer.span_id, "{inner_name}");
    let begins = inner.start_time_unix_nano;
    assert!(outer.start_time_unix_nano <= begins, "{inner_name}");
    assert!(begins <= inner.end_time_unix_nano, "{inner_name}");
    // A fill that a read began goes on after its first bytes.
    let end = if inner.name == "fill" {
        begins
    } else {
        inner.end_time_unix_nano
    };
    assert!(
        end <= outer.end_time_unix_nano,
        "{inner_name} in {outer_name}"
    );
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_cold_and_a_warm_read_are_traced() {
    let collector = Collector::start().await;
    let store = ObjectOrigin::start().await;
    let version = store.objects.put("lake/dir/a", 300_000);
    let yaml = collector.yaml(", sample_ratio: 1, token_env: TOKEN");
    let with = move |setup: Setup| setup.top(&yaml).env("TOKEN", "collectors-token");
    let proxy = CacheSetup::memory().with(with).before(&store).await;
    let call = || Call::get("/lake/dir/a").presign(&everything(), "300");
    proxy.call(&call()).await.expect_whole(&version);
    let spans = collector.trace("GetObject", 6).await;
    let expected = [
        "GetObject",
        "authorize",
        "fill",
        "lookup",
        "origin request",
        "verify",
    ];
    assert_eq!(names(&spans), expected);
    let (root, lookup) = (named(&spans, "GetObject"), named(&spans, "lookup"));
    assert!(root.parent_span_id.is_empty());
    for name in ["verify", "authorize", "lookup"] {
        assert_within(named(&spans, name), root);
    }
    assert_within(named(&spans, "origin request"), lookup);
    assert_within(named(&spans, "fill"), lookup);
    assert_eq!(text(root, "http.request.method"), Some("GET"));
    assert_eq!(number(root, "http.response.status_code"), Some(200));
    assert_eq!(text(root, "aws.s3.bucket"), Some("lake"));
    assert_eq!(text(root, "aws.s3.key"), Some("dir/a"));
    assert_eq!(text(root, "s3proxy.client"), Some("everything"));
    assert_eq!(text(root, "s3proxy.cache"), Some("miss"));
    assert_eq!(number(root, "s3proxy.bytes_origin"), Some(300_000));
    let first_byte = &root.events[0];
    assert_eq!(first_byte.name, "first byte");
    assert!(first_byte.time_unix_nano <= root.end_time_unix_nano);
    let asked = named(&spans, "origin request");
    assert_eq!(text(asked, "server.address"), Some("127.0.0.1"));
    assert_eq!(text(asked, "s3proxy.origin"), Some("main"));
    assert_eq!(number(asked, "http.response.status_code"), Some(200));
    collector.forget();
    proxy.call(&call()).await.expect_whole(&version);
    let spans = collector.trace("GetObject", 4).await;
    assert_eq!(
        names(&spans),
        ["GetObject", "authorize", "lookup", "verify"]
    );
    let root = named(&spans, "GetObject");
    assert_eq!(text(root, "s3proxy.cache"), Some("hit"));
    assert_eq!(number(root, "s3proxy.bytes_memory"), Some(300_000));
    let bodies = collector.bodies.lock().concat();
    let bodies = String::from_utf8_lossy(&bodies);
    assert!(!bodies.contains("X-Amz") && !bodies.contains(&everything().id));
    let head = collector.heads.lock()[0].clone();
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert!(head.contains("authorization: bearer collectors-token"));
}

/// A proxy that forwards everything.
async fn forwarding(origin: &Origin, yaml: &str) -> Proxy {
    Setup::of(origin).top(yaml).start().await
}

#[tokio::test]
async fn a_clients_trace_goes_on_to_the_origin() {
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    let proxy = forwarding(&origin, &collector.yaml(", sample_ratio: 0")).await;
    origin.take();
    let call = Call::put("/lake/in/a", "bytes").header("traceparent", PARENT);
    let call = call.header("tracestate", "a=1,b=2").sign(&everything());
    proxy.call(&call).await.expect(200, "");
    let spans = collector.trace("PutObject", 4).await;
    let root = named(&spans, "PutObject");
    assert_eq!(
        root.parent_span_id,
        [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
    );
    assert_eq!(root.trace_state, "a=1,b=2");
    let asked = named(&spans, "origin request");
    assert_within(asked, root);
    let seen = origin.take_one();
    let id = u64::from_be_bytes(asked.span_id.as_slice().try_into().unwrap());
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01");
    assert_eq!(seen.field("traceparent"), Some(expected.as_str()));
    assert_eq!(seen.field("tracestate"), Some("a=1,b=2"));
    let signed = seen.field("authorization").unwrap();
    assert!(!signed.contains("traceparent"), "{signed}");
}

#[tokio::test]
async fn a_malformed_trace_is_dropped_and_one_that_is_not_recorded_is_told() {
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    let proxy = forwarding(&origin, &collector.yaml(", sample_ratio: 0")).await;
    origin.take();
    for (sent, is_kept) in [
        ("00-nonsense", false),
        (&*PARENT.replace("-01", "-00"), true),
    ] {
        let call = Call::get("/lake/a").header("traceparent", sent);
        let call = call.header("tracestate", "a=1").sign(&everything());
        proxy.call(&call).await.expect(200, "");
        let seen = origin.take_one();
        let told = seen.field("traceparent").unwrap();
        assert_eq!(told.contains("4bf92f3577b34da6a3ce929d0e0e4736"), is_kept);
        assert!(told.ends_with("-00"), "{told}");
        assert_eq!(seen.field("tracestate").is_some(), is_kept);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn without_traces_the_origin_is_told_of_none() {
    let origin = Origin::start().await;
    let proxy = forwarding(&origin, "").await;
    origin.take();
    let call = Call::get("/lake/a").header("traceparent", PARENT);
    let call = call.header("tracestate", "a=1").sign(&everything());
    proxy.call(&call).await.expect(200, "");
    let seen = origin.take_one();
    assert_eq!(seen.field("traceparent"), None);
    assert_eq!(seen.field("tracestate"), None);
}

#[tokio::test]
async fn a_collector_that_is_gone_or_silent_changes_nothing() {
    // It takes connections and says nothing; the other one does not even do that.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at_silent, at_gone) = (silent.local_addr().unwrap(), gone.local_addr().unwrap());
    drop(gone);
    for address in [at_silent, at_gone] {
        let origin = Origin::start().await;
        let yaml =
            format!("traces: {{endpoint: 'http://{address}', sample_ratio: 1, timeout: 1s}}");
        let proxy = forwarding(&origin, &yaml).await;
        let mut client = proxy.connect().await;
        for _ in 0..100 {
            let call = Call::get("/lake/a").sign(&everything());
            client.call(&call).await.expect(200, "");
        }
        let told = "traces are lost, the collector does not take them";
        poll_until("word", || proxy.logs().contains(told)).await;
        assert!(proxy.metric("s3proxy_spans_dropped_total", "").await > 0);
        client
            .call(&Call::get("/lake/a").sign(&everything()))
            .await
            .expect(200, "");
    }
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    let mut proxy = forwarding(&origin, &collector.yaml(", sample_ratio: 1")).await;
    proxy
        .call(&Call::get("/lake/a").sign(&everything()))
        .await
        .expect(200, "");
    proxy.signal("TERM");
    while proxy.is_running() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let spans = collector.spans();
    assert_eq!(named(&spans, "GetObject").kind, 2);
}
