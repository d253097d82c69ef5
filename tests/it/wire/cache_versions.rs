//! Objects that are overwritten behind the proxy's back: an answer is of one version, or it is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cached::{Ask, CacheSetup, Cached, MIB, comes_true, get, ranged};
use super::client::Answer;
use super::object_origin::is_object_read;
use super::objects::Version;
use super::reply::{Gate, Reply};

/// The body is of the version whose ETag the answer carries, as far as it goes.
#[track_caller]
fn expect_one_version(cached: &Cached, path: &str, first: u64, answer: &Answer) -> Arc<Version> {
    let etag = answer.field("etag").expect("an ETag");
    let version = cached
        .store
        .objects
        .by_etag(path, etag)
        .expect("a version that was");
    assert_eq!(version.content.first_difference(first, &answer.body), None);
    assert_eq!(answer.body.len() as u64, answer.body_bytes);
    if answer.is_complete {
        let length = answer.field("content-length").unwrap();
        assert_eq!(length, answer.body_bytes.to_string());
    }
    version
}

/// Known and overwritten behind: the first fill finds out, before a byte went to the client.
#[tokio::test]
async fn a_change_that_is_found_before_the_first_byte_restarts_the_read() {
    for new_size in [8 * MIB, 6 * MIB, 9 * MIB] {
        let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
        let old = cached.put("lake/a", 8 * MIB);
        cached
            .range("/lake/a", "bytes=0-9")
            .await
            .expect_part(&old, 0, 9);
        let new = cached.put("lake/a", new_size);
        cached.asks();
        let answer = cached.range("/lake/a", "bytes=5000000-5000099").await;
        answer.expect_part(&new, 5_000_000, 5_000_099);
        let asks = cached.asks();
        assert_eq!(
            asks[0].if_match.as_deref(),
            Some(old.etag.as_str()),
            "{asks:?}"
        );
        assert_eq!(asks[0].answered, Some(412), "{asks:?}");
        assert!(asks.len() <= 3, "{asks:?}");
        // The old version is forgotten as a whole.
        cached
            .range("/lake/a", "bytes=0-9")
            .await
            .expect_part(&new, 0, 9);
        cached.get("/lake/a").await.expect_whole(&new);
    }
}

#[tokio::test]
async fn an_object_that_is_gone_is_found_out_before_the_first_byte() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 8 * MIB);
    cached
        .range("/lake/a", "bytes=0-9")
        .await
        .expect_part(&old, 0, 9);
    cached.store.objects.remove("lake/a");
    let answer = cached.range("/lake/a", "bytes=5000000-5000099").await;
    answer.expect(404, "NoSuchKey");
    cached.get("/lake/a").await.expect(404, "NoSuchKey");
}

/// It shrank below what is asked for: the new version's 416, with the new version's size.
#[tokio::test]
async fn a_range_is_resolved_anew_for_another_version() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 8 * MIB);
    cached
        .range("/lake/a", "bytes=0-9")
        .await
        .expect_part(&old, 0, 9);
    let new = cached.put("lake/a", 1000);
    let answer = cached
        .range("/lake/a", "bytes=5000000-5000099")
        .await
        .expect(416, "InvalidRange");
    assert_eq!(answer.element("ActualObjectSize"), "1000");
    cached
        .range("/lake/a", "bytes=-7")
        .await
        .expect_part(&new, 993, 999);
}

/// It has grown by less than a block: what is asked for by the size that it had ends in the middle of the
/// block that is wanted.
#[tokio::test]
async fn the_end_of_an_object_that_has_grown_is_read_through_the_cache() {
    let cached = CacheSetup::memory()
        .rule("{freshness: validate}")
        .start()
        .await;
    let old = cached.put("lake/a.parquet", 100_000);
    let tail = "bytes=-10000";
    cached
        .range("/lake/a.parquet", tail)
        .await
        .expect_part(&old, 90_000, 99_999);
    let new = cached.put("lake/a.parquet", 120_000);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        let range = seen.field("range").unwrap_or_default();
        if range.ends_with("-99999") {
            reply.held_at(50_000, &held)
        } else {
            reply
        }
    });
    let answer = cached.range("/lake/a.parquet", tail).await;
    let answer = answer.expect_part(&new, 110_000, 119_999);
    answer.expect_forwarded("stale");
    let asks = cached.asks();
    let is_old = |ask: &Ask| ask.range.as_deref() == Some("bytes=0-99999");
    assert!(asks.iter().any(is_old), "{asks:?}");
    gate.open();
}

/// A client that insists on the old version is told that it is gone.
#[tokio::test]
async fn a_precondition_is_judged_anew_for_another_version() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 8 * MIB);
    cached
        .range("/lake/a", "bytes=0-9")
        .await
        .expect_part(&old, 0, 9);
    cached.put("lake/a", 8 * MIB);
    let call = super::call::Call::get("/lake/a")
        .header("range", "bytes=5000000-5000099")
        .header("if-match", &old.etag)
        .sign(&super::proxy::everything());
    cached.call(&call).await.expect(412, "PreconditionFailed");
}

/// The head and the cached beginning are out, the rest is of another version: nothing can mend that.
#[tokio::test]
async fn a_change_that_is_found_after_the_first_byte_cuts_the_connection() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 24 * MIB);
    cached
        .range("/lake/a", "bytes=0-4194303")
        .await
        .expect_part(&old, 0, 4 * MIB - 1);
    cached.put("lake/a", 24 * MIB);
    let mut client = cached.proxy.connect().await.keep(32 << 20);
    let answer = client.call(&get("/lake/a")).await;
    let version = expect_one_version(&cached, "lake/a", 0, &answer);
    if version.etag == old.etag {
        assert!(!answer.is_complete, "the old version cannot be complete");
        assert!(client.is_closed().await, "the client has to notice");
    }
    let new = cached.store.objects.current("lake/a").unwrap();
    cached.get("/lake/a").await.expect_whole(&new);
}

/// Between two fills of one long read, again and again.
#[tokio::test]
async fn under_constant_overwriting_no_answer_is_torn() {
    let cached = Arc::new(CacheSetup::memory().rule("{freshness: 1h}").start().await);
    cached.put("lake/a", 12 * MIB);
    // Every third request finds another version.
    let count = AtomicUsize::new(0);
    let objects = Arc::clone(&cached.store.objects);
    cached.store.before(move |seen| {
        if is_object_read(seen) && count.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            objects.put("lake/a", 12 * MIB);
        }
    });
    let mut complete = 0;
    for turn in 0..30_u64 {
        let first = turn * 397_001 % (10 * MIB);
        let call = if turn % 3 == 0 {
            get("/lake/a")
        } else {
            ranged("/lake/a", &format!("bytes={first}-{}", first + 2 * MIB - 1))
        };
        let answer = cached.call(&call).await;
        if answer.status == 503 {
            continue; // it changed too often while it was being read
        }
        assert!(answer.status < 300, "{}", answer.status);
        let first = if turn % 3 == 0 { 0 } else { first };
        expect_one_version(&cached, "lake/a", first, &answer);
        complete += usize::from(answer.is_complete);
    }
    assert!(complete >= 10, "only {complete} of 30 came whole");
}

/// The answer's own fields contradict what was asked for: it is another version, whatever its status.
#[tokio::test]
async fn an_origin_that_ignores_if_match_is_not_trusted() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 8 * MIB);
    cached
        .range("/lake/a", "bytes=0-9")
        .await
        .expect_part(&old, 0, 9);
    let new = cached.put("lake/a", 8 * MIB);
    let content = Arc::clone(&new.content);
    let etag = new.etag.clone();
    cached.store.bend(move |seen, reply| {
        if seen.field("if-match").is_none() || reply.status != 412 {
            return reply;
        }
        // Exactly what was asked for, so that nothing but the ETag tells.
        let range = seen.field("range").unwrap().trim_start_matches("bytes=");
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        Reply::new(
            206,
            super::reply::Payload::Object(Arc::clone(&content), first..last + 1),
        )
        .header("ETag", &etag)
        .header(
            "Content-Range",
            &format!("bytes {first}-{last}/{}", 8 * MIB),
        )
    });
    let answer = cached.range("/lake/a", "bytes=5000000-5000099").await;
    if answer.status == 206 {
        let version = expect_one_version(&cached, "lake/a", 5_000_000, &answer);
        assert_eq!(version.etag, new.etag);
    } else {
        assert!(answer.status >= 500, "{}", answer.status);
    }
    cached.store.straighten();
    let answer = cached.range("/lake/a", "bytes=5000000-5000099").await;
    let version = expect_one_version(&cached, "lake/a", 5_000_000, &answer);
    assert_eq!(version.etag, new.etag);
}

/// A body that breaks off is continued only with the same version.
#[tokio::test]
async fn a_cut_body_is_not_continued_with_another_version() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = cached.put("lake/a", 3 * MIB);
    let objects = Arc::clone(&cached.store.objects);
    let was_cut = AtomicUsize::new(0);
    cached.store.bend(move |seen, reply| {
        if is_object_read(seen) && was_cut.fetch_add(1, Ordering::Relaxed) == 0 {
            objects.put("lake/a", 3 * MIB);
            return reply.ending(super::reply::End::CutAfter(MIB + 77));
        }
        reply
    });
    let answer = cached.get("/lake/a").await;
    let version = expect_one_version(&cached, "lake/a", 0, &answer);
    if version.etag == old.etag {
        assert!(!answer.is_complete);
    }
    for ask in &cached.asks()[1..] {
        if ask.range.is_some() && ask.interval().is_some_and(|(first, _)| first > 0) {
            assert_eq!(ask.if_match.as_deref(), Some(old.etag.as_str()), "{ask:?}");
        }
    }
    let new = cached.store.objects.current("lake/a").unwrap();
    cached.get("/lake/a").await.expect_whole(&new);
}

/// Two readers of two versions at once: each is served its own to the end, or cut.
#[tokio::test]
async fn readers_of_two_versions_do_not_meet() {
    let cached = CacheSetup::memory()
        .rule("{freshness: validate}")
        .start()
        .await;
    let old = cached.put("lake/a", 4 * MIB);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held_at(MIB, &held));
    let mut first = cached.proxy.connect().await.keep(8 << 20);
    first.send(&get("/lake/a").bytes()).await;
    first.wait_for_byte().await;
    let new = cached.put("lake/a", 4 * MIB);
    let mut second = cached.proxy.connect().await.keep(8 << 20);
    second.send(&get("/lake/a").bytes()).await;
    second.wait_for_byte().await;
    assert!(comes_true(|| cached.store.origin.in_flight() >= 2).await);
    gate.open();
    let answer = second.answer_to("GET").await.unwrap();
    answer.expect_whole(&new);
    let answer = first.answer_to("GET").await.unwrap();
    let version = expect_one_version(&cached, "lake/a", 0, &answer);
    assert_eq!(version.etag, old.etag);
}
