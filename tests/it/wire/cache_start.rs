//! What is on disk answers at once, however long the index of a large directory takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3proxy::cache::{
    BlockIndex, BlockSize, CachedMeta, Generations, ObjectName, Store, StoreConfig,
};
use s3proxy::s3::{Bucket, Key, ObjectMeta};

use super::cached::{CacheSetup, asks, call_keeping, get};
use super::object_origin::ObjectOrigin;
use super::objects::Version;
use super::proxy::Proxy;

/// Of each object, which is one block of one segment.
const OBJECT_BYTES: u64 = 4096;

/// Objects in the directory: as many as the environment says, 3,000 without a word.
fn segments() -> u64 {
    let said = std::env::var("S3PROXY_TEST_SEGMENTS");
    said.map_or(3_000, |text| text.parse().expect("a number of segments"))
}

fn path(number: u64) -> String {
    format!("lake/part-{number}")
}

/// What a proxy knows of an object that it has read.
fn meta(version: &Version, number: u64, generations: &Generations) -> CachedMeta {
    let key = path(number);
    let name = ObjectName {
        origin: "main".into(),
        bucket: Bucket::new("lake").unwrap(),
        key: Key::new(&key["lake/".len()..]).unwrap(),
    };
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("etag", version.etag.clone()),
        ("content-length", version.size().to_string()),
        ("last-modified", version.last_modified()),
    ] {
        fields.insert(name, HeaderValue::try_from(value).unwrap());
    }
    let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &fields, false).unwrap();
    let generation = generations.current(&name);
    CachedMeta::new(name, meta, SystemTime::now(), generation)
}

/// Fills the directory as a proxy does that has read every object.
async fn fill(dir: &Path, store: &ObjectOrigin) {
    let kept = Store::open(&StoreConfig {
        memory: 0,
        disk: Some(64 << 30),
        dir: Some(dir.to_owned()),
        block_size: BlockSize::DEFAULT,
        min_free: 0,
    })
    .unwrap();
    kept.start();
    let generations = Generations::new(1);
    for number in 0..segments() {
        let version = store.objects.put(&path(number), OBJECT_BYTES);
        let meta = meta(&version, number, &generations);
        let bytes = Bytes::from(version.content.bytes(0..OBJECT_BYTES));
        kept.admit(&meta.version, BlockIndex(0), bytes);
        kept.keep_meta(&meta).await;
        if number % 200 == 0 {
            kept.flush().await;
        }
    }
    kept.flush().await;
}

async fn expect_warm(proxy: &Proxy, store: &ObjectOrigin, number: u64) {
    let version: Arc<Version> = store.objects.current(&path(number)).unwrap();
    let answer = call_keeping(proxy, &get(&format!("/{}", path(number)))).await;
    answer.expect_hit().expect_whole(&version);
}

/// Nothing is asked of the origin, from the first moment on. How long that takes is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_directory_is_warm_at_once() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    fill(&dir, &store).await;
    asks(&store);
    let begun = Instant::now();
    let setup = CacheSetup::disk(&dir)
        .with_disk("64GiB")
        .rule("{freshness: immutable}");
    let proxy = setup.before(&store).await;
    let ready = begun.elapsed();
    expect_warm(&proxy, &store, segments() / 2).await;
    let first_hit = begun.elapsed();
    for turn in 0..100 {
        expect_warm(&proxy, &store, turn * 7919 % segments()).await;
    }
    let hits = begun.elapsed();
    while proxy.metric("s3proxy_cache_entries", "disk").await < segments() {
        assert!(begun.elapsed() < Duration::from_mins(2), "no whole index");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{} segments: ready {ready:?}, first hit {first_hit:?}, 101 hits {hits:?}, whole index {:?} after the start; \
         {} KiB resident at most",
        segments(),
        begun.elapsed(),
        proxy.peak_memory_kib()
    );
    assert!(asks(&store).iter().all(|ask| ask.target == "/"));
}
