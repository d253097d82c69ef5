//! Whether the disk can be used: what its failures switch off, for how long, and when to try again.
//!
//! Values only; the time is an argument.

use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;

use super::DiskState;

/// The pause between two attempts does not grow beyond this.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A disk that held out so long begins with the shortest pause again.
const STABLE_AFTER: Duration = Duration::from_mins(1);

/// So many failed reads one after the other are the disk's fault, not one file's.
const FAILED_READS: u32 = 4;

/// So many late reads one after the other are a disk that hangs, not one that is busy: as many as
/// there are readers by default.
const LATE_READS: u32 = 8;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No space, no inodes, or a quota.
    NoSpace,
    /// The file system or the directory cannot be written to.
    NotWritable,
    /// The process has no file descriptors left.
    NoDescriptors,
    /// Writing fails.
    Write,
    /// Reading fails.
    Read,
    /// Reads do not come back.
    Late,
    /// The directory is gone, or is not the cache's any more.
    Gone,
}

/// How the disk is, and since when.
#[derive(Debug)]
pub(super) struct Health {
    fault: Option<Fault>,
    first_pause: Duration,
    pause: Duration,
    since: Option<Instant>,
    retry_at: Option<Instant>,
    failed_reads: u32,
    late_reads: u32,
}

impl Health {
    pub(super) fn new(first_pause: Duration) -> Self {
        Self {
            fault: None,
            first_pause,
            pause: first_pause,
            since: None,
            retry_at: None,
            failed_reads: 0,
            late_reads: 0,
        }
    }

    pub(super) fn state(&self) -> DiskState {
        self.fault.map_or(DiskState::Serving, Fault::state)
    }

    /// What went wrong and has not been put right.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Notes a failure. True when it changes what is known: somebody should be told.
    pub(super) fn failed(&mut self, fault: Fault, now: Instant) -> bool {
        let is_enough = match fault {
            Fault::Read => {
                self.failed_reads += 1;
                self.failed_reads >= FAILED_READS
            }
            Fault::Late => {
                self.late_reads += 1;
                self.late_reads >= LATE_READS
            }
            _ => true,
        };
        // A lesser failure says nothing new while a greater one is known.
        let is_greater = self
            .fault
            .is_none_or(|known| fault.state() as u8 > known.state() as u8);
        let is_change = is_enough && is_greater;
        if is_change {
            let was_stable = self
                .since
                .is_none_or(|since| now.saturating_duration_since(since) >= STABLE_AFTER);
            if was_stable && self.fault.is_none() {
                self.pause = self.first_pause;
            }
            self.fault = Some(fault);
            self.since = Some(now);
            self.retry_at = now.checked_add(self.pause);
        }
        is_change
    }

    /// Notes a read that gave bytes in time.
    pub(super) fn read(&mut self) {
        self.failed_reads = 0;
        self.late_reads = 0;
    }

    /// Whether a read that went well is worth a note.
    pub(super) fn counts_reads(&self) -> bool {
        self.failed_reads > 0 || self.late_reads > 0
    }

    /// What has to be tried again now.
    pub(super) fn due(&self, now: Instant) -> Option<Fault> {
        self.fault
            .filter(|_| self.retry_at.is_some_and(|retry_at| now >= retry_at))
    }

    /// The attempt went well: whatever it was, it is over.
    pub(super) fn recovered(&mut self, now: Instant) {
        self.fault = None;
        self.since = Some(now);
        self.retry_at = None;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.read();
    }

    /// The attempt failed: the next one comes later. True when it failed in another way than before.
    pub(super) fn still(&mut self, fault: Fault, now: Instant) -> bool {
        let is_other = self.fault != Some(fault);
        self.fault = Some(fault);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.retry_at = now.checked_add(self.pause);
        is_other
    }
}

impl Fault {
    /// What a failed write says about the disk.
    pub(super) fn of_write(error: Errno) -> Self {
        match error {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace,
            Errno::ROFS | Errno::ACCESS | Errno::PERM => Self::NotWritable,
            Errno::MFILE | Errno::NFILE => Self::NoDescriptors,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => Self::Gone,
            _ => Self::Write,
        }
    }

    /// What a failed read says about the disk.
    pub(super) fn of_read(error: Errno) -> Self {
        match error {
            Errno::MFILE | Errno::NFILE => Self::NoDescriptors,
            Errno::NOTDIR | Errno::STALE => Self::Gone,
            _ => Self::Read,
        }
    }

    fn state(self) -> DiskState {
        match self {
            Self::NoSpace | Self::NotWritable | Self::NoDescriptors | Self::Write => {
                DiskState::ReadOnly
            }
            Self::Read | Self::Late | Self::Gone => DiskState::Off,
        }
    }

    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "no space left",
            Self::NotWritable => "not writable",
            Self::NoDescriptors => "no file descriptors left",
            Self::Write => "writing fails",
            Self::Read => "reading fails",
            Self::Late => "reads do not come back",
            Self::Gone => "the directory is gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[test]
    fn a_full_disk_is_read_and_tried_again_ever_later() {
        let start = Instant::now();
        let mut health = Health::new(PAUSE);
        assert!(health.failed(Fault::NoSpace, start));
        assert!(!health.failed(Fault::NoSpace, start), "told once");
        assert_eq!(health.state(), DiskState::ReadOnly);
        assert_eq!(health.due(start), None);
        assert_eq!(health.due(start + PAUSE), Some(Fault::NoSpace));
        let now = start + PAUSE;
        assert!(!health.still(Fault::NoSpace, now));
        assert_eq!(health.due(now + PAUSE), None);
        assert!(health.due(now + 2 * PAUSE).is_some());
        for _ in 0..20 {
            health.still(Fault::NoSpace, now);
        }
        assert!(health.due(now + LONGEST_PAUSE).is_some());
        health.recovered(now);
        assert_eq!(health.state(), DiskState::Serving);
        // Failing again at once is no new beginning.
        assert!(health.failed(Fault::NoSpace, now + PAUSE));
        assert_eq!(health.due(now + 10 * PAUSE), None);
        health.recovered(now);
        let later = now + STABLE_AFTER;
        assert!(health.failed(Fault::NoSpace, later));
        assert!(health.due(later + PAUSE).is_some());
    }

    #[test]
    fn one_bad_sector_is_not_a_bad_disk() {
        let now = Instant::now();
        let mut health = Health::new(PAUSE);
        for _ in 0..10 {
            for _ in 1..FAILED_READS {
                assert!(!health.failed(Fault::Read, now));
            }
            health.read();
        }
        assert_eq!(health.state(), DiskState::Serving);
        for _ in 1..FAILED_READS {
            health.failed(Fault::Read, now);
        }
        assert!(health.failed(Fault::Read, now));
        assert_eq!(health.state(), DiskState::Off);
    }

    #[test]
    fn a_greater_failure_replaces_a_lesser_one() {
        let now = Instant::now();
        let mut health = Health::new(PAUSE);
        assert!(health.failed(Fault::Write, now));
        assert!(health.failed(Fault::Gone, now));
        assert!(!health.failed(Fault::NoSpace, now));
        assert_eq!(health.state(), DiskState::Off);
    }

    #[test]
    fn errors_are_told_apart() {
        for (error, fault) in [
            (Errno::NOSPC, Fault::NoSpace),
            (Errno::DQUOT, Fault::NoSpace),
            (Errno::ROFS, Fault::NotWritable),
            (Errno::ACCESS, Fault::NotWritable),
            (Errno::MFILE, Fault::NoDescriptors),
            (Errno::NOENT, Fault::Gone),
            (Errno::IO, Fault::Write),
        ] {
            assert_eq!(Fault::of_write(error), fault);
        }
        assert_eq!(Fault::of_read(Errno::IO), Fault::Read);
    }
}
