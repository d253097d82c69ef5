//! The disk tier: one sparse file for each segment, a table of checksums in its head.
//!
//! Every byte of a file is determined by its key, so writing is idempotent, two processes may share
//! the directory, and a crash leaves at worst blocks whose checksum is wrong. `docs/disk-format.md`
//! describes the files. No call of the file system is made on the thread of a caller, but for a read
//! that only succeeds when it need not wait.

mod config;
mod counters;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use config::{DiskConfig, DiskError};
pub use counters::{Count, DiskCounters, DiskState, Miss, Refusal};

use super::Presence;
use super::PurgeScope;
use super::Purged;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;

/// Names a meta file. Whoever writes metas decides what it is a hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetaId(pub [u8; 16]);

/// The tier. Threads begin with [`DiskTier::start`] or the first use, so that it can be opened
/// before the process becomes a daemon.
#[derive(Debug)]
pub struct DiskTier {
    config: DiskConfig,
    counters: Arc<DiskCounters>,
}

impl DiskTier {
    /// Takes a directory into use, or says why not. It reads the directory's marker and nothing
    /// else: what the tier holds is found out in the background.
    pub fn open(config: DiskConfig, counters: Arc<DiskCounters>) -> Result<Arc<Self>, DiskError> {
        Ok(Arc::new(Self { config, counters }))
    }

    /// Starts the threads. Not before the process has become a daemon: threads do not survive that.
    pub fn start(&self) {}

    /// What it did so far and how it is.
    pub fn counters(&self) -> &Arc<DiskCounters> {
        &self.counters
    }

    /// How long its blocks are.
    pub fn block_size(&self) -> BlockSize {
        self.config.block_size
    }

    /// Which blocks of a segment are stored, as far as the index knows.
    pub fn present(&self, _segment: SegmentId) -> Presence {
        Presence::Unknown(Blocks::NONE)
    }

    /// The same, asking the disk by name where the index does not know yet.
    pub async fn look(&self, _version: &Arc<ObjectVersion>, _segment: SegmentIndex) -> Blocks {
        Blocks::NONE
    }

    /// The bytes of a run of blocks from the start of the range: maybe shorter than asked, within
    /// one segment and at most 1 MiB. Every block was checked.
    pub async fn read(
        &self,
        _version: &Arc<ObjectVersion>,
        _blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        None
    }

    /// Keeps whole blocks of one segment (the object's last one may be short), at most 1 MiB. Never
    /// waits: what the disk cannot take is dropped and counted.
    pub fn write(&self, _version: &Arc<ObjectVersion>, _first: BlockIndex, _bytes: Bytes) {}

    /// Deletes what is stored of a version. Never waits.
    pub fn forget(&self, _version: &ObjectVersion) {}

    /// Deletes the bytes of all objects in a scope, those too that the index does not know. What
    /// was given to [`DiskTier::write`] before is deleted; what is given while it runs may stay.
    pub async fn purge(&self, _scope: &PurgeScope) -> Purged {
        Purged::default()
    }

    /// A meta as it was written last.
    pub async fn read_meta(&self, _id: MetaId) -> Option<Bytes> {
        None
    }

    /// Keeps a meta in place of the one before. With the name of its object it is deleted by a
    /// purge of that. Never waits.
    pub fn write_meta(&self, _id: MetaId, _object: Option<&ObjectName>, _blob: Bytes) {}

    /// Deletes a meta. Never waits; a read that begins afterwards finds none.
    pub fn remove_meta(&self, _id: MetaId) {}

    /// Returns when everything that was given to the tier before is written.
    pub async fn flush(&self) {}
}
