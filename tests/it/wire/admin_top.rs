//! `/-/top`: what is read most comes first, by requests, bytes and misses.

use serde_json::Value;

use super::cached::{CacheSetup, Cached, KIB};
use super::call::Call;
use super::proxy::reader;

async fn top(cached: &Cached, query: &str) -> Value {
    let page = cached.proxy.page(&format!("/-/top{query}")).await.unwrap();
    assert_eq!(page.status, 200, "{}", page.text());
    serde_json::from_str(&page.text()).unwrap()
}

fn names(list: &Value, kind: &str) -> Vec<String> {
    let rows = list[kind].as_array().unwrap().iter();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.map(|row| format!("{}/{}", text(row, "bucket"), text(row, "key")))
        .collect()
}

#[tokio::test]
async fn hot_objects_and_prefixes_come_first() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    for (path, size, reads) in [
        ("lake/t/often", 10, 6),
        ("lake/t/long", 200 * KIB, 2),
        ("pond/other", 20, 1),
    ] {
        cached.put(path, size);
        for _ in 0..reads {
            cached.get(&format!("/{path}")).await.expect(200, "");
        }
    }
    // A refused read counts for nothing: it would tell of keys that nobody may see.
    let denied = Call::get("/pond/secret").sign(&reader());
    cached.call(&denied).await.expect(403, "AccessDenied");
    let by_requests = top(&cached, "").await;
    let objects = names(&by_requests, "objects");
    assert_eq!(objects, ["lake/t/often", "lake/t/long", "pond/other"]);
    let prefixes = names(&by_requests, "prefixes");
    assert_eq!(prefixes, ["lake/", "lake/t/", "pond/"]);
    let first = &by_requests["objects"][0];
    let counts = ["requests", "hits", "misses", "bytes", "uncounted"].map(|key| &first[key]);
    assert_eq!(counts, [6, 5, 1, 60, 0]);
    assert_eq!(by_requests["prefixes"][0]["requests"], 8);
    let by_bytes = top(&cached, "?by=bytes&limit=1").await;
    assert_eq!(names(&by_bytes, "objects"), ["lake/t/long"]);
    assert_eq!(by_bytes["objects"][0]["bytes"], 400 * KIB);
    let by_misses = top(&cached, "?by=misses").await;
    assert_eq!(by_misses["objects"].as_array().unwrap().len(), 3);
    assert_eq!(by_misses["prefixes"][0]["misses"], 2);
    let bad = cached.proxy.page("/-/top?by=age").await.unwrap();
    assert_eq!(bad.status, 400);
}
