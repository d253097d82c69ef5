//! Which blocks of an object were fetched ahead and not read yet.

use std::ops::Range;

use crate::cache::BlockIndex;

/// More runs of blocks than this are not told apart: nothing is fetched ahead of such a reader.
const MAX_RUNS: usize = 1024;

/// A set of blocks, as runs in order that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unread {
    runs: Vec<Range<u64>>,
}

impl Unread {
    /// Whether no more runs can be told apart.
    pub(super) fn is_full(&self) -> bool {
        self.runs.len() >= MAX_RUNS
    }

    /// Adds a run of blocks.
    pub(super) fn add(&mut self, blocks: &Range<BlockIndex>) {
        let (mut start, mut end) = (blocks.start.0, blocks.end.0);
        if start >= end {
            return;
        }
        let first = self.runs.partition_point(|run| run.end < start);
        let behind = self.runs.partition_point(|run| run.start <= end);
        if let Some(runs) = self.runs.get(first..behind)
            && let (Some(one), Some(other)) = (runs.first(), runs.last())
        {
            start = start.min(one.start);
            end = end.max(other.end);
        }
        self.runs.splice(first..behind, std::iter::once(start..end));
    }

    /// Takes out what a run of blocks has of them, and answers how many they are.
    pub(super) fn take(&mut self, blocks: &Range<BlockIndex>) -> u64 {
        let (start, end) = (blocks.start.0, blocks.end.0);
        let first = self.runs.partition_point(|run| run.end <= start);
        let behind = self.runs.partition_point(|run| run.start < end);
        if first >= behind || start >= end {
            return 0;
        }
        let runs = &self.runs[first..behind];
        let overlap = |run: &Range<u64>| run.end.min(end) - run.start.max(start);
        let taken = runs.iter().map(overlap).sum();
        let before = runs[0].start..start;
        let after = end..runs[runs.len() - 1].end;
        let rest = [before, after].into_iter().filter(|run| !run.is_empty());
        self.runs.splice(first..behind, rest);
        taken
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..60_u64, 0..20_u64), 0..60)) {
            let mut unread = Unread::default();
            let mut model = BTreeSet::new();
            for (is_added, start, length) in steps {
                let blocks = BlockIndex(start)..BlockIndex(start + length);
                if is_added {
                    unread.add(&blocks);
                    model.extend(start..start + length);
                } else {
                    let before = model.len();
                    model.retain(|block| !(start..start + length).contains(block));
                    prop_assert_eq!(unread.take(&blocks), (before - model.len()) as u64);
                }
                let all: Vec<u64> = unread.runs.iter().cloned().flatten().collect();
                prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
                prop_assert!(unread.runs.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert_eq!(unread.count(), model.len() as u64);
            }
        }
    }
}
