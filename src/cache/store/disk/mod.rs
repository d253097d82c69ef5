//! The disk tier: one sparse file for each segment, a table of checksums in its head.
//!
//! Every byte of a file is determined by its key, so writing is idempotent, two processes may share
//! the directory, and a crash leaves at worst blocks whose checksum is wrong. `docs/disk-format.md`
//! describes the files. No call of the file system is made on the thread of a caller, but for a read
//! that only succeeds when it need not wait.

mod config;
mod core;
mod counters;
#[cfg(test)]
mod faults;
mod file;
mod files;
mod forgotten;
mod format;
mod health;
mod index;
mod metas;
mod names;
mod queue;
mod reading;
mod root;
mod scan;
mod space;
#[cfg(test)]
mod tests;
mod threads;
mod writing;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use config::{DiskConfig, DiskError};
pub use counters::{Count, DiskCounters, DiskState, Miss, Refusal};

use self::core::Core;
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
use file::Segment;
use health::Fault;
use threads::MetaJob;
use threads::ReadJob;
use threads::Threads;

/// No read and no write is longer, unless one block is.
pub const LONGEST_RUN: u64 = 1 << 20;

/// Names a meta file. Whoever writes metas decides what it is a hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetaId(pub [u8; 16]);

/// The tier. Its threads begin with [`DiskTier::start`] or the first use, so that it can be opened
/// before the process becomes a daemon.
#[derive(Debug)]
pub struct DiskTier {
    core: Arc<Core>,
    threads: OnceLock<Threads>,
    /// One purge at a time: each goes through the whole directory.
    purging: tokio::sync::Mutex<()>,
}

impl DiskTier {
    /// Takes a directory into use, or says why not. It reads the directory's marker and nothing
    /// else: what the tier holds is found out in the background.
    pub fn open(config: DiskConfig, counters: Arc<DiskCounters>) -> Result<Arc<Self>, DiskError> {
        Ok(Arc::new(Self {
            core: Arc::new(Core::open(config, counters)?),
            threads: OnceLock::new(),
            purging: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether a directory could be taken into use, as far as that can be told without changing
    /// anything.
    pub fn check(dir: &Path) -> Result<(), DiskError> {
        root::check(dir)
    }

    /// Starts the threads, which the first use would do too. Not before the process has become a
    /// daemon: threads do not survive that.
    pub fn start(&self) {
        self.threads();
    }

    /// What it did so far and how it is.
    pub fn counters(&self) -> &Arc<DiskCounters> {
        &self.core.counters
    }

    /// Why it does not read or write at the moment; `None` when it does both.
    pub fn fault(&self) -> Option<&'static str> {
        self.core.fault().map(Fault::as_str)
    }

    /// How long its blocks are.
    pub fn block_size(&self) -> BlockSize {
        self.core.config.block_size
    }

    /// Which blocks of a segment are stored, as far as the index knows.
    pub fn present(&self, segment: SegmentId) -> Presence {
        self.threads();
        if !self.core.may_read() {
            return Presence::Known(Blocks::NONE);
        }
        match self.core.index.blocks(segment) {
            Some(blocks) => Presence::Known(blocks),
            None if self.counters().is_indexed() => Presence::Known(Blocks::NONE),
            None => Presence::Unknown(Blocks::NONE),
        }
    }

    /// The same, asking the disk by name where the index does not know yet.
    pub async fn look(&self, version: &Arc<ObjectVersion>, segment: SegmentIndex) -> Blocks {
        if let Presence::Known(blocks) = self.present(version.segment(segment)) {
            return blocks;
        }
        let (reply, answer) = oneshot::channel();
        let job = ReadJob::Look {
            segment: self.segment(version, segment),
            reply,
        };
        self.ask(job, answer).await.unwrap_or_default()
    }

    /// The bytes of a run of blocks from the start of the range: maybe shorter than asked, within
    /// one segment and at most [`LONGEST_RUN`]. Every block was checked.
    pub async fn read(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        match self.try_to_read(version, blocks).await {
            Ok(bytes) => Some(bytes),
            Err(miss) => {
                self.counters().miss(miss);
                None
            }
        }
    }

    /// The same, if that takes no waiting; a miss says nothing, and is not counted.
    pub fn read_at_once(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        let (segment, places) = self.sought(version, &blocks).ok()?;
        self.give_at_once(&segment, places)
    }

    fn give_at_once(&self, segment: &Segment, places: Range<u32>) -> Option<Bytes> {
        let bytes = self.core.read_at_once(segment, places)?;
        self.counters().direct_reads.add(1);
        self.count(&bytes);
        Some(bytes)
    }

    async fn try_to_read(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: Range<BlockIndex>,
    ) -> Result<Bytes, Miss> {
        let (segment, places) = self.sought(version, &blocks)?;
        if let Some(bytes) = self.give_at_once(&segment, places.clone()) {
            return Ok(bytes);
        }
        let (reply, answer) = oneshot::channel();
        let job = ReadJob::Blocks {
            segment,
            places,
            reply,
        };
        let bytes = self.ask(job, answer).await??;
        self.core.read_in_time();
        self.count(&bytes);
        Ok(bytes)
    }

    /// Where a run of blocks has to be looked for, unless it is known not to be there.
    fn sought(
        &self,
        version: &Arc<ObjectVersion>,
        blocks: &Range<BlockIndex>,
    ) -> Result<(Segment, Range<u32>), Miss> {
        let segment = self.segment(version, blocks.start.segment());
        let places = self.places(&segment, blocks);
        if places.is_empty() {
            return Err(Miss::Absent);
        }
        match self.present(segment.id()) {
            _ if !self.core.may_read() => Err(Miss::Off),
            Presence::Known(known) if !known.has(places.start) => Err(Miss::Absent),
            _ => Ok((segment, places)),
        }
    }

    fn count(&self, bytes: &Bytes) {
        self.counters().reads.add(1);
        self.counters().read_bytes.add(bytes.len() as u64);
    }

    /// Keeps whole blocks of one segment (the object's last one may be short), at most
    /// [`LONGEST_RUN`]. Never waits: what the disk cannot take is dropped and counted.
    pub fn write(&self, version: &Arc<ObjectVersion>, first: BlockIndex, bytes: Bytes) {
        let segment = self.segment(version, first.segment());
        let refused = if !self.core.may_write() {
            Some(Refusal::Off)
        } else if !self.fits(&segment, first.place(), &bytes) {
            Some(Refusal::Unfit)
        } else if !self.threads().write(segment, first.place(), bytes) {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(refusal) = refused {
            self.counters().drop_write(refusal);
        }
    }

    /// Deletes what is stored of a version, and what was given to [`DiskTier::write`] before. Never
    /// waits; when too much waits already, eviction has to do it.
    pub fn forget(&self, version: &ObjectVersion) {
        self.threads().forget(&Arc::new(version.clone()));
    }

    /// Deletes the bytes of all objects in a scope, those too that the index does not know. What
    /// was given to [`DiskTier::write`] before is deleted; what is given while it runs may stay.
    pub async fn purge(&self, scope: &PurgeScope) -> Purged {
        let _one = self.purging.lock().await;
        self.flush().await;
        let (core, scope) = (Arc::clone(&self.core), scope.clone());
        let (reply, answer) = oneshot::channel();
        threads::spawn("disk-purge", move || {
            let _ = reply.send(core.purge(&scope));
        });
        answer.await.unwrap_or(Purged {
            failures: 1,
            ..Purged::default()
        })
    }

    /// A meta as it was written last.
    pub async fn read_meta(&self, id: MetaId) -> Option<Bytes> {
        self.threads();
        let is_known = self.core.index.has_meta(id) || !self.counters().is_indexed();
        if !self.core.may_read() || !is_known {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.ask(ReadJob::Meta { id, reply }, answer).await.ok()?
    }

    /// Keeps a meta in place of the one before. With the name of its object it is deleted by a purge
    /// of that. False when it is not kept: the one before may still be there.
    pub async fn write_meta(&self, id: MetaId, object: Option<&ObjectName>, blob: Bytes) -> bool {
        let (reply, done) = oneshot::channel();
        let job = MetaJob::Write {
            id,
            object: object.cloned(),
            blob,
            reply,
        };
        self.threads().meta(job) && done.await.unwrap_or_default()
    }

    /// Deletes a meta. False when it may still be there.
    pub async fn remove_meta(&self, id: MetaId) -> bool {
        let (reply, done) = oneshot::channel();
        self.threads().meta(MetaJob::Remove { id, reply }) && done.await.unwrap_or_default()
    }

    /// Returns when everything that was given to the tier before is done.
    pub async fn flush(&self) {
        self.threads().flush().await;
    }

    fn threads(&self) -> &Threads {
        self.threads.get_or_init(|| Threads::start(&self.core))
    }

    fn segment(&self, version: &Arc<ObjectVersion>, index: SegmentIndex) -> Segment {
        Segment {
            version: Arc::clone(version),
            index,
            block_size: self.block_size(),
        }
    }

    /// Which places of a segment to read: no further than the segment, the object and the longest
    /// run.
    fn places(&self, segment: &Segment, blocks: &Range<BlockIndex>) -> Range<u32> {
        let first = blocks.start.place();
        let longest = (LONGEST_RUN / self.block_size().bytes()).max(1);
        let asked = blocks.end.0.saturating_sub(blocks.start.0).min(longest);
        // At most 64.
        let asked = u32::try_from(asked).unwrap_or(u32::MAX);
        first..first.saturating_add(asked).min(segment.layout().places())
    }

    /// Whether these are whole blocks of one segment.
    fn fits(&self, segment: &Segment, first: u32, bytes: &Bytes) -> bool {
        let length = bytes.len() as u64;
        let count = length.div_ceil(self.block_size().bytes());
        let longest = LONGEST_RUN.max(self.block_size().bytes());
        let Ok(count) = u32::try_from(count) else {
            return false;
        };
        let end = first.saturating_add(count);
        length > 0
            && length <= longest
            && end <= segment.layout().places()
            && segment.layout().run_length(&(first..end)) == length
    }

    /// Gives work to a thread that reads, and waits for it no longer than the deadline.
    async fn ask<T>(&self, job: ReadJob, answer: oneshot::Receiver<T>) -> Result<T, Miss> {
        if !self.threads().read(job) {
            return Err(Miss::Busy);
        }
        if let Ok(answered) = timeout(self.core.config.read_deadline, answer).await {
            answered.map_err(|_| Miss::Failed)
        } else {
            self.core.failed(Fault::Late, None);
            Err(Miss::Late)
        }
    }
}
