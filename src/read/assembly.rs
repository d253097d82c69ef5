//! Puts the pieces of a body together to the buffers that are kept: whole blocks, side by side in
//! stretches of up to a mebibyte, so that a long hit goes out in long writes.

use std::ops::Range;

use bytes::Bytes;
use bytes::BytesMut;

use crate::cache::BlockSize;

/// Neighbouring blocks lie in one buffer up to this length, aligned to it.
const STRETCH: u64 = 1 << 20;

/// Gathers one fill's bytes.
pub(super) struct Assembly {
    block: BlockSize,
    /// The offset of the next byte of the body.
    arrived: u64,
    /// Where the next buffer begins; bytes before it belong to a block that is not whole.
    start: u64,
    /// Where the last whole block ends.
    end: u64,
    buffer: BytesMut,
}

/// A step of taking bytes in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many of the bytes were taken.
    Taken(usize),
    /// So many were taken, and they complete this buffer, which begins at this offset.
    Complete(usize, u64, Bytes),
}

impl Assembly {
    /// For a body that is this interval of an object of this size.
    pub(super) fn new(interval: &Range<u64>, size: u64, block: BlockSize) -> Self {
        let whole = block.interval_of(&block.contained_in(interval, size), size);
        Self {
            block,
            arrived: interval.start,
            start: whole.start,
            end: whole.end,
            buffer: BytesMut::new(),
        }
    }

    /// Takes some of the bytes, up to the next boundary. `bytes` is not empty.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Step {
        if self.arrived < self.start || self.arrived >= self.end {
            // Outside of whole blocks: passes by.
            let boundary = if self.arrived < self.start {
                self.start
            } else {
                u64::MAX
            };
            let length = shorter(bytes.len(), boundary - self.arrived);
            self.arrived += length as u64;
            return Step::Taken(length);
        }
        let boundary = (self.arrived + 1).next_multiple_of(STRETCH).min(self.end);
        let length = shorter(bytes.len(), boundary - self.arrived);
        if self.buffer.is_empty() {
            // At most a stretch.
            let room = shorter(usize::MAX, boundary - self.arrived);
            self.buffer = BytesMut::with_capacity(room);
        }
        self.buffer.extend_from_slice(&bytes[..length]);
        self.arrived += length as u64;
        if self.arrived < boundary {
            return Step::Taken(length);
        }
        let start = std::mem::replace(&mut self.start, boundary);
        Step::Complete(length, start, std::mem::take(&mut self.buffer).freeze())
    }

    /// The body ends early: the whole blocks that are not yet given away.
    pub(super) fn rest(self) -> Option<(u64, Bytes)> {
        let whole = self.buffer.len() as u64 / self.block.bytes() * self.block.bytes();
        let whole = shorter(self.buffer.len(), whole);
        // A copy: the buffer is longer than what is kept of it.
        (whole > 0).then(|| (self.start, Bytes::copy_from_slice(&self.buffer[..whole])))
    }
}

/// The shorter of two lengths; it fits, as the first does.
fn shorter(length: usize, other: u64) -> usize {
    usize::try_from(other).map_or(length, |other| length.min(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1 << 10;

    /// All buffers that come of a body in pieces of this length, cut off after `cut` bytes.
    fn assemble(interval: Range<u64>, size: u64, piece: usize, cut: u64) -> Vec<(u64, Bytes)> {
        let body: Vec<u8> = (interval.start..interval.end.min(interval.start.saturating_add(cut)))
            .map(|offset| (offset % 251) as u8)
            .collect();
        let mut assembly = Assembly::new(&interval, size, BlockSize::new(16 * KIB).unwrap());
        let mut buffers = Vec::new();
        for piece in body.chunks(piece) {
            let mut left = piece;
            while !left.is_empty() {
                match assembly.take(left) {
                    Step::Taken(length) => left = &left[length..],
                    Step::Complete(length, start, bytes) => {
                        left = &left[length..];
                        buffers.push((start, bytes));
                    }
                }
            }
        }
        buffers.extend(assembly.rest());
        buffers
    }

    #[test]
    fn stretches_are_aligned() {
        let buffers = assemble(1000 * KIB..3000 * KIB, 9000 * KIB, 70_000, u64::MAX);
        let starts: Vec<_> = buffers.iter().map(|(start, _)| start / KIB).collect();
        // The first whole block starts at 1008, the last ends at 2992.
        assert_eq!(starts, [1008, 1024, 2048]);
        let end = buffers
            .last()
            .map(|(start, bytes)| start + bytes.len() as u64);
        assert_eq!(end, Some(2992 * KIB));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_whole_block_is_kept_once_and_nothing_else(
            start in 0..200_000_u64,
            length in 1..3_000_000_u64,
            beyond in 0..2_u64,
            piece in 1..200_000_usize,
            cut in 0..3_500_000_u64,
        ) {
            let interval = start..start + length;
            let size = interval.end + beyond * 100_000;
            let block = BlockSize::new(16 * KIB).unwrap();
            let arrived = interval.start..interval.end.min(interval.start.saturating_add(cut));
            // What has arrived only reaches the end of the object when all of it did.
            let whole = block.interval_of(&block.contained_in(&arrived, size), size);
            let mut expected = whole.start;
            for (start, bytes) in assemble(interval, size, piece, cut) {
                prop_assert_eq!(start, expected);
                prop_assert!(bytes.len() as u64 <= STRETCH);
                for (index, byte) in bytes.iter().enumerate() {
                    prop_assert_eq!(u64::from(*byte), (start + index as u64) % 251);
                }
                expected += bytes.len() as u64;
            }
            prop_assert_eq!(expected, whole.end.max(whole.start));
        }
    }
}
