//! The queues themselves: a window for what is new, the main queue for what proved itself, and one
//! for what is protected.
//!
//! All three are queues in order of arrival whose oldest entry goes, or, if it was read since, goes
//! around once more and cools by a degree (S3-FIFO, SOSP 2023). Four things are ours: reads of an entry in quick succession count as one,
//! since a scan reads what it passes in many pieces; the window
//! spills into the main queue for as long as there is room, so that a loop longer than the capacity
//! finds a part of itself again; an entry that comes back soon after its eviction enters the main
//! queue only if the oldest there is cold, and cools it otherwise, so that such a loop does not wash
//! that part out; and the protected queue.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use super::Heat;
use super::Priority;
use super::ghost::Evicted;
use super::ghost::Ghost;
use super::list::List;
use super::list::Slab;

/// The window may hold a tenth of the capacity.
const WINDOW_SHARE: u64 = 10;

/// What is protected may hold a quarter of the capacity.
const PROTECTED_SHARE: u64 = 4;

/// Ticks of the clock in one capacity of insertions.
const TICKS: u64 = 320;

/// Touches within the time that an entry spends in the window are one: readers come back for the next
/// piece, and read-ahead is fetched before it is read.
pub(super) const BURST_TICKS: u32 = 32;

/// As long as a twentieth of the capacity is free, the cache is filling up.
const FREE_SHARE: u64 = 20;

/// So many entries that come back late cool one of the main queue. A loop over more than the capacity
/// warms each entry of the main queue once a round, and what it misses must cool fewer than that: of
/// those that come back early there are less than the main queue has, of late ones up to six times as
/// many.
const LATE_PER_COOLING: u32 = 8;

/// So many warm entries are passed over in one eviction; then one goes all the same.
const MOST_STEPS: usize = 512;

#[derive(Debug)]
pub(super) struct Queues<K> {
    places: HashMap<K, u32>,
    slab: Slab<Entry<K>>,
    queues: [Queue; 3],
    ghost: Ghost,
    /// Entries that came back late and cooled nothing yet.
    late: u32,
    /// Bytes inserted since the last tick.
    inserted: u64,
    clock: Arc<AtomicU32>,
    capacity: u64,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    weight: u64,
    heat: Heat,
    at: At,
}

/// Which queue an entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Window,
    Main,
    Protected,
}

#[derive(Debug)]
struct Queue {
    list: List,
    bytes: u64,
}

impl<K: Copy + Eq + Hash> Queues<K> {
    pub(super) fn new(capacity: u64) -> Self {
        let empty = || Queue {
            list: List::new(),
            bytes: 0,
        };
        Self {
            places: HashMap::new(),
            slab: Slab::new(),
            queues: [empty(), empty(), empty()],
            ghost: Ghost::new(capacity),
            late: 0,
            inserted: 0,
            clock: Arc::default(),
            capacity,
        }
    }

    pub(super) fn insert(&mut self, key: K, weight: u64, priority: Priority) -> Heat {
        if let Some(heat) = self.insert_again(&key, weight, priority) {
            return heat;
        }
        let at = match priority {
            Priority::High => At::Protected,
            Priority::Normal if self.challenges(&key) => At::Main,
            Priority::Normal => At::Window,
        };
        self.tick(weight);
        let heat = Heat::new(&self.clock);
        let entry = Entry {
            key,
            weight,
            heat: heat.clone(),
            at,
        };
        if let Some(place) = self.slab.keep(entry) {
            self.places.insert(key, place);
            self.enqueue(place, at);
            self.spill();
        }
        heat
    }

    /// Changes the weight of a known entry.
    pub(super) fn reweigh(&mut self, key: &K, change: impl FnOnce(u64) -> u64) -> bool {
        let Some(&place) = self.places.get(key) else {
            return false;
        };
        let Some(entry) = self.slab.get_mut(place) else {
            return false;
        };
        let old = entry.weight;
        entry.weight = change(old);
        let queue = &mut self.queues[entry.at as usize];
        let new = entry.weight;
        queue.bytes = queue.bytes.saturating_sub(old).saturating_add(new);
        if new > old {
            // What is still being filled is not yet read again.
            entry.heat.renew();
        }
        self.tick(new.saturating_sub(old));
        true
    }

    pub(super) fn touch(&self, key: &K) -> bool {
        self.entry(key)
            .map(|(_, entry)| entry.heat.touch())
            .is_some()
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<u64> {
        let place = self.places.remove(key)?;
        self.dequeue(place);
        self.slab.release(place).map(|entry| entry.weight)
    }

    pub(super) fn evict(&mut self) -> Option<(K, u64)> {
        if self.used() <= self.capacity {
            return None;
        }
        for step in 0.. {
            let at = self.fullest();
            let place = self.queues[at as usize].list.front()?;
            let entry = self.slab.get(place)?;
            let degrees = entry.heat.degrees();
            if degrees == 0 || step == MOST_STEPS {
                let (key, weight) = (entry.key, entry.weight);
                if at == At::Window {
                    let hash = self.hash(&key);
                    self.ghost.fit(self.places.len());
                    self.ghost.remember(hash, weight);
                }
                self.remove(&key);
                return Some((key, weight));
            }
            entry.heat.set(degrees - 1);
            self.dequeue(place);
            self.enqueue(place, if at == At::Window { At::Main } else { at });
        }
        None
    }

    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.ghost.resize(capacity);
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// Every entry, with its weight and how it would be inserted; in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (K, u64, Priority)> {
        self.places
            .values()
            .filter_map(|&place| self.slab.get(place))
            .map(|entry| {
                let priority = match entry.at {
                    At::Protected => Priority::High,
                    At::Window | At::Main => Priority::Normal,
                };
                (entry.key, entry.weight, priority)
            })
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn used(&self) -> u64 {
        let bytes = self.queues.iter().map(|queue| queue.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Weighs a known entry anew, and protects it from now on if that is asked.
    fn insert_again(&mut self, key: &K, weight: u64, priority: Priority) -> Option<Heat> {
        let (place, entry) = self.entry(key)?;
        let (at, heat) = (entry.at, entry.heat.clone());
        self.reweigh(key, |_| weight);
        if priority == Priority::High && at != At::Protected {
            self.dequeue(place);
            self.enqueue(place, At::Protected);
        }
        self.spill();
        Some(heat)
    }

    /// Whether a new entry may enter the main queue at once: it was evicted not long ago, and the
    /// oldest entry there is cold. If that is warm instead, it is cooler afterwards.
    fn challenges(&mut self, key: &K) -> bool {
        let hash = self.hash(key);
        let Some(evicted) = self.ghost.recall(hash) else {
            return false;
        };
        let main = &self.queues[At::Main as usize].list;
        let Some((place, oldest)) = main.front().and_then(|at| Some((at, self.slab.get(at)?)))
        else {
            return true;
        };
        let degrees = oldest.heat.degrees();
        if degrees == 0 {
            return true;
        }
        self.late += u32::from(evicted == Evicted::LongAgo);
        if evicted == Evicted::Lately || self.late == LATE_PER_COOLING {
            self.late = 0;
            oldest.heat.set(degrees - 1);
            self.dequeue(place);
            self.enqueue(place, At::Main);
        }
        false
    }

    /// Lets time pass: it is told by what comes in.
    fn tick(&mut self, bytes: u64) {
        let tick = (self.capacity / TICKS).max(1);
        self.inserted = self.inserted.saturating_add(bytes);
        let ticks = (self.inserted / tick) as u32;
        self.inserted %= tick;
        self.clock.fetch_add(ticks, Ordering::Relaxed);
    }

    /// While there is room, what leaves the window needs not prove itself.
    fn spill(&mut self) {
        while self.used() < self.capacity - self.capacity / FREE_SHARE
            && self.queues[At::Window as usize].bytes > self.capacity / WINDOW_SHARE
            && let Some(place) = self.queues[At::Window as usize].list.front()
        {
            self.dequeue(place);
            self.enqueue(place, At::Main);
        }
    }

    /// The queue to evict from.
    fn fullest(&self) -> At {
        let [window, main, protected] = &self.queues;
        if protected.bytes > self.capacity / PROTECTED_SHARE {
            At::Protected
        } else if window.bytes > self.capacity / WINDOW_SHARE
            || (main.list.len == 0 && window.list.len > 0)
        {
            At::Window
        } else if main.list.len > 0 {
            At::Main
        } else {
            At::Protected
        }
    }

    fn entry(&self, key: &K) -> Option<(u32, &Entry<K>)> {
        let &place = self.places.get(key)?;
        Some((place, self.slab.get(place)?))
    }

    fn enqueue(&mut self, place: u32, at: At) {
        let Some(entry) = self.slab.get_mut(place) else {
            return;
        };
        entry.at = at;
        let queue = &mut self.queues[at as usize];
        queue.bytes = queue.bytes.saturating_add(entry.weight);
        queue.list.push_back(&mut self.slab, place);
    }

    fn dequeue(&mut self, place: u32) {
        let Some(entry) = self.slab.get(place) else {
            return;
        };
        let queue = &mut self.queues[entry.at as usize];
        queue.bytes = queue.bytes.saturating_sub(entry.weight);
        queue.list.remove(&mut self.slab, place);
    }

    fn hash(&self, key: &K) -> u64 {
        self.places.hasher().hash_one(key)
    }
}
