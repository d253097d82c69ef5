//! The tier as its callers see it, on real directories.

mod basics;
mod damage;
mod directory;
mod faults;
mod golden;
mod many;
mod model;
mod sharing;
mod space;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::cache::store::Presence;
use crate::s3::Bucket;
use crate::s3::ETag;
use crate::s3::Key;

/// Blocks of 16 KiB keep tests small.
pub(super) const BLOCK: u64 = 16 << 10;

/// A directory that a tier may make.
pub(super) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Small blocks, no reserve, and a deadline that a busy machine keeps.
pub(super) fn config(dir: &Path) -> DiskConfig {
    DiskConfig {
        capacity: Some(1 << 30),
        min_free_percent: 0,
        block_size: BlockSize::new(BLOCK).unwrap(),
        readers: 2,
        writers: 2,
        read_deadline: Duration::from_mins(1),
        retry_after: Duration::from_millis(50),
        tick: Duration::from_millis(20),
        ..DiskConfig::new(dir.join("cache"))
    }
}

pub(super) fn open(config: DiskConfig) -> Arc<DiskTier> {
    DiskTier::open(config, Arc::default()).unwrap()
}

/// One that has listed its directory.
pub(super) async fn open_indexed(config: DiskConfig) -> Arc<DiskTier> {
    let tier = open(config);
    tier.start();
    until("it is indexed", || tier.counters().is_indexed()).await;
    tier
}

pub(super) fn object(key: &str) -> ObjectName {
    ObjectName {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
        key: Key::new(key).unwrap(),
    }
}

pub(super) fn version(key: &str, etag: &str, size: u64) -> Arc<ObjectVersion> {
    let etag = ETag::parse(&format!("\"{etag}\"")).unwrap();
    Arc::new(ObjectVersion::new(object(key), etag, size))
}

/// The bytes of an interval of a version: they tell the version and the place.
pub(super) fn content(version: &ObjectVersion, interval: Range<u64>) -> Bytes {
    let seed = xxhash_rust::xxh3::xxh3_64(version.id.as_bytes());
    let word = |index: u64| seed.wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = interval.start / 8..interval.end.div_ceil(8);
    let bytes: Vec<u8> = words.flat_map(|index| word(index).to_le_bytes()).collect();
    let skip = usize::try_from(interval.start % 8).unwrap();
    let length = usize::try_from(interval.end - interval.start).unwrap();
    Bytes::from(bytes).slice(skip..skip + length)
}

/// The bytes of a run of blocks.
pub(super) fn blocks_of(version: &ObjectVersion, blocks: Range<u64>) -> Bytes {
    let size = BlockSize::new(BLOCK).unwrap();
    let blocks = BlockIndex(blocks.start)..BlockIndex(blocks.end);
    content(version, size.interval_of(&blocks, version.size))
}

/// Gives a run of blocks to the tier.
pub(super) fn write(tier: &DiskTier, version: &Arc<ObjectVersion>, blocks: Range<u64>) {
    let bytes = blocks_of(version, blocks.clone());
    tier.write(version, BlockIndex(blocks.start), bytes);
}

/// Reads a run of blocks, and fails if a byte is wrong. Gives how many blocks came.
pub(super) async fn read(tier: &DiskTier, version: &Arc<ObjectVersion>, blocks: Range<u64>) -> u64 {
    let asked = BlockIndex(blocks.start)..BlockIndex(blocks.end);
    let Some(bytes) = tier.read(version, asked).await else {
        return 0;
    };
    let count = (bytes.len() as u64).div_ceil(BLOCK);
    assert!(count > 0 && blocks.start + count <= blocks.end);
    let wanted = blocks_of(version, blocks.start..blocks.start + count);
    assert!(bytes == wanted, "wrong bytes of {version:?} {blocks:?}");
    count
}

/// Waits until something holds, for a minute at most.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All files below a directory, with their paths.
pub(super) fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return files;
    };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}
