//! Writing blocks, and deleting what nobody wants any more.

use std::sync::Arc;

use rustix::io::Errno;

use super::Refusal;
use super::core::Call;
use super::core::Core;
use super::core::Stored;
use super::file::Segment;
use super::file::SegmentFile;
use super::format::HEAD_BYTES;
use super::health::Fault;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;

/// The segments of a version with no more of them are deleted by name, also those that the index
/// does not know.
const FEW_SEGMENTS: u64 = 1024;

impl Core {
    /// On a thread for writing: keeps whole blocks from a place on.
    pub(super) fn write(&self, segment: &Segment, first: u32, bytes: &[u8]) {
        let length = bytes.len() as u64;
        match self.try_to_write(segment, first, bytes) {
            Ok(true) => {
                self.counters.writes.add(1);
                self.counters.written_bytes.add(length);
            }
            Ok(false) => {}
            Err(refusal) => self.counters.drop_write(refusal),
        }
    }

    /// False when all of it was stored already, or is forgotten by now.
    fn try_to_write(&self, segment: &Segment, first: u32, bytes: &[u8]) -> Result<bool, Refusal> {
        let id = segment.id();
        let blocks = segment.blocks_in(first, bytes.len() as u64);
        let known = self.index.blocks(id).unwrap_or_default();
        // What is deleted afterwards need not be written.
        if blocks.without(known).is_empty() || self.forgotten.has(id) {
            return Ok(false);
        }
        if !self.may_write() {
            return Err(Refusal::Off);
        }
        let needed = bytes.len() as u64 + HEAD_BYTES as u64;
        if !self.make_room(needed) {
            // Unless no more was wanted in the first place, the disk is full of other things.
            if self.config.capacity.is_none_or(|wanted| wanted >= needed) {
                self.failed(Fault::NoSpace, None);
            }
            return Err(Refusal::NoSpace);
        }
        let lock = self.lock(Stored::Segment(id));
        let written = self.open_to_write(segment).and_then(|file| match file {
            Some(file) => {
                self.attempt(Call::Write)?;
                let blocks = file.write(first, bytes)?;
                Ok(Some((file, blocks)))
            }
            None => Ok(None),
        });
        if let Ok(Some((file, blocks))) = &written {
            // A file that was not listed yet may hold more than what it was given now.
            let is_new = self.index.blocks(id).is_none();
            self.learn(segment, if is_new { file.blocks() } else { *blocks });
        }
        drop(lock);
        match written {
            Ok(Some(_)) => {
                self.evict_until_fits();
                Ok(true)
            }
            Ok(None) => Err(Refusal::Unfit),
            Err(error) => Err(self.write_failed(id, error)),
        }
    }

    fn write_failed(&self, segment: SegmentId, error: Errno) -> Refusal {
        self.files.close(segment);
        let fault = Fault::of_write(error);
        self.failed(fault, Some(error));
        if fault == Fault::NoSpace {
            self.give_up_some();
            Refusal::NoSpace
        } else {
            Refusal::Failed
        }
    }

    /// Opens a segment's file for writing and makes it when there is none. The caller holds its
    /// lock. `None` when its key does not fit.
    fn open_to_write(&self, segment: &Segment) -> rustix::io::Result<Option<Arc<SegmentFile>>> {
        let id = segment.id();
        let open = self.files.get(id).filter(|file| {
            // One that was deleted by another process takes bytes that nobody can read.
            file.is_writable() && file.is_of(&segment.version) && !file.is_deleted()
        });
        if open.is_some() {
            return Ok(open);
        }
        let made = SegmentFile::make(&self.root(), segment)?;
        Ok(made.map(|file| self.files.keep(id, file)))
    }

    /// Takes the segments of a version out of the index, if they are few: at once, for whoever asks
    /// next. They are noted as forgotten before, and [`Core::forget`] has to follow.
    pub(super) fn hide(&self, version: &ObjectVersion) {
        let count = self.segments_of(version);
        if count <= FEW_SEGMENTS {
            for segment in first_segments(version, count) {
                if self.index.remove(segment) {
                    self.policy.remove(&Stored::Segment(segment));
                    self.files.close(segment);
                }
            }
        }
    }

    /// On a thread for writing: deletes the segments of a version that this thread writes.
    pub(super) fn forget(&self, version: &ObjectVersion, writer: usize) {
        self.delete_segments(version, writer);
        self.forgotten.done(writer, version.id);
    }

    fn delete_segments(&self, version: &ObjectVersion, writer: usize) {
        let count = self.segments_of(version);
        let by_name = count <= FEW_SEGMENTS || !self.counters.is_indexed();
        let segments: Vec<SegmentId> = if by_name {
            first_segments(version, count).collect()
        } else {
            self.index
                .segments_where(|segment| segment.version == version.id)
        };
        let is_mine = |segment: &SegmentId| self.forgotten.writer_of(*segment) == writer;
        for segment in segments.into_iter().filter(is_mine) {
            if let Err(error) = self.delete_segment(segment) {
                self.failed(Fault::of_write(error), Some(error));
                return;
            }
        }
    }

    fn segments_of(&self, version: &ObjectVersion) -> u64 {
        version
            .size
            .div_ceil(self.config.block_size.segment_bytes())
    }
}

impl Segment {
    /// The blocks that so many bytes from a place on are.
    pub(super) fn blocks_in(&self, first: u32, length: u64) -> Blocks {
        let count = length.div_ceil(self.block_size.bytes()).min(64) as u32;
        Blocks::run(first..(first + count).min(64))
    }
}

fn first_segments(version: &ObjectVersion, count: u64) -> impl Iterator<Item = SegmentId> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).map(|index| version.segment(SegmentIndex(index)))
}
