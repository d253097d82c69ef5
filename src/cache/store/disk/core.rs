//! What all threads of the tier share, and the rules by which they touch it.
//!
//! A file is made, added to and deleted, and the index told of it, under the lock of its segment
//! (one of a fixed number): so the index never names a file that this process deleted. Reading takes
//! no such lock. While one is held, no other is taken.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use parking_lot::RwLock;
use rustix::io::Errno;

use super::DiskConfig;
use super::DiskCounters;
use super::DiskError;
use super::DiskState;
use super::MetaId;
use super::file::Segment;
use super::file::SegmentFile;
use super::files::OpenFiles;
use super::forgotten::Forgotten;
use super::health::Fault;
use super::health::Health;
use super::index::Index;
use super::names;
use super::root::Root;
use super::space::Freed;
use crate::cache::Blocks;
use crate::cache::Policy;
use crate::cache::Priority;
use crate::cache::SegmentId;

const LOCKS: u64 = 128;

/// Objects of at most so many bytes are kept when others go: they are read as a whole, and fetching
/// them again costs a whole round trip for few bytes.
const SMALL_OBJECT: u64 = 256 << 10;

/// What the policy decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stored {
    Segment(SegmentId),
    Meta(MetaId),
}

/// Everything but the threads.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: DiskConfig,
    pub(super) counters: Arc<DiskCounters>,
    pub(super) index: Index,
    pub(super) policy: Policy<Stored>,
    pub(super) files: OpenFiles,
    pub(super) forgotten: Forgotten,
    pub(super) freed: Mutex<Freed>,
    /// Bytes written since the space was measured.
    pub(super) unmeasured: AtomicU64,
    /// The number of the listing that runs or ran last.
    pub(super) listing: AtomicU32,
    /// Cleared when the file system cannot say whether a read would wait.
    pub(super) can_read_at_once: AtomicBool,
    root: RwLock<Arc<Root>>,
    health: Mutex<Health>,
    locks: Vec<Mutex<()>>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

/// A call that a test may let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read,
    Write,
    Delete,
}

impl Core {
    pub(super) fn open(config: DiskConfig, counters: Arc<DiskCounters>) -> Result<Self, DiskError> {
        let root = Root::open(&config.dir)?;
        let core = Self {
            index: Index::new(),
            policy: Policy::new(config.capacity.unwrap_or(u64::MAX)),
            files: OpenFiles::new(config.open_files),
            forgotten: Forgotten::new(config.writers),
            freed: Mutex::default(),
            unmeasured: AtomicU64::new(0),
            listing: AtomicU32::new(0),
            can_read_at_once: AtomicBool::new(true),
            root: RwLock::new(Arc::new(root)),
            health: Mutex::new(Health::new(config.retry_after)),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            #[cfg(test)]
            faults: super::faults::Faults::default(),
            config,
            counters,
        };
        core.counters.set_state(DiskState::Serving);
        core.counters.set_indexed(false);
        core.measure();
        Ok(core)
    }

    pub(super) fn root(&self) -> Arc<Root> {
        Arc::clone(&self.root.read())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.config.dir
    }

    pub(super) fn may_read(&self) -> bool {
        self.counters.state() != DiskState::Off
    }

    pub(super) fn may_write(&self) -> bool {
        self.counters.state() == DiskState::Serving
    }

    /// The lock of a segment, or of a meta.
    pub(super) fn lock(&self, stored: Stored) -> MutexGuard<'_, ()> {
        let id = match stored {
            Stored::Segment(segment) => *segment.version.as_bytes(),
            Stored::Meta(meta) => meta.0,
        };
        let index = match stored {
            Stored::Segment(segment) => segment.index.0,
            Stored::Meta(_) => 0,
        };
        // The id is a hash, the neighbours of a segment have neighbouring locks.
        let place = (u64::from(id[15]) + u64::from(index)) % LOCKS;
        self.locks[place as usize].lock()
    }

    /// Notes what is stored of a segment, unless it was forgotten. The caller holds its lock.
    pub(super) fn learn(&self, segment: &Segment, blocks: Blocks) {
        let id = segment.id();
        let key = Stored::Segment(id);
        let layout = segment.layout();
        let priority = if segment.version.size <= SMALL_OBJECT {
            Priority::High
        } else {
            Priority::Normal
        };
        let listing = self.listing.load(Ordering::Relaxed);
        let stored = layout.stored_bytes(blocks);
        let heat = || self.policy.insert(key, stored, priority);
        // Asked while the index is locked: whoever forgets it notes that first, and then takes it out.
        let is_wanted = || !self.forgotten.has(id);
        let all = self.index.add(id, blocks, listing, is_wanted, heat);
        if let Some(all) = all.filter(|&all| all != blocks) {
            self.policy.insert(key, layout.stored_bytes(all), priority);
        }
    }

    /// Forgets a segment whose file is gone. The caller holds its lock.
    pub(super) fn unlearn(&self, segment: SegmentId) {
        self.index.remove(segment);
        self.policy.remove(&Stored::Segment(segment));
        self.files.close(segment);
        self.show();
    }

    /// Deletes the file of a segment. False when there was none.
    pub(super) fn delete_segment(&self, segment: SegmentId) -> rustix::io::Result<bool> {
        let _lock = self.lock(Stored::Segment(segment));
        self.delete_locked(segment)
    }

    /// The same. The caller holds its lock.
    pub(super) fn delete_locked(&self, segment: SegmentId) -> rustix::io::Result<bool> {
        self.attempt(Call::Delete)?;
        let path = names::segment_path(segment, self.config.block_size);
        let deleted = self.root().delete(&path)?;
        self.unlearn(segment);
        Ok(deleted)
    }

    /// Opens a segment's file for reading, from those that are open already or by name.
    pub(super) fn open_to_read(
        &self,
        segment: &Segment,
    ) -> rustix::io::Result<Option<Arc<SegmentFile>>> {
        match self.opened(segment) {
            Some(file) => Ok(Some(file)),
            None => self.find(segment),
        }
    }

    /// A segment's file, if it is open already.
    pub(super) fn opened(&self, segment: &Segment) -> Option<Arc<SegmentFile>> {
        let open = self.files.get(segment.id());
        open.filter(|file| file.is_of(&segment.version))
    }

    /// Why the tier does not read or write at the moment.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.health.lock().fault()
    }

    /// Notes a failure of the file system; tells of it when it changes how the tier is.
    pub(super) fn failed(&self, fault: Fault, error: Option<Errno>) {
        self.counters.errors.add(1);
        if fault == Fault::NoDescriptors {
            self.files.close_all();
        }
        let mut health = self.health.lock();
        if health.failed(fault, Instant::now()) {
            self.tell(fault, &health, error);
        }
    }

    fn tell(&self, fault: Fault, health: &Health, error: Option<Errno>) {
        let state = health.state();
        self.counters.set_state(state);
        let dir = self.dir().display();
        let fault = fault.as_str();
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        log::warn!("disk cache {}, {fault}{error}; dir={dir}", state.as_str());
    }

    /// Notes a read that gave bytes before its deadline.
    pub(super) fn read_in_time(&self) {
        // Nearly always nobody holds it and there is nothing to note.
        if let Some(mut health) = self.health.try_lock()
            && health.counts_reads()
        {
            health.read();
        }
    }

    /// Tries again what failed, when its time has come or the directory was found to be gone.
    pub(super) fn try_again(&self, now: Instant) {
        let due = self.health.lock().due(now);
        let is_there = self.root().is_at(self.dir());
        let fault = if is_there { due } else { Some(Fault::Gone) };
        let Some(fault) = fault else {
            return;
        };
        if !is_there {
            self.failed(Fault::Gone, None);
        }
        let outcome = if fault == Fault::Gone {
            self.take_root_again()
        } else {
            self.probe(fault)
        };
        let mut health = self.health.lock();
        match outcome {
            Ok(()) => {
                health.recovered(now);
                self.counters.set_state(health.state());
                log::warn!(
                    "disk cache serving again after: {}; dir={}",
                    fault.as_str(),
                    self.dir().display()
                );
            }
            Err((fault, error)) => {
                if health.still(fault, now) {
                    self.tell(fault, &health, error);
                }
            }
        }
    }

    /// Opens the directory anew. What was known of it is forgotten: it may be another one.
    fn take_root_again(&self) -> Result<(), (Fault, Option<Errno>)> {
        let root = Root::open(self.dir()).map_err(|error| {
            log::debug!("disk cache: {error}");
            (Fault::Gone, None)
        })?;
        *self.root.write() = Arc::new(root);
        self.counters.set_indexed(false);
        self.files.close_all();
        self.index.clear();
        self.policy.resize(0);
        self.policy.evict_until_fits();
        self.measure();
        Ok(())
    }

    /// Writes a small file, reads it and deletes it, all within the time that a read may take.
    fn probe(&self, fault: Fault) -> Result<(), (Fault, Option<Errno>)> {
        let failed = |error: Errno| (Fault::of_write(error), Some(error));
        self.measure();
        if fault == Fault::NoSpace && !self.has_room(self.config.block_size.bytes()) {
            return Err((Fault::NoSpace, None));
        }
        let begun = Instant::now();
        self.attempt(Call::Write).map_err(failed)?;
        let root = self.root();
        let path = format!("probe-{}", std::process::id());
        root.probe(&path).map_err(failed)?;
        self.attempt(Call::Read)
            .map_err(|error| (Fault::Read, Some(error)))?;
        if begun.elapsed() > self.config.read_deadline {
            return Err((Fault::Late, None));
        }
        Ok(())
    }

    /// In tests: whether this call is to fail.
    #[cfg(test)]
    pub(super) fn attempt(&self, call: Call) -> rustix::io::Result<()> {
        self.faults.attempt(call)
    }

    #[cfg(not(test))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests let it fail"
    )]
    pub(super) fn attempt(&self, _call: Call) -> rustix::io::Result<()> {
        Ok(())
    }
}
