//! The bytes of one stored response: an object version of its own in the store.
//!
//! Pingora promises nothing about bytes under one key, while the store takes every byte as
//! determined by its version. So each write is a version, with an ETag that was never used before.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::key::EntryId;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::SegmentIndex;
use crate::cache::Store;
use crate::s3::ETag;

/// A body of unknown length may have so many segments: as many as the disk tier deletes by name.
const OPEN_SEGMENTS: u64 = 1024;

/// Which write of a key it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WriteId(pub(super) [u8; 16]);

/// How long the store takes the object to be. It has to know before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// As the response said.
    Exact(u64),
    /// It did not say: the longest that is kept. The last block is filled up with zeros.
    Open,
}

/// The bytes of one response. Those of a condemned one are deleted when its last reader is done.
#[derive(Debug)]
pub(super) struct Body {
    store: Arc<Store>,
    pub(super) version: Arc<ObjectVersion>,
    pub(super) write: WriteId,
    pub(super) extent: Extent,
    /// How far it was written.
    written: AtomicU64,
    is_condemned: AtomicBool,
}

impl WriteId {
    /// One that was never used before: 128 bits of keyed hashes.
    pub(super) fn new() -> Self {
        let halves = [0_u8, 1].map(|half| RandomState::new().hash_one(half));
        let [high, low] = halves.map(u128::from);
        Self((high << 64 | low).to_be_bytes())
    }

    fn etag(self) -> ETag {
        let quoted = format!("\"{:032x}\"", u128::from_be_bytes(self.0));
        ETag::parse(&quoted).expect("hexadecimal digits are an ETag")
    }
}

impl Extent {
    /// The longest body.
    pub(super) fn bytes(self, block_size: BlockSize) -> u64 {
        match self {
            Self::Exact(length) => length,
            Self::Open => OPEN_SEGMENTS * block_size.segment_bytes(),
        }
    }
}

impl Body {
    pub(super) fn new(
        store: &Arc<Store>,
        entry: EntryId,
        write: WriteId,
        extent: Extent,
        written: u64,
    ) -> Self {
        let size = extent.bytes(store.block_size());
        let version = ObjectVersion::new(entry.object(), write.etag(), size);
        Self {
            store: Arc::clone(store),
            version: Arc::new(version),
            write,
            extent,
            written: AtomicU64::new(written),
            is_condemned: AtomicBool::new(false),
        }
    }

    /// Keeps a run of whole blocks; the last one of the body may be short.
    pub(super) fn admit(&self, first: BlockIndex, run: Bytes) {
        let end = self.store.block_size().start_of(first) + run.len() as u64;
        self.written.fetch_max(end, Ordering::Relaxed);
        self.store.admit(&self.version, first, run);
    }

    /// Has the bytes deleted once nobody reads them any more.
    pub(super) fn condemn(&self) {
        self.is_condemned.store(true, Ordering::Release);
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.is_condemned.load(Ordering::Acquire)
    }

    /// Whether every block of a body of this length is stored. Asks the disk by name where its index
    /// does not know yet.
    pub(super) async fn has_all(&self, length: u64) -> bool {
        let blocks = length.div_ceil(self.store.block_size().bytes());
        let mut first = 0;
        while first < blocks {
            let index = BlockIndex(first).segment();
            let next = SegmentIndex(index.0.saturating_add(1)).first_block().0;
            let wanted = Blocks::run(0..u32::try_from(blocks.min(next) - first).unwrap_or(64));
            let known = self.store.present(&self.version, index).blocks();
            if !wanted.without(known).is_empty() {
                let found = self.store.look(&self.version, index).await;
                if !wanted.without(found).is_empty() {
                    return false;
                }
            }
            first = next;
        }
        true
    }

    /// Waits until what was admitted is on disk, or dropped.
    pub(super) async fn landed(&self) {
        self.store.flush().await;
    }

    /// Bytes from the start of an interval on, from memory and without copying.
    fn hot(&self, interval: &Range<u64>) -> Option<Bytes> {
        let blocks = self.store.block_size().touched_by(interval);
        let count = blocks.end.0 - blocks.start.0;
        let run = self.store.hot(&self.version, blocks.start, count)?;
        self.cut(interval, blocks.start, &run)
    }

    /// The same from disk.
    pub(super) async fn cold(&self, interval: &Range<u64>) -> Option<Bytes> {
        let blocks = self.store.block_size().touched_by(interval);
        let first = blocks.start;
        let run = self.store.cold(&self.version, blocks).await?;
        self.cut(interval, first, &run)
    }

    /// The same from wherever they are.
    pub(super) async fn read(&self, interval: &Range<u64>) -> Option<Bytes> {
        match self.hot(interval) {
            Some(bytes) => Some(bytes),
            None => self.cold(interval).await,
        }
    }

    /// What of a run of whole blocks lies in an interval that begins in the first of them.
    fn cut(&self, interval: &Range<u64>, first: BlockIndex, run: &Bytes) -> Option<Bytes> {
        let skip = interval.start - self.store.block_size().start_of(first);
        let skip = usize::try_from(skip).ok()?;
        let wanted = usize::try_from(interval.end - interval.start).ok()?;
        let end = run.len().min(skip.saturating_add(wanted));
        (skip < end).then(|| run.slice(skip..end))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.is_condemned() {
            let written = self.written.load(Ordering::Relaxed);
            // The same segments, but none beyond what was written.
            let mut stored = ObjectVersion::clone(&self.version);
            stored.size = stored.size.min(written);
            self.store.forget(&stored);
        }
    }
}
