//! The records that are in memory, bounded by bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::key::EntryId;
use super::record::Record;
use crate::cache::Heat;
use crate::cache::Policy;
use crate::cache::Priority;

const SHARDS: usize = 16;

/// Records by the hash of their key. What is evicted here is found again on disk, if there is one.
#[derive(Debug)]
pub(super) struct Records {
    shards: Vec<RwLock<HashMap<EntryId, Held>>>,
    policy: Policy<EntryId>,
}

#[derive(Debug)]
struct Held {
    record: Arc<Record>,
    heat: Heat,
}

impl Records {
    /// For so many bytes.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            policy: Policy::new(capacity),
        }
    }

    pub(super) fn get(&self, entry: EntryId) -> Option<Arc<Record>> {
        let shard = self.shard(entry).read();
        let held = shard.get(&entry)?;
        held.heat.touch();
        Some(Arc::clone(&held.record))
    }

    /// Keeps a record, and gives the one that it replaces.
    pub(super) fn insert(&self, entry: EntryId, record: Arc<Record>) -> Option<Arc<Record>> {
        let weight = record.weight();
        let replaced = {
            let mut shard = self.shard(entry).write();
            let heat = self.policy.insert(entry, weight, Priority::Normal);
            shard.insert(entry, Held { record, heat })
        };
        while let Some((evicted, _)) = self.policy.evict() {
            let mut shard = self.shard(evicted).write();
            // It may have come back since the policy gave it up.
            let gone = (!self.policy.has(&evicted)).then(|| shard.remove(&evicted));
            drop(shard);
            drop(gone);
        }
        replaced.map(|held| held.record)
    }

    pub(super) fn remove(&self, entry: EntryId) -> Option<Arc<Record>> {
        let mut shard = self.shard(entry).write();
        self.policy.remove(&entry);
        shard.remove(&entry).map(|held| held.record)
    }

    pub(super) fn len(&self) -> usize {
        self.policy.len()
    }

    fn shard(&self, entry: EntryId) -> &RwLock<HashMap<EntryId, Held>> {
        &self.shards[entry.share(SHARDS)]
    }
}
