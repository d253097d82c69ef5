//! What was evicted lately, as hashes: who comes back has been wanted at a distance that the window is
//! too short for.

/// Slots that one hash may lie in.
const WAYS: usize = 4;

/// Slots at least, and at most (32 MiB).
const SLOTS: std::ops::RangeInclusive<usize> = 256..=4 << 20;

/// How finely the passing of a capacity is told.
const TICKS: u64 = 1 << 12;

/// Capacities of evictions that are remembered.
const CAPACITIES: usize = 5;

/// How long ago an entry was evicted, in bytes that were evicted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evicted {
    /// Less than seven tenths of the capacity.
    Lately,
    /// Longer ago.
    LongAgo,
}

/// A fixed number of slots in groups; in a group the oldest makes room.
#[derive(Debug)]
pub(super) struct Ghost {
    groups: Vec<[Slot; WAYS]>,
    /// Bytes evicted so far.
    clock: u64,
    /// Bytes in a tick.
    tick: u64,
    /// Of the cache.
    capacity: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    /// When it was evicted, in ticks; 0 is an empty slot.
    tick: u32,
}

const EMPTY: Slot = Slot { hash: 0, tick: 0 };

impl Ghost {
    pub(super) fn new(capacity: u64) -> Self {
        let tick = (capacity / TICKS).max(1);
        Self {
            groups: vec![[EMPTY; WAYS]; SLOTS.start() / WAYS],
            clock: tick,
            tick,
            capacity,
        }
    }

    /// Another capacity. What was evicted before is remembered, unless the capacity has become so
    /// different that its time is told too coarsely or too finely.
    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
        let fitting = (capacity / TICKS).max(1);
        if fitting > self.tick.saturating_mul(8) || fitting < self.tick / 8 {
            *self = Self::new(capacity);
        }
    }

    /// Makes room for as many evictions as happen in that time, with so many entries in the cache.
    pub(super) fn fit(&mut self, entries: usize) {
        let wanted = entries
            .saturating_mul(CAPACITIES)
            .clamp(*SLOTS.start(), *SLOTS.end());
        if wanted <= self.groups.len() * WAYS {
            return;
        }
        let groups = vec![[EMPTY; WAYS]; wanted.next_power_of_two() / WAYS];
        let old = std::mem::replace(&mut self.groups, groups);
        for slot in old.into_iter().flatten().filter(|slot| slot.tick != 0) {
            self.put(slot);
        }
    }

    /// Remembers an evicted entry.
    pub(super) fn remember(&mut self, hash: u64, weight: u64) {
        self.clock = self.clock.wrapping_add(weight);
        let tick = self.now();
        self.put(Slot {
            hash: low_half(hash),
            tick,
        });
    }

    /// Whether and when an entry was evicted. It is forgotten by that.
    pub(super) fn recall(&mut self, hash: u64) -> Option<Evicted> {
        let (hash, now) = (low_half(hash), self.now());
        let group = self.group(hash);
        let slot = group
            .iter_mut()
            .find(|slot| slot.tick != 0 && slot.hash == hash)?;
        let ticks = u64::from(now.wrapping_sub(slot.tick));
        *slot = EMPTY;
        let bytes = ticks.saturating_mul(self.tick);
        if bytes <= self.capacity / 10 * 7 {
            Some(Evicted::Lately)
        } else if bytes <= self.capacity.saturating_mul(CAPACITIES as u64) {
            Some(Evicted::LongAgo)
        } else {
            None
        }
    }

    fn put(&mut self, slot: Slot) {
        let now = self.now();
        let age = |slot: &Slot| match slot.tick {
            0 => u32::MAX,
            tick => now.wrapping_sub(tick),
        };
        let group = self.group(slot.hash);
        let same = group.iter().position(|other| other.hash == slot.hash);
        let oldest = (0..WAYS).max_by_key(|&way| age(&group[way]));
        if let Some(way) = same.or(oldest) {
            group[way] = slot;
        }
    }

    fn group(&mut self, hash: u32) -> &mut [Slot; WAYS] {
        let mask = self.groups.len() - 1;
        &mut self.groups[hash as usize & mask]
    }

    /// Never 0, so that it can be told from an empty slot.
    fn now(&self) -> u32 {
        low_half(self.clock / self.tick).max(1)
    }
}

/// The lower 32 bits.
pub(super) fn low_half(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
    }

    #[test]
    fn tells_lately_from_long_ago_and_forgets_then() {
        let mut ghost = Ghost::new(1000 << 20);
        ghost.fit(1000);
        for n in 0..7000 {
            ghost.remember(hash(n), 1 << 20);
        }
        let mut told = |range: std::ops::Range<u64>, answer| {
            let len = range.end - range.start;
            let same = range.filter(|&n| ghost.recall(hash(n)) == answer).count();
            same as u64 * 10 >= len * 9
        };
        assert!(told(6350..7000, Some(Evicted::Lately)));
        assert!(told(2100..5900, Some(Evicted::LongAgo)));
        assert!(told(0..1900, None));
        assert!(told(7000..9000, None));
    }

    #[test]
    fn recalls_once() {
        let mut ghost = Ghost::new(100);
        ghost.remember(7, 1);
        assert_eq!(ghost.recall(7), Some(Evicted::Lately));
        assert_eq!(ghost.recall(7), None);
    }

    #[test]
    fn growing_loses_nothing() {
        let mut ghost = Ghost::new(1 << 40);
        for n in 0..50 {
            ghost.remember(hash(n), 1);
        }
        ghost.fit(100_000);
        assert!((0..50).all(|n| ghost.recall(hash(n)).is_some()));
    }

    #[test]
    fn a_slightly_different_capacity_loses_nothing() {
        let mut ghost = Ghost::new(1 << 40);
        ghost.remember(hash(1), 1 << 20);
        for step in 0..1000 {
            ghost.resize((1 << 40) - (step << 25));
        }
        assert_eq!(ghost.recall(hash(1)), Some(Evicted::Lately));
        ghost.remember(hash(1), 1 << 20);
        ghost.resize(1 << 20);
        assert_eq!(ghost.recall(hash(1)), None);
    }

    #[test]
    fn is_bounded() {
        let mut ghost = Ghost::new(0);
        ghost.fit(usize::MAX);
        assert_eq!(ghost.groups.len() * WAYS, *SLOTS.end());
        ghost.remember(1, u64::MAX);
        ghost.remember(2, u64::MAX);
        ghost.recall(1);
    }
}
