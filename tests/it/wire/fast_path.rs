//! Hits that Pingora never sees are answered, refused and counted as if it had. A head that comes in two pieces
//! always goes through Pingora, so the same bytes are sent both ways.

use std::time::Duration;

use super::cached::{CacheSetup, Cached, MIB, get, head, ranged};
use super::call::Call;
use super::client::{Answer, Client};
use super::proxy::{Proxy, everything, reader};
use super::sigv4::Key;

/// Fields that differ from answer to answer.
const VOLATILE: [&str; 3] = ["date", "server-timing", "x-amz-request-id"];

async fn fast(proxy: &Proxy) -> u64 {
    proxy.wait_until_idle().await;
    proxy.metric("s3proxy_fast_path_requests_total", "").await
}

/// Sends the head in two pieces.
async fn call_slowly(client: &mut Client, call: &Call) -> Answer {
    let bytes = call.bytes();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    client.send(first).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    client.send(second).await;
    client.answer_to(&call.method).await.expect("an answer")
}

/// What has to be the same: status, fields in their order, and bytes.
fn sameness(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let stable = |(name, _): &&(String, String)| {
        let name = name.to_ascii_lowercase();
        !VOLATILE.contains(&name.as_str())
    };
    let mut fields: Vec<_> = answer.headers.iter().filter(stable).cloned().collect();
    fields.sort();
    (answer.status, fields, answer.body.clone())
}

/// The id of a request and the time stand in documents.
fn without_ids(answer: &Answer) -> String {
    let text = answer.text();
    let id = answer.element("RequestId");
    text.replace(&id, "")
}

fn immutable() -> CacheSetup {
    CacheSetup::memory().rule("{buckets: ['*'], freshness: immutable}")
}

#[tokio::test]
async fn a_hit_is_the_same_on_both_ways() {
    let cached = immutable().start().await;
    let version = cached.put("lake/a.bin", 2 * MIB + 77);
    cached.put("lake/empty", 0);
    cached.get("/lake/a.bin").await.expect_whole(&version);
    cached.head("/lake/empty").await;
    let etag = version.etag.clone();
    let dated = version.last_modified();
    let unsigned = |call: Call, name: &str, value: &str| call.header(name, value);
    let calls: Vec<(&str, Call, bool)> = vec![
        ("part", ranged("/lake/a.bin", "bytes=100-70000"), true),
        ("one byte", ranged("/lake/a.bin", "bytes=0-0"), true),
        ("suffix", ranged("/lake/a.bin", "bytes=-5"), true),
        ("head", head("/lake/a.bin"), true),
        (
            "head of a part",
            unsigned(head("/lake/a.bin"), "range", "bytes=7-9"),
            true,
        ),
        ("empty", get("/lake/empty"), true),
        (
            "presigned",
            Call::get("/lake/a.bin")
                .header("range", "bytes=5-9")
                .presign(&everything(), "60"),
            true,
        ),
        (
            "if-match",
            unsigned(ranged("/lake/a.bin", "bytes=0-9"), "if-match", &etag),
            true,
        ),
        (
            "not modified",
            unsigned(get("/lake/a.bin"), "if-none-match", &etag),
            true,
        ),
        (
            "if-range",
            unsigned(ranged("/lake/a.bin", "bytes=0-9"), "if-range", &dated),
            true,
        ),
        (
            "across two buffers",
            ranged("/lake/a.bin", "bytes=1000000-1100000"),
            true,
        ),
        (
            "a mebibyte across two buffers",
            ranged("/lake/a.bin", "bytes=7-1048582"),
            true,
        ),
        // Longer than is answered at once.
        ("whole", get("/lake/a.bin"), false),
    ];
    for (what, call, is_fast) in calls {
        let call = match call.field("authorization") {
            None if !call.target.contains("X-Amz-Signature") => call.sign(&everything()),
            _ => call,
        };
        let before = fast(&cached.proxy).await;
        let mut client = cached.proxy.connect().await.keep(8 << 20);
        let first = client.call(&call).await;
        let again = client.call(&call).await;
        let taken = fast(&cached.proxy).await - before;
        assert_eq!(taken, if is_fast { 2 } else { 0 }, "{what}");
        let slow = call_slowly(&mut client, &call).await;
        assert_eq!(fast(&cached.proxy).await - before, taken, "{what}");
        // And back again, on the same connection.
        let last = client.call(&call).await;
        for answer in [&again, &slow, &last] {
            assert_eq!(sameness(&first), sameness(answer), "{what}");
        }
        assert!(
            first
                .field("server-timing")
                .is_some_and(|timing| timing.contains("cache;dur="))
        );
    }
}

#[tokio::test]
async fn a_refusal_is_the_same_on_both_ways_and_never_fast() {
    let cached = immutable().start().await;
    cached.put("lake/a.bin", 1000);
    cached.put("lake/private/a.bin", 1000);
    for path in ["/lake/a.bin", "/lake/private/a.bin"] {
        cached.get(path).await.expect(200, "");
    }
    let signed = || Call::get("/lake/a.bin").sign(&everything());
    let forged = signed().set("x-amz-date", "20200101T000000Z");
    let other = Call::get("/lake/a.bin").sign(&Key::new("STRANGERKEY", "stranger-secret-9"));
    let denied = Call::get("/lake/private/a.bin").sign(&reader());
    let expired = Call::get("/lake/a.bin").presign_at(&everything(), "1", "20200101T000000Z");
    let tampered = signed().set("host", "other.test");
    let unsatisfiable = Call::get("/lake/a.bin")
        .header("range", "bytes=5000-")
        .sign(&everything());
    let failed = Call::get("/lake/a.bin")
        .header("if-match", "\"other\"")
        .sign(&everything());
    let anonymous = Call::get("/lake/a.bin");
    let unknown = Call::get("/no-such-bucket/a").sign(&everything());
    let before = fast(&cached.proxy).await;
    for (what, call) in [
        ("forged", forged),
        ("stranger", other),
        ("denied", denied),
        ("expired", expired),
        ("tampered", tampered),
        ("unsatisfiable", unsatisfiable),
        ("failed", failed),
        ("anonymous", anonymous),
        ("unknown bucket", unknown),
    ] {
        let mut client = cached.proxy.connect().await.keep(1 << 20);
        let whole = client.call(&call).await;
        let slow = call_slowly(&mut client, &call).await;
        assert!(whole.status >= 400, "{what}: {}", whole.status);
        assert_eq!(
            (whole.status, whole.code()),
            (slow.status, slow.code()),
            "{what}"
        );
        let is_timed = without_ids(&whole).contains("ServerTime");
        assert!(
            is_timed || without_ids(&whole) == without_ids(&slow),
            "{what}"
        );
    }
    assert_eq!(fast(&cached.proxy).await, before);
}

/// What is written through the proxy is seen by the next read, whichever way it goes.
#[tokio::test]
async fn a_write_ends_it() {
    let cached = Cached::start().await;
    let first = cached.put("lake/a.bin", 1000);
    cached.get("/lake/a.bin").await.expect_whole(&first);
    let before = fast(&cached.proxy).await;
    let mut client = cached.proxy.connect().await.keep(1 << 20);
    let read = get("/lake/a.bin");
    assert_eq!(client.call(&read).await.body.len(), 1000);
    assert_eq!(fast(&cached.proxy).await, before + 1);
    let write = Call::put("/lake/a.bin", vec![9; 2000]).sign(&everything());
    assert_eq!(client.call(&write).await.status, 200);
    assert_eq!(client.call(&read).await.body, vec![9; 2000]);
    assert_eq!(fast(&cached.proxy).await, before + 1);
    assert_eq!(client.call(&read).await.body, vec![9; 2000]);
    assert_eq!(fast(&cached.proxy).await, before + 2);
}

/// Two requests at once are no case of it, and are answered as they always were.
#[tokio::test]
async fn what_follows_a_head_is_left_to_pingora() {
    let cached = immutable().start().await;
    let version = cached.put("lake/a.bin", 1000);
    cached.get("/lake/a.bin").await.expect_whole(&version);
    let before = fast(&cached.proxy).await;
    let mut client = cached.proxy.connect().await.keep(1 << 20);
    let one = get("/lake/a.bin").bytes();
    client.send(&[one.clone(), one].concat()).await;
    let answer = client.answer_to("GET").await.expect("an answer");
    assert_eq!(answer.body.len(), 1000);
    assert!(client.is_closed().await);
    assert_eq!(fast(&cached.proxy).await, before);
}
