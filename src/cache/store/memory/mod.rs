//! The memory tier: blocks as slices of buffers of up to 1 MiB.
//!
//! A stretch is an aligned mebibyte of a segment. Neighbouring blocks of a stretch share one buffer
//! as far as they came together, and a hit is a slice of it. Stretches are what is weighed and
//! evicted. Locks are held for a look-up or a change of pointers, never for a copy or a release.

mod pieces;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::cache::BLOCKS_PER_SEGMENT;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::Policy;
use crate::cache::Priority;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;
use crate::cache::VersionId;
use pieces::Found;
use pieces::Fragments;
use pieces::Pieces;

/// Blocks share a buffer within an aligned interval of this length.
pub(super) const STRETCH_BYTES: u64 = 1 << 20;

/// What a buffer takes beside its bytes: its place here, its entry in the policy and the maps.
const OVERHEAD: u64 = 384;

/// Footers lie here, at the end of an object.
const TAIL_BYTES: u64 = 128 << 10;

const SHARDS: usize = 64;

/// Blocks in memory, bounded by bytes.
#[derive(Debug)]
pub struct MemoryTier {
    block_size: BlockSize,
    /// Blocks that may share a buffer, 1 to 64.
    stretch: u32,
    shards: Box<[Shard]>,
    hasher: RandomState,
    policy: Policy<StretchId>,
    evictions: AtomicU64,
    evicted_bytes: AtomicU64,
    admissions: AtomicU64,
    joins: AtomicU64,
}

/// What a tier holds and has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// Bytes held, with what it takes to hold them.
    pub bytes: u64,
    /// Bytes that may be held.
    pub capacity: u64,
    /// Stretches held.
    pub entries: u64,
    /// Buffers taken in since the start.
    pub admissions: u64,
    /// Stretches evicted since the start.
    pub evictions: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Reads answered since the start.
    pub hits: u64,
    /// Their bytes.
    pub hit_bytes: u64,
    /// Times that many short buffers became a long one.
    pub joins: u64,
}

/// What was dropped at somebody's wish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) segments: u64,
    pub(super) bytes: u64,
}

/// On a line of its own, so that the counters of one do not slow the lock of another down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    segments: RwLock<HashMap<SegmentId, Held>>,
    hits: AtomicU64,
    hit_bytes: AtomicU64,
}

#[derive(Debug)]
struct Held {
    version: Arc<ObjectVersion>,
    pieces: Pieces,
}

/// What the policy weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StretchId {
    segment: SegmentId,
    index: u32,
}

impl MemoryTier {
    /// Holds at most so many bytes.
    pub fn new(capacity: u64, block_size: BlockSize) -> Self {
        let stretch = (STRETCH_BYTES / block_size.bytes()).clamp(1, BLOCKS_PER_SEGMENT);
        Self {
            block_size,
            stretch: stretch as u32,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            policy: Policy::new(capacity),
            evictions: AtomicU64::new(0),
            evicted_bytes: AtomicU64::new(0),
            admissions: AtomicU64::new(0),
            joins: AtomicU64::new(0),
        }
    }

    /// The bytes from the start of a block on, as far as they lie in one buffer; at most so many
    /// blocks.
    pub fn get(&self, version: &VersionId, block: BlockIndex, at_most: u64) -> Option<Bytes> {
        let segment = segment_of(version, block)?;
        let left = BLOCKS_PER_SEGMENT - u64::from(block.place());
        let at_most = at_most.min(left) as u32;
        let length = self.block_size.bytes() as usize;
        let shard = self.shard(&segment);
        let found = {
            let segments = shard.segments.read();
            let held = segments.get(&segment)?;
            held.pieces
                .find(block.place(), at_most, length, self.stretch)?
        };
        let bytes = match found {
            Found::Bytes(bytes) => bytes,
            Found::Scattered(fragments) => {
                let joined = self.join(&segment, &fragments, block.place());
                fragments.cut(&joined, block.place(), at_most, length)
            }
        };
        shard.hits.fetch_add(1, Ordering::Relaxed);
        let length = bytes.len() as u64;
        shard.hit_bytes.fetch_add(length, Ordering::Relaxed);
        Some(bytes)
    }

    /// Which blocks of a segment are held.
    pub fn present(&self, version: &VersionId, index: SegmentIndex) -> Blocks {
        let segment = SegmentId {
            version: *version,
            index,
        };
        let segments = self.shard(&segment).segments.read();
        let held = segments.get(&segment);
        held.map_or(Blocks::NONE, |held| held.pieces.blocks())
    }

    /// Takes in whole blocks of one segment; the object's last one may be short. Where there are
    /// buffers already, the union is kept.
    ///
    /// `bytes` is all of its buffer: what is a slice of a longer one keeps that alive, and would be
    /// weighed too lightly.
    pub fn put(&self, version: &Arc<ObjectVersion>, first: BlockIndex, bytes: &Bytes) {
        let Some((segment, places)) = self.places_of(version, first, bytes.len()) else {
            return;
        };
        let length = self.block_size.bytes() as usize;
        let mut start = places.start;
        while start < places.end {
            let end = places.end.min((start + 1).next_multiple_of(self.stretch));
            let missing = {
                let segments = self.shard(&segment).segments.read();
                match segments.get(&segment) {
                    Some(held) => held.pieces.missing(&(start..end)),
                    None => vec![start..end],
                }
            };
            let buffers: Vec<(Range<u32>, Bytes)> = missing
                .into_iter()
                .map(|run| {
                    let from = (run.start - places.start) as usize * length;
                    let until = (run.end - places.start) as usize * length;
                    let slice = bytes.slice(from..until.min(bytes.len()));
                    let is_all = slice.len() == bytes.len();
                    let own = if is_all {
                        slice
                    } else {
                        Bytes::copy_from_slice(&slice)
                    };
                    (run, own)
                })
                .collect();
            if !buffers.is_empty() {
                self.insert(version, segment, start / self.stretch, buffers);
            }
            start = end;
        }
        self.evict();
    }

    /// Drops a version.
    pub(super) fn remove_version(&self, version: &ObjectVersion) -> Dropped {
        let segments = version.size.div_ceil(self.block_size.segment_bytes());
        if segments > (self.policy.len() as u64).max(1024) {
            return self.remove_where(|other| other.id == version.id);
        }
        let mut dropped = Dropped::default();
        for index in 0..u32::try_from(segments).unwrap_or(u32::MAX) {
            dropped += self.remove_segment(&version.segment(SegmentIndex(index)));
        }
        dropped
    }

    /// Drops the versions that somebody picks.
    pub(super) fn remove_where(&self, mut is_meant: impl FnMut(&ObjectVersion) -> bool) -> Dropped {
        let mut dropped = Dropped::default();
        for shard in &self.shards {
            let segments: Vec<SegmentId> = {
                let segments = shard.segments.read();
                let meant = segments.iter().filter(|(_, held)| is_meant(&held.version));
                meant.map(|(segment, _)| *segment).collect()
            };
            for segment in &segments {
                dropped += self.remove_segment(segment);
            }
        }
        dropped
    }

    /// Another capacity from now on.
    pub fn resize(&self, capacity: u64) {
        self.policy.resize(capacity);
        self.evict();
    }

    /// What it holds and has counted.
    pub fn figures(&self) -> MemoryFigures {
        let sum = |counter: fn(&Shard) -> &AtomicU64| {
            let counts = self.shards.iter().map(counter);
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        MemoryFigures {
            bytes: self.policy.used(),
            capacity: self.policy.capacity(),
            entries: self.policy.len() as u64,
            admissions: self.admissions.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            evicted_bytes: self.evicted_bytes.load(Ordering::Relaxed),
            hits: sum(|shard| &shard.hits),
            hit_bytes: sum(|shard| &shard.hit_bytes),
            joins: self.joins.load(Ordering::Relaxed),
        }
    }

    /// Copies fragments into one buffer and keeps that in their place.
    fn join(&self, segment: &SegmentId, fragments: &Fragments, place: u32) -> Bytes {
        let joined = fragments.joined();
        let index = place / self.stretch;
        let released = {
            let mut segments = self.shard(segment).segments.write();
            let Some(held) = segments.get_mut(segment) else {
                return joined;
            };
            let released = held.pieces.join(fragments, joined.clone());
            self.weigh(*segment, index, held);
            released
        };
        self.joins.fetch_add(1, Ordering::Relaxed);
        drop(released);
        joined
    }

    /// Puts buffers of one stretch in.
    fn insert(
        &self,
        version: &Arc<ObjectVersion>,
        segment: SegmentId,
        index: u32,
        buffers: Vec<(Range<u32>, Bytes)>,
    ) {
        let count = buffers.len() as u64;
        let mut released = Vec::new();
        {
            let mut segments = self.shard(&segment).segments.write();
            let held = segments.entry(segment).or_insert_with(|| Held {
                version: Arc::clone(version),
                pieces: Pieces::default(),
            });
            for (places, bytes) in buffers {
                released.extend(held.pieces.insert(places, bytes));
            }
            self.weigh(segment, index, held);
        }
        self.admissions.fetch_add(count, Ordering::Relaxed);
        drop(released);
    }

    /// Tells the policy what a stretch weighs now. Under the lock of its shard, so that the policy
    /// and the shard agree.
    fn weigh(&self, segment: SegmentId, index: u32, held: &mut Held) {
        let places = self.places_in(index);
        let weight = held.pieces.weight(&places, OVERHEAD);
        let id = StretchId { segment, index };
        if weight == 0 {
            self.policy.remove(&id);
            return;
        }
        let priority = self.priority(&held.version, segment.index, index);
        let heat = self.policy.insert(id, weight, priority);
        held.pieces.share(&places, &heat);
    }

    fn evict(&self) {
        while let Some((id, _)) = self.policy.evict() {
            let places = self.places_in(id.index);
            let released = {
                let mut segments = self.shard(&id.segment).segments.write();
                let Some(held) = segments.get_mut(&id.segment) else {
                    continue;
                };
                // It may have been put in again since the policy gave it up.
                self.policy.remove(&id);
                let released = held.pieces.take(&places);
                if held.pieces.is_empty() {
                    segments.remove(&id.segment);
                }
                released
            };
            let bytes = released.iter().map(|bytes| bytes.len() as u64).sum();
            self.evictions.fetch_add(1, Ordering::Relaxed);
            self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn remove_segment(&self, segment: &SegmentId) -> Dropped {
        let removed = {
            let mut segments = self.shard(segment).segments.write();
            let Some(held) = segments.remove(segment) else {
                return Dropped::default();
            };
            for index in 0..BLOCKS_PER_SEGMENT as u32 / self.stretch {
                self.policy.remove(&StretchId {
                    segment: *segment,
                    index,
                });
            }
            held
        };
        let all = 0..BLOCKS_PER_SEGMENT as u32;
        Dropped {
            segments: 1,
            bytes: removed.pieces.weight(&all, 0),
        }
    }

    /// Where bytes lie, if they are whole blocks of one segment of the object.
    fn places_of(
        &self,
        version: &ObjectVersion,
        first: BlockIndex,
        length: usize,
    ) -> Option<(SegmentId, Range<u32>)> {
        let segment = segment_of(&version.id, first)?;
        let (block, length) = (self.block_size.bytes(), length as u64);
        let start = first.0.checked_mul(block)?;
        let end = start.checked_add(length)?;
        let blocks = length.div_ceil(block);
        let is_whole = length.is_multiple_of(block) || end == version.size;
        let is_within =
            end <= version.size && u64::from(first.place()) + blocks <= BLOCKS_PER_SEGMENT;
        let places = first.place()..first.place() + u32::try_from(blocks).ok()?;
        (is_whole && is_within && length > 0).then_some((segment, places))
    }

    /// Small objects and the ends of large ones, where footers are.
    fn priority(&self, version: &ObjectVersion, segment: SegmentIndex, index: u32) -> Priority {
        let place = u64::from(index + 1) * u64::from(self.stretch);
        let end = (segment.first_block().0 + place).saturating_mul(self.block_size.bytes());
        if end > version.size.saturating_sub(TAIL_BYTES) {
            Priority::High
        } else {
            Priority::Normal
        }
    }

    fn places_in(&self, stretch: u32) -> Range<u32> {
        stretch * self.stretch..(stretch + 1) * self.stretch
    }

    fn shard(&self, segment: &SegmentId) -> &Shard {
        let hash = self.hasher.hash_one(segment);
        &self.shards[hash as usize % SHARDS]
    }
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.segments += other.segments;
        self.bytes += other.bytes;
    }
}

/// The segment of a block. None where the numbers of segments end, so that no two share one.
fn segment_of(version: &VersionId, block: BlockIndex) -> Option<SegmentId> {
    let index = block.segment();
    (index.0 < u32::MAX).then_some(SegmentId {
        version: *version,
        index,
    })
}

#[cfg(test)]
mod tests;
