//! What is stored, as far as we know: which blocks of which segments, and which metas. No names.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::BuildHasher;
use std::hash::RandomState;

use parking_lot::RwLock;

use super::MetaId;
use crate::cache::Blocks;
use crate::cache::Heat;
use crate::cache::SegmentId;

const SHARDS: usize = 64;

/// Segments that were looked for by name and not found are remembered while the index is incomplete,
/// but no more than these in a shard.
const MOST_ABSENT: usize = 4096;

/// One for segments, one for metas.
#[derive(Debug)]
pub(super) struct Index {
    shards: Vec<RwLock<Shard>>,
    metas: RwLock<HashMap<MetaId, MetaEntry>>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    segments: HashMap<SegmentId, Entry>,
    absent: usize,
}

#[derive(Debug)]
struct Entry {
    blocks: Blocks,
    /// None: there is no file.
    heat: Option<Heat>,
    /// The last listing of the directory that it was seen in.
    seen: u32,
}

#[derive(Debug)]
struct MetaEntry {
    heat: Heat,
    seen: u32,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            metas: RwLock::default(),
            hash: RandomState::new(),
        }
    }

    /// The blocks of a segment; `None` when nothing is known of it.
    pub(super) fn blocks(&self, segment: SegmentId) -> Option<Blocks> {
        let shard = self.shard(segment).read();
        shard.segments.get(&segment).map(|entry| entry.blocks)
    }

    /// The same, for reading them.
    pub(super) fn touch(&self, segment: SegmentId) -> Option<Blocks> {
        let shard = self.shard(segment).read();
        let entry = shard.segments.get(&segment)?;
        if let Some(heat) = &entry.heat {
            heat.touch();
        }
        Some(entry.blocks)
    }

    /// Notes blocks that are stored, and gives all that are; `None` when they are not wanted. `heat`
    /// is asked for when the file is new.
    pub(super) fn add(
        &self,
        segment: SegmentId,
        blocks: Blocks,
        seen: u32,
        is_wanted: impl FnOnce() -> bool,
        heat: impl FnOnce() -> Heat,
    ) -> Option<Blocks> {
        let mut shard = self.shard(segment).write();
        if !is_wanted() {
            return None;
        }
        let shard = &mut *shard;
        let entry = match shard.segments.entry(segment) {
            MapEntry::Occupied(known) => {
                let known = known.into_mut();
                if known.heat.is_none() {
                    shard.absent = shard.absent.saturating_sub(1);
                }
                known
            }
            MapEntry::Vacant(free) => free.insert(Entry {
                blocks: Blocks::NONE,
                heat: None,
                seen,
            }),
        };
        entry.blocks = entry.blocks.union(blocks);
        entry.seen = seen;
        let all = entry.blocks;
        if entry.heat.is_none() {
            entry.heat = Some(heat());
        }
        Some(all)
    }

    /// Remembers that there is no file.
    pub(super) fn note_absent(&self, segment: SegmentId, seen: u32) {
        let mut shard = self.shard(segment).write();
        if shard.absent < MOST_ABSENT && !shard.segments.contains_key(&segment) {
            shard.absent += 1;
            let nothing = Entry {
                blocks: Blocks::NONE,
                heat: None,
                seen,
            };
            shard.segments.insert(segment, nothing);
        }
    }

    /// Blocks that are not there after all. Gives those that are left.
    pub(super) fn take_blocks(&self, segment: SegmentId, gone: Blocks) -> Option<Blocks> {
        let mut shard = self.shard(segment).write();
        let entry = shard.segments.get_mut(&segment)?;
        entry.blocks = entry.blocks.without(gone);
        Some(entry.blocks)
    }

    /// The file is gone.
    pub(super) fn remove(&self, segment: SegmentId) -> bool {
        let mut shard = self.shard(segment).write();
        let Some(entry) = shard.segments.remove(&segment) else {
            return false;
        };
        if entry.heat.is_none() {
            shard.absent = shard.absent.saturating_sub(1);
        }
        entry.heat.is_some()
    }

    /// Notes that a listing showed the segment. False when it is not known.
    pub(super) fn see(&self, segment: SegmentId, seen: u32) -> bool {
        let mut shard = self.shard(segment).write();
        let entry = shard.segments.get_mut(&segment);
        entry
            .filter(|entry| entry.heat.is_some())
            .is_some_and(|entry| {
                entry.seen = seen;
                true
            })
    }

    /// Segments that no listing since this one showed, or only remembered as absent.
    pub(super) fn unseen_since(&self, listing: u32) -> Vec<SegmentId> {
        let mut unseen = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.segments.retain(|_, entry| entry.heat.is_some());
            shard.absent = 0;
            let old = shard
                .segments
                .iter()
                .filter(|(_, entry)| entry.seen < listing);
            unseen.extend(old.map(|(&segment, _)| segment));
        }
        unseen
    }

    /// Whether a segment was seen by that listing or later.
    pub(super) fn is_seen_since(&self, segment: SegmentId, listing: u32) -> bool {
        let shard = self.shard(segment).read();
        let entry = shard.segments.get(&segment);
        entry.is_some_and(|entry| entry.seen >= listing)
    }

    /// The segments of all versions for which something holds.
    pub(super) fn segments_where(&self, holds: impl Fn(SegmentId) -> bool) -> Vec<SegmentId> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let files = shard
                .segments
                .iter()
                .filter(|(_, entry)| entry.heat.is_some());
            found.extend(
                files
                    .map(|(&segment, _)| segment)
                    .filter(|&segment| holds(segment)),
            );
        }
        found
    }

    /// Whether a meta is stored.
    pub(super) fn has_meta(&self, id: MetaId) -> bool {
        self.metas.read().contains_key(&id)
    }

    /// The same, for reading it.
    pub(super) fn touch_meta(&self, id: MetaId) -> bool {
        let metas = self.metas.read();
        let entry = metas.get(&id);
        entry.is_some_and(|entry| {
            entry.heat.touch();
            true
        })
    }

    /// Notes a meta that is stored.
    pub(super) fn add_meta(&self, id: MetaId, seen: u32, heat: Heat) {
        self.metas.write().insert(id, MetaEntry { heat, seen });
    }

    /// It is gone.
    pub(super) fn remove_meta(&self, id: MetaId) -> bool {
        self.metas.write().remove(&id).is_some()
    }

    /// Notes that a listing showed it. False when it is not known.
    pub(super) fn see_meta(&self, id: MetaId, seen: u32) -> bool {
        let mut metas = self.metas.write();
        metas.get_mut(&id).is_some_and(|entry| {
            entry.seen = seen;
            true
        })
    }

    /// Metas that no listing since this one showed.
    pub(super) fn metas_unseen_since(&self, listing: u32) -> Vec<MetaId> {
        let metas = self.metas.read();
        let old = metas.iter().filter(|(_, entry)| entry.seen < listing);
        old.map(|(&id, _)| id).collect()
    }

    /// Whether a meta was seen by that listing or later.
    pub(super) fn is_meta_seen_since(&self, id: MetaId, listing: u32) -> bool {
        let metas = self.metas.read();
        metas.get(&id).is_some_and(|entry| entry.seen >= listing)
    }

    /// How many metas there are.
    pub(super) fn metas(&self) -> usize {
        self.metas.read().len()
    }

    /// Any meta.
    pub(super) fn some_meta(&self) -> Option<MetaId> {
        self.metas.read().keys().next().copied()
    }

    /// Forgets everything: the directory is gone.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.write() = Shard::default();
        }
        self.metas.write().clear();
    }

    fn shard(&self, segment: SegmentId) -> &RwLock<Shard> {
        let place = self.hash.hash_one(segment) % SHARDS as u64;
        &self.shards[usize::try_from(place).unwrap_or_default()]
    }
}
