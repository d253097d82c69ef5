//! The storage as Pingora sees it.

mod changes;
mod evicting;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora_cache::CacheKey;
use pingora_cache::CacheMeta;
use pingora_cache::Storage;
use pingora_cache::storage::HitHandler;
use pingora_cache::storage::MissFinishType;
use pingora_cache::storage::MissHandler;
use pingora_cache::trace::Span;
use pingora_cache::trace::SpanHandle;

use super::*;
use crate::cache::store::disk::DiskConfig;
use crate::cache::store::disk::DiskTier;

pub(super) const MIB: usize = 1 << 20;

/// Small, so that short bodies have several blocks.
pub(super) const BLOCK: usize = 16 << 10;

pub(super) fn block_size() -> BlockSize {
    BlockSize::new(BLOCK as u64).unwrap()
}

pub(super) fn disk(dir: &Path) -> Arc<DiskTier> {
    let config = DiskConfig {
        capacity: Some(1 << 30),
        min_free_percent: 0,
        block_size: block_size(),
        readers: 1,
        writers: 1,
        read_deadline: Duration::from_mins(1),
        tick: Duration::from_millis(20),
        ..DiskConfig::new(dir.join("cache"))
    };
    DiskTier::open(config, Arc::default()).unwrap()
}

/// Over these tiers; leaked, as every storage of Pingora is.
pub(super) fn storage(memory: usize, dir: Option<&Path>) -> &'static BlockStorage {
    let store = Store::new(block_size(), memory as u64, dir.map(disk));
    Box::leak(Box::new(BlockStorage::new(Arc::new(store))))
}

pub(super) fn span() -> SpanHandle {
    Span::inactive().handle()
}

pub(super) fn key(name: &str) -> CacheKey {
    CacheKey::new(name, "")
}

/// Of a response that is fresh for an hour.
pub(super) fn meta(tag: &str, length: Option<usize>) -> CacheMeta {
    let mut header = ResponseHeader::build(200, None).unwrap();
    header.insert_header("x-tag", tag).unwrap();
    if let Some(length) = length {
        let length = length.to_string();
        header.insert_header("content-length", length).unwrap();
    }
    let now = SystemTime::now();
    CacheMeta::new(now + Duration::from_hours(1), now, 0, 0, header)
}

/// Bytes that tell their place.
pub(super) fn body(seed: u8, length: usize) -> Bytes {
    let period = 65_521;
    let byte = |at: usize| u8::try_from(((at % period) ^ (at / period)) % 256).unwrap();
    (0..length).map(|at| byte(at) ^ seed).collect()
}

pub(super) async fn begin(
    storage: &'static BlockStorage,
    name: &str,
    meta: &CacheMeta,
) -> MissHandler {
    let begun = storage.get_miss_handler(&key(name), meta, &span()).await;
    begun.unwrap()
}

pub(super) async fn finish(write: MissHandler) -> usize {
    match write.finish().await.unwrap() {
        MissFinishType::Created(weight) => weight,
        MissFinishType::Appended(..) => panic!("nothing is appended to"),
    }
}

/// Writes a whole response, in pieces as a connection gives them. Gives its weight.
pub(super) async fn fill(
    storage: &'static BlockStorage,
    name: &str,
    tag: &str,
    bytes: &Bytes,
) -> usize {
    let mut write = begin(storage, name, &meta(tag, Some(bytes.len()))).await;
    for piece in bytes.chunks(60_000) {
        let piece = bytes.slice_ref(piece);
        write.write_body(piece, false).await.unwrap();
    }
    finish(write).await
}

pub(super) async fn lookup(
    storage: &'static BlockStorage,
    name: &str,
) -> Option<(CacheMeta, HitHandler)> {
    storage.lookup(&key(name), &span()).await.unwrap()
}

/// Everything from where the hit stands to its end.
pub(super) async fn drain(hit: &mut HitHandler) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = hit.read_body().await? {
        assert!(!bytes.is_empty(), "an empty piece would end the answer");
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// A response's tag and body, if it is found.
pub(super) async fn read(storage: &'static BlockStorage, name: &str) -> Option<(String, Vec<u8>)> {
    let (meta, mut hit) = lookup(storage, name).await?;
    let tag = meta.headers()["x-tag"].to_str().unwrap().to_owned();
    Some((tag, drain(&mut hit).await.unwrap()))
}

pub(super) async fn tag_of(storage: &'static BlockStorage, name: &str) -> Option<String> {
    read(storage, name).await.map(|(tag, _)| tag)
}

pub(super) fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// The files below one of the tier's directories.
pub(super) fn kept(dir: &Path, what: &str) -> Vec<std::path::PathBuf> {
    files(&dir.join("cache/v1").join(what))
}
