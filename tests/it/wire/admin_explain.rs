//! `/-/explain`: what is known of an object, and who may read it, without a question to the origin.

use serde_json::{Value, json};

use super::cached::{CacheSetup, Cached, KIB, delete};

async fn explain(cached: &Cached, bucket: &str, key: &str) -> Value {
    let path = format!("/-/explain?bucket={bucket}&key={key}");
    cached.asks();
    let page = cached.proxy.page(&path).await.unwrap();
    assert_eq!(page.status, 200, "{}", page.text());
    cached.expect_no_asks("explaining");
    serde_json::from_str(&page.text()).unwrap()
}

fn readers(explained: &Value) -> Vec<&str> {
    let readers = explained["readers"].as_array().unwrap().iter();
    readers
        .map(|reader| reader["client"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_stored_is_told_in_runs() {
    let dir = tempfile::tempdir().unwrap();
    let cached = CacheSetup::disk(&dir.path().join("cache"))
        .rule("{keys: ['raw/*'], freshness: immutable}")
        .rule("{buckets: [lake], freshness: 1h, stale_if_error: 5m}")
        .start()
        .await;
    let version = cached.put("lake/public/a", 20 * 64 * KIB + 100);
    let unknown = explain(&cached, "lake", "public/a").await;
    assert_eq!(unknown["state"], "unknown");
    assert_eq!(unknown["cacheable"], true);
    assert_eq!(unknown["version"], Value::Null);
    assert_eq!(unknown["blocks"], Value::Null);
    for range in ["bytes=65536-131071", "bytes=1310720-1310721"] {
        cached.range("/lake/public/a", range).await.expect(206, "");
    }
    super::segment_files::settle(dir.path(), 64 * KIB).await;
    let known = explain(&cached, "lake", "public/a").await;
    assert_eq!(known["state"], "fresh");
    assert_eq!(known["origin"], "main");
    assert_eq!(known["version"]["etag"], version.etag);
    assert_eq!(known["version"]["size"], 20 * 64 * KIB + 100);
    let seconds = known["fresh_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    let (learned, until) = (&known["learned"], &known["fresh_until"]);
    assert!(learned.as_str() < until.as_str(), "{learned} {until}");
    assert_eq!(known["rule"]["index"], 1);
    assert_eq!(
        known["rule"]["text"],
        "{buckets: [\"lake\"], freshness: 1h, stale_if_error: 5m}"
    );
    let blocks = &known["blocks"];
    assert_eq!(
        (&blocks["count"], &blocks["block_size"]),
        (&json!(21), &json!(65_536))
    );
    let expected = json!({"blocks": 2, "bytes": 64 * KIB + 100, "runs": [[1, 1], [20, 20]]});
    assert_eq!(blocks["memory"], expected);
    let mut on_disk = blocks["disk"].clone();
    for _ in 0..200 {
        if on_disk == expected {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        on_disk = explain(&cached, "lake", "public/a").await["blocks"]["disk"].clone();
    }
    assert_eq!(on_disk, expected);
    assert_eq!(blocks["cut"], false);
    // What is written is no longer known, and nobody is told that it is fresh.
    cached.call(&delete("/lake/public/a")).await.expect(204, "");
    let written = explain(&cached, "lake", "public/a").await;
    assert_eq!(written["state"], "unknown");
    assert_eq!(written["fresh_until"], Value::Null);
}

#[tokio::test]
async fn rules_and_reasons_are_told() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['raw/*'], freshness: immutable, negative: 1m}")
        .rule("{keys: ['tmp/*'], freshness: bypass}")
        .start()
        .await;
    cached.put("lake/raw/a", 10);
    cached.get("/lake/raw/a").await.expect(200, "");
    let immutable = explain(&cached, "lake", "raw/a").await;
    assert_eq!(immutable["state"], "fresh");
    assert_eq!(immutable["fresh_until"], Value::Null, "for ever");
    assert_eq!(immutable["rule"]["index"], 0);
    cached.get("/lake/raw/none").await.expect(404, "NoSuchKey");
    let absent = explain(&cached, "lake", "raw/none").await;
    assert_eq!(absent["state"], "absent");
    assert!(
        absent["fresh_seconds"]
            .as_u64()
            .is_some_and(|left| left <= 60)
    );
    let bypassed = explain(&cached, "lake", "tmp/a").await;
    assert_eq!(bypassed["cacheable"], false);
    assert_eq!(bypassed["why_not"], "rule");
    // A pointer of a table format is validated, whatever the rule says of its neighbours.
    let pointer = explain(&cached, "lake", "raw/_delta_log/_last_checkpoint").await;
    assert_eq!(pointer["rule"]["freshness"], "validate");
    assert!(
        pointer["rule"]["text"]
            .as_str()
            .unwrap()
            .contains("immutable")
    );
    let default = explain(&cached, "lake", "other").await;
    assert_eq!(default["rule"]["index"], Value::Null);
    assert_eq!(default["rule"]["text"], "{freshness: 1m}");
    let ambiguous = explain(&cached, "lake", "a//b").await;
    assert_eq!(ambiguous["why_not"], "ambiguous-key");
    // An origin without ETags.
    cached.put("lake/plain", 10);
    cached.store.bend(|_, mut reply| {
        reply
            .headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
        reply
    });
    cached.get("/lake/plain").await.expect(200, "");
    let uncacheable = explain(&cached, "lake", "plain").await;
    assert_eq!(uncacheable["why_not"], "no-etag");
    for (query, status) in [
        ("bucket=lake", 400),
        ("bucket=lake&key=a&x=1", 400),
        ("bucket=..&key=a", 400),
    ] {
        let page = cached
            .proxy
            .page(&format!("/-/explain?{query}"))
            .await
            .unwrap();
        assert_eq!(page.status, status, "{query}");
    }
}

#[tokio::test]
async fn who_may_read_is_told_by_name() {
    let cached = CacheSetup::memory()
        .with(|setup| {
            setup.clients(
                "clients:\n\
                 - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,\n   \
                    allow: [{buckets: ['*'], actions: ['*']}]}\n\
                 - {name: own, access_key_id: READERKEY, secret_access_key_env: READER_SECRET, origin_identity: own,\n   \
                    allow: [{buckets: [lake], prefixes: [public/], actions: [read]}]}\n\
                 - {name: lister, access_key_id: WRITERKEY, secret_access_key_env: WRITER_SECRET,\n   \
                    allow: [{buckets: ['*'], actions: [list]}]}\n\
                 anonymous:\n  allow: [{buckets: [lake], prefixes: [public/open/], actions: [read]}]\n",
            )
        })
        .start()
        .await;
    let open = explain(&cached, "lake", "public/open/a").await;
    assert_eq!(readers(&open), ["everything", "own", "anonymous"]);
    let asks: Vec<_> = open["readers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reader| &reader["asks_origin"])
        .collect();
    assert_eq!(asks, [false, true, false]);
    let public = explain(&cached, "lake", "public/a").await;
    assert_eq!(readers(&public), ["everything", "own"]);
    assert_eq!(
        readers(&explain(&cached, "lake", "in/a").await),
        ["everything"]
    );
    assert!(!open.to_string().contains("KEY"), "an access key");
}

#[tokio::test]
async fn without_a_cache_only_the_rights_are_told() {
    let cached = CacheSetup::memory().line("mode: off").start().await;
    let explained = explain(&cached, "lake", "public/a").await;
    assert_eq!(explained["why_not"], "off");
    assert_eq!(explained["rule"], Value::Null);
    assert_eq!(readers(&explained), ["everything", "reader"]);
}
