//! The caches: each is read key by key, and takes in what it lacks.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use s3proxy::cache::{Heat, Policy, Priority};

pub(crate) trait Cache {
    /// Whether it had the key. If not, it takes it in and drops what it likes.
    fn read(&mut self, key: u64) -> bool;
}

/// As the tiers use it: the warmth lies beside the bytes.
pub(crate) struct Ours {
    policy: Policy<u64>,
    held: HashMap<u64, Heat>,
}

impl Ours {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            // A weight of 64, so that shares of the capacity are whole numbers.
            policy: Policy::new(capacity as u64 * 64),
            held: HashMap::new(),
        }
    }
}

impl Cache for Ours {
    fn read(&mut self, key: u64) -> bool {
        if let Some(heat) = self.held.get(&key) {
            heat.touch();
            return true;
        }
        let heat = self.policy.insert(key, 64, Priority::Normal);
        self.held.insert(key, heat);
        while let Some((evicted, _)) = self.policy.evict() {
            self.held.remove(&evicted);
        }
        false
    }
}

pub(crate) struct Lru {
    capacity: usize,
    clock: u64,
    used_at: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            clock: 0,
            used_at: HashMap::new(),
            order: BTreeMap::new(),
        }
    }
}

impl Cache for Lru {
    fn read(&mut self, key: u64) -> bool {
        self.clock += 1;
        let before = self.used_at.insert(key, self.clock);
        self.order.insert(self.clock, key);
        if let Some(before) = before {
            self.order.remove(&before);
            return true;
        }
        if self.used_at.len() > self.capacity {
            let (_, oldest) = self.order.pop_first().unwrap();
            self.used_at.remove(&oldest);
        }
        false
    }
}

pub(crate) struct Moka(moka::sync::Cache<u64, ()>, u32);

impl Moka {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(moka::sync::Cache::new(capacity as u64), 0)
    }
}

impl Cache for Moka {
    fn read(&mut self, key: u64) -> bool {
        self.1 += 1;
        if self.1.is_multiple_of(64) {
            // What its housekeeping would do in time: without it the cache holds more than it may.
            self.0.run_pending_tasks();
        }
        if self.0.get(&key).is_some() {
            return true;
        }
        self.0.insert(key, ());
        false
    }
}

pub(crate) struct TinyUfo(pingora_memory_cache::MemoryCache<u64, ()>);

impl TinyUfo {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(pingora_memory_cache::MemoryCache::new(capacity))
    }
}

impl Cache for TinyUfo {
    fn read(&mut self, key: u64) -> bool {
        if self.0.get(&key).0.is_some() {
            return true;
        }
        self.0.put(&key, (), None);
        false
    }
}

/// Hits of the one that drops what is read again last (Belady).
pub(crate) fn best(keys: &[u64], capacity: usize) -> usize {
    let mut next = vec![usize::MAX; keys.len()];
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for (index, &key) in keys.iter().enumerate().rev() {
        next[index] = seen.insert(key, index).unwrap_or(usize::MAX);
    }
    // By when it is read again; entries that were read since are passed over.
    let mut farthest: BinaryHeap<(usize, u64)> = BinaryHeap::new();
    let mut held: HashMap<u64, usize> = HashMap::new();
    let mut hits = 0;
    for (index, &key) in keys.iter().enumerate() {
        hits += usize::from(held.insert(key, next[index]).is_some());
        farthest.push((next[index], key));
        while held.len() > capacity {
            let (time, key) = farthest.pop().unwrap();
            if held.get(&key) == Some(&time) {
                held.remove(&key);
            }
        }
    }
    hits
}
