//! Verify mode: the origin answers, and what the cache would have said is compared with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::cached::{CacheSetup, Cached, MIB, comes_true, get, head, put, ranged};
use super::call::Call;
use super::objects::Version;
use super::proxy::everything;
use super::reply::{End, Payload};

async fn verifying() -> Cached {
    CacheSetup::memory()
        .line("mode: verify")
        .rule("{freshness: 1h}")
        .start()
        .await
}

async fn compared(cached: &Cached) -> u64 {
    let name = "s3proxy_cache_comparisons_total";
    cached.proxy.metric(name, "").await
}

async fn differences(cached: &Cached, kind: &str) -> u64 {
    let name = "s3proxy_cache_differences_total";
    cached.proxy.metric(name, kind).await
}

/// Waits until so many answers were compared.
async fn expect_compared(cached: &Cached, count: u64) {
    for _ in 0..1000 {
        if compared(cached).await >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(compared(cached).await, count);
}

/// Blocks whoever passes until it is opened, or the test has failed.
#[derive(Clone, Default)]
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        tokio::task::block_in_place(|| {
            let mut is_open = self.0.0.lock();
            let is_closed = |is_open: &mut bool| !*is_open;
            let patience = Duration::from_secs(20);
            self.0.1.wait_while_for(&mut is_open, is_closed, patience);
        });
    }
}

/// In the cache as far as can be, by one read that was compared.
async fn warm(cached: &Cached, path: &str, size: u64) -> Arc<Version> {
    let version = cached.put(path, size);
    let before = compared(cached).await;
    let answer = cached.get(&format!("/{path}")).await;
    answer.expect_whole(&version);
    expect_compared(cached, before + 1).await;
    version
}

#[tokio::test]
async fn equal_answers_are_no_difference_and_come_from_the_origin() {
    let cached = verifying().await;
    let fields = [("Content-Type", "text/csv"), ("x-amz-meta-a", "1")];
    let version = cached.store.objects.put_with("lake/a", 3 * MIB, &fields);
    cached.put("lake/b.parquet", 700_000);
    cached.put("lake/empty", 0);
    let mut count = 0;
    for _ in 0..2 {
        for path in ["/lake/a", "/lake/b.parquet", "/lake/empty", "/lake/none"] {
            let calls = [
                Call::get(path),
                Call::new("HEAD", path),
                Call::get(path).header("range", "bytes=0-9"),
                Call::get(path).header("range", "bytes=100000-600000"),
                Call::get(path).header("range", "bytes=-9"),
                Call::new("HEAD", path).header("range", "bytes=5-9"),
                Call::get(path).header("range", "bytes=99999999-"),
                Call::get(path).header("range", "bytes=0-1,4-5"),
                Call::get(path).header("if-none-match", &version.etag),
                Call::get(path).header("if-match", &version.etag),
                Call::get(path).header("x-amz-checksum-mode", "ENABLED"),
                Call::get(&format!("{path}?x-id=GetObject")),
            ];
            for call in calls {
                cached.asks();
                let answer = cached.call(&call.sign(&everything())).await;
                let status = answer.expect_forwarded("bypass").cache_status();
                assert!(status.parameters.contains(&"detail=verify".to_owned()));
                assert!(!cached.asks().is_empty(), "the origin answers");
                count += 1;
                expect_compared(&cached, count).await;
                assert_eq!(differences(&cached, "").await, 0, "{path} {count}");
            }
        }
    }
    // What is not for the cache is not compared.
    cached.get("/lake?list-type=2").await.expect(200, "");
    cached.get("/lake/a?tagging").await.expect(200, "");
    cached.call(&put("/lake/c", b"x")).await.expect(200, "");
    expect_compared(&cached, count).await;
    let saved = cached
        .proxy
        .metric("s3proxy_saved_requests_total", "")
        .await;
    assert_eq!(saved, 0, "nothing is saved by comparing");
}

#[tokio::test]
async fn each_difference_is_counted_by_its_kind() {
    let cached = verifying().await;
    for (index, kind) in ["field", "status", "length", "body"].iter().enumerate() {
        let version = warm(&cached, "lake/a", 100_000).await;
        match *kind {
            // Somebody wrote behind the proxy.
            "field" => drop(cached.put("lake/a", 100_000)),
            "status" => cached.store.objects.remove("lake/a"),
            kind => {
                let bytes = if kind == "body" { 100_000 } else { 99_999 };
                cached.store.bend(move |_, mut reply| {
                    reply.body = Payload::Bytes(vec![7; bytes]);
                    reply
                });
            }
        }
        let seen = cached.get("/lake/a").await;
        let is_forwarded = seen.body != version.content.bytes(0..100_000);
        assert!(is_forwarded, "{kind}: the origin's answer is what counts");
        expect_compared(&cached, 2 * index as u64 + 2).await;
        let found = [
            differences(&cached, "").await,
            differences(&cached, &format!("\"{kind}\"")).await,
        ];
        assert_eq!(found, [index as u64 + 1, 1], "{kind}");
        cached.store.straighten();
        let id = seen.field("x-amz-request-id").unwrap().to_owned();
        let told = format!("request {id}: the cache would have answered otherwise: ");
        let logged = comes_true(|| cached.proxy.logs().contains(&told)).await;
        assert!(logged, "{kind} is not told");
        cached.call(&put("/lake/a", b"x")).await.expect(200, "");
    }
    let logs = cached.proxy.logs();
    assert!(logs.contains("ERROR s3proxy::proxy::comparison"), "bytes");
    assert!(!logs.contains("otherwise: fields etag, last-modified; "));
}

#[tokio::test]
async fn a_cache_that_is_wrong_all_the_time_does_not_fill_the_log() {
    let cached = verifying().await;
    warm(&cached, "lake/a", 1000).await;
    cached.put("lake/a", 1000);
    for _ in 0..30 {
        cached.head("/lake/a").await;
    }
    expect_compared(&cached, 31).await;
    assert_eq!(differences(&cached, "field").await, 30);
    let lines = cached.proxy.logs().matches("answered otherwise").count();
    assert!((1..=20).contains(&lines), "{lines} lines");
}

/// The cache would have said what was true when it was asked; then came a write through the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_through_the_proxy_is_no_difference() {
    for through in [true, false] {
        let cached = verifying().await;
        warm(&cached, "lake/a", 1000).await;
        let (latch, arrived) = (Latch::default(), Arc::new(AtomicUsize::new(0)));
        let (held, count) = (latch.clone(), Arc::clone(&arrived));
        cached.store.before(move |seen| {
            if seen.method == "GET" {
                count.fetch_add(1, Ordering::SeqCst);
                held.pass();
            }
        });
        let mut reader = cached.proxy.connect().await;
        reader.send(&get("/lake/a").bytes()).await;
        assert!(comes_true(|| arrived.load(Ordering::SeqCst) > 0).await);
        if through {
            cached.call(&put("/lake/a", b"new")).await.expect(200, "");
        } else {
            cached.store.objects.put_bytes("lake/a", b"new");
        }
        latch.open();
        let answer = reader.answer_to("GET").await.unwrap();
        assert_eq!(answer.text(), "new");
        if !through {
            expect_compared(&cached, 2).await;
        }
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let found = [compared(&cached).await, differences(&cached, "").await];
        assert_eq!(found, if through { [1, 0] } else { [2, 1] });
        cached.store.straighten();
        warm(&cached, "lake/b", 1000).await;
    }
}

/// The write began before the read and ends after it: one answer shows it, the other does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_is_under_way_is_no_difference() {
    let cached = verifying().await;
    warm(&cached, "lake/a", 1000).await;
    let (write, second) = (Latch::default(), Latch::default());
    let reads = Arc::new(AtomicUsize::new(0));
    let (held_write, held_second, count) = (write.clone(), second.clone(), Arc::clone(&reads));
    cached.store.before(move |seen| match seen.method.as_str() {
        "PUT" => held_write.pass(),
        _ if count.fetch_add(1, Ordering::SeqCst) == 1 => held_second.pass(),
        _ => {}
    });
    let gate = super::reply::Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        if seen.method == "PUT" {
            reply.held(&held)
        } else {
            reply
        }
    });
    let mut writer = cached.proxy.connect().await;
    writer.send(&put("/lake/a", b"new").bytes()).await;
    assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
    let mut reader = cached.proxy.connect().await;
    reader.send(&get("/lake/a").bytes()).await;
    assert!(comes_true(|| reads.load(Ordering::SeqCst) == 2).await);
    write.open();
    let is_new = || {
        let current = cached.store.objects.current("lake/a");
        current.is_some_and(|version| version.size() == 3)
    };
    assert!(comes_true(is_new).await);
    second.open();
    reader.answer_to("GET").await.unwrap().expect(200, "");
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    writer.answer_to("PUT").await.unwrap().expect(200, "");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(differences(&cached, "").await, 0);
    assert_eq!(compared(&cached).await, 1);
}

/// Of an answer that did not end, and of an origin that fails, nothing can be said.
#[tokio::test]
async fn what_broke_off_is_not_compared() {
    let cached = verifying().await;
    let version = warm(&cached, "lake/a", 40 * MIB).await;
    let mut leaver = cached.proxy.connect().await;
    leaver.send(&get("/lake/a").bytes()).await;
    leaver.read_raw(100_000).await;
    drop(leaver);
    cached
        .store
        .bend(|_, reply| reply.ending(End::CutAfter(100_000)));
    assert!(!cached.get("/lake/a").await.is_complete);
    cached.store.bend(|_, mut reply| {
        reply.status = 500;
        reply
    });
    assert_eq!(cached.get("/lake/a").await.status, 500);
    cached.store.straighten();
    cached.proxy.wait_until_idle().await;
    let part = cached.call(&ranged("/lake/a", "bytes=0-9")).await;
    part.expect_part(&version, 0, 9);
    expect_compared(&cached, 2).await;
    cached.call(&head("/lake/a")).await.expect_head(&version);
    expect_compared(&cached, 3).await;
    assert_eq!(differences(&cached, "").await, 0);
}

/// Comparing takes hashes, not bodies: a slow client of a long object costs no memory.
#[tokio::test]
async fn long_bodies_are_compared_without_being_kept() {
    let cached = verifying().await;
    cached.put("lake/long", 300 * MIB);
    let peak = cached.proxy.peak_memory_kib();
    let mut client = cached.proxy.connect().await.keep(0);
    client.send(&get("/lake/long").bytes()).await;
    client.read_head().await.unwrap();
    // The cache's side runs ahead of the client.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut left = 300;
    while left > 0 {
        assert_eq!(client.read_raw(1 << 20).await.len(), 1 << 20, "{left} left");
        left -= 1;
    }
    drop(client);
    expect_compared(&cached, 1).await;
    assert_eq!(differences(&cached, "").await, 0);
    let grown = cached.proxy.peak_memory_kib() - peak;
    assert!(grown < (64 + 64 + 100) * 1024, "{grown} KiB more");
}
