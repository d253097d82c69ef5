//! How long answers hold, and what happens when they no longer do.

use std::time::{Duration, Instant};

use super::cached::{CacheSetup, Cached, MIB, comes_true, get, head, put};
use super::content::Content;
use super::objects::Given;
use super::reply::{Gate, Reply};

const SHORT: &str = "{freshness: 1s}";

async fn with_rule(rule: &str) -> Cached {
    CacheSetup::memory().rule(rule).start().await
}

/// Until what was just learned under a rule of one second is stale.
async fn grow_stale() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

fn sick(_: Reply) -> Reply {
    Reply::error(503, "SlowDown")
}

#[tokio::test]
async fn a_stale_object_is_validated_and_its_bytes_are_kept() {
    let cached = with_rule(SHORT).await;
    let version = cached.put("lake/a", MIB);
    cached.get("/lake/a").await.expect_whole(&version);
    grow_stale().await;
    cached.asks();
    for call in [get("/lake/a"), head("/lake/a")] {
        let answer = cached.call(&call).await;
        let status = answer.cache_status();
        assert_eq!(status.fwd.as_deref(), Some("stale"), "{status:?}");
        if call.method == "GET" {
            answer.expect_whole(&version);
        } else {
            answer.expect_head(&version);
        }
        let ask = cached.expect_one_ask("validation");
        assert_eq!(ask.if_none_match.as_deref(), Some(version.etag.as_str()));
        assert_eq!((ask.answered, ask.sent_bytes), (Some(304), 0));
        // It is as good as new for another second.
        cached
            .get("/lake/a")
            .await
            .expect_hit()
            .expect_whole(&version);
        cached.expect_no_asks("freshened");
        grow_stale().await;
    }
}

#[tokio::test]
async fn a_stale_object_that_was_replaced_is_read_anew() {
    let cached = with_rule(SHORT).await;
    // The same size, within the same second: only the ETag tells them apart.
    let mut versions = vec![cached.put("lake/a", 300_000)];
    cached.get("/lake/a").await.expect_whole(&versions[0]);
    versions.push(cached.put("lake/a", 300_000));
    grow_stale().await;
    cached.get("/lake/a").await.expect_whole(&versions[1]);
    cached
        .head("/lake/a")
        .await
        .expect_hit()
        .expect_head(&versions[1]);
    let shorter = cached.put("lake/a", 1000);
    grow_stale().await;
    let answer = cached.range("/lake/a", "bytes=-10").await;
    answer.expect_part(&shorter, 990, 999);
    cached.store.objects.remove("lake/a");
    grow_stale().await;
    cached.get("/lake/a").await.expect(404, "NoSuchKey");
    assert_eq!(cached.head("/lake/a").await.status, 404);
    let back = cached.put("lake/a", 300_000);
    cached.get("/lake/a").await.expect_whole(&back);
}

/// The same bytes written once more have the same ETag: the date tells that there may be news.
#[tokio::test]
async fn the_same_bytes_under_another_date_are_learned_anew() {
    let cached = with_rule(SHORT).await;
    let write = |owner: &str| {
        let content = Content::Told {
            seed: 3,
            size: 1000,
        };
        let given = Given {
            fields: vec![("x-amz-meta-owner".to_owned(), owner.to_owned())],
            ..Given::default()
        };
        cached.store.objects.write("lake/a", content, given)
    };
    let before = write("one");
    cached.get("/lake/a").await.expect_whole(&before);
    grow_stale().await;
    let after = write("another");
    assert_eq!(after.etag, before.etag);
    let answer = cached.get("/lake/a").await.expect_whole(&after);
    assert_eq!(answer.field("x-amz-meta-owner"), Some("another"));
    let answer = cached.head("/lake/a").await.expect_hit();
    assert_eq!(answer.field("x-amz-meta-owner"), Some("another"));
}

#[tokio::test]
async fn fifty_waiters_cause_one_validation() {
    let cached = with_rule(SHORT).await;
    let version = cached.put("lake/a", 200_000);
    cached.get("/lake/a").await.expect_whole(&version);
    grow_stale().await;
    cached.asks();
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held(&held));
    let mut clients = Vec::new();
    for index in 0..50 {
        let mut client = cached.proxy.connect().await;
        let call = if index % 3 == 0 {
            head("/lake/a")
        } else {
            get("/lake/a")
        };
        client.send(&call.bytes()).await;
        clients.push((call, client));
    }
    assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cached.store.origin.in_flight(), 1);
    gate.open();
    let mut collapsed = 0;
    for (call, client) in &mut clients {
        let answer = client.answer_to(&call.method).await.unwrap();
        collapsed += usize::from(answer.cache_status().collapsed);
        if call.method == "GET" {
            answer.expect_whole(&version);
        } else {
            answer.expect_head(&version);
        }
    }
    assert_eq!(cached.expect_one_ask("50 waiters").answered, Some(304));
    assert!(
        collapsed >= 49,
        "{collapsed} say that they waited for another"
    );
}

/// The one who asks leaves: those who wait with it do not fail.
#[tokio::test]
async fn a_validation_outlives_the_client_that_began_it() {
    let cached = with_rule(SHORT).await;
    let version = cached.put("lake/a", 200_000);
    cached.get("/lake/a").await.expect_whole(&version);
    grow_stale().await;
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held(&held));
    let mut first = cached.proxy.connect().await;
    first.send(&get("/lake/a").bytes()).await;
    assert!(comes_true(|| cached.store.origin.in_flight() == 1).await);
    let mut second = cached.proxy.connect().await;
    second.send(&get("/lake/a").bytes()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    let answer = second.answer_to("GET").await.unwrap();
    answer.expect_whole(&version);
}

#[tokio::test]
async fn immutable_objects_are_never_asked_for_again() {
    let cached = with_rule("{keys: ['data/*'], freshness: immutable}").await;
    let version = cached.put("lake/data/a", 200_000);
    cached.get("/lake/data/a").await.expect_whole(&version);
    cached.asks();
    cached.put("lake/data/a", 100);
    grow_stale().await;
    cached
        .get("/lake/data/a")
        .await
        .expect_hit()
        .expect_whole(&version);
    cached.expect_no_asks("immutable");
    // Writes through the proxy count all the same.
    cached
        .call(&put("/lake/data/a", b"new"))
        .await
        .expect(200, "");
    assert_eq!(cached.get("/lake/data/a").await.body, b"new");
}

#[tokio::test]
async fn validated_objects_are_asked_for_each_time_and_sent_from_the_cache() {
    let cached = with_rule("{freshness: validate}").await;
    let version = cached.put("lake/a", 200_000);
    cached.get("/lake/a").await.expect_whole(&version);
    cached.asks();
    for _ in 0..3 {
        cached.get("/lake/a").await.expect_whole(&version);
        let ask = cached.expect_one_ask("validated");
        assert_eq!((ask.answered, ask.sent_bytes), (Some(304), 0));
    }
    let version = cached.put("lake/a", 100_000);
    cached.head("/lake/a").await.expect_head(&version);
    cached.get("/lake/a").await.expect_whole(&version);
}

#[tokio::test]
async fn a_rule_can_keep_objects_out() {
    let cached = CacheSetup::memory()
        .rule("{buckets: [lake], keys: ['logs/*'], freshness: bypass}")
        .start()
        .await;
    let out = cached.put("lake/logs/a", 1000);
    let elsewhere = cached.put("pond/logs/a", 1000);
    for turn in 0..2 {
        let answer = cached.get("/lake/logs/a").await.expect_whole(&out);
        let answer = answer.expect_forwarded("bypass");
        assert!(!answer.cache_status().stored);
        assert_eq!(cached.asks().len(), 1);
        cached.get("/pond/logs/a").await.expect_whole(&elsewhere);
        assert_eq!(cached.asks().len(), usize::from(turn == 0));
    }
}

/// The first rule that matches decides, and what none is about lives a minute.
#[tokio::test]
async fn the_first_rule_that_matches_decides() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['a/validated'], freshness: validate}")
        .rule("{keys: ['a/*'], freshness: immutable}")
        .start()
        .await;
    for path in ["lake/a/validated", "lake/a/kept", "lake/other"] {
        cached.put(path, 1000);
        cached.get(&format!("/{path}")).await;
        cached.asks();
        cached.get(&format!("/{path}")).await;
        let expected = usize::from(path.ends_with("validated"));
        assert_eq!(cached.asks().len(), expected, "{path}");
    }
}

#[tokio::test]
async fn while_the_origin_fails_old_answers_serve_for_a_bounded_time() {
    let rule = "{keys: ['kept/*'], freshness: 1s, stale_if_error: 2s}";
    let cached = CacheSetup::memory().rule(rule).rule(SHORT).start().await;
    let kept = cached.put("lake/kept/a", 200_000);
    let other = cached.put("lake/other", 200_000);
    cached.get("/lake/kept/a").await.expect_whole(&kept);
    cached.get("/lake/other").await.expect_whole(&other);
    let learned = Instant::now();
    cached.store.bend(|_, reply| sick(reply));
    grow_stale().await;
    let answer = cached.get("/lake/kept/a").await.expect_whole(&kept);
    let told = answer.field("cache-status").unwrap();
    assert!(
        told.contains("stale"),
        "nothing tells that it is old: {told}"
    );
    assert!(
        answer.cache_status().fwd.as_deref() == Some("stale") || told.contains("ttl=-"),
        "{told}"
    );
    cached.head("/lake/kept/a").await.expect_head(&kept);
    cached.get("/lake/other").await.expect(503, "SlowDown");
    // Bytes that are not here cannot be made up.
    let missing = cached.put("lake/kept/b", MIB);
    cached.get("/lake/kept/b").await.expect(503, "SlowDown");
    let bound = Duration::from_millis(3300);
    tokio::time::sleep(bound.saturating_sub(learned.elapsed())).await;
    cached.get("/lake/kept/a").await.expect(503, "SlowDown");
    cached.store.straighten();
    cached.get("/lake/kept/a").await.expect_whole(&kept);
    cached.get("/lake/kept/b").await.expect_whole(&missing);
}

/// Old answers are for an origin that fails, not for one that says no.
#[tokio::test]
async fn a_refusal_or_an_absence_is_not_a_failure() {
    let cached = with_rule("{freshness: 1s, stale_if_error: 1h}").await;
    let version = cached.put("lake/a", 200_000);
    cached.get("/lake/a").await.expect_whole(&version);
    grow_stale().await;
    cached.store.bend(|_, _| Reply::error(403, "AccessDenied"));
    cached.get("/lake/a").await.expect(403, "AccessDenied");
    // A refusal says nothing about the bytes: they are still there when it is taken back.
    cached.store.straighten();
    cached.asks();
    cached.get("/lake/a").await.expect_whole(&version);
    assert_eq!(cached.expect_one_ask("validation").answered, Some(304));
    grow_stale().await;
    cached.store.objects.remove("lake/a");
    cached.get("/lake/a").await.expect(404, "NoSuchKey");
}

#[tokio::test]
async fn a_write_through_the_proxy_ends_what_an_error_would_have_kept() {
    let cached = with_rule("{freshness: 1s, stale_if_error: 1h}").await;
    let old = cached.put("lake/a", 200_000);
    cached.get("/lake/a").await.expect_whole(&old);
    cached.call(&put("/lake/a", b"new")).await.expect(200, "");
    cached.store.bend(|_, reply| sick(reply));
    cached.get("/lake/a").await.expect(503, "SlowDown");
}

#[tokio::test]
async fn absence_is_remembered_only_where_a_rule_says_so() {
    let cached = with_rule("{keys: ['known/*'], negative: 1s}").await;
    for call in [
        get("/lake/known/a"),
        head("/lake/known/a"),
        get("/lake/other"),
        head("/lake/other"),
    ] {
        assert_eq!(cached.call(&call).await.status, 404);
        let first = cached.asks().len();
        let answer = cached.call(&call).await;
        assert_eq!(answer.status, 404);
        if call.method == "GET" {
            assert_eq!(answer.code(), "NoSuchKey");
        }
        let is_known = call.target.contains("known");
        assert_eq!(
            cached.asks().is_empty(),
            is_known,
            "{} {}",
            call.method,
            call.target
        );
        assert!(first == 1 || is_known);
    }
    // A range and a condition do not change that nothing is there.
    cached
        .range("/lake/known/a", "bytes=-8")
        .await
        .expect(404, "NoSuchKey");
    cached.expect_no_asks("it is known to be absent");
    grow_stale().await;
    let version = cached.put("lake/known/a", 1000);
    cached.get("/lake/known/a").await.expect_whole(&version);
}

#[tokio::test]
async fn a_write_ends_a_remembered_absence_at_once() {
    let cached = with_rule("{negative: 1h}").await;
    cached.get("/lake/a").await.expect(404, "NoSuchKey");
    cached.call(&put("/lake/a", b"here")).await.expect(200, "");
    assert_eq!(cached.get("/lake/a").await.body, b"here");
    // A missing bucket or a refusal is no absence of an object.
    cached.get("/none/a").await.expect(404, "NoSuchBucket");
    cached.asks();
    cached.get("/none/a").await.expect(404, "NoSuchBucket");
    assert_eq!(cached.asks().len(), 1);
    cached.store.bend(|_, _| Reply::error(403, "AccessDenied"));
    for _ in 0..2 {
        cached.get("/lake/b").await.expect(403, "AccessDenied");
        assert_eq!(cached.asks().len(), 1);
    }
}

/// Delta Lake reads this after every commit; nobody configures it.
#[tokio::test]
async fn pointers_of_table_formats_are_validated_without_a_rule() {
    let cached = Cached::start().await;
    let path = "lake/table/_delta_log/_last_checkpoint";
    for _ in 0..3 {
        let version = cached.put(path, 100);
        cached.get(&format!("/{path}")).await.expect_whole(&version);
        cached.get(&format!("/{path}")).await.expect_whole(&version);
    }
}

/// Age counts from the moment the origin was asked: an answer that was on its way for long is old.
#[tokio::test]
async fn an_answer_ages_while_it_is_on_its_way() {
    let cached = with_rule(SHORT).await;
    let version = cached.put("lake/a", 1000);
    cached
        .store
        .bend(|_, reply| reply.after(Duration::from_millis(1200)));
    cached.get("/lake/a").await.expect_whole(&version);
    cached.store.straighten();
    let newer = cached.put("lake/a", 1000);
    cached.get("/lake/a").await.expect_whole(&newer);
}
