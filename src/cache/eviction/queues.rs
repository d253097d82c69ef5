//! The queues themselves: a window for what is new, the main queue for what proved itself, and one
//! for what is protected.

use std::collections::HashMap;
use std::hash::Hash;

use super::Heat;
use super::Priority;
use super::list::List;
use super::list::Slab;

/// The window may hold a tenth of the capacity.
const WINDOW_SHARE: u64 = 10;

/// What is protected may hold a quarter of the capacity.
const PROTECTED_SHARE: u64 = 4;

#[derive(Debug)]
pub(super) struct Queues<K> {
    places: HashMap<K, u32>,
    slab: Slab<Entry<K>>,
    window: Queue,
    main: Queue,
    protected: Queue,
    capacity: u64,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    weight: u64,
    heat: Heat,
    at: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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
        Self {
            places: HashMap::new(),
            slab: Slab::new(),
            window: Queue::new(),
            main: Queue::new(),
            protected: Queue::new(),
            capacity,
        }
    }

    pub(super) fn insert(&mut self, key: K, weight: u64, priority: Priority) -> Heat {
        if self.reweigh(&key, |_| weight) {
            let known = self
                .places
                .get(&key)
                .and_then(|&place| self.slab.get(place));
            return known.map(|entry| entry.heat.clone()).unwrap_or_default();
        }
        let at = match priority {
            Priority::Normal => Place::Window,
            Priority::High => Place::Protected,
        };
        let heat = Heat::default();
        let entry = Entry {
            key,
            weight,
            heat: heat.clone(),
            at,
        };
        if let Some(place) = self.slab.keep(entry) {
            self.places.insert(key, place);
            self.enqueue(place, at);
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
        let (new, at) = (entry.weight, entry.at);
        let queue = self.queue(at);
        queue.bytes = queue.bytes - old + new;
        true
    }

    pub(super) fn touch(&self, key: &K) -> bool {
        let known = self.places.get(key).and_then(|&place| self.slab.get(place));
        known.is_some_and(|entry| {
            entry.heat.touch();
            true
        })
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
        loop {
            let at = if self.window.bytes > self.capacity / WINDOW_SHARE {
                Place::Window
            } else if self.protected.bytes > self.capacity / PROTECTED_SHARE {
                Place::Protected
            } else if self.main.list.len > 0 {
                Place::Main
            } else if self.window.list.len > 0 {
                Place::Window
            } else {
                Place::Protected
            };
            let place = self.queue(at).list.front()?;
            let entry = self.slab.get(place)?;
            let degrees = entry.heat.degrees();
            if degrees == 0 {
                let key = entry.key;
                return self.remove(&key).map(|weight| (key, weight));
            }
            entry.heat.set(degrees - 1);
            self.dequeue(place);
            let to = if at == Place::Window { Place::Main } else { at };
            self.enqueue(place, to);
        }
    }

    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn used(&self) -> u64 {
        self.window.bytes + self.main.bytes + self.protected.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn queue(&mut self, at: Place) -> &mut Queue {
        match at {
            Place::Window => &mut self.window,
            Place::Main => &mut self.main,
            Place::Protected => &mut self.protected,
        }
    }

    fn enqueue(&mut self, place: u32, at: Place) {
        let Some(entry) = self.slab.get_mut(place) else {
            return;
        };
        entry.at = at;
        let weight = entry.weight;
        let queue = match at {
            Place::Window => &mut self.window,
            Place::Main => &mut self.main,
            Place::Protected => &mut self.protected,
        };
        queue.bytes += weight;
        queue.list.push_back(&mut self.slab, place);
    }

    fn dequeue(&mut self, place: u32) {
        let Some(entry) = self.slab.get(place) else {
            return;
        };
        let (weight, at) = (entry.weight, entry.at);
        let queue = match at {
            Place::Window => &mut self.window,
            Place::Main => &mut self.main,
            Place::Protected => &mut self.protected,
        };
        queue.bytes -= weight;
        queue.list.remove(&mut self.slab, place);
    }
}

impl Queue {
    const fn new() -> Self {
        Self {
            list: List::new(),
            bytes: 0,
        }
    }
}
