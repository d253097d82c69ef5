//! Every metric of the cache moves when what it counts happens, by as much as happened.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cached::{CacheSetup, Cached, KIB, MIB, comes_true, delete, get, put, ranged};
use super::call::Call;
use super::proxy::everything;
use super::reply::{End, Gate, Reply};
use super::segment_files;

/// What no step of the script moves: verify mode is not on, and every fill has ended.
const STILL: &[&str] = &[
    "s3proxy_cache_fills_in_flight",
    "s3proxy_cache_comparisons_total",
    "s3proxy_cache_differences_total",
];

/// What may move or not: what was read ahead is counted when its reader is not expected back.
const EITHER: &[&str] = &[
    "s3proxy_cache_prefetch_used_bytes_total",
    "s3proxy_cache_prefetch_wasted_bytes_total",
];

/// All samples, by name and labels.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// When no request is served any more.
    async fn of(cached: &Cached) -> Self {
        cached.proxy.wait_until_idle().await;
        let page = cached.proxy.page("/metrics").await.unwrap().text();
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The sum of a family's samples whose labels hold the text.
    fn sum(&self, name: &str, labels: &str) -> f64 {
        let samples = self.0.iter().filter(|(sample, _)| {
            let rest = sample.strip_prefix(name);
            rest.is_some_and(|rest| {
                (rest.is_empty() || rest.starts_with('{')) && rest.contains(labels)
            })
        });
        samples.map(|(_, value)| value).sum()
    }
}

/// As samples are written. No figure of this script needs more digits than both have.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The script so far.
struct Script {
    cached: Cached,
    before: Samples,
    first: Samples,
}

impl Script {
    async fn begin(cached: Cached) -> Self {
        Self {
            before: Samples::of(&cached).await,
            first: Samples::of(&cached).await,
            cached,
        }
    }

    /// What has moved since the last time, family and label: exactly by this.
    async fn expect(&mut self, what: &str, expected: &[(&str, &str, u64)]) {
        let now = Samples::of(&self.cached).await;
        for (name, labels, difference) in expected {
            let name = format!("s3proxy_{name}");
            let moved = now.sum(&name, labels) - self.before.sum(&name, labels);
            let expected = number(*difference);
            assert!(
                (moved - expected).abs() < 0.5,
                "{what}: {name} {labels} moved by {moved}, not by {expected}"
            );
        }
        self.before = now;
    }

    /// The same, by at least this.
    async fn expect_more(&mut self, what: &str, expected: &[(&str, &str, u64)]) {
        let now = Samples::of(&self.cached).await;
        for (name, labels, least) in expected {
            let name = format!("s3proxy_{name}");
            let moved = now.sum(&name, labels) - self.before.sum(&name, labels);
            assert!(
                moved + 0.5 > number(*least),
                "{what}: {name} {labels} moved by {moved}, not by {least} or more"
            );
        }
        self.before = now;
    }
}

/// The body of DeleteObjects is read and written anew, so it is not forwarded like other requests.
#[tokio::test]
async fn a_batch_of_deletes_is_a_request_to_the_origin() {
    let mut script = Script::begin(Cached::start().await).await;
    let document = "<Delete><Object><Key>a</Key></Object></Delete>";
    let call = Call::new("POST", "/lake?delete")
        .body(document)
        .sign(&everything());
    let counted = "operation=\"DeleteObjects\",origin=\"main\",status=\"200\"";
    for turn in ["first", "second"] {
        let length = script.cached.call(&call).await.expect(200, "").body_bytes;
        script
            .expect(
                turn,
                &[
                    ("upstream_requests_total", counted, 1),
                    ("upstream_response_bytes_total", "", length),
                ],
            )
            .await;
    }
}

#[tokio::test]
async fn every_family_counts_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cached = CacheSetup::disk(&path)
        .with_memory("8MiB")
        .with_disk("48MiB")
        .line("fill_memory: 8MiB")
        .rule("{keys: ['v/*'], freshness: validate}")
        .rule("{keys: ['e/*'], freshness: validate, stale_if_error: 1h}")
        .rule("{freshness: 1h}")
        .start()
        .await;
    let mut script = Script::begin(cached).await;
    cold_and_warm(&mut script).await;
    parts_writes_and_purges(&mut script).await;
    what_is_asked_of_the_origin(&mut script).await;
    what_becomes_of_fills(&mut script).await;
    what_the_tiers_do(&mut script, &path).await;
    let last = Samples::of(&script.cached).await;
    let families = s3proxy::telemetry::TABLE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| name.starts_with("s3proxy_cache_") || name.starts_with("s3proxy_saved_"));
    for name in families.filter(|name| !EITHER.contains(name)) {
        let has_moved = last
            .0
            .iter()
            .filter(|(sample, _)| sample.split('{').next() == Some(name))
            .any(|(sample, value)| script.first.0.get(sample) != Some(value));
        // What a tier may hold is known from the start.
        let is_given = name.ends_with("capacity_bytes") && last.sum(name, "") > 0.0;
        assert_eq!(has_moved || is_given, !STILL.contains(&name), "{name}");
    }
}

async fn cold_and_warm(script: &mut Script) {
    let size = MIB;
    let version = script.cached.put("lake/a", size);
    script.cached.get("/lake/a").await.expect_whole(&version);
    script
        .expect(
            "cold",
            &[
                ("cache_requests_total", "result=\"miss\"", 1),
                ("cache_asked_bytes_total", "", size),
                ("cache_fetched_bytes_total", "", size),
                ("cache_served_bytes_total", "origin", size),
                ("cache_served_bytes_total", "memory", 0),
                ("cache_fills_total", "started", 1),
                ("cache_fills_total", "completed", 1),
                ("cache_metas", "", 1),
                ("upstream_requests_total", "GetObject", 1),
                ("upstream_response_bytes_total", "", size),
                ("saved_requests_total", "", 0),
                ("saved_bytes_total", "", 0),
            ],
        )
        .await;
    for _ in 0..3 {
        script.cached.get("/lake/a").await.expect_hit();
    }
    script.cached.head("/lake/a").await.expect_hit();
    script
        .expect(
            "warm",
            &[
                ("cache_requests_total", "result=\"hit\"", 4),
                ("cache_requests_total", "HeadObject", 1),
                ("cache_asked_bytes_total", "", 3 * size),
                ("cache_fetched_bytes_total", "", 0),
                ("cache_served_bytes_total", "memory", 3 * size),
                ("cache_served_blocks_total", "memory", 48),
                ("upstream_requests_total", "", 0),
                ("saved_requests_total", "", 4),
                ("saved_bytes_total", "", 3 * size),
            ],
        )
        .await;
    let saved = script.before.sum("s3proxy_saved_seconds_total", "");
    assert!(saved > 0.0, "no time is saved");
}

async fn parts_writes_and_purges(script: &mut Script) {
    let small = script.cached.put("lake/small", MIB);
    for (range, last) in [("bytes=0-99", 99), ("bytes=0-99999", 99_999)] {
        let call = ranged("/lake/small", range);
        script.cached.call(&call).await.expect_part(&small, 0, last);
    }
    // Asked 100,100 bytes and fetched two blocks: amplification 1.3.
    script
        .expect(
            "blocks",
            &[
                ("cache_requests_total", "result=\"partial\"", 1),
                ("cache_asked_bytes_total", "", 100_100),
                ("cache_fetched_bytes_total", "", 131_072),
                ("upstream_requests_total", "GetObject", 2),
            ],
        )
        .await;
    let key = everything();
    script.cached.call(&put("/lake/a", &[1; 5000])).await;
    script.cached.call(&delete("/lake/small")).await;
    let policy = Call::put("/lake?policy", b"{}").sign(&key);
    script.cached.call(&policy).await;
    script.cached.get("/lake/a").await.expect(200, "");
    script
        .expect(
            "writes",
            &[
                ("cache_invalidations_total", "object", 2),
                ("cache_invalidations_total", "bucket", 1),
                ("cache_requests_total", "result=\"method\"", 3),
                ("cache_requests_total", "result=\"miss\"", 1),
                ("saved_requests_total", "", 0),
            ],
        )
        .await;
    for (order, scope) in [
        (r#"{"bucket": "lake", "key": "a"}"#, "object"),
        (r#"{"bucket": "lake", "prefix": "a"}"#, "prefix"),
        (r#"{"bucket": "lake", "prefix": ""}"#, "bucket"),
    ] {
        let answer = script.cached.proxy.post_json("/-/purge", order).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = [
            ("cache_purges_total", scope, 1),
            ("cache_purges_total", "", 1),
        ];
        script.expect("purge", &expected).await;
    }
    script
        .cached
        .get("/lake/a")
        .await
        .expect_forwarded("uri-miss");
    let expected = [("cache_requests_total", "result=\"miss\"", 1)];
    script.expect("after the purge", &expected).await;
}

async fn what_is_asked_of_the_origin(script: &mut Script) {
    let cached = &script.cached;
    cached.put("lake/v/a", 1000);
    cached.get("/lake/v/a").await.expect(200, "");
    cached.get("/lake/v/a").await.expect_forwarded("stale");
    cached.put("lake/v/a", 2000);
    cached.get("/lake/v/a").await.expect(200, "");
    cached
        .store
        .objects
        .deny(&super::origin::Origin::key().id, "lake/v/a");
    cached.get("/lake/v/a").await.expect(403, "AccessDenied");
    cached.store.objects.allow_all();
    cached.store.objects.remove("lake/v/a");
    cached.get("/lake/v/a").await.expect(404, "NoSuchKey");
    cached.put("lake/e/a", 1000);
    cached.get("/lake/e/a").await.expect(200, "");
    cached.store.bend(|_, reply| reply.ending(End::Vanish));
    cached.get("/lake/e/a").await.expect_hit();
    cached.store.straighten();
    script
        .expect(
            "validations",
            &[
                ("cache_validations_total", "freshened", 1),
                ("cache_validations_total", "replaced", 1),
                ("cache_validations_total", "refused", 1),
                ("cache_validations_total", "gone", 1),
                ("cache_validations_total", "failed", 1),
                ("cache_requests_total", "result=\"hit_stale\"", 1),
                ("cache_requests_total", "result=\"stale\"", 4),
            ],
        )
        .await;
    script.cached.store.bend(|seen, reply| match seen.path() {
        "/lake/weak" => reply.set("ETag", "W/\"1\""),
        "/lake/endless" => reply
            .without("Content-Length")
            .header("Transfer-Encoding", "chunked"),
        _ => reply,
    });
    script.cached.put("lake/weak", 1000);
    script.cached.get("/lake/weak").await.expect(200, "");
    script.cached.store.straighten();
    script
        .expect(
            "admission",
            &[
                ("cache_admissions_refused_total", "etag", 1),
                ("cache_requests_total", "result=\"bypass\"", 1),
            ],
        )
        .await;
}

async fn what_becomes_of_fills(script: &mut Script) {
    let version = script.cached.put("lake/both", 512 * KIB);
    let gate = Gate::closed();
    let held = gate.clone();
    script
        .cached
        .store
        .bend(move |_, reply| reply.held_at(100_000, &held));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = script.cached.proxy.connect().await;
        client.send(&get("/lake/both").bytes()).await;
        client.wait_for_byte().await;
        clients.push(client);
    }
    gate.open();
    for mut client in clients {
        let answer = client.answer_to("GET").await.unwrap();
        answer.expect_whole(&version);
    }
    script.cached.store.straighten();
    script
        .expect(
            "collapsed",
            &[
                ("cache_fills_total", "started", 1),
                ("cache_fills_total", "collapsed", 2),
                ("upstream_requests_total", "GetObject", 1),
            ],
        )
        .await;
    let version = script.cached.put("lake/cut", 512 * KIB);
    script
        .cached
        .store
        .bend_next(vec![|reply| reply.ending(End::CutAfter(100_000))]);
    script.cached.get("/lake/cut").await.expect_whole(&version);
    script.cached.store.straighten();
    let expected = [
        ("cache_fills_total", "resumed", 1),
        ("cache_fills_total", "completed", 1),
    ];
    script.expect("resumed", &expected).await;
    script.cached.put("lake/broken", 3 * MIB);
    let call = ranged("/lake/broken", "bytes=0-9");
    script.cached.call(&call).await.expect(206, "");
    script.cached.store.bend(|_, _| Reply::vanish());
    let call = ranged("/lake/broken", "bytes=2000000-2000009");
    assert!(script.cached.call(&call).await.status >= 500);
    script.cached.store.straighten();
    let expected = [
        ("cache_fills_total", "failed", 1),
        ("cache_fill_errors_total", "closed", 1),
        ("cache_fill_errors_total", "", 1),
    ];
    script.expect("failed", &expected).await;
    script.cached.put("lake/left", 40 * MIB);
    script
        .cached
        .store
        .bend(|_, reply| reply.in_pieces(100_000, Duration::from_millis(20)));
    let mut leaver = script.cached.proxy.connect().await;
    leaver.send(&get("/lake/left").bytes()).await;
    leaver.read_raw(200_000).await;
    drop(leaver);
    let store = &script.cached.store;
    assert!(comes_true(|| store.origin.in_flight() == 0).await);
    store.straighten();
    let expected = [("cache_fills_total", "abandoned", 1)];
    script.expect_more("abandoned", &expected).await;
}

async fn what_the_tiers_do(script: &mut Script, dir: &std::path::Path) {
    let version = script.cached.put("lake/long", 24 * MIB);
    script.cached.get("/lake/long").await.expect_whole(&version);
    segment_files::settle(dir, 20 * MIB).await;
    let expected = [
        ("cache_evictions_total", "memory", 10),
        ("cache_evicted_bytes_total", "memory", 10 * MIB),
        ("cache_bytes", "disk", 20 * MIB),
        ("cache_entries", "disk", 5),
    ];
    script.expect_more("a full memory", &expected).await;
    script.cached.get("/lake/long").await.expect_whole(&version);
    let expected = [("cache_served_bytes_total", "disk", 10 * MIB)];
    script.expect_more("from disk", &expected).await;
    for path in segment_files::segments(dir) {
        segment_files::flip_bits(&path, 5000, 64 << 10);
    }
    script.cached.get("/lake/long").await.expect_whole(&version);
    let expected = [("cache_checksum_failures_total", "", 1)];
    script.expect_more("spoiled", &expected).await;
    for index in 0..3 {
        let path = format!("lake/more/{index}");
        let version = script.cached.put(&path, 24 * MIB);
        let answer = script.cached.get(&format!("/{path}")).await;
        answer.expect_whole(&version);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let expected = [
        ("cache_evictions_total", "disk", 4),
        ("cache_evicted_bytes_total", "disk", 16 * MIB),
    ];
    script.expect_more("a full disk", &expected).await;
    assert!(script.before.sum("s3proxy_cache_disk_state", "serving") > 0.5);
    // Read in order, piece by piece: what comes next is fetched before it is asked for.
    script.cached.put("lake/pieces", 16 * MIB);
    for index in 0..12 {
        let range = format!("bytes={}-{}", index * MIB, (index + 1) * MIB - 1);
        let call = ranged("/lake/pieces", &range);
        script.cached.call(&call).await.expect(206, "");
    }
    let expected = [("cache_prefetched_bytes_total", "", 1)];
    script.expect_more("in order", &expected).await;
    std::fs::rename(dir, dir.with_extension("elsewhere")).unwrap();
    std::fs::write(dir, "not a directory").unwrap();
    for index in 0..200 {
        script.cached.put(&format!("lake/gone/{index}"), 1000);
        script.cached.get(&format!("/lake/gone/{index}")).await;
        if script
            .cached
            .proxy
            .metric("s3proxy_cache_disk_state", "off")
            .await
            == 1
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    script.cached.put("lake/last", 1000);
    script.cached.get("/lake/last").await.expect(200, "");
    let expected = [
        ("cache_disk_errors_total", "", 1),
        ("cache_disk_writes_dropped_total", "", 1),
        ("cache_disk_state", "off", 1),
    ];
    script
        .expect_more("a directory that is gone", &expected)
        .await;
}
