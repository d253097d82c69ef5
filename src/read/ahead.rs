//! Notices clients that read an object piece after piece, each with a request of its own, and says
//! how far to fetch ahead of them; and how densely an object is read, which says how far a short read
//! is filled beyond its end ([`super::density`]).
//!
//! What one long answer needs next, its stream fetches itself; see [`super::window`].

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;

use super::density::Density;
use super::density::Outcome;
use super::plan;
use super::plan::Beyond;
use crate::cache::BlockSize;
use crate::cache::ObjectVersion;
use crate::cache::VersionId;
use crate::telemetry::CacheMetrics;

/// Objects at most in which somebody reads.
const MAX_OBJECTS: u64 = 10_000;

/// Whoever has not gone on for so long is not expected back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Readers of one object that are told apart.
const READERS: usize = 8;

/// After so many reads in a row the next one is expected. An engine that reads the columns of a row
/// group makes two or three, and leaps.
const IN_A_ROW: u32 = 4;

/// Bytes between two reads that still are in a row.
const GAP: u64 = 64 << 10;

/// The widest read-ahead.
const WIDEST: u64 = 8 << 20;

/// Objects that are not longer are read with one or two fills anyway.
const SHORT: u64 = 1 << 20;

/// A read of more than this tells nothing of short ones, and is not filled beyond its end.
const LONG: u64 = 4 << 20;

/// Who reads what in a row, and how densely.
pub(super) struct Ahead {
    objects: Cache<VersionId, Arc<Mutex<Object>>>,
    block: BlockSize,
    metrics: CacheMetrics,
}

/// What is remembered of one object.
#[derive(Debug, Default)]
struct Object {
    readings: Vec<Reading>,
    density: Density,
}

/// One reader's way through an object; the last one in the list was seen last.
#[derive(Debug, Clone)]
struct Reading {
    /// Where it is expected next.
    next: u64,
    in_a_row: u32,
    /// Bytes read in a row.
    read: u64,
    /// Everything up to here was looked at.
    looked_to: u64,
    /// Bytes fetched ahead of it, ever.
    fetched: u64,
    /// Whether anything it read was missing. Where all of it was there, a second run of the same
    /// work reads, and the first one read no further.
    has_missed: bool,
}

impl Ahead {
    /// Counts what was fetched in vain.
    pub(super) fn new(block: BlockSize, metrics: CacheMetrics) -> Self {
        let counted = metrics.clone();
        let wasted = move |_, object: Arc<Mutex<Object>>, _| {
            let object = object.lock();
            let ahead: u64 = object.readings.iter().map(Reading::ahead).sum();
            let fetched: u64 = object.readings.iter().map(|reading| reading.fetched).sum();
            let beyond = object.density.unread() * block.bytes();
            counted.prefetch_wasted(ahead + beyond);
            counted.prefetch_used(fetched - ahead);
        };
        let objects = Cache::builder()
            .max_capacity(MAX_OBJECTS)
            .time_to_idle(PATIENCE)
            .eviction_listener(wasted)
            .build();
        Self {
            objects,
            block,
            metrics,
        }
    }

    /// Notes a read, and whether its bytes were missing when it came. Answers what to fetch ahead of
    /// the next one, if it is time to.
    pub(super) fn note(
        &self,
        version: &ObjectVersion,
        interval: &Range<u64>,
        is_missing: bool,
    ) -> Option<Range<u64>> {
        if version.size <= SHORT {
            return None;
        }
        let object = self.objects.get_with(version.id, Arc::default);
        let mut object = object.lock();
        if interval.end - interval.start <= LONG {
            let outcome = object.density.ask(&self.block.touched_by(interval));
            self.count(outcome);
        }
        note(&mut object.readings, interval, version.size, is_missing)
    }

    /// What is worth being fetched along with a short read.
    pub(super) fn beyond(&self, version: &ObjectVersion, interval: &Range<u64>) -> Beyond {
        if interval.end - interval.start > LONG {
            return Beyond::HOLE;
        }
        let Some(object) = self.objects.get(&version.id) else {
            return Beyond::HOLE;
        };
        let end = self.block.touched_by(interval).end;
        let last = self.block.touched_by(&(0..version.size)).end;
        let density = &object.lock().density;
        Beyond {
            reach: density.reach(end, last, self.block),
            closes_hole: density.affords_hole(plan::HOLE),
        }
    }

    /// A fill was begun for a read that ends at `end`, perhaps beyond it.
    pub(super) fn widened(&self, version: &ObjectVersion, fill: &Range<u64>, end: u64) {
        let asked = end.next_multiple_of(self.block.bytes());
        let beyond = fill.start.max(asked)..fill.end;
        if beyond.is_empty() {
            return;
        }
        self.metrics.prefetched(beyond.end - beyond.start);
        if let Some(object) = self.objects.get(&version.id) {
            let blocks = self.block.touched_by(&beyond);
            let outcome = object.lock().density.fetched(&blocks);
            self.count(outcome);
        }
    }

    fn count(&self, outcome: Outcome) {
        self.metrics
            .prefetch_used(outcome.used * self.block.bytes());
        self.metrics
            .prefetch_wasted(outcome.wasted * self.block.bytes());
    }

    /// So many bytes are fetched ahead, up to `to` instead of `until`.
    pub(super) fn begun(&self, version: &ObjectVersion, until: u64, to: u64, bytes: u64) {
        if let Some(object) = self.objects.get(&version.id)
            && let Some(reading) = object
                .lock()
                .readings
                .iter_mut()
                .find(|reading| reading.looked_to == until)
        {
            reading.looked_to = to;
            reading.fetched += bytes;
        }
    }
}

impl Reading {
    /// Bytes fetched ahead that its reader has not come to.
    fn ahead(&self) -> u64 {
        self.looked_to.saturating_sub(self.next).min(self.fetched)
    }
}

fn note(
    readings: &mut Vec<Reading>,
    interval: &Range<u64>,
    size: u64,
    is_missing: bool,
) -> Option<Range<u64>> {
    let follows = |reading: &Reading| reading.next.abs_diff(interval.start) <= GAP;
    let Some(index) = readings.iter().rposition(follows) else {
        if readings.len() == READERS {
            readings.remove(0);
        }
        readings.push(Reading {
            next: interval.end,
            in_a_row: 1,
            read: interval.end - interval.start,
            looked_to: interval.end,
            fetched: 0,
            has_missed: is_missing,
        });
        return None;
    };
    let mut reading = readings.remove(index);
    reading.in_a_row += 1;
    reading.has_missed |= is_missing;
    reading.read += interval.end - interval.start;
    reading.next = reading.next.max(interval.end);
    reading.looked_to = reading.looked_to.max(interval.end);
    let due = due(&reading, size);
    if let Some(due) = &due {
        reading.looked_to = due.end;
    }
    readings.push(reading);
    due
}

/// As much again as was read in a row, when less than half of that is left.
fn due(reading: &Reading, size: u64) -> Option<Range<u64>> {
    let width = reading.read.min(WIDEST);
    let end = reading.next.saturating_add(width).min(size);
    let is_due = reading.has_missed
        && reading.in_a_row >= IN_A_ROW
        && reading.looked_to - reading.next <= width / 2;
    (is_due && reading.looked_to < end).then_some(reading.looked_to..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::version;
    use crate::telemetry::Metrics;

    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 100 * MIB;

    fn noted(reads: impl IntoIterator<Item = Range<u64>>) -> Vec<Option<(u64, u64)>> {
        let mut readings = Vec::new();
        let mut note = |read| note(&mut readings, &read, SIZE, true);
        let ahead = |due: Range<u64>| (due.start / MIB, due.end / MIB);
        reads
            .into_iter()
            .map(|read| note(read).map(ahead))
            .collect()
    }

    #[test]
    fn a_sequential_reader_is_read_ahead_of_further_and_further() {
        let ahead = noted((0..20).map(|index| index * MIB..(index + 1) * MIB));
        assert_eq!(ahead[..3], [None, None, None]);
        let due: Vec<_> = ahead.iter().flatten().copied().collect();
        assert_eq!(due[..4], [(4, 8), (8, 12), (12, 16), (16, 20)]);
        // Nothing is fetched twice, and nobody is ever further behind than the width.
        assert!(due.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }

    #[test]
    fn it_ends_with_the_object() {
        let mut readings = Vec::new();
        let last = (96..100)
            .filter_map(|index| note(&mut readings, &(index * MIB..(index + 1) * MIB), SIZE, true))
            .collect::<Vec<_>>();
        assert_eq!(last, []);
    }

    #[test]
    fn where_nothing_is_missing_nothing_is_fetched_ahead() {
        let mut readings = Vec::new();
        let mut read = |index: u64, is_missing| {
            note(
                &mut readings,
                &(index * MIB..(index + 1) * MIB),
                SIZE,
                is_missing,
            )
        };
        assert!((0..20).all(|index| read(index, false).is_none()));
        // The first run ended here; once it is clear that this one goes on, it is read ahead of.
        assert_eq!(read(20, true), Some(21 * MIB..29 * MIB));
        assert!((21..30).any(|index| read(index, false).is_some()));
    }

    #[test]
    fn leaps_are_not_followed() {
        let leaps = (0..50).map(|index| index * 2 * MIB..index * 2 * MIB + 80_000);
        assert!(noted(leaps).iter().all(Option::is_none));
        // Three columns of each row group.
        let columns = (0..10).flat_map(|group| {
            (0..3).map(move |column| {
                let start = group * 9 * MIB + column * 80_000;
                start..start + 80_000
            })
        });
        assert!(noted(columns).iter().all(Option::is_none));
    }

    #[test]
    fn several_readers_of_one_object_are_told_apart() {
        let reads = (0..12).flat_map(|index| {
            [0, 40, 70].map(|start| (start + index) * MIB..(start + index + 1) * MIB)
        });
        let due = noted(reads).iter().flatten().count();
        assert!(due >= 6, "{due}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut readings = Vec::new();
        for index in 0..1000 {
            note(
                &mut readings,
                &(index * MIB..index * MIB + 1),
                1000 * MIB,
                true,
            );
        }
        assert_eq!(readings.len(), READERS);
    }

    #[test]
    fn objects_that_are_remembered_are_bounded() {
        let ahead = Ahead::new(BlockSize::DEFAULT, Metrics::new().cache());
        for index in 0..2 * MAX_OBJECTS {
            let version = version(&index.to_string(), SIZE);
            ahead.note(&version, &(0..MIB), true);
        }
        ahead.objects.run_pending_tasks();
        assert!(ahead.objects.entry_count() <= MAX_OBJECTS);
    }
}
