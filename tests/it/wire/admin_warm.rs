//! `/-/warm`: what an operator names is in the cache afterwards, clients go first, and it ends when
//! nobody listens.

use std::time::Duration;

use serde_json::Value;

use super::cached::{CacheSetup, Cached, KIB, MIB};
use super::client::{Answer, Client};
use super::object_origin::is_object_read;
use super::reply::Gate;

fn order(body: &str, admin: std::net::SocketAddr) -> String {
    format!(
        "POST /-/warm HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The lines of a warm that came to its end.
async fn warm(cached: &Cached, body: &str) -> Vec<Value> {
    let answer = cached.proxy.post_json("/-/warm", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.is_complete);
    let text = answer.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    cached.settle().await;
    lines
}

fn figures(line: &Value) -> [u64; 6] {
    [
        "found",
        "objects",
        "failed",
        "skipped",
        "fetched_bytes",
        "present_bytes",
    ]
    .map(|key| {
        line[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {line}"))
    })
}

#[tokio::test]
async fn whole_objects_are_read_without_the_origin_afterwards() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let first = cached.put("lake/t/a.parquet", 3 * MIB + 5);
    let second = cached.put("lake/t/b", 700 * KIB);
    cached.put("lake/u", 10);
    let lines = warm(
        &cached,
        r#"{"bucket": "lake", "prefix": "t/", "mode": "whole"}"#,
    )
    .await;
    let done = lines.last().unwrap();
    assert_eq!(done["event"], "done", "{done}");
    let bytes = 3 * MIB + 5 + 700 * KIB;
    assert_eq!(figures(done), [2, 2, 0, 0, bytes, 0]);
    assert_eq!(done["more"], false);
    let asked: u64 = cached
        .asks()
        .iter()
        .filter(|ask| ask.is("GET") && !ask.target.contains("list-type"))
        .map(|ask| ask.sent_bytes)
        .sum();
    assert_eq!(asked, bytes, "each byte once");
    for (path, version) in [("/lake/t/a.parquet", &first), ("/lake/t/b", &second)] {
        cached.get(path).await.expect_hit().expect_whole(version);
    }
    cached.expect_no_asks("what is warm");
    // A second time there is nothing to do but to list.
    let again = warm(
        &cached,
        r#"{"bucket": "lake", "prefix": "t/", "mode": "whole"}"#,
    )
    .await;
    assert_eq!(figures(again.last().unwrap()), [2, 2, 0, 0, 0, bytes]);
    assert_eq!(cached.asks().len(), 1);
}

#[tokio::test]
async fn footers_are_what_engines_read_first() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let version = cached.put("lake/a.parquet", 5 * MIB);
    let lines = warm(&cached, r#"{"bucket": "lake", "keys": ["a.parquet"]}"#).await;
    let [found, objects, failed, skipped, fetched, _] = figures(lines.last().unwrap());
    assert_eq!((found, objects, failed, skipped), (1, 1, 0, 0));
    assert!((512 * KIB..=600 * KIB).contains(&fetched), "{fetched}");
    cached.expect_one_ask("the object and its end in one request");
    let end = 5 * MIB - 1;
    let tail = cached
        .range(
            "/lake/a.parquet",
            &format!("bytes={}-{end}", 5 * MIB - 512 * KIB),
        )
        .await;
    tail.expect_hit()
        .expect_part(&version, 5 * MIB - 512 * KIB, end);
    cached.expect_no_asks("a footer that is warm");
}

#[tokio::test]
async fn what_cannot_be_fetched_does_not_end_it() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['tmp/*'], freshness: bypass}")
        .rule("{freshness: 1h}")
        .start()
        .await;
    for key in ["a", "b", "tmp/c"] {
        cached.put(&format!("lake/{key}"), 100);
    }
    let body =
        r#"{"bucket": "lake", "keys": ["a", "none", "tmp/c", "x//y", "b"], "mode": "whole"}"#;
    let lines = warm(&cached, body).await;
    assert_eq!(figures(lines.last().unwrap()), [5, 5, 1, 2, 200, 0]);
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "error")
        .collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["key"], "none");
    assert_eq!(errors[0]["error"], "there is no such object");
    // A list that the origin refuses is the end of it.
    let lines = warm(&cached, r#"{"bucket": "swamp", "prefix": ""}"#).await;
    let failed = lines.last().unwrap();
    assert_eq!(failed["event"], "failed");
    assert_eq!(failed["error"], "the origin answers 404 to the list");
}

#[tokio::test]
async fn long_lists_are_read_page_after_page_up_to_the_limit() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    for number in 0..1100 {
        cached.put(&format!("lake/many/{number:05}"), 10);
    }
    cached.put("lake/many/empty/", 0);
    let body = r#"{"bucket": "lake", "prefix": "many/", "mode": "whole", "limit": 1050}"#;
    let lines = warm(&cached, body).await;
    let done = lines.last().unwrap();
    assert_eq!(figures(done), [1050, 1050, 0, 0, 10_500, 0], "{done}");
    assert_eq!(done["more"], true);
    let pages = cached
        .asks()
        .iter()
        .filter(|ask| ask.target.contains("list-type=2"))
        .count();
    assert_eq!(pages, 2);
    let all = warm(
        &cached,
        r#"{"bucket": "lake", "prefix": "many/", "mode": "whole"}"#,
    )
    .await;
    assert_eq!(
        figures(all.last().unwrap()),
        [1100, 1100, 0, 0, 500, 10_500]
    );
}

/// Until the gate opens, the origin keeps every read of an object waiting.
fn hold_reads(cached: &Cached) -> Gate {
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, mut reply| {
        if is_object_read(seen) {
            reply.gate = Some(held.clone());
        }
        reply
    });
    gate
}

async fn begin(cached: &Cached) -> Client {
    let mut client = Client::connect(cached.proxy.admin).await;
    let body = r#"{"bucket": "lake", "prefix": "t/", "mode": "whole"}"#;
    client
        .send(order(body, cached.proxy.admin).as_bytes())
        .await;
    client.wait_for_byte().await;
    client
}

#[tokio::test]
async fn two_run_at_once_and_no_more_and_they_end_with_their_listener() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    for number in 0..40 {
        cached.put(&format!("lake/t/{number}"), 4 * MIB);
    }
    let gate = hold_reads(&cached);
    let (first, second) = (begin(&cached).await, begin(&cached).await);
    let third = cached
        .proxy
        .post_json("/-/warm", r#"{"bucket": "lake", "prefix": ""}"#)
        .await;
    assert_eq!(third.status, 429);
    assert!(
        third.text().contains("two warms run already"),
        "{}",
        third.text()
    );
    // Both warm the same eight objects at this moment.
    super::poll_until("eight requests", || cached.store.origin.in_flight() == 8).await;
    drop((first, second));
    let mut freed: Option<Answer> = None;
    for _ in 0..500 {
        let answer = cached
            .proxy
            .post_json("/-/warm", r#"{"bucket": "lake", "keys": []}"#)
            .await;
        if answer.status == 200 {
            freed = Some(answer);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(freed.is_some(), "the places of those who left");
    gate.open();
    cached.settle().await;
    // What was under way may have ended; nothing new was begun.
    let reads = cached
        .asks()
        .iter()
        .filter(|ask| !ask.target.contains("list-type"))
        .count();
    assert!(reads <= 16, "{reads} of 40 objects were read for nobody");
}

/// A client is answered at once while a warm takes all that it may.
#[tokio::test]
async fn clients_go_first() {
    let cached = CacheSetup::memory()
        .line("fill_connections: 4")
        .rule("{freshness: 1h}")
        .start()
        .await;
    for number in 0..20 {
        cached.put(&format!("lake/t/{number:02}"), 2 * MIB);
    }
    let wanted = cached.put("lake/wanted", 1000);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, mut reply| {
        if is_object_read(seen) && seen.target.contains("/t/") {
            reply.gate = Some(held.clone());
        }
        reply
    });
    let _warm = begin(&cached).await;
    super::poll_until("two prefetches", || cached.store.origin.in_flight() == 2).await;
    // Half of the connections are left for clients, however many objects wait.
    let answer =
        super::cached::call_keeping(&cached.proxy, &super::cached::get("/lake/wanted")).await;
    answer.expect_whole(&wanted);
    assert_eq!(cached.store.origin.most_in_flight(), 3);
    // And an object that a warm asks for is not waited for in its queue.
    gate.open();
    let answer =
        super::cached::call_keeping(&cached.proxy, &super::cached::get("/lake/t/19")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_order_that_is_not_clear_is_told_why() {
    let cached = CacheSetup::memory().start().await;
    for (body, status, why) in [
        ("{}", 400, "`bucket` is missing"),
        (r#"{"bucket": "lake"}"#, 400, "one of `keys` and `prefix`"),
        (
            r#"{"bucket": "lake", "prefix": "", "mode": "half"}"#,
            400,
            "half",
        ),
    ] {
        let answer = cached.proxy.post_json("/-/warm", body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    let get = cached.proxy.page("/-/warm").await.unwrap();
    assert_eq!(get.status, 405);
    cached.expect_no_asks("refused orders");
    for mode in ["mode: off", "mode: verify"] {
        let off = CacheSetup::memory().line(mode).start().await;
        let answer = off
            .proxy
            .post_json("/-/warm", r#"{"bucket": "lake", "prefix": ""}"#)
            .await;
        assert_eq!(answer.status, 404, "{mode}");
    }
}
