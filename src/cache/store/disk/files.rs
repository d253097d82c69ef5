//! The segment files that are held open: a bounded number, the ones used last.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::SegmentFile;
use crate::cache::SegmentId;

const SHARDS: usize = 16;

/// Open files by segment.
#[derive(Debug)]
pub(super) struct OpenFiles {
    shards: Vec<Mutex<HashMap<SegmentId, Arc<SegmentFile>>>>,
    hash: RandomState,
    most_in_shard: usize,
}

impl OpenFiles {
    /// For at most about so many; at least one in each shard.
    pub(super) fn new(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hash: RandomState::new(),
            most_in_shard: (most / SHARDS).max(1),
        }
    }

    /// The open file of a segment.
    pub(super) fn get(&self, segment: SegmentId) -> Option<Arc<SegmentFile>> {
        let file = self.shard(segment).lock().get(&segment).cloned()?;
        file.note_use();
        Some(file)
    }

    /// Keeps a file open, in place of one for the same segment, or of one that was not used lately.
    pub(super) fn keep(&self, segment: SegmentId, file: SegmentFile) -> Arc<SegmentFile> {
        let file = Arc::new(file);
        let mut shard = self.shard(segment).lock();
        let mut closed = None;
        if shard.len() >= self.most_in_shard && !shard.contains_key(&segment) {
            // The clock of second chances, over a few dozen files.
            let idle = shard.iter().find(|(_, file)| !file.take_used());
            let victim = idle.or_else(|| shard.iter().next()).map(|(&id, _)| id);
            closed = victim.and_then(|id| shard.remove(&id));
        }
        let replaced = shard.insert(segment, Arc::clone(&file));
        drop(shard);
        // Closing may take a while when the file was deleted: not under the lock.
        drop((closed, replaced));
        file
    }

    /// Closes the file of a segment once nobody reads it any more.
    pub(super) fn close(&self, segment: SegmentId) {
        let closed = self.shard(segment).lock().remove(&segment);
        drop(closed);
    }

    /// Closes all of them.
    pub(super) fn close_all(&self) {
        for shard in &self.shards {
            let closed = std::mem::take(&mut *shard.lock());
            drop(closed);
        }
    }

    /// Closes those that another process deleted: their space is not free before that.
    pub(super) fn close_deleted(&self) {
        for shard in &self.shards {
            let open: Vec<_> = shard
                .lock()
                .iter()
                .map(|(&id, file)| (id, Arc::clone(file)))
                .collect();
            for (id, file) in open {
                if file.is_deleted() {
                    let mut shard = shard.lock();
                    let is_same = shard.get(&id).is_some_and(|held| Arc::ptr_eq(held, &file));
                    let closed = is_same.then(|| shard.remove(&id));
                    drop(shard);
                    drop(closed);
                }
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, segment: SegmentId) -> &Mutex<HashMap<SegmentId, Arc<SegmentFile>>> {
        let place = self.hash.hash_one(segment) % SHARDS as u64;
        &self.shards[usize::try_from(place).unwrap_or_default()]
    }
}
