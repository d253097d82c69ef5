//! What to fetch: pure decisions about runs of blocks.
//!
//! Nothing here waits or fetches. A presence is asked for block by block, and the answer is a list
//! of fills.

use std::ops::Range;

use crate::cache::BLOCKS_PER_SEGMENT;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;

const MIB: u64 = 1 << 20;

/// No fill is longer: at 80 MB/s, what S3 gives a connection, it takes a tenth of a second.
pub(super) const MAX_FILL: u64 = 8 * MIB;

/// The first fill of an object is shorter: what follows it can be fetched side by side as soon as the
/// head of its answer has told the size.
pub(super) const MAX_FIRST_FILL: u64 = 4 * MIB;

/// A long read is split into fills of at least this length, each on its own connection. Below it, the
/// time to first byte outweighs what a second connection saves.
const MIN_PART: u64 = 2 * MIB;

/// Parts of one read that are worth being fetched side by side.
const PARTS: u64 = 4;

/// Blocks that are there but lie between two missing runs are fetched once more when they are this
/// few: a further request costs more than their bytes.
pub(super) const MERGED_GAP: u64 = 4;

/// A hole behind what is missing, up to the next block that is there, is fetched along when it is no
/// longer than this many blocks.
pub(super) const HOLE: u64 = 16;

/// So many blocks of a segment have to be there for that: a quarter says that it is being read all
/// over, and that the hole is next. A reader of one column leaves more between.
const READ_ALL_OVER: usize = 16;

/// The last bytes of a data file: a footer, or most of one. It answers the first read of every engine
/// (DuckDB 256 KiB, Polars 256 KiB, DataFusion 512 KiB).
pub(super) const TAIL: u64 = 512 << 10;

/// Whoever asks for so many bytes from the end has guessed how long the footer is, and gets them
/// sooner when nothing is fetched before them.
pub(super) const GUESS: u64 = 64 << 10;

/// How far what is fetched may go on behind what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond {
    /// To this block, as far as what lies before it is missing too. It ends no later than the last
    /// segment of what is asked for.
    pub(super) reach: BlockIndex,
    /// To the end of a hole, in a segment that is being read all over.
    pub(super) closes_hole: bool,
}

impl Beyond {
    /// Where nothing is known of an object's readers.
    pub(super) const HOLE: Self = Self {
        reach: BlockIndex(0),
        closes_hole: true,
    };
}

/// Splits a window into the runs of blocks that have to be fetched, in order. `is_there` tells
/// whether a block is stored or on its way. The last run may go on behind the window.
pub(super) fn missing_runs(
    window: Range<u64>,
    beyond: Beyond,
    is_there: &mut dyn FnMut(BlockIndex) -> bool,
) -> Vec<Range<BlockIndex>> {
    let mut runs: Vec<Range<BlockIndex>> = Vec::new();
    for block in window.clone() {
        if is_there(BlockIndex(block)) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if block - run.end.0 <= MERGED_GAP => run.end = BlockIndex(block + 1),
            _ => runs.push(BlockIndex(block)..BlockIndex(block + 1)),
        }
    }
    if let Some(last) = runs.last_mut()
        && last.end.0 == window.end
    {
        if beyond.closes_hole {
            last.end = end_of_hole(last.end, is_there);
        }
        while last.end < beyond.reach && !is_there(last.end) {
            last.end.0 += 1;
        }
    }
    runs
}

/// Where a run that goes up to here should end: further on, where that closes a hole in a segment
/// that is being read all over. Never before the run's end: what a client waits for stays first.
fn end_of_hole(end: BlockIndex, is_there: &mut dyn FnMut(BlockIndex) -> bool) -> BlockIndex {
    let segment = BlockIndex(end.0 - 1).segment();
    let all = segment.first_block().0..segment.first_block().0 + BLOCKS_PER_SEGMENT;
    let mut within = |block: &u64| is_there(BlockIndex(*block));
    let behind = (end.0..all.end.min(end.0 + HOLE + 1)).find(&mut within);
    match behind {
        Some(behind) if all.filter(within).nth(READ_ALL_OVER - 1).is_some() => BlockIndex(behind),
        _ => end,
    }
}

/// Splits a run into fills.
pub(super) fn parts(run: &Range<BlockIndex>, block: BlockSize) -> Vec<Range<BlockIndex>> {
    let bytes = (run.end.0 - run.start.0) * block.bytes();
    let part = (bytes / PARTS)
        .next_multiple_of(MIB)
        .clamp(MIN_PART, MAX_FILL);
    let step = (part / block.bytes()).max(1);
    let mut parts = Vec::new();
    let mut start = run.start.0;
    while start < run.end.0 {
        let end = (start + step).min(run.end.0);
        parts.push(BlockIndex(start)..BlockIndex(end));
        start = end;
    }
    parts
}

/// Rounds an interval of bytes to whole blocks, bounded to the longest first fill. `size` is the
/// object's, where it is known.
pub(super) fn first_fill(interval: &Range<u64>, block: BlockSize, size: Option<u64>) -> Range<u64> {
    let start = block.start_of(block.block_at(interval.start));
    let end = interval
        .end
        .checked_next_multiple_of(block.bytes())
        .unwrap_or(u64::MAX)
        .min(start.saturating_add(MAX_FIRST_FILL));
    start..end.min(size.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(there: &[u64], window: Range<u64>) -> Vec<(u64, u64)> {
        reaching(there, window, 0)
    }

    fn reaching(there: &[u64], window: Range<u64>, reach: u64) -> Vec<(u64, u64)> {
        let beyond = Beyond {
            reach: BlockIndex(reach),
            ..Beyond::HOLE
        };
        missing_runs(window, beyond, &mut |block| there.contains(&block.0))
            .into_iter()
            .map(|run| (run.start.0, run.end.0))
            .collect()
    }

    #[test]
    fn what_is_missing_behind_a_read_is_fetched_along_up_to_the_reach() {
        assert_eq!(reaching(&[], 3..7, 12), [(3, 12)]);
        assert_eq!(reaching(&[9], 3..7, 12), [(3, 9)]);
        assert_eq!(reaching(&[6, 7], 3..8, 12), [(3, 6)]);
        assert_eq!(reaching(&[], 3..7, 5), [(3, 7)]);
        assert_eq!(reaching(&[3, 4], 3..5, 12), []);
    }

    #[test]
    fn short_gaps_are_fetched_with_their_neighbours() {
        assert_eq!(runs(&[], 3..7), [(3, 7)]);
        assert_eq!(runs(&[3, 4, 5, 6], 3..7), []);
        assert_eq!(runs(&[4, 5, 6, 7], 3..10), [(3, 10)]);
        assert_eq!(runs(&[4, 5, 6, 7, 8], 3..10), [(3, 4), (9, 10)]);
        assert_eq!(runs(&[0, 1, 9], 0..10), [(2, 9)]);
    }

    #[test]
    fn a_hole_is_closed_where_a_segment_is_read_all_over() {
        // A quarter is there: the next block after the run is close, too far, or in the next segment.
        let with = |next: u64| -> Vec<u64> { (0..15).chain([next]).collect() };
        assert_eq!(runs(&with(36), 18..20), [(18, 36)]);
        assert_eq!(runs(&with(37), 18..20), [(18, 20)]);
        assert_eq!(runs(&with(64), 58..60), [(58, 60)]);
        // One block less.
        let fewer: Vec<u64> = (1..15).chain([30]).collect();
        assert_eq!(runs(&fewer, 18..20), [(18, 20)]);
        // Where that is not wanted.
        let never = Beyond {
            closes_hole: false,
            ..Beyond::HOLE
        };
        let there = with(36);
        let mut is_there = |block: BlockIndex| there.contains(&block.0);
        let runs_without = missing_runs(18..20, never, &mut is_there);
        assert_eq!(runs_without, [BlockIndex(18)..BlockIndex(20)]);
        // Nothing is missing at the end of what is asked.
        assert_eq!(runs(&with(36), 10..13), []);
        assert_eq!(runs(&with(36), 30..37), [(30, 36)]);
    }

    #[test]
    fn every_missing_block_is_in_exactly_one_part() {
        let block = BlockSize::DEFAULT;
        for length in [1, 2, 31, 32, 33, 64, 100, 128, 129, 1000, 16_384] {
            let run = BlockIndex(7)..BlockIndex(7 + length);
            let parts = parts(&run, block);
            assert_eq!(parts[0].start, run.start);
            assert_eq!(parts[parts.len() - 1].end, run.end);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let longest = parts.iter().map(|part| part.end.0 - part.start.0).max();
            assert!(longest.unwrap() * block.bytes() <= MAX_FILL);
        }
        let count = |blocks| parts(&(BlockIndex(0)..BlockIndex(blocks)), block).len();
        assert_eq!(
            [count(2), count(32), count(33), count(128), count(512)],
            [1, 1, 2, 4, 4]
        );
    }

    #[test]
    fn a_first_fill_is_whole_blocks() {
        let block = BlockSize::DEFAULT;
        assert_eq!(first_fill(&(1..2), block, None), 0..65_536);
        assert_eq!(
            first_fill(&(65_535..65_537), block, Some(70_000)),
            0..70_000
        );
        assert_eq!(first_fill(&(0..u64::MAX), block, None), 0..MAX_FIRST_FILL);
    }
}
