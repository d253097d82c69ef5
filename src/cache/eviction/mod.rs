//! Which entries have to go when a tier is full.
//!
//! [`Policy`] knows keys and weights, never bytes: a tier tells it what came, what was read and what
//! went, and asks it what to drop. A scan of many times the capacity passes through a small window and
//! leaves the rest alone. `benches/eviction.rs` compares it with least-recently-used.

mod ghost;
mod list;
mod queues;

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use queues::Queues;

/// How much an entry is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// As worthy as its use shows.
    #[default]
    Normal,
    /// Footers, metas, small objects: they stay when others go, up to a share of the capacity.
    High,
}

/// How warm one entry is. Touching it takes no lock and no look-up, so a tier keeps it beside the
/// bytes.
#[derive(Debug, Clone)]
pub struct Heat {
    warmth: Arc<Warmth>,
    clock: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Warmth {
    /// Touches that counted since it cooled.
    degrees: AtomicU8,
    /// When it came, or was touched last so that it counted.
    since: AtomicU32,
}

/// Decides what to evict. Every call takes constant time, amortized over the calls, and an entry
/// takes some 200 bytes, whatever its weight.
#[derive(Debug)]
pub struct Policy<K> {
    queues: RwLock<Queues<K>>,
}

impl<K: Copy + Eq + Hash> Policy<K> {
    /// For a tier of this many bytes.
    pub fn new(capacity: u64) -> Self {
        Self {
            queues: RwLock::new(Queues::new(capacity)),
        }
    }

    /// A new entry, or a known one that was written again: then its weight becomes this one. The
    /// caller evicts afterwards.
    pub fn insert(&self, key: K, weight: u64, priority: Priority) -> Heat {
        self.queues.write().insert(key, weight, priority)
    }

    /// Adds to the weight of a known entry. False when it is not known.
    pub fn grow(&self, key: &K, more: u64) -> bool {
        self.queues
            .write()
            .reweigh(key, |weight| weight.saturating_add(more))
    }

    /// Takes from the weight of a known entry. False when it is not known.
    pub fn shrink(&self, key: &K, less: u64) -> bool {
        self.queues
            .write()
            .reweigh(key, |weight| weight.saturating_sub(less))
    }

    /// Notes that an entry was read. [`Heat::touch`] is cheaper.
    pub fn touch(&self, key: &K) -> bool {
        self.queues.read().touch(key)
    }

    /// Forgets an entry that is gone for another reason than space. Gives its weight.
    pub fn remove(&self, key: &K) -> Option<u64> {
        self.queues.write().remove(key)
    }

    /// Gives up one entry if the weights exceed the capacity: its key and weight. The caller drops
    /// its bytes, and asks again until there is none.
    pub fn evict(&self) -> Option<(K, u64)> {
        self.queues.write().evict()
    }

    /// Gives up as many entries as it takes to fit.
    pub fn evict_until_fits(&self) -> Vec<(K, u64)> {
        if !self.is_over() {
            return Vec::new();
        }
        let mut queues = self.queues.write();
        std::iter::from_fn(|| queues.evict()).collect()
    }

    /// Another capacity from now on. The caller evicts afterwards.
    pub fn resize(&self, capacity: u64) {
        self.queues.write().resize(capacity);
    }

    /// Whether the weights exceed the capacity.
    pub fn is_over(&self) -> bool {
        let queues = self.queues.read();
        queues.used() > queues.capacity()
    }

    /// Whether an entry is known.
    pub fn has(&self, key: &K) -> bool {
        self.queues.read().has(key)
    }

    /// Every entry with its weight and priority, in no order.
    pub fn entries(&self) -> Vec<(K, u64, Priority)> {
        self.queues.read().entries().collect()
    }

    /// In bytes.
    pub fn capacity(&self) -> u64 {
        self.queues.read().capacity()
    }

    /// The sum of the weights.
    pub fn used(&self) -> u64 {
        self.queues.read().used()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.queues.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Heat {
    /// Beyond this many touches there is nothing to tell apart.
    const MOST: u8 = 3;

    /// With the clock of its policy.
    fn new(clock: &Arc<AtomicU32>) -> Self {
        let now = clock.load(Ordering::Relaxed);
        let warmth = Warmth {
            degrees: AtomicU8::new(0),
            since: AtomicU32::new(now),
        };
        Self {
            warmth: Arc::new(warmth),
            clock: Arc::clone(clock),
        }
    }

    /// Notes that the entry was read. Touches that follow each other closely count as one: a scan
    /// that reads an entry in many pieces has read it once.
    pub fn touch(&self) {
        let now = self.clock.load(Ordering::Relaxed);
        let age = now.wrapping_sub(self.warmth.since.load(Ordering::Relaxed));
        if age < queues::BURST_TICKS {
            return;
        }
        // Two at once may count as two, which does not matter, and nobody waits.
        self.warmth.since.store(now, Ordering::Relaxed);
        let degrees = self.degrees();
        if degrees < Self::MOST {
            self.set(degrees + 1);
        }
    }

    /// Has touches that follow closely count for nothing.
    fn renew(&self) {
        let now = self.clock.load(Ordering::Relaxed);
        self.warmth.since.store(now, Ordering::Relaxed);
    }

    fn degrees(&self) -> u8 {
        self.warmth.degrees.load(Ordering::Relaxed)
    }

    fn set(&self, degrees: u8) {
        self.warmth.degrees.store(degrees, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
