//! The grid that lies over an object: blocks, and segments of 64 blocks.

use std::num::NonZeroU32;
use std::ops::Range;

/// Blocks in a segment: as many as a word has bits.
pub const BLOCKS_PER_SEGMENT: u64 = 64;

/// How long a block is: a power of two from 16 KiB to 1 MiB. The last block of an object is shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize(NonZeroU32);

/// Which block of an object, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockIndex(pub u64);

/// Which segment of an object, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentIndex(pub u32);

/// Some of the blocks of a segment, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blocks(pub u64);

impl BlockSize {
    /// 64 KiB: one column chunk of 85 KB costs 1.7 times its bytes; at 1 MiB it costs 12.7 times.
    pub const DEFAULT: Self = Self(NonZeroU32::new(64 << 10).unwrap());

    /// Accepts powers of two from 16 KiB to 1 MiB.
    pub fn new(bytes: u64) -> Option<Self> {
        let in_range = (16 << 10..=1 << 20).contains(&bytes) && bytes.is_power_of_two();
        let bytes = u32::try_from(bytes).ok().filter(|_| in_range)?;
        NonZeroU32::new(bytes).map(Self)
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0.get())
    }

    /// A whole segment in bytes.
    pub fn segment_bytes(self) -> u64 {
        self.bytes() * BLOCKS_PER_SEGMENT
    }

    /// The block that a byte lies in.
    pub fn block_at(self, offset: u64) -> BlockIndex {
        BlockIndex(offset / self.bytes())
    }

    /// Where a block begins.
    pub fn start_of(self, block: BlockIndex) -> u64 {
        block.0 * self.bytes()
    }

    /// The bytes of a block, within an object of this size.
    pub fn bytes_of(self, block: BlockIndex, size: u64) -> Range<u64> {
        let start = self.start_of(block);
        start.min(size)..(start + self.bytes()).min(size)
    }

    /// The blocks that an interval of bytes touches. The interval is not empty.
    pub fn touched_by(self, interval: &Range<u64>) -> Range<BlockIndex> {
        self.block_at(interval.start)..BlockIndex(interval.end.div_ceil(self.bytes()))
    }

    /// The blocks that lie in an interval as a whole; the object's last block counts as whole when
    /// the interval reaches the object's end.
    pub fn contained_in(self, interval: &Range<u64>, size: u64) -> Range<BlockIndex> {
        let first = interval.start.div_ceil(self.bytes());
        let end = if interval.end >= size {
            size.div_ceil(self.bytes())
        } else {
            interval.end / self.bytes()
        };
        BlockIndex(first)..BlockIndex(end.max(first))
    }

    /// The bytes of a run of blocks, within an object of this size.
    pub fn interval_of(self, blocks: &Range<BlockIndex>, size: u64) -> Range<u64> {
        self.start_of(blocks.start).min(size)..self.start_of(blocks.end).min(size)
    }
}

impl BlockIndex {
    /// The segment that the block lies in.
    pub fn segment(self) -> SegmentIndex {
        // 2^32 segments of a megabyte are more than S3's largest object.
        SegmentIndex(u32::try_from(self.0 / BLOCKS_PER_SEGMENT).unwrap_or(u32::MAX))
    }

    /// Its place in the segment, 0 to 63.
    pub fn place(self) -> u32 {
        (self.0 % BLOCKS_PER_SEGMENT) as u32
    }
}

impl SegmentIndex {
    /// Its first block.
    pub fn first_block(self) -> BlockIndex {
        BlockIndex(u64::from(self.0) * BLOCKS_PER_SEGMENT)
    }
}

impl Blocks {
    /// None.
    pub const NONE: Self = Self(0);

    /// A run of places.
    pub fn run(places: Range<u32>) -> Self {
        let below = |place: u32| 1_u64.checked_shl(place).map_or(u64::MAX, |bit| bit - 1);
        Self(below(places.end) & !below(places.start))
    }

    /// Those of a run of an object's blocks that lie in a segment.
    pub fn of(run: &Range<BlockIndex>, segment: SegmentIndex) -> Self {
        let first = segment.first_block().0;
        let place =
            |block: BlockIndex| block.0.saturating_sub(first).min(BLOCKS_PER_SEGMENT) as u32;
        Self::run(place(run.start)..place(run.end))
    }

    /// Whether the block at this place is one of them.
    pub fn has(self, place: u32) -> bool {
        self.0 & 1_u64.checked_shl(place).unwrap_or_default() != 0
    }

    /// These and those.
    #[must_use]
    pub fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are among these, too.
    #[must_use]
    pub fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// These without those.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// How many.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many stand next to each other from this place on.
    pub fn run_from(self, place: u32) -> u32 {
        (self.0 >> place).trailing_ones().min(64 - place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB64: BlockSize = BlockSize::DEFAULT;

    #[test]
    fn block_sizes_are_powers_of_two_in_range() {
        for bytes in [16 << 10, 64 << 10, 1 << 20] {
            assert_eq!(BlockSize::new(bytes).unwrap().bytes(), bytes);
        }
        for bytes in [0, 1, 8 << 10, 65_535, 65_537, 96 << 10, 2 << 20, u64::MAX] {
            assert_eq!(BlockSize::new(bytes), None, "{bytes}");
        }
    }

    #[test]
    fn intervals_touch_and_contain_blocks() {
        let blocks = |range: Range<u64>| BlockIndex(range.start)..BlockIndex(range.end);
        assert_eq!(KIB64.touched_by(&(0..1)), blocks(0..1));
        assert_eq!(KIB64.touched_by(&(65_535..65_537)), blocks(0..2));
        assert_eq!(KIB64.touched_by(&(65_536..131_072)), blocks(1..2));
        let size = 200_000; // 3 whole blocks and a short one
        assert_eq!(KIB64.contained_in(&(0..size), size), blocks(0..4));
        assert_eq!(KIB64.contained_in(&(1..size), size), blocks(1..4));
        assert_eq!(KIB64.contained_in(&(1..size - 1), size), blocks(1..3));
        assert_eq!(KIB64.contained_in(&(1..2), size), blocks(1..1));
        assert_eq!(KIB64.bytes_of(BlockIndex(3), size), 196_608..200_000);
        assert_eq!(KIB64.interval_of(&blocks(2..4), size), 131_072..200_000);
    }

    #[test]
    fn sets_of_blocks() {
        assert_eq!(Blocks::run(0..64), Blocks(u64::MAX));
        assert_eq!(Blocks::run(64..64), Blocks::NONE);
        assert_eq!(Blocks::run(3..5), Blocks(0b11000));
        assert_eq!(Blocks(0b0110).union(Blocks(0b0011)), Blocks(0b0111));
        assert_eq!(Blocks(0b0110).intersection(Blocks(0b0011)), Blocks(0b0010));
        assert_eq!(Blocks(0b0110).without(Blocks(0b0011)), Blocks(0b0100));
        let run = BlockIndex(62)..BlockIndex(130);
        assert_eq!(Blocks::of(&run, SegmentIndex(0)), Blocks::run(62..64));
        assert_eq!(Blocks::of(&run, SegmentIndex(1)), Blocks::run(0..64));
        assert_eq!(Blocks::of(&run, SegmentIndex(2)), Blocks::run(0..2));
        assert_eq!(Blocks::of(&run, SegmentIndex(3)), Blocks::NONE);
        assert_eq!(Blocks::run(60..64).run_from(61), 3);
        assert_eq!(Blocks(0b1011).run_from(0), 2);
        assert_eq!(Blocks(0b1011).run_from(2), 0);
        assert!(Blocks::run(63..64).has(63) && !Blocks::run(63..64).has(64));
        assert_eq!(BlockIndex(130).segment(), SegmentIndex(2));
        assert_eq!(BlockIndex(130).place(), 2);
        assert_eq!(SegmentIndex(2).first_block(), BlockIndex(128));
    }
}
