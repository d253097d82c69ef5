//! The two tiers as one store.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Presence;
use super::PurgeScope;
use super::Purged;
use super::disk::DiskConfig;
use super::disk::DiskCounters;
use super::disk::DiskError;
use super::disk::DiskTier;
use super::memory::MemoryFigures;
use super::memory::MemoryTier;
use super::memory::STRETCH_BYTES;
use super::metas;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::CachedMeta;
use crate::cache::Generation;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::SegmentIndex;
use crate::cache::StoreConfig;

/// Blocks of object versions, in memory, on disk, or both. What memory has, disk has or is about to
/// have, as far as there is room.
#[derive(Debug)]
pub struct Store {
    block_size: BlockSize,
    memory: Option<MemoryTier>,
    disk: Option<Arc<DiskTier>>,
    promotions: AtomicU64,
}

impl Store {
    /// With these tiers. No memory is a capacity of 0.
    pub fn new(block_size: BlockSize, memory: u64, disk: Option<Arc<DiskTier>>) -> Self {
        Self {
            block_size,
            memory: (memory > 0).then(|| MemoryTier::new(memory, block_size)),
            disk,
            promotions: AtomicU64::new(0),
        }
    }

    /// As configured. Fails when the directory cannot be taken into use; whether to go on without is
    /// the caller's to decide.
    pub fn open(config: &StoreConfig) -> Result<Self, DiskError> {
        let disk = match &config.dir {
            Some(dir) if config.disk != Some(0) => {
                let disk = DiskConfig {
                    capacity: config.disk,
                    min_free_percent: config.min_free,
                    block_size: config.block_size,
                    ..DiskConfig::new(dir)
                };
                Some(DiskTier::open(disk, Arc::new(DiskCounters::default()))?)
            }
            _ => None,
        };
        Ok(Self::new(config.block_size, config.memory, disk))
    }

    /// Starts the threads of the disk tier. Not before the process has become a daemon.
    pub fn start(&self) {
        if let Some(disk) = &self.disk {
            disk.start();
        }
    }

    /// Whether nothing can be kept.
    pub fn is_off(&self) -> bool {
        self.memory.is_none() && self.disk.is_none()
    }

    /// The unit of presence.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Bytes that memory may hold.
    pub fn memory_capacity(&self) -> u64 {
        self.memory().capacity
    }

    /// The bytes from the start of a block on, without waiting: those that lie in one buffer in
    /// memory, at most so many blocks.
    pub fn hot(&self, version: &ObjectVersion, block: BlockIndex, at_most: u64) -> Option<Bytes> {
        self.memory.as_ref()?.get(&version.id, block, at_most)
    }

    /// The bytes of a run of blocks from the start of the range, from disk: maybe shorter than
    /// asked, within one segment and at most 1 MiB. Memory keeps them.
    pub async fn cold(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        let disk = self.disk.as_ref()?;
        let first = blocks.start;
        let run = first..self.end_in_stretch(&blocks);
        let bytes = disk.read(version, run).await?;
        self.promote(version, first, &bytes);
        Some(bytes)
    }

    /// All of a run of blocks from disk, if that takes no waiting and one read.
    pub fn cold_at_once(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        let disk = self.disk.as_ref()?;
        let first = blocks.start;
        if self.end_in_stretch(&blocks) < blocks.end {
            return None;
        }
        let bytes = disk.read_at_once(version, blocks)?;
        self.promote(version, first, &bytes);
        Some(bytes)
    }

    /// What was read from disk is kept in memory.
    fn promote(&self, version: &Arc<ObjectVersion>, first: BlockIndex, bytes: &Bytes) {
        if let Some(memory) = &self.memory {
            memory.put(version, first, bytes);
            self.promotions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which blocks of a segment are kept, as far as it is known without waiting.
    pub fn present(&self, version: &ObjectVersion, segment: SegmentIndex) -> Presence {
        let hot = self.hot_blocks(version, segment);
        match &self.disk {
            None => Presence::Known(hot),
            Some(disk) => match disk.present(version.segment(segment)) {
                Presence::Known(cold) => Presence::Known(hot.union(cold)),
                Presence::Unknown(cold) => Presence::Unknown(hot.union(cold)),
            },
        }
    }

    /// The same, asking the disk by name where that is not known.
    pub async fn look(&self, version: &Arc<ObjectVersion>, segment: SegmentIndex) -> Blocks {
        let cold = match &self.disk {
            Some(disk) => disk.look(version, segment).await,
            None => Blocks::NONE,
        };
        self.hot_blocks(version, segment).union(cold)
    }

    /// Which blocks of a segment memory has, and which the disk has.
    pub async fn by_tier(
        &self,
        version: &Arc<ObjectVersion>,
        segment: SegmentIndex,
    ) -> (Blocks, Blocks) {
        let cold = match &self.disk {
            Some(disk) => match disk.present(version.segment(segment)) {
                Presence::Known(cold) => cold,
                Presence::Unknown(_) => disk.look(version, segment).await,
            },
            None => Blocks::NONE,
        };
        (self.hot_blocks(version, segment), cold)
    }

    /// Keeps whole blocks (the object's last one may be short) that lie within one segment and are
    /// at most 1 MiB together. Never waits. `bytes` is all of its buffer, not a slice of a longer
    /// one.
    pub fn admit(&self, version: &Arc<ObjectVersion>, first: BlockIndex, bytes: Bytes) {
        if let Some(memory) = &self.memory {
            memory.put(version, first, &bytes);
        }
        if let Some(disk) = &self.disk {
            disk.write(version, first, bytes);
        }
    }

    /// Keeps on disk what was learned of an object, in place of what was learned before.
    pub async fn keep_meta(&self, meta: &CachedMeta) {
        if let Some(disk) = &self.disk {
            let object = &meta.version.object;
            let id = metas::id_of(object);
            disk.write_meta(id, Some(object), metas::encode(meta)).await;
        }
    }

    /// What was learned of an object before the process began. The object is in this generation.
    pub async fn recall_meta(
        &self,
        object: &ObjectName,
        generation: Generation,
    ) -> Option<CachedMeta> {
        let disk = self.disk.as_ref()?;
        let bytes = disk.read_meta(metas::id_of(object)).await?;
        metas::decode(&bytes, object.clone(), generation)
    }

    /// Deletes what was kept of an object.
    pub async fn drop_meta(&self, object: &ObjectName) {
        if let Some(disk) = &self.disk {
            disk.remove_meta(metas::id_of(object)).await;
        }
    }

    /// Drops a version from both tiers.
    pub fn forget(&self, version: &ObjectVersion) {
        if let Some(memory) = &self.memory {
            memory.remove_version(version);
        }
        if let Some(disk) = &self.disk {
            disk.forget(version);
        }
    }

    /// Deletes all versions of the objects in a scope. What is admitted while it runs may stay.
    pub async fn purge(&self, scope: &PurgeScope) -> Purged {
        // Disk first: what is read from it meanwhile goes to memory, and goes from there afterwards.
        let cold = match &self.disk {
            Some(disk) => disk.purge(scope).await,
            None => Purged::default(),
        };
        let hot = self.purge_memory(scope);
        // The tiers hold the same, so the larger figure is nearer to the union than the sum.
        Purged {
            objects: cold.objects.max(hot.objects),
            segments: cold.segments.max(hot.segments),
            bytes: cold.bytes.max(hot.bytes),
            failures: cold.failures,
        }
    }

    /// What memory holds and has counted.
    pub fn memory(&self) -> MemoryFigures {
        let memory = self.memory.as_ref();
        memory.map(MemoryTier::figures).unwrap_or_default()
    }

    /// The disk tier, where there is one.
    pub fn disk(&self) -> Option<&Arc<DiskTier>> {
        self.disk.as_ref()
    }

    /// Runs of blocks that went from disk to memory since the start.
    pub fn promotions(&self) -> u64 {
        self.promotions.load(Ordering::Relaxed)
    }

    /// Returns when everything that was admitted before is on disk, or dropped.
    pub async fn flush(&self) {
        if let Some(disk) = &self.disk {
            disk.flush().await;
        }
    }

    fn hot_blocks(&self, version: &ObjectVersion, segment: SegmentIndex) -> Blocks {
        let memory = self.memory.as_ref();
        memory.map_or(Blocks::NONE, |memory| memory.present(&version.id, segment))
    }

    fn purge_memory(&self, scope: &PurgeScope) -> Purged {
        let Some(memory) = &self.memory else {
            return Purged::default();
        };
        let mut objects = std::collections::HashSet::new();
        let dropped = memory.remove_where(|version| {
            let is_meant = scope.covers(&version.object);
            if is_meant {
                objects.insert(version.object.clone());
            }
            is_meant
        });
        Purged {
            objects: objects.len() as u64,
            segments: dropped.segments,
            bytes: dropped.bytes,
            failures: 0,
        }
    }

    /// Where a run ends that shall lie in one buffer.
    fn end_in_stretch(&self, blocks: &Range<BlockIndex>) -> BlockIndex {
        let stretch = STRETCH_BYTES / self.block_size.bytes();
        let end = (blocks.start.0 / stretch + 1).saturating_mul(stretch);
        BlockIndex(blocks.end.0.min(end))
    }
}
