//! Processes that die in the middle of it, and processes that share a directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::cached::{CacheSetup, MIB, asks, call_keeping, get, put, ranged};
use super::client::Client;
use super::object_origin::ObjectOrigin;
use super::objects::Version;
use super::proxy::{Proxy, everything};
use super::segment_files as spoiled;

/// How often the process is killed.
const KILLS: u64 = 20;

fn setup(dir: &std::path::Path) -> CacheSetup {
    CacheSetup::disk(dir).rule("{freshness: 1h}")
}

/// Readers at work.
#[derive(Default)]
struct Run {
    stop: AtomicBool,
    reads: AtomicU64,
}

impl Run {
    /// Waits until so many answers were read: how long that takes is the machine's affair.
    async fn reach(&self, reads: u64) {
        for _ in 0..12_000 {
            if self.reads.load(Ordering::Relaxed) >= reads {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no {reads} reads in a minute");
    }
}

/// Reads here and there until it is told to stop or the proxy is gone. What comes has to be right.
async fn read_until(
    address: std::net::SocketAddr,
    objects: Arc<Vec<(String, Arc<Version>)>>,
    mut seed: u64,
    run: Arc<Run>,
) {
    let mut client: Option<Client> = None;
    while !run.stop.load(Ordering::Relaxed) {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (path, version) = &objects[(seed >> 33) as usize % objects.len()];
        let length = ((seed >> 20) % 900_000).min(version.size() - 1) + 1;
        let first = (seed >> 8) % (version.size() - length + 1);
        if client.is_none() {
            let stream = tokio::net::TcpStream::connect(address).await;
            client = stream.ok().map(|stream| Client::over(Box::new(stream)));
        }
        let Some(open) = &mut client else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let call = ranged(
            &format!("/{path}"),
            &format!("bytes={first}-{}", first + length - 1),
        );
        open.send(&call.bytes()).await;
        match open.answer_to("GET").await {
            Some(answer) if answer.status == 206 => {
                let difference = version.content.first_difference(first, &answer.body);
                assert_eq!(difference, None, "{path} from {first}");
                let complete = u64::from(answer.is_complete);
                run.reads.fetch_add(complete, Ordering::Relaxed);
                if !answer.is_complete {
                    client = None;
                }
            }
            Some(answer) => panic!("{path}: {} {}", answer.status, answer.text()),
            None => client = None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_kill_all_bytes_are_right() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let objects: Vec<_> = (0..24)
        .map(|index| {
            let path = format!("lake/object-{index}");
            let version = store.objects.put(&path, 2 * MIB + index * 77_777);
            (path, version)
        })
        .collect();
    let objects = Arc::new(objects);
    for kill in 0..KILLS {
        let proxy = setup(&dir).before(&store).await;
        let run = Arc::new(Run::default());
        let mut readers = Vec::new();
        for reader in 0..6 {
            let reading = read_until(
                proxy.address,
                Arc::clone(&objects),
                kill * 100 + reader,
                Arc::clone(&run),
            );
            readers.push(tokio::spawn(reading));
        }
        run.reach(8).await;
        tokio::time::sleep(Duration::from_millis(kill * 37 % 400)).await;
        drop(proxy); // by SIGKILL, with fills and writes under way
        run.stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
    }
    // Everything is right, and much of it did not have to be fetched again.
    asks(&store);
    let proxy = setup(&dir).before(&store).await;
    for (path, version) in objects.iter() {
        call_keeping(&proxy, &get(&format!("/{path}")))
            .await
            .expect_whole(version);
    }
    let fetched: u64 = asks(&store).iter().map(|ask| ask.sent_bytes).sum();
    let total: u64 = objects.iter().map(|(_, version)| version.size()).sum();
    println!(
        "{} of {} MiB were fetched again",
        fetched / MIB,
        total / MIB
    );
    assert!(fetched < total / 2, "the directory was of little use");
    let failures = proxy
        .metric("s3proxy_cache_checksum_failures_total", "")
        .await;
    println!("{failures} torn blocks were found");
}

/// Old and new process of an upgrade: both read and write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let objects: Vec<_> = (0..16)
        .map(|index| {
            let path = format!("lake/object-{index}");
            let version = store.objects.put(&path, 3 * MIB + index * 99_999);
            (path, version)
        })
        .collect();
    let objects = Arc::new(objects);
    // Less than all of it, so that both evict.
    let small = |dir: &std::path::Path| {
        let setup = setup(dir).with_memory("4MiB").with_disk("32MiB");
        // Memory has room for what is on its way at least.
        setup.line("fill_memory: 8MiB")
    };
    let proxies = [
        small(&dir).before(&store).await,
        small(&dir).before(&store).await,
    ];
    let run = Arc::new(Run::default());
    let mut readers = Vec::new();
    for reader in 0..8_usize {
        let proxy = &proxies[reader % 2];
        let reading = read_until(
            proxy.address,
            Arc::clone(&objects),
            reader as u64,
            Arc::clone(&run),
        );
        readers.push(tokio::spawn(reading));
    }
    run.reach(500).await;
    run.stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    for proxy in &proxies {
        assert_eq!(
            proxy
                .metric("s3proxy_cache_checksum_failures_total", "")
                .await,
            0
        );
        let from_disk = proxy
            .metric("s3proxy_cache_served_bytes_total", "disk")
            .await;
        assert!(from_disk > 0, "nothing came from the directory");
        for (path, version) in objects.iter() {
            call_keeping(proxy, &get(&format!("/{path}")))
                .await
                .expect_whole(version);
        }
    }
}

/// What one process fetched, the next one has, while the first still runs.
#[tokio::test]
async fn a_successor_finds_what_its_predecessor_wrote() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let version = store.objects.put("lake/a", 6 * MIB);
    let old = setup(&dir).before(&store).await;
    call_keeping(&old, &get("/lake/a"))
        .await
        .expect_whole(&version);
    spoiled::settle(&dir, 6 * MIB).await;
    asks(&store);
    let new = setup(&dir).before(&store).await;
    call_keeping(&new, &get("/lake/a"))
        .await
        .expect_whole(&version);
    let fetched: u64 = asks(&store).iter().map(|ask| ask.sent_bytes).sum();
    assert_eq!(fetched, 0);
    // A write through the new one is not undone by what the old one still knows: each answers for
    // its own clients only as long as its freshness says, but bytes are never mixed.
    let body = vec![7_u8; 300 << 10];
    call_keeping(&new, &put("/lake/a", &body))
        .await
        .expect(200, "");
    let current = store.objects.current("lake/a").unwrap();
    call_keeping(&new, &get("/lake/a"))
        .await
        .expect_whole(&current);
    let answer = call_keeping(&old, &get("/lake/a")).await;
    let etag = answer.field("etag").unwrap().to_owned();
    answer.expect_whole(&store.objects.by_etag("lake/a", &etag).unwrap());
}

/// Purging deletes the bytes: killed right after it, nothing comes back.
#[tokio::test]
async fn what_was_written_over_does_not_come_back_after_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let old = store.objects.put("lake/a", MIB);
    let first = setup(&dir).before(&store).await;
    call_keeping(&first, &get("/lake/a"))
        .await
        .expect_whole(&old);
    spoiled::settle(&dir, MIB).await;
    call_keeping(&first, &put("/lake/a", b"new"))
        .await
        .expect(200, "");
    drop(first);
    let second = setup(&dir).before(&store).await;
    let answer = call_keeping(&second, &get("/lake/a")).await;
    assert_eq!(answer.body, b"new");
    let deleted = super::cached::delete("/lake/a");
    assert_eq!(call_keeping(&second, &deleted).await.status, 204);
    drop(second);
    let third: Proxy = setup(&dir).before(&store).await;
    call_keeping(&third, &get("/lake/a"))
        .await
        .expect(404, "NoSuchKey");
    let _ = everything();
}
