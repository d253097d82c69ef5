//! Which columns of a file are being read, row group after row group, and what comes next of them:
//! pure decisions.
//!
//! Engines read a few columns of every row group, with one thread for each of some neighbouring row
//! groups. A column that was read in two neighbouring ones is expected in the next; all that are
//! expected of one row group are fetched together, as soon as the first of them is read in another.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::read::parquet::Chunk;
use crate::read::parquet::Layout;

/// Columns at most that are followed.
const MAX_COLUMNS: usize = 4096;

/// Threads that read side by side leave no more row groups between each other.
const NEAR: u32 = 2;

/// Row groups that are fetched ahead at first, and at most.
const FIRST_DEPTH: u32 = 2;
const MAX_DEPTH: u32 = 16;

/// Chunks that lie no further from each other are fetched together.
const GAP: u64 = 64 << 10;

/// The columns of one file.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    columns: BTreeMap<u32, Column>,
    /// How many row groups to fetch ahead.
    depth: u32,
    /// The last row group that was begun.
    front: u32,
}

/// How one column is read.
#[derive(Debug, Clone)]
struct Column {
    /// The row group that was read last, and the last in the order of the file.
    last: u32,
    highest: u32,
    /// Whether it was read in neighbouring row groups.
    is_followed: bool,
    /// Whether any of it was missing. Where all was there, the same work was done before.
    has_missed: bool,
    /// Everything before this row group was asked for.
    asked_to: u32,
}

/// How much may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// In bytes.
    pub(super) bytes: u64,
    /// Whether there will be more when what lies ahead is read.
    pub(super) grows: bool,
}

/// How the bytes of a chunk were found when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// There, for whatever reason.
    There,
    /// There, because they were fetched ahead.
    Ahead,
    /// On their way, because they were fetched ahead, but too late.
    Late,
    /// Not there.
    Missing,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            columns: BTreeMap::new(),
            depth: FIRST_DEPTH,
            front: 0,
        }
    }
}

impl Pattern {
    /// Notes that a client reads a chunk.
    pub(super) fn note(&mut self, chunk: Chunk, sight: Sight) {
        let Chunk { group, column } = chunk;
        let is_first = self.columns.is_empty();
        if self.columns.len() == MAX_COLUMNS && !self.columns.contains_key(&column) {
            return;
        }
        let has_missed = sight != Sight::There;
        let column = self.columns.entry(column).or_insert(Column {
            last: group,
            highest: group,
            is_followed: false,
            has_missed: false,
            asked_to: group + 1,
        });
        if group != column.last {
            if column.last.abs_diff(group) <= NEAR {
                column.is_followed = true;
            } else if sight == Sight::There && group < column.highest {
                // Somebody else, who reads what was read before.
                return;
            } else {
                *column = Column {
                    is_followed: false,
                    has_missed: false,
                    highest: group,
                    asked_to: group + 1,
                    ..*column
                };
            }
            column.last = group;
            column.highest = column.highest.max(group);
        }
        column.has_missed |= has_missed;
        let is_begun = group > self.front;
        if is_begun || is_first || self.front - group > NEAR {
            self.front = group;
        }
        self.depth = match sight {
            Sight::Late => (self.depth * 2).min(MAX_DEPTH),
            Sight::Ahead if is_begun => (self.depth + 1).min(MAX_DEPTH),
            _ => self.depth,
        };
    }

    /// What is to be fetched ahead now, in the order of the file: no more than there is room for, in
    /// blocks of such a length.
    pub(super) fn due(&mut self, layout: &Layout, room: Room, block: u64) -> Vec<Range<u64>> {
        let front = self.front;
        let end = front
            .saturating_add(self.depth)
            .saturating_add(1)
            .min(layout.groups());
        let mut expected: Vec<(u32, &mut Column)> = self
            .columns
            .iter_mut()
            .filter(|(_, column)| column.is_expected(front) && column.asked_to < end)
            .map(|(index, column)| (*index, column))
            .collect();
        let first = expected.iter().map(|(_, column)| column.next()).min();
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut bytes = 0;
        for group in first.unwrap_or(end)..end {
            let before = bytes;
            let mut chunks = Vec::new();
            for (place, (column, state)) in expected.iter().enumerate() {
                if group < state.next() {
                    continue;
                }
                let column = *column;
                let interval = layout.interval(Chunk { group, column });
                bytes += (interval.end - interval.start).next_multiple_of(block);
                if bytes > room.bytes {
                    break;
                }
                chunks.push((place, interval));
            }
            let is_cut = bytes > room.bytes;
            // A request for a part of what one could have brought is a request too many.
            if is_cut && (room.grows || before > 0) {
                break;
            }
            for (place, interval) in chunks {
                expected[place].1.asked_to = group + 1;
                add(&mut runs, interval);
            }
            if is_cut {
                break;
            }
        }
        runs
    }

    /// From this row group on nothing was asked for after all.
    pub(super) fn fell_short(&mut self, group: u32) {
        for column in self.columns.values_mut() {
            column.asked_to = column.asked_to.min(group);
        }
    }
}

impl Column {
    /// Whether it is being read at the front.
    fn is_expected(&self, front: u32) -> bool {
        let is_near = (self.highest..=self.highest.saturating_add(NEAR)).contains(&front);
        self.is_followed && self.has_missed && is_near
    }

    /// The first row group that is to be asked for.
    fn next(&self) -> u32 {
        self.asked_to.max(self.highest.saturating_add(1))
    }
}

fn add(runs: &mut Vec<Range<u64>>, interval: Range<u64>) {
    if interval.is_empty() {
        return;
    }
    match runs.last_mut() {
        Some(run) if interval.start.saturating_sub(run.end) <= GAP => run.end = interval.end,
        _ => runs.push(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 64 << 10;
    const GROUPS: u32 = 40;
    const COLUMNS: u32 = 10;
    const CHUNK: u64 = 1 << 20;

    fn layout() -> Layout {
        Layout::even(GROUPS, COLUMNS, CHUNK)
    }

    /// Room for so many bytes, for now and ever.
    fn of(bytes: u64) -> Room {
        let grows = false;
        Room { bytes, grows }
    }

    /// Reads chunks in turn, and gives those that were fetched ahead of each.
    struct Reader {
        pattern: Pattern,
        layout: Layout,
        asked: Vec<Chunk>,
    }

    impl Reader {
        fn new() -> Self {
            Self {
                pattern: Pattern::default(),
                layout: layout(),
                asked: Vec::new(),
            }
        }

        fn read_as(&mut self, group: u32, column: u32, sight: Sight) -> Vec<(u32, u32)> {
            let chunk = Chunk { group, column };
            self.pattern.note(chunk, sight);
            let due = self.pattern.due(&self.layout, of(u64::MAX), BLOCK);
            let chunks = due.iter().flat_map(|run| self.layout.touched_by(run));
            let chunks: Vec<_> = chunks.collect();
            self.asked.extend(&chunks);
            chunks
                .iter()
                .map(|chunk| (chunk.group, chunk.column))
                .collect()
        }

        fn read(&mut self, group: u32, column: u32) -> Vec<(u32, u32)> {
            let chunk = Chunk { group, column };
            let sight = if self.asked.contains(&chunk) {
                Sight::Ahead
            } else {
                Sight::Missing
            };
            self.read_as(group, column, sight)
        }
    }

    #[test]
    fn a_column_of_two_row_groups_is_expected_in_the_next() {
        let mut reader = Reader::new();
        assert_eq!(reader.read(0, 3), []);
        assert_eq!(reader.read(1, 3), [(2, 3), (3, 3)]);
        // Its pages, one after the other.
        assert_eq!(reader.read(1, 3), []);
        // What is used is widened.
        assert_eq!(reader.read(2, 3), [(4, 3), (5, 3)]);
        assert_eq!(reader.read(3, 3), [(6, 3), (7, 3)]);
    }

    #[test]
    fn columns_that_are_read_together_are_fetched_together() {
        let mut reader = Reader::new();
        for column in [1, 4, 7] {
            assert_eq!(reader.read(0, column), []);
        }
        for column in [1, 4, 7] {
            assert_eq!(reader.read(1, column), [(2, column), (3, column)]);
        }
        let all = |group| [(group, 1), (group, 4), (group, 7)];
        assert_eq!(reader.read(2, 1), [all(4), all(5)].concat());
        assert_eq!(reader.read(2, 4), []);
        assert_eq!(reader.read(2, 7), []);
    }

    /// Two threads take row groups in turn, and now and then the second is first.
    #[test]
    fn threads_read_side_by_side() {
        let mut reader = Reader::new();
        let mut in_time = 0;
        for pair in 0..GROUPS / 2 {
            for column in [2, 5] {
                let mut groups = [2 * pair, 2 * pair + 1];
                groups.rotate_left((pair % 2) as usize);
                for group in groups {
                    in_time += usize::from(reader.asked.contains(&Chunk { group, column }));
                    reader.read(group, column);
                }
            }
        }
        assert_eq!(in_time, 2 * (GROUPS as usize - 2));
        let mut once = reader.asked.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), reader.asked.len(), "nothing twice");
    }

    #[test]
    fn who_comes_before_the_bytes_is_read_further_ahead_of() {
        let mut reader = Reader::new();
        reader.read(0, 0);
        reader.read(1, 0);
        assert_eq!(reader.read_as(2, 0, Sight::Late).len(), 3);
        assert_eq!(reader.read_as(3, 0, Sight::Late).len(), 5);
        assert_eq!(reader.read_as(4, 0, Sight::Late).len(), 9);
        assert_eq!(reader.read_as(5, 0, Sight::Late).len(), 1, "no further");
    }

    #[test]
    fn what_was_read_before_is_not_expected() {
        let mut reader = Reader::new();
        for group in 0..GROUPS {
            assert_eq!(reader.read_as(group, 0, Sight::There), []);
        }
        // A second column, which is new.
        reader.read_as(0, 0, Sight::There);
        reader.read(0, 1);
        reader.read_as(1, 0, Sight::There);
        assert_eq!(reader.read(1, 1), [(2, 1), (3, 1)]);
    }

    #[test]
    fn a_column_that_is_left_out_is_not_expected_any_more() {
        let mut reader = Reader::new();
        for group in 0..3 {
            reader.read(group, 0);
            reader.read(group, 1);
        }
        let mut asked = Vec::new();
        for group in 3..20 {
            asked.extend(reader.read(group, 0));
        }
        let last = asked.iter().filter(|(_, column)| *column == 1);
        assert!(last.map(|(group, _)| *group).max() < Some(12), "{asked:?}");
    }

    #[test]
    fn leaps_are_not_followed() {
        let mut reader = Reader::new();
        for group in [0, 7, 14, 21, 3, 30, 11] {
            assert_eq!(reader.read(group, 0), []);
        }
    }

    #[test]
    fn it_ends_with_the_file_and_with_the_room() {
        let mut reader = Reader::new();
        reader.read(GROUPS - 2, 0);
        assert_eq!(reader.read(GROUPS - 1, 0), []);
        let (mut pattern, layout) = (Pattern::default(), layout());
        for group in 0..2 {
            pattern.note(Chunk { group, column: 0 }, Sight::Missing);
        }
        let one = of(CHUNK);
        assert_eq!(pattern.due(&layout, of(CHUNK - 1), BLOCK), []);
        assert_eq!(pattern.due(&layout, one, BLOCK).len(), 1);
        assert_eq!(pattern.due(&layout, one, BLOCK).len(), 1, "the other one");
        assert_eq!(pattern.due(&layout, one, BLOCK), []);
        pattern.fell_short(3);
        assert_eq!(pattern.due(&layout, one, BLOCK).len(), 1);
    }

    #[test]
    fn what_one_request_brings_is_not_asked_for_with_two() {
        let (mut pattern, layout) = (Pattern::default(), layout());
        for group in 0..2 {
            for column in [2, 3, 4] {
                pattern.note(Chunk { group, column }, Sight::Missing);
            }
        }
        let grows = true;
        let bytes = 2 * CHUNK;
        assert_eq!(pattern.due(&layout, Room { bytes, grows }, BLOCK), []);
        let bytes = 5 * CHUNK;
        let due = pattern.due(&layout, Room { bytes, grows }, BLOCK);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].end - due[0].start, 3 * CHUNK);
        // Where nothing else would ever come, some of it does.
        let due = pattern.due(&layout, of(2 * CHUNK), BLOCK);
        assert_eq!(due[0].end - due[0].start, 2 * CHUNK);
    }

    #[test]
    fn neighbours_are_one_run() {
        let (mut pattern, layout) = (Pattern::default(), layout());
        for group in 0..2 {
            for column in [2, 3, 4, 6] {
                pattern.note(Chunk { group, column }, Sight::Missing);
            }
        }
        let due = pattern.due(&layout, of(4 * CHUNK), BLOCK);
        let blocks: Vec<_> = due
            .iter()
            .map(|run| (run.end - run.start) / CHUNK)
            .collect();
        assert_eq!(blocks, [3, 1]);
    }

    #[test]
    fn what_is_followed_is_bounded() {
        let mut pattern = Pattern::default();
        for column in 0..2 * u32::try_from(MAX_COLUMNS).unwrap() {
            pattern.note(Chunk { group: 0, column }, Sight::Missing);
        }
        assert_eq!(pattern.columns.len(), MAX_COLUMNS);
    }
}
