//! What was forgotten and is still on disk: nobody finds it any more.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::cache::SegmentId;
use crate::cache::VersionId;

/// The versions that each thread for writing has yet to delete.
#[derive(Debug)]
pub(super) struct Forgotten {
    /// How often, as one may be written again and forgotten again.
    by_writer: Vec<Mutex<HashMap<VersionId, u32>>>,
}

impl Forgotten {
    pub(super) fn new(writers: usize) -> Self {
        Self {
            by_writer: (0..writers.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// How many threads write.
    pub(super) fn writers(&self) -> usize {
        self.by_writer.len()
    }

    /// Which thread writes a segment, and deletes it.
    pub(super) fn writer_of(&self, segment: SegmentId) -> usize {
        let of_version = usize::from(segment.version.as_bytes()[14]);
        let of_index = usize::try_from(segment.index.0).unwrap_or_default();
        of_version.wrapping_add(of_index) % self.writers()
    }

    /// A thread is about to be told to delete a version.
    pub(super) fn add(&self, writer: usize, version: VersionId) {
        let mut versions = self.by_writer[writer].lock();
        *versions.entry(version).or_default() += 1;
    }

    /// It has done so, or never will.
    pub(super) fn done(&self, writer: usize, version: VersionId) {
        let mut versions = self.by_writer[writer].lock();
        if let Some(times) = versions.get_mut(&version) {
            *times -= 1;
            if *times == 0 {
                versions.remove(&version);
            }
        }
    }

    /// Whether a segment is about to be deleted.
    pub(super) fn has(&self, segment: SegmentId) -> bool {
        let versions = self.by_writer[self.writer_of(segment)].lock();
        versions.contains_key(&segment.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::SegmentIndex;

    #[test]
    fn each_thread_has_its_own_and_counts_them() {
        let forgotten = Forgotten::new(2);
        let version = VersionId::of(&[b"a"]);
        let segments = [0, 1].map(|index| SegmentId {
            version,
            index: SegmentIndex(index),
        });
        let [one, other] = segments.map(|segment| forgotten.writer_of(segment));
        assert_ne!(one, other);
        forgotten.add(one, version);
        forgotten.add(one, version);
        forgotten.done(one, version);
        assert_eq!(
            segments.map(|segment| forgotten.has(segment)),
            [true, false]
        );
        forgotten.done(one, version);
        forgotten.done(one, version);
        assert_eq!(
            segments.map(|segment| forgotten.has(segment)),
            [false, false]
        );
        assert_eq!(Forgotten::new(0).writers(), 1);
    }
}
