//! What the tier tells of itself: plain numbers that anybody may read at any time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// What the tier did so far and how it is.
#[derive(Debug, Default)]
pub struct DiskCounters {
    /// Reads that gave bytes.
    pub reads: Count,
    /// Those among them that took no thread: the bytes were in the page cache.
    pub direct_reads: Count,
    /// Bytes they gave.
    pub read_bytes: Count,
    /// Reads that gave nothing, by [`Miss`].
    pub misses: [Count; Miss::ALL.len()],
    /// Blocks and metas that were not what was written.
    pub checksum_failures: Count,
    /// Runs of blocks that were written.
    pub writes: Count,
    /// Bytes of them.
    pub written_bytes: Count,
    /// Runs of blocks that were not kept, by [`Refusal`].
    pub dropped_writes: [Count; Refusal::ALL.len()],
    /// Segments and metas evicted for space.
    pub evictions: Count,
    /// Bytes that they occupied.
    pub evicted_bytes: Count,
    /// Failures of the file system.
    pub errors: Count,
    /// Files that were not the cache's, or torn, and were deleted.
    pub deleted_strays: Count,
    /// How often the directory was listed as a whole.
    pub scans: Count,
    /// Segments that are known.
    pub segments: Count,
    /// Metas that are known.
    pub metas: Count,
    /// Bytes that the tier occupies, as far as it knows.
    pub bytes: Count,
    /// Bytes that it may occupy now.
    pub capacity: Count,
    /// Bytes that the file system has left for it.
    pub free: Count,
    /// How much of the directory the first listing has seen, in 256ths.
    pub index_progress: Count,
    indexed: AtomicBool,
    state: AtomicU8,
}

/// A number that several threads add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Why a read gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The blocks are not stored.
    Absent,
    /// They were, but the file is gone.
    Vanished,
    /// They were, but are not what was written.
    Damaged,
    /// Too many reads wait already.
    Busy,
    /// The disk took too long.
    Late,
    /// The disk failed.
    Failed,
    /// The tier is off.
    Off,
}

/// Why a write was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many bytes wait already.
    Busy,
    /// There is no space left for it.
    NoSpace,
    /// The disk failed.
    Failed,
    /// The tier does not write at the moment.
    Off,
    /// Not whole blocks of one segment, or a name too long for the header.
    Unfit,
}

/// How the tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskState {
    /// It reads and writes.
    Serving,
    /// It reads, and keeps nothing new.
    ReadOnly,
    /// It does neither.
    Off,
}

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

impl DiskCounters {
    /// How the tier is.
    pub fn state(&self) -> DiskState {
        match self.state.load(Ordering::Relaxed) {
            0 => DiskState::Serving,
            1 => DiskState::ReadOnly,
            _ => DiskState::Off,
        }
    }

    /// Whether the index is complete; before, what is not in it is looked for by name.
    pub fn is_indexed(&self) -> bool {
        self.indexed.load(Ordering::Acquire)
    }

    /// Reads that gave nothing for this reason.
    pub fn missed(&self, reason: Miss) -> u64 {
        self.misses[reason as usize].get()
    }

    /// Writes that were not kept for this reason.
    pub fn dropped(&self, reason: Refusal) -> u64 {
        self.dropped_writes[reason as usize].get()
    }

    pub(super) fn miss(&self, reason: Miss) {
        self.misses[reason as usize].add(1);
    }

    pub(super) fn drop_write(&self, reason: Refusal) {
        self.dropped_writes[reason as usize].add(1);
    }

    pub(super) fn set_indexed(&self, indexed: bool) {
        self.indexed.store(indexed, Ordering::Release);
    }

    pub(super) fn set_state(&self, state: DiskState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

impl Miss {
    /// All of them, in the order of [`DiskCounters::misses`].
    pub const ALL: [Self; 7] = [
        Self::Absent,
        Self::Vanished,
        Self::Damaged,
        Self::Busy,
        Self::Late,
        Self::Failed,
        Self::Off,
    ];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Vanished => "vanished",
            Self::Damaged => "damaged",
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Off => "off",
        }
    }
}

impl Refusal {
    /// All of them, in the order of [`DiskCounters::dropped_writes`].
    pub const ALL: [Self; 5] = [
        Self::Busy,
        Self::NoSpace,
        Self::Failed,
        Self::Off,
        Self::Unfit,
    ];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoSpace => "no_space",
            Self::Failed => "failed",
            Self::Off => "off",
            Self::Unfit => "unfit",
        }
    }
}

impl DiskState {
    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::ReadOnly => "read_only",
            Self::Off => "off",
        }
    }
}
