//! What is read, one key after the other.

use crate::measure::Dice;

/// A trace, and how many keys the cache may hold.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) capacity: usize,
    make: fn(&mut Dice, u64) -> Vec<u64>,
}

impl Trace {
    /// All of them; everything is divided by `shrink`.
    pub(crate) fn all(shrink: usize) -> Vec<Self> {
        let trace = |name, make| Self {
            name,
            capacity: 4000 / shrink,
            make,
        };
        vec![
            trace("points, Zipf 0.9", points),
            trace(
                "points, and full scans of 4 times the cache between",
                points_and_scans,
            ),
            trace(
                "dashboards, and exports that read each key once",
                dashboards_and_exports,
            ),
            trace("a loop over 1.2 times the cache", short_loop),
            trace("a loop over 3 times the cache", long_loop),
            trace(
                "22 queries over columns of 2 times the cache, repeated",
                queries_small,
            ),
            trace(
                "22 queries over columns of 5 times the cache, repeated",
                queries_large,
            ),
            trace("a working set of 0.8 of the cache that shifts", shifting),
            trace("a working set that is replaced at once", replaced),
        ]
    }

    pub(crate) fn keys(&self, seed: u64) -> Vec<u64> {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (self.make)(&mut dice, self.capacity as u64)
    }
}

/// Ranks by Zipf's law: the inverse of its distribution function, taken for continuous.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is positive and far below 2^53"
)]
fn zipf(dice: &mut Dice, count: u64, exponent: f64) -> u64 {
    let rest = 1.0 - exponent;
    let most = (count as f64).powf(rest);
    let rank = (dice.share() * (most - 1.0) + 1.0).powf(1.0 / rest);
    // Neighbouring ranks are no neighbours in any other way.
    rank as u64 % count
}

fn points(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    let reads = 100 * capacity;
    (0..reads).map(|_| zipf(dice, 10 * capacity, 0.9)).collect()
}

/// After each ten capacities of points a scan of what is read at no other time.
fn points_and_scans(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.extend((0..10 * capacity).map(|_| zipf(dice, 4 * capacity, 0.9)));
        keys.extend((0..4 * capacity).map(|key| (1 << 40) + key));
    }
    keys
}

/// Half of the cache is read over and over in bursts, while somebody reads everything else once.
fn dashboards_and_exports(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    let mut keys = Vec::new();
    let mut once = 1 << 40;
    for _ in 0..60 * capacity {
        if dice.roll(2) == 0 {
            keys.push(dice.roll(capacity / 2));
        } else {
            once += 1;
            keys.push(once);
        }
    }
    keys
}

fn short_loop(_dice: &mut Dice, capacity: u64) -> Vec<u64> {
    rounds(capacity * 6 / 5, 20)
}

fn long_loop(_dice: &mut Dice, capacity: u64) -> Vec<u64> {
    rounds(capacity * 3, 20)
}

fn rounds(length: u64, count: u64) -> Vec<u64> {
    (0..count).flat_map(|_| 0..length).collect()
}

fn queries_small(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    queries(dice, 2 * capacity)
}

fn queries_large(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    queries(dice, 5 * capacity)
}

/// As TPC-H reads: one table has most of the bytes and is in nearly every query, each query reads some
/// columns of two to five tables from end to end, and the 22 follow each other, again and again.
fn queries(dice: &mut Dice, dataset: u64) -> Vec<u64> {
    // Columns and their share of the bytes, in percent.
    const TABLES: [(u64, u64); 6] = [(16, 70), (9, 16), (5, 10), (8, 3), (9, 1), (7, 1)];
    let plans: Vec<Vec<(u64, u64)>> = (0..22)
        .map(|_| {
            let mut columns = Vec::new();
            for (table, (count, _)) in (0..).zip(TABLES) {
                if table == 0 && dice.roll(10) < 8 || table > 0 && dice.roll(10) < 4 {
                    let wanted = 2 + dice.roll(4);
                    let first = dice.roll(count);
                    columns.extend((0..wanted).map(|next| (table, (first + next) % count)));
                }
            }
            columns
        })
        .collect();
    let mut keys = Vec::new();
    for _ in 0..8 {
        for plan in &plans {
            for &(table, column) in plan {
                let (count, share) = TABLES[usize::try_from(table).unwrap()];
                let length = (dataset * share / 100 / count).max(1);
                let start = (table << 32) + (column << 24);
                keys.extend(start..start + length);
            }
        }
    }
    keys
}

/// After each three capacities of reads a tenth of it is new.
fn shifting(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    let size = capacity * 4 / 5;
    let mut keys = Vec::new();
    for step in 0..40 {
        let start = step * size / 10;
        keys.extend((0..3 * capacity).map(|_| start + dice.roll(size)));
    }
    keys
}

/// Yesterday's partition is not read again.
fn replaced(dice: &mut Dice, capacity: u64) -> Vec<u64> {
    let size = capacity * 4 / 5;
    let mut keys = Vec::new();
    for day in 0..10 {
        let start = day << 32;
        keys.extend((0..8 * capacity).map(|_| start + dice.roll(size)));
    }
    keys
}
