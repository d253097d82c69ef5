//! A fill whose answer is late is asked for once more, and whatever becomes of the two, the client
//! gets the object's bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::cached::{Cached, KIB};
use super::client::Answer;
use super::object_origin::is_object_read;
use super::objects::Version;
use super::reply::{Gate, Reply};

const HEDGES: &str = "s3proxy_upstream_hedges_total";

/// A proxy that has seen what answers of its origin usually take, and a large object of which it knows
/// the beginning.
async fn experienced() -> (Cached, Arc<Version>) {
    let cached = Cached::start().await;
    for index in 0..150 {
        let path = format!("lake/{index}");
        let version = cached.put(&path, 10);
        cached.get(&format!("/{path}")).await.expect_whole(&version);
    }
    let version = cached.put("lake/a", 900 * KIB);
    let beginning = cached.range("/lake/a", "bytes=0-9").await;
    beginning.expect_part(&version, 0, 9);
    cached.asks();
    (cached, version)
}

/// Reads what has to be fetched of it.
async fn read_far(cached: &Cached) -> Answer {
    cached.range("/lake/a", "bytes=700000-700009").await
}

/// Bends the first request for the object from now on in one way and the second in another.
fn bend_both(
    cached: &Cached,
    first: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    second: impl Fn(Reply) -> Reply + Send + Sync + 'static,
) {
    let seen_before = Arc::new(AtomicUsize::new(0));
    cached.store.bend(move |seen, reply| {
        if !is_object_read(seen) {
            return reply;
        }
        match seen_before.fetch_add(1, Ordering::Relaxed) {
            0 => first(reply),
            1 => second(reply),
            _ => reply,
        }
    });
}

#[tokio::test]
async fn a_late_fill_is_asked_for_once_more() {
    let (cached, version) = experienced().await;
    let won = cached.proxy.metric(HEDGES, "won").await;
    let never = Gate::closed();
    bend_both(&cached, move |reply| reply.held(&never), |reply| reply);
    read_far(&cached)
        .await
        .expect_part(&version, 700_000, 700_009);
    let asks = cached.asks();
    assert_eq!(asks.len(), 2, "{asks:?}");
    assert_eq!(asks[0].range, asks[1].range);
    assert_eq!(asks[0].if_match.as_deref(), Some(version.etag.as_str()));
    assert_eq!(asks[1].if_match, asks[0].if_match);
    assert_eq!(cached.proxy.metric(HEDGES, "won").await, won + 1);
    cached.expect_all_asks_counted().await;
    // What came is stored like any other fill.
    cached.store.straighten();
    read_far(&cached).await.expect_hit();
    cached.expect_no_asks("a second read");
}

#[tokio::test]
async fn a_second_answer_that_is_an_error_changes_nothing() {
    for status in [403, 404, 410, 412, 416, 500, 503] {
        let (cached, version) = experienced().await;
        let sent = cached.proxy.metric(HEDGES, "sent").await;
        bend_both(
            &cached,
            |reply| reply.after(Duration::from_millis(700)),
            move |_| Reply::error(status, "Some"),
        );
        read_far(&cached)
            .await
            .expect_part(&version, 700_000, 700_009);
        assert_eq!(cached.asks().len(), 2, "{status}");
        assert_eq!(cached.proxy.metric(HEDGES, "sent").await, sent + 1);
        cached.store.straighten();
        read_far(&cached).await.expect_hit();
        cached.expect_no_asks("a second read");
    }
}

/// The first answer never comes, and meanwhile the object is another one: nothing of either version
/// meets the other.
#[tokio::test]
async fn a_second_answer_that_says_the_object_changed_is_heeded() {
    let (cached, _) = experienced().await;
    let changed = cached.put("lake/a", 900 * KIB);
    bend_both(
        &cached,
        |reply| reply.after(Duration::from_millis(700)),
        |reply| reply,
    );
    read_far(&cached)
        .await
        .expect_part(&changed, 700_000, 700_009);
}
