//! The caches, each filled with the same objects.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use pingora::http::ResponseHeader;
use pingora_cache::trace::{Span, SpanHandle};
use pingora_cache::{CacheKey, CacheMeta, MemCache, Storage};
use s3proxy::cache::{BlockIndex, BlockSize, BlockStorage, ObjectVersion, Store};

use crate::measure::version;
use crate::{OBJECT_BYTES, OBJECTS};

const MIB: usize = 1 << 20;

/// Answers hits.
#[async_trait(?Send)]
pub(crate) trait Hits {
    fn name(&self) -> &'static str;

    /// Gives the bytes of an interval of an object, piece by piece.
    async fn hit(&mut self, object: usize, interval: Range<usize>, take: &mut dyn FnMut(Bytes));
}

fn piece(object: usize, index: usize) -> Bytes {
    let bytes = (0..MIB).map(|at| ((at ^ index ^ object) % 256) as u8);
    bytes.collect()
}

fn store() -> Arc<Store> {
    // Room for all, and for what the policy keeps free.
    let memory = (OBJECTS * OBJECT_BYTES * 5 / 4) as u64;
    Arc::new(Store::new(BlockSize::DEFAULT, memory, None))
}

/// The store as the proxy reads it.
pub(crate) struct OurStore {
    store: Arc<Store>,
    versions: Vec<Arc<ObjectVersion>>,
}

impl OurStore {
    pub(crate) fn new() -> Self {
        let store = store();
        let versions: Vec<_> = (0..OBJECTS)
            .map(|number| version(&format!("k{number}"), OBJECT_BYTES))
            .collect();
        for (number, version) in versions.iter().enumerate() {
            for index in 0..OBJECT_BYTES / MIB {
                let first = BlockIndex((index * 16) as u64);
                store.admit(version, first, piece(number, index));
            }
        }
        Self { store, versions }
    }
}

#[async_trait(?Send)]
impl Hits for OurStore {
    fn name(&self) -> &'static str {
        "s3proxy"
    }

    async fn hit(&mut self, object: usize, interval: Range<usize>, take: &mut dyn FnMut(Bytes)) {
        let blocks = BlockSize::DEFAULT;
        let mut left = interval.start as u64..interval.end as u64;
        while !left.is_empty() {
            let wanted = blocks.touched_by(&left);
            let count = wanted.end.0 - wanted.start.0;
            let run = self.store.hot(&self.versions[object], wanted.start, count);
            let run = run.unwrap();
            left.start += run.len() as u64;
            take(run);
        }
    }
}

fn span() -> SpanHandle {
    Span::inactive().handle()
}

fn key(object: usize) -> CacheKey {
    CacheKey::new(format!("k{object}"), "")
}

/// Puts the objects into any storage of Pingora.
async fn fill(storage: &'static dyn Storage) {
    for object in 0..OBJECTS {
        let mut header = ResponseHeader::build(200, None).unwrap();
        header
            .insert_header("content-length", OBJECT_BYTES)
            .unwrap();
        header.insert_header("etag", "\"e\"").unwrap();
        let now = SystemTime::now();
        let meta = CacheMeta::new(now + Duration::from_hours(1), now, 0, 0, header);
        let begun = storage.get_miss_handler(&key(object), &meta, &span()).await;
        let mut write = begun.unwrap();
        for index in 0..OBJECT_BYTES / MIB {
            let piece = piece(object, index);
            write.write_body(piece, false).await.unwrap();
        }
        write.finish().await.unwrap();
    }
}

/// A hit as Pingora's proxy makes it: look-up with the meta, seek, read to the end.
async fn hit(
    storage: &'static dyn Storage,
    object: usize,
    interval: Range<usize>,
    take: &mut dyn FnMut(Bytes),
) {
    let found = storage.lookup(&key(object), &span()).await.unwrap();
    let (_meta, mut hit) = found.unwrap();
    hit.seek(interval.start, Some(interval.end)).unwrap();
    while let Some(piece) = hit.read_body().await.unwrap() {
        take(piece);
    }
}

/// The store as any program of Pingora reads it.
pub(crate) struct OurStorage(&'static BlockStorage);

impl OurStorage {
    pub(crate) async fn new() -> Self {
        let storage: &'static BlockStorage = Box::leak(Box::new(BlockStorage::new(store())));
        fill(storage).await;
        Self(storage)
    }
}

#[async_trait(?Send)]
impl Hits for OurStorage {
    fn name(&self) -> &'static str {
        "s3proxy as `Storage`"
    }

    async fn hit(&mut self, object: usize, interval: Range<usize>, take: &mut dyn FnMut(Bytes)) {
        hit(self.0, object, interval, take).await;
    }
}

/// What Pingora brings along.
pub(crate) struct PingoraMap(&'static MemCache);

impl PingoraMap {
    pub(crate) async fn new() -> Self {
        let storage: &'static MemCache = Box::leak(Box::new(MemCache::new()));
        fill(storage).await;
        Self(storage)
    }
}

#[async_trait(?Send)]
impl Hits for PingoraMap {
    fn name(&self) -> &'static str {
        "`MemCache`"
    }

    async fn hit(&mut self, object: usize, interval: Range<usize>, take: &mut dyn FnMut(Bytes)) {
        hit(self.0, object, interval, take).await;
    }
}

/// The plainest there is.
pub(crate) struct MapCopy(RwLock<HashMap<usize, Vec<u8>>>);

impl MapCopy {
    pub(crate) fn new() -> Self {
        let objects = (0..OBJECTS).map(|object| {
            let pieces = (0..OBJECT_BYTES / MIB).map(|index| piece(object, index));
            (object, pieces.collect::<Vec<_>>().concat())
        });
        Self(RwLock::new(objects.collect()))
    }
}

#[async_trait(?Send)]
impl Hits for MapCopy {
    fn name(&self) -> &'static str {
        "a map, copied"
    }

    async fn hit(&mut self, object: usize, interval: Range<usize>, take: &mut dyn FnMut(Bytes)) {
        let copy = Bytes::copy_from_slice(&self.0.read()[&object][interval]);
        take(copy);
    }
}
