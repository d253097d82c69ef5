//! How much memory reading takes, however much is read and however slow the clients are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::cached::{CacheSetup, Cached, MIB, get};
use super::client::Client;
use super::content::Content;

/// Readers at once; every other one is slow.
const READERS: usize = 200;

/// What may be resident besides the configured memory.
const REST_MIB: u64 = 200;

/// Bytes of each object: as many GiB as the environment says, 10 MiB without a word.
fn object_bytes() -> u64 {
    let said = std::env::var("S3PROXY_TEST_GIB");
    said.map_or(10 * MIB, |text| {
        text.parse::<u64>().expect("a number of GiB") << 30
    })
}

/// Reads the body and compares a sample of it, pausing after each piece if it is slow.
async fn read(
    mut client: Client,
    content: Arc<Content>,
    is_slow: bool,
    stop: Arc<AtomicBool>,
) -> u64 {
    let (status, _) = client.read_head().await.expect("a head");
    assert_eq!(status, 200);
    let (mut offset, size) = (0, content.size());
    while offset < size && !stop.load(Ordering::Relaxed) {
        let length = (size - offset).min(MIB);
        let bytes = client.read_raw(usize::try_from(length).unwrap()).await;
        assert_eq!(bytes.len() as u64, length, "cut at {offset}");
        assert!(
            content.matches(offset, &bytes[..64]),
            "wrong bytes at {offset}"
        );
        assert!(content.matches(offset + length - 64, &bytes[bytes.len() - 64..]));
        offset += length;
        if is_slow {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
    offset
}

async fn peak(cached: &Cached, objects: usize) -> u64 {
    let size = object_bytes();
    let versions: Vec<_> = (0..objects)
        .map(|index| cached.put(&format!("lake/{index}"), size))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let fast_left = Arc::new(AtomicU64::new(READERS as u64 / 2));
    let mut readers = Vec::new();
    for index in 0..READERS {
        let object = index % objects;
        let mut client = cached.proxy.connect().await;
        client.send(&get(&format!("/lake/{object}")).bytes()).await;
        let content = Arc::clone(&versions[object].content);
        let is_slow = index % 2 == 1;
        let (stop, left) = (Arc::clone(&stop), Arc::clone(&fast_left));
        readers.push(tokio::spawn(async move {
            let read = read(client, content, is_slow, stop).await;
            if !is_slow {
                assert_eq!(read, size);
                left.fetch_sub(1, Ordering::Relaxed);
            }
            read
        }));
    }
    let mut read = 0;
    // The fast ones get everything; the slow ones have held on for as long.
    let deadline = std::time::Instant::now() + Duration::from_mins(30);
    while fast_left.load(Ordering::Relaxed) > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the fast readers do not come to an end"
        );
        // One that failed says so, instead of being waited for.
        if let Some(index) = readers.iter().position(JoinHandle::is_finished) {
            read += readers.swap_remove(index).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        read += reader.await.unwrap();
    }
    let peak = cached.proxy.peak_memory_kib() >> 10;
    println!(
        "{objects} objects: {} MiB read, {peak} MiB resident at most",
        read / MIB
    );
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_of_one_object_stay_within_bounds() {
    let cached = CacheSetup::memory()
        .with_memory("64MiB")
        .line("fill_memory: 32MiB")
        .with(|setup| setup.limit("requests_per_client: 1000"))
        .start()
        .await;
    let peak = peak(&cached, 1).await;
    assert!(peak <= 64 + 32 + REST_MIB, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_of_two_hundred_objects_stay_within_bounds() {
    let root = tempfile::tempdir().unwrap();
    let cached = CacheSetup::disk(&root.path().join("cache"))
        .with_memory("64MiB")
        .line("fill_memory: 32MiB")
        .with(|setup| setup.limit("requests_per_client: 1000"))
        .start()
        .await;
    let peak = peak(&cached, READERS).await;
    assert!(peak <= 64 + 32 + REST_MIB, "{peak} MiB");
}

/// Metas are bounded too, by what they weigh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_do_not_fill_the_memory() {
    let cached = CacheSetup::memory()
        .line("metas: 1MiB")
        .rule("{negative: 1h}")
        .start()
        .await;
    let large = "x".repeat(1500);
    let fields = [("x-amz-meta-large", large.as_str())];
    let mut client = cached.proxy.connect().await;
    for index in 0..3000 {
        let path = format!("lake/{index}");
        if index % 2 == 0 {
            cached.store.objects.put_with(&path, 10, &fields);
        }
        let answer = client.call(&super::cached::head(&format!("/{path}"))).await;
        assert_eq!(answer.status, if index % 2 == 0 { 200 } else { 404 });
    }
    let metas = cached.proxy.metric("s3proxy_cache_metas", "").await;
    assert!(metas < 1000, "{metas} of 1 MiB");
    let peak = cached.proxy.peak_memory_kib() >> 10;
    assert!(peak < 64 + REST_MIB, "{peak} MiB");
}
