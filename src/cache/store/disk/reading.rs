//! Reading blocks, and finding out what there is to read.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::io::Errno;

use super::Miss;
use super::core::Call;
use super::core::Core;
use super::core::Stored;
use super::file::Found;
use super::file::Segment;
use super::file::SegmentFile;
use super::health::Fault;
use crate::cache::Blocks;

impl Core {
    /// On the caller's thread: gives the bytes if the file and its blocks are in memory, and leaves everything
    /// else to [`Core::read`].
    pub(super) fn read_at_once(&self, segment: &Segment, places: Range<u32>) -> Option<Bytes> {
        if !self.can_read_at_once.load(Ordering::Relaxed) {
            return None;
        }
        let id = segment.id();
        // What the index does not name was deleted, or is about to be.
        let known = self.index.touch(id)?;
        let run = known.run_from(places.start);
        let end = places.end.min(places.start + run);
        if end == places.start {
            return None;
        }
        let file = if let Some(file) = self.opened(segment) {
            file
        } else {
            let found = SegmentFile::find_at_once(&self.root(), segment)?;
            self.files.keep(id, found)
        };
        match file.read_at_once(places.start..end) {
            Ok(bytes) => bytes,
            Err(error) => {
                // Other errors are met again on a thread for reading.
                if matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) {
                    self.can_read_at_once.store(false, Ordering::Relaxed);
                }
                None
            }
        }
    }

    /// On a thread for reading: gives as many good blocks as stand next to each other.
    pub(super) fn read(&self, segment: &Segment, places: Range<u32>) -> Result<Bytes, Miss> {
        let id = segment.id();
        let known = self.index.touch(id);
        let is_hopeless = match known {
            Some(blocks) => !blocks.has(places.start),
            None => self.counters.is_indexed() || self.forgotten.has(id),
        };
        if is_hopeless {
            return Err(Miss::Absent);
        }
        let gone = if known.is_some() {
            Miss::Vanished
        } else {
            Miss::Absent
        };
        let failed = |error| self.read_failed(segment, &places, error);
        let file = self.open_to_read(segment).map_err(failed)?.ok_or(gone)?;
        let mut blocks = file.blocks();
        if !blocks.has(places.start) {
            blocks = file.refresh().map_err(failed)?;
        }
        if !blocks.has(places.start) {
            self.index
                .take_blocks(id, Blocks::run(places.start..places.start + 1));
            return Err(gone);
        }
        let end = places.end.min(places.start + blocks.run_from(places.start));
        let run = self
            .attempt(Call::Read)
            .and_then(|()| file.read(places.start..end))
            .map_err(failed)?;
        if let Some(place) = run.damaged {
            self.repair(segment, place);
        }
        if run.bytes.is_empty() {
            return Err(Miss::Damaged);
        }
        Ok(run.bytes)
    }

    /// Which blocks are stored, by name if the index does not know.
    pub(super) fn look(&self, segment: &Segment) -> Blocks {
        let id = segment.id();
        if let Some(blocks) = self.index.blocks(id) {
            return blocks;
        }
        if self.forgotten.has(id) {
            return Blocks::NONE;
        }
        match self.open_to_read(segment) {
            Ok(file) => file.map_or(Blocks::NONE, |file| file.blocks()),
            Err(error) => {
                self.failed(Fault::of_read(error), Some(error));
                Blocks::NONE
            }
        }
    }

    /// Opens a segment's file by name, and tells the index what was found.
    pub(super) fn find(&self, segment: &Segment) -> rustix::io::Result<Option<Arc<SegmentFile>>> {
        let id = segment.id();
        self.attempt(Call::Read)?;
        match SegmentFile::find(&self.root(), segment, false)? {
            Found::File(file) => {
                let blocks = file.blocks();
                let file = self.files.keep(id, file);
                if self.index.blocks(id).is_none() {
                    let _lock = self.lock(Stored::Segment(id));
                    if file.is_deleted() {
                        self.files.close(id);
                        return Ok(None);
                    }
                    self.learn(segment, blocks);
                }
                Ok(Some(file))
            }
            Found::Nothing => {
                self.note_missing(segment);
                Ok(None)
            }
            Found::Foreign => {
                self.counters.checksum_failures.add(1);
                self.remove_foreign(segment)?;
                Ok(None)
            }
        }
    }

    /// There is no file: if the index knows one, another process deleted it.
    fn note_missing(&self, segment: &Segment) {
        let id = segment.id();
        if self.index.blocks(id).is_some() {
            let _lock = self.lock(Stored::Segment(id));
            // A writer may have made it in between.
            let found = SegmentFile::find(&self.root(), segment, false);
            if matches!(found, Ok(Found::Nothing)) {
                self.unlearn(id);
            }
        } else if !self.counters.is_indexed() {
            self.index
                .note_absent(id, self.listing.load(Ordering::Relaxed));
        }
    }

    /// Deletes a file that is not what its name says, if it still is not.
    fn remove_foreign(&self, segment: &Segment) -> rustix::io::Result<()> {
        let id = segment.id();
        let _lock = self.lock(Stored::Segment(id));
        if let Found::Foreign = SegmentFile::find(&self.root(), segment, false)? {
            self.delete_locked(id)?;
        }
        Ok(())
    }

    /// A block is not what was written: it is taken out of the index and, if it still is not, out of
    /// the file. A file without blocks is deleted.
    fn repair(&self, segment: &Segment, place: u32) {
        let id = segment.id();
        let block = Blocks::run(place..place + 1);
        self.counters.checksum_failures.add(1);
        let _lock = self.lock(Stored::Segment(id));
        let repaired =
            SegmentFile::find(&self.root(), segment, true).and_then(|found| match found {
                Found::File(file) => {
                    let is_damaged = file.clear_if_damaged(place)?;
                    let left = file.blocks();
                    self.files.keep(id, file);
                    if is_damaged {
                        self.index.take_blocks(id, block);
                        if left.is_empty() {
                            self.delete_locked(id)?;
                        }
                    }
                    Ok(())
                }
                Found::Nothing => {
                    self.unlearn(id);
                    Ok(())
                }
                Found::Foreign => self.delete_locked(id).map(|_| ()),
            });
        if let Err(error) = repaired {
            // At least nobody reads it again.
            self.index.take_blocks(id, block);
            self.failed(Fault::of_write(error), Some(error));
        }
    }

    /// Reading failed: what could not be read is not asked for again.
    fn read_failed(&self, segment: &Segment, places: &Range<u32>, error: Errno) -> Miss {
        let fault = Fault::of_read(error);
        if fault == Fault::Read {
            self.index
                .take_blocks(segment.id(), Blocks::run(places.clone()));
            self.files.close(segment.id());
        }
        self.failed(fault, Some(error));
        Miss::Failed
    }
}
