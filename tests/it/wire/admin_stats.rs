//! `/-/stats`: every number is one of `/metrics`, or follows from some of them.

use serde_json::Value;

use super::cached::{CacheSetup, Cached, KIB, get, head, put};
use super::proxy::{reader, writer};

async fn page(cached: &Cached, path: &str) -> Value {
    let page = cached.proxy.page(path).await.unwrap();
    assert_eq!(page.status, 200, "{}", page.text());
    serde_json::from_str(&page.text()).unwrap()
}

/// All samples of a family whose labels hold these texts, summed up.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| {
            rest.starts_with([' ', '{']) && labels.iter().all(|label| rest.contains(label))
        })
    });
    samples
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// Hits, misses, a client's error, a refusal, a write.
async fn traffic() -> Cached {
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h}")
        .with(|setup| setup.top("prices: {get_requests: 4, other_requests: 50, transfer: 1000}"))
        .start()
        .await;
    let version = cached.put("lake/public/a", 300 * KIB);
    for _ in 0..3 {
        cached.get("/lake/public/a").await.expect_whole(&version);
    }
    cached.head("/lake/public/a").await.expect(200, "");
    cached.get("/lake/none").await.expect(404, "NoSuchKey");
    cached
        .call(&put("/lake/in/b", b"12345"))
        .await
        .expect(200, "");
    let denied = super::call::Call::get("/lake/in/b").sign(&reader());
    cached.call(&denied).await.expect(403, "AccessDenied");
    let own = super::call::Call::get("/lake/in/b").sign(&writer());
    cached.call(&own).await.expect(200, "");
    cached
}

/// A number of the page, and the metric that it is.
const NUMBERS: &[(&str, &str, &[&str])] = &[
    ("/requests/total", "s3proxy_requests_total", &[]),
    (
        "/requests/to_origins",
        "s3proxy_upstream_requests_total",
        &[],
    ),
    (
        "/requests/by_operation/GetObject/2xx",
        "s3proxy_requests_total",
        &["\"GetObject\"", "\"20"],
    ),
    (
        "/requests/by_operation/GetObject/4xx",
        "s3proxy_requests_total",
        &["\"GetObject\"", "\"40"],
    ),
    (
        "/requests/by_operation/PutObject/2xx",
        "s3proxy_requests_total",
        &["\"PutObject\""],
    ),
    (
        "/requests/by_result/hit",
        "s3proxy_cache_requests_total",
        &["\"hit\""],
    ),
    (
        "/requests/reads_by_result/miss",
        "s3proxy_cache_requests_total",
        &["\"GetObject\"", "\"miss\""],
    ),
    ("/bytes/received", "s3proxy_request_bytes_total", &[]),
    ("/bytes/sent", "s3proxy_response_bytes_total", &[]),
    ("/bytes/asked", "s3proxy_cache_asked_bytes_total", &[]),
    (
        "/bytes/served/memory",
        "s3proxy_cache_served_bytes_total",
        &["\"memory\""],
    ),
    (
        "/bytes/served/origin",
        "s3proxy_cache_served_bytes_total",
        &["\"origin\""],
    ),
    ("/bytes/fetched", "s3proxy_cache_fetched_bytes_total", &[]),
    (
        "/first_byte/hit/count",
        "s3proxy_read_first_byte_seconds_count",
        &["\"hit\""],
    ),
    (
        "/first_byte/miss/count",
        "s3proxy_read_first_byte_seconds_count",
        &["\"miss\""],
    ),
    ("/saved/requests", "s3proxy_saved_requests_total", &[]),
    ("/saved/bytes", "s3proxy_saved_bytes_total", &[]),
    (
        "/origins/0/requests",
        "s3proxy_upstream_requests_total",
        &["\"main\""],
    ),
    (
        "/origins/0/bytes",
        "s3proxy_upstream_response_bytes_total",
        &["\"main\""],
    ),
    (
        "/origins/0/by_operation/PutObject/2xx",
        "s3proxy_upstream_requests_total",
        &["\"PutObject\""],
    ),
    ("/cache/metas", "s3proxy_cache_metas", &[]),
    (
        "/cache/memory/bytes",
        "s3proxy_cache_bytes",
        &["\"memory\""],
    ),
    (
        "/cache/memory/capacity",
        "s3proxy_cache_capacity_bytes",
        &["\"memory\""],
    ),
    (
        "/cache/fills/completed",
        "s3proxy_cache_fills_total",
        &["\"completed\""],
    ),
    (
        "/cache/invalidations/object",
        "s3proxy_cache_invalidations_total",
        &["\"object\""],
    ),
    (
        "/errors/by_code/AccessDenied",
        "s3proxy_requests_refused_total",
        &["\"AccessDenied\""],
    ),
    (
        "/lifecycle/config_loaded",
        "s3proxy_config_loaded_timestamp_seconds",
        &[],
    ),
    ("/process/max_open_files", "process_max_fds", &[]),
    (
        "/errors/by_status/404",
        "s3proxy_requests_total",
        &["\"404\""],
    ),
];

#[tokio::test]
async fn the_numbers_are_those_of_the_metrics() {
    let cached = traffic().await;
    let metrics = cached.proxy.page("/metrics").await.unwrap().text();
    let stats = page(&cached, "/-/stats").await;
    let of = |path: &str| {
        let found = stats
            .pointer(path)
            .unwrap_or_else(|| panic!("{path} in {stats:#}"));
        found.as_f64().unwrap_or_else(|| panic!("{path}: {found}"))
    };
    for (path, name, labels) in NUMBERS {
        let expected = sum(&metrics, name, labels);
        assert!(expected > 0.0, "{path}: {name} {labels:?} never moved");
        assert!(
            (of(path) - expected).abs() < 1e-9,
            "{path} is {}, {name} {labels:?} {expected}",
            of(path)
        );
    }
}

#[tokio::test]
async fn what_follows_from_the_metrics_is_reckoned() {
    let cached = traffic().await;
    let metrics = cached.proxy.page("/metrics").await.unwrap().text();
    let stats = page(&cached, "/-/stats").await;
    let of = |path: &str| stats.pointer(path).unwrap().as_f64().unwrap();
    let near = |path: &str, expected: f64| {
        assert!(
            (of(path) - expected).abs() < 1e-9,
            "{path} is {}, not {expected}",
            of(path)
        );
    };
    assert!(
        (of("/saved/seconds") - sum(&metrics, "s3proxy_saved_seconds_total", &[])).abs() < 1e-9
    );
    // Reads that were not refused: three and a HEAD of `a`, one of nothing, one of `b`.
    near("/hit_ratio", 3.0 / 6.0);
    let (memory, origin) = (of("/bytes/served/memory"), of("/bytes/served/origin"));
    near("/byte_hit_ratio", memory / (memory + origin));
    near("/amplification", of("/bytes/fetched") / of("/bytes/asked"));
    for path in [
        "/lifecycle/started",
        "/process/resident_bytes",
        "/process/threads",
        "/process/open_files",
    ] {
        assert!(of(path) > 0.0, "{path}");
    }
    assert_eq!(stats["lifecycle"]["reloads"]["applied"], 0);
    near("/lifecycle/upgrades_failed", 0.0);
    near("/errors/access_log_dropped", 0.0);
    near(
        "/saved/money",
        of("/saved/requests") * 0.004 + of("/saved/bytes") * 1e-6,
    );
    let gets = sum(
        &metrics,
        "s3proxy_upstream_requests_total",
        &["Object\"", "GetObject"],
    );
    let puts = sum(&metrics, "s3proxy_upstream_requests_total", &["PutObject"]);
    near(
        "/saved/spent",
        gets * 0.004 + puts * 0.05 + of("/origins/0/bytes") * 1e-6,
    );
    assert_eq!(stats["origins"][0]["name"], "main");
    assert_eq!(stats["origins"][0]["reachable"], true);
    assert_eq!(stats["cache"]["disk_state"], "absent");
    let latency = &stats["first_byte"]["miss"];
    let times = ["p50", "p90", "p95", "p99"].map(|part| latency[part].as_f64().unwrap());
    assert!(times.is_sorted(), "{latency}");
}

#[tokio::test]
async fn clients_are_told_apart_by_name() {
    let cached = traffic().await;
    let stats = page(&cached, "/-/stats").await;
    let client = |name: &str| {
        let clients = stats["clients"].as_array().unwrap().iter();
        let mut found = clients.filter(|client| client["name"] == name);
        let numbers = found.next().map(|client| {
            ["requests", "errors", "hits", "bytes"].map(|key| client[key].as_u64().unwrap())
        });
        numbers.unwrap_or_default()
    };
    assert_eq!(client("everything")[..3], [6, 1, 3]);
    assert!(client("everything")[3] >= 3 * 300 * KIB);
    assert_eq!(client("reader")[..3], [1, 1, 0]);
    assert_eq!(client("writer"), [1, 0, 0, 5]);
    assert!(
        !stats.to_string().contains("KEY\""),
        "an access key: {stats}"
    );
}

/// A page that is opened later shows what was before.
#[tokio::test]
async fn the_past_is_kept_in_samples() {
    let cached = traffic().await;
    let total = |stats: &Value| stats["requests"]["total"].as_f64().unwrap();
    let field = |past: &Value, name: &str| {
        let fields = past["fields"].as_array().unwrap();
        let index = fields.iter().position(|field| field == name).unwrap();
        let last = past["samples"].as_array().unwrap().last().unwrap();
        last[index].as_f64()
    };
    let mut stats = Value::Null;
    for _ in 0..200 {
        stats = page(&cached, "/-/stats?history=second").await;
        if field(&stats["history"], "requests") == Some(total(&stats)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let past = &stats["history"];
    assert_eq!(field(past, "requests"), Some(total(&stats)), "{past}");
    assert_eq!(field(past, "hits"), Some(3.0));
    assert_eq!(field(past, "client_errors"), Some(2.0));
    assert_eq!(field(past, "errors"), Some(0.0));
    assert_eq!(
        field(past, "saved_requests"),
        stats["saved"]["requests"].as_f64()
    );
    let time = field(past, "time").unwrap();
    let later = page(&cached, &format!("/-/stats?history=second&since={time}")).await;
    assert!(
        later["history"]["samples"].as_array().unwrap().len()
            < past["samples"].as_array().unwrap().len()
    );
    let minutes = page(&cached, "/-/stats?history=minute").await;
    assert_eq!(minutes["history"]["samples"].as_array().unwrap().len(), 1);
    let bad = cached.proxy.page("/-/stats?history=day").await.unwrap();
    assert_eq!(bad.status, 400);
}

/// Without a cache there is nothing to tell of one.
#[tokio::test]
async fn without_a_cache_the_page_says_so() {
    let cached = CacheSetup::memory().line("mode: off").start().await;
    cached.put("lake/a", 10);
    cached.call(&get("/lake/a")).await.expect(200, "");
    cached.call(&head("/lake/a")).await.expect(200, "");
    let stats = page(&cached, "/-/stats").await;
    assert_eq!(stats["cache"], Value::Null);
    assert_eq!(stats["hit_ratio"], 0.0);
    assert_eq!(stats["amplification"], Value::Null);
    assert_eq!(stats["requests"]["by_result"]["bypass"], 2);
}
