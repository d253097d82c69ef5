//! What every answer says about how it came about, and that the numbers agree.

use super::cached::{CacheSetup, Cached, KIB, comes_true, get, put, ranged};
use super::call::Call;
use super::client::Answer;
use super::proxy::{everything, reader};

/// `name;dur=milliseconds`: <https://www.w3.org/TR/server-timing/>.
#[track_caller]
fn expect_timing(answer: &Answer) {
    let field = answer.field("server-timing");
    let field = field.unwrap_or_else(|| panic!("no Server-Timing in {:?}", answer.headers));
    for metric in field.split(',').map(str::trim) {
        let mut parts = metric.split(';');
        let name = parts.next().unwrap();
        let is_token = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        assert!(is_token && !name.is_empty(), "{field}");
        for part in parts {
            let (key, value) = part.trim().split_once('=').expect(field);
            if key == "dur" {
                let duration: f64 = value.parse().expect(field);
                assert!((0.0..60_000.0).contains(&duration), "{field}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_says_where_it_came_from() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 300_000);
    let cold = cached.range("/lake/a", "bytes=0-9").await;
    assert_eq!(cold.cache_status().fwd.as_deref(), Some("uri-miss"));
    assert!(cold.cache_status().stored);
    let partial = cached.range("/lake/a", "bytes=0-100000").await;
    assert_eq!(partial.cache_status().fwd.as_deref(), Some("partial"));
    let hit = cached.range("/lake/a", "bytes=0-9").await.expect_hit();
    let ttl = hit
        .cache_status()
        .parameters
        .iter()
        .find_map(|parameter| parameter.strip_prefix("ttl=")?.parse::<i64>().ok());
    assert!(
        ttl.is_some_and(|ttl| (1..=60).contains(&ttl)),
        "{:?}",
        hit.field("cache-status")
    );
    let written = cached.call(&put("/lake/b", b"x")).await;
    let answers = [
        cold,
        partial,
        hit,
        written,
        cached.get("/lake/a").await.expect_whole(&version),
        cached.head("/lake/a").await,
        cached.range("/lake/a", "bytes=999999-").await,
        cached.get("/lake/none").await,
        cached.get("/lake?list-type=2").await,
        cached.get("/lake/a?tagging").await,
        cached
            .call(&Call::new("DELETE", "/lake/b").sign(&everything()))
            .await,
        cached
            .call(
                &Call::get("/lake/a")
                    .header("if-none-match", &version.etag)
                    .sign(&everything()),
            )
            .await,
    ];
    for answer in &answers {
        let field = answer.field("cache-status").unwrap_or_default();
        assert!(field.starts_with("s3proxy"), "{} {field}", answer.status);
        expect_timing(answer);
    }
}

/// An origin behind another cache: what it says is kept before ours.
#[tokio::test]
async fn the_proxys_own_member_comes_last() {
    let cached = Cached::start().await;
    cached.put("lake/a", 1000);
    cached
        .store
        .bend(|_, reply| reply.header("Cache-Status", "cdn; hit; ttl=5"));
    let answer = cached.get("/lake/a").await;
    assert!(answer.cache_status().fwd.is_some());
    // A hit is ours alone: what a cache before us said once does not hold any more.
    let answer = cached.get("/lake/a").await.expect_hit();
    assert!(!answer.field("cache-status").unwrap().contains("cdn"));
}

/// Clients cannot make the cache do anything by the fields that browsers use for it.
#[tokio::test]
async fn a_client_cannot_steer_the_cache() {
    let cached = Cached::start().await;
    let version = cached.put("lake/public/a", 1000);
    cached.get("/lake/public/a").await;
    cached.asks();
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("cache-control", "max-age=0"),
        ("pragma", "no-cache"),
        ("x-s3proxy-purge", "1"),
        ("expires", "0"),
    ] {
        let call = Call::get("/lake/public/a")
            .header(name, value)
            .sign(&reader());
        cached.call(&call).await.expect_hit().expect_whole(&version);
    }
    cached.expect_no_asks("fields of clients");
    let call = Call::get("/lake/public/b")
        .header("cache-control", "only-if-cached")
        .sign(&reader());
    assert_eq!(cached.call(&call).await.status, 404);
}

#[tokio::test]
async fn the_numbers_tell_what_happened() {
    let cached = Cached::start().await;
    let size = 512 * KIB;
    let version = cached.put("lake/a", size);
    cached.get("/lake/a").await.expect_whole(&version);
    for _ in 0..9 {
        cached.get("/lake/a").await.expect_hit();
    }
    cached
        .call(&ranged("/lake/a", "bytes=0-99"))
        .await
        .expect_hit();
    let metric = async |name: &str, labels: &str| cached.proxy.metric(name, labels).await;
    assert_eq!(
        metric("s3proxy_cache_requests_total", "result=\"hit\"").await,
        10
    );
    assert_eq!(metric("s3proxy_cache_fetched_bytes_total", "").await, size);
    assert_eq!(
        metric("s3proxy_cache_asked_bytes_total", "").await,
        10 * size + 100
    );
    assert_eq!(
        metric("s3proxy_cache_served_bytes_total", "memory").await,
        9 * size + 100
    );
    assert_eq!(metric("s3proxy_saved_requests_total", "").await, 10);
    assert_eq!(
        metric("s3proxy_saved_bytes_total", "").await,
        9 * size + 100
    );
    assert_eq!(metric("s3proxy_cache_metas", "").await, 1);
    let upstream = metric("s3proxy_upstream_requests_total", "operation=\"GetObject\"").await;
    assert_eq!(upstream, cached.asks().len() as u64);
    assert!(metric("s3proxy_cache_bytes", "tier=\"memory\"").await >= size);
}

/// Switched off, everything is forwarded; in between, the cache is asked and not believed.
#[tokio::test]
async fn the_cache_can_be_off_and_can_be_compared() {
    let off = CacheSetup::memory().line("mode: off").start().await;
    let version = off.put("lake/a", 100_000);
    for _ in 0..2 {
        let answer = off.get("/lake/a").await.expect_whole(&version);
        answer.expect_forwarded("bypass");
        assert_eq!(off.asks().len(), 1);
    }
    let verify = CacheSetup::memory()
        .line("mode: verify")
        .rule("{freshness: 1h}")
        .start()
        .await;
    let version = verify.put("lake/a", 100_000);
    for _ in 0..4 {
        verify.get("/lake/a").await.expect_whole(&version);
        verify.head("/lake/a").await.expect_head(&version);
        assert!(!verify.asks().is_empty());
    }
    let differences = async || {
        verify
            .proxy
            .metric("s3proxy_cache_differences_total", "")
            .await
    };
    let compared = verify
        .proxy
        .metric("s3proxy_cache_comparisons_total", "")
        .await;
    assert!(compared > 0);
    assert_eq!(differences().await, 0);
    // Behind its back: the origin is right, and the cache would have been wrong.
    let newer = verify.put("lake/a", 100_000);
    verify.get("/lake/a").await.expect_whole(&newer);
    verify.call(&get("/lake/a")).await.expect_whole(&newer);
    let mut found = 0;
    for _ in 0..100 {
        found = differences().await;
        if found > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(found > 0, "the difference was not counted");
}

/// What is not for the cache says why, to the client and to whoever reads the log.
#[tokio::test]
async fn what_is_not_cached_says_why() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['off/*'], freshness: bypass}")
        .start()
        .await;
    for path in [
        "lake/a",
        "lake/off/a",
        "lake/weak",
        "lake/bare",
        "lake/crypt",
    ] {
        cached.put(path, 1000);
    }
    cached.store.bend(|seen, reply| match seen.path() {
        "/lake/weak" => reply.set("ETag", "W/\"1\""),
        "/lake/bare" => reply.without("ETag"),
        "/lake/crypt" => reply.header("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        _ => reply,
    });
    let owner = ("x-amz-expected-bucket-owner", "111122223333");
    let key = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
    for (call, expected) in [
        (
            Call::get("/lake/a?versionId=null"),
            "bypass; detail=version",
        ),
        (Call::get("/lake/a?partNumber=1"), "bypass; detail=part"),
        (
            Call::get("/lake/a?response-content-type=text/csv"),
            "bypass; detail=response-fields",
        ),
        (Call::get("/lake/a?x-other=1"), "bypass; detail=operation"),
        (
            Call::get("/lake/a").header(owner.0, owner.1),
            "bypass; detail=field",
        ),
        (
            Call::get("/lake/a").header(key.0, key.1),
            "bypass; detail=customer-key",
        ),
        (Call::get("/lake/a//b"), "bypass; detail=ambiguous-key"),
        (Call::get("/lake/off/a"), "bypass; detail=rule"),
        (Call::get("/lake/weak"), "bypass; detail=no-etag"),
        (Call::get("/lake/weak"), "bypass; detail=no-etag"),
        (Call::new("HEAD", "/lake/bare"), "bypass; detail=no-etag"),
        (Call::get("/lake/crypt"), "bypass; detail=customer-key"),
        (Call::get("/lake?list-type=2"), "bypass; detail=operation"),
        (Call::get("/lake/a?tagging"), "bypass; detail=operation"),
        (Call::get("/"), "bypass; detail=operation"),
        (Call::put("/lake/b", b"x"), "method"),
        (Call::new("DELETE", "/lake/b"), "method"),
    ] {
        let (method, target) = (call.method.clone(), call.target.clone());
        let answer = cached.call(&call.sign(&everything())).await;
        let field = answer.field("cache-status").unwrap_or_default();
        assert_eq!(
            field,
            format!("s3proxy; fwd={expected}"),
            "{method} {target}"
        );
        expect_timing(&answer);
    }
    for line in [
        "cache=bypass cache_detail=no-etag",
        "cache=method origin_requests=1",
    ] {
        let is_logged = comes_true(|| cached.proxy.logs().contains(line)).await;
        assert!(is_logged, "{line}");
    }
}

/// Fresh is not always enough: what the origin is asked for all the same.
#[tokio::test]
async fn a_fresh_object_that_is_asked_about_says_why() {
    let cached = Cached::start().await;
    cached.put("lake/a", 1000);
    cached.get("/lake/a").await;
    let with = |name, value| Call::get("/lake/a").header(name, value).sign(&everything());
    for (call, expected) in [
        (with("if-match", "\"other\""), "detail=refusal"),
        (with("x-amz-checksum-mode", "ENABLED"), "detail=checksums"),
    ] {
        let answer = cached.call(&call).await.expect_forwarded("stale");
        let parameters = answer.cache_status().parameters;
        assert!(parameters.contains(&expected.to_owned()), "{parameters:?}");
    }
}

/// Ready without a disk: the page tells what became of it.
#[tokio::test]
async fn the_readiness_page_tells_how_each_tier_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cached = CacheSetup::disk(&path).start().await;
    let page = async || {
        let page = cached.proxy.page("/readyz").await.unwrap();
        let body: serde_json::Value = serde_json::from_str(&page.text()).unwrap();
        (page.status, body["cache"].clone())
    };
    let version = cached.put("lake/a", 300_000);
    cached.get("/lake/a").await.expect_whole(&version);
    let mut found = page().await;
    for _ in 0..200 {
        if found.1["disk"]["bytes"].as_u64() >= Some(300_000) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        found = page().await;
    }
    assert_eq!(found.0, 200);
    assert_eq!(found.1["metas"], 1);
    assert!(
        found.1["memory"]["bytes"].as_u64() >= Some(300_000),
        "{found:?}"
    );
    assert_eq!(found.1["memory"]["capacity"], 64 << 20);
    assert_eq!(found.1["disk"]["state"], "serving", "{found:?}");
    assert!(
        found.1["disk"]["bytes"].as_u64() >= Some(300_000),
        "{found:?}"
    );
    assert_eq!(found.1["disk"]["fault"], serde_json::Value::Null);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "not a directory").unwrap();
    for index in 0..200 {
        cached.put(&format!("lake/{index}"), 1000);
        assert_eq!(cached.get(&format!("/lake/{index}")).await.status, 200);
        found = page().await;
        if found.1["disk"]["state"] == "off" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(found.0, 200, "ready all the same");
    assert_eq!(found.1["disk"]["state"], "off", "{found:?}");
    assert_eq!(found.1["disk"]["fault"], "the directory is gone");
    cached
        .get("/lake/a")
        .await
        .expect_hit()
        .expect_whole(&version);
}
