//! The heaviest names of a stream, in bounded memory: Space-Saving, with weights.
//!
//! A name that is not among those counted takes the place of the lightest one and begins with its
//! weight, which is how much it may be overrated. Whatever weighs more than the whole stream divided
//! by the capacity is in it for sure.
//! <https://www.cs.ucsb.edu/sites/default/files/documents/2005-23.pdf>

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;

use super::Counts;

/// The heaviest of the names that were added.
#[derive(Debug)]
pub(super) struct Sketch {
    capacity: usize,
    /// Apart from the rest, since the lightest is looked for.
    weights: Vec<u64>,
    entries: Vec<Entry>,
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
}

/// Hashes of names are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) hash: u64,
    pub(super) name: Box<str>,
    /// What was counted since it came.
    pub(super) counts: Counts,
    /// By how much its weight may be too high.
    pub(super) error: u64,
}

impl Sketch {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            weights: Vec::new(),
            entries: Vec::new(),
            places: HashMap::default(),
        }
    }

    /// Counts something of a name, by this weight.
    pub(super) fn add(&mut self, hash: u64, name: &str, weight: u64, counts: &Counts) {
        if weight == 0 {
            return;
        }
        if let Some(place) = self.places.get(&hash) {
            self.weights[*place] += weight;
            self.entries[*place].counts.add(counts);
            return;
        }
        let mut entry = Entry {
            hash,
            name: name.into(),
            counts: *counts,
            error: 0,
        };
        if self.entries.len() < self.capacity {
            self.places.insert(hash, self.entries.len());
            self.weights.push(weight);
            self.entries.push(entry);
            return;
        }
        let lightest = self
            .weights
            .iter()
            .enumerate()
            .min_by_key(|(_, weight)| **weight);
        let Some((place, lightest)) = lightest.map(|(place, weight)| (place, *weight)) else {
            return;
        };
        entry.error = lightest;
        self.places.remove(&self.entries[place].hash);
        self.places.insert(hash, place);
        self.weights[place] = lightest + weight;
        self.entries[place] = entry;
    }

    /// All that are counted, in no order, with their weights.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.weights.iter().copied().zip(&self.entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(sketch: &mut Sketch, number: u64, weight: u64) {
        let counts = Counts {
            requests: 1,
            ..Counts::default()
        };
        sketch.add(number, &number.to_string(), weight, &counts);
    }

    #[test]
    fn as_long_as_there_is_room_it_is_exact() {
        let mut sketch = Sketch::new(3);
        for (number, weight) in [(1, 5), (2, 1), (1, 5), (3, 2), (3, 0)] {
            add(&mut sketch, number, weight);
        }
        let mut found: Vec<_> = sketch
            .entries()
            .map(|(weight, entry)| (entry.hash, weight, entry.counts.requests, entry.error))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [(1, 10, 2, 0), (2, 1, 1, 0), (3, 2, 1, 0)]);
        // No more room: the lightest goes.
        add(&mut sketch, 4, 1);
        let last = sketch.entries().find(|(_, entry)| entry.hash == 4).unwrap();
        assert_eq!((last.0, last.1.error), (2, 1));
        assert_eq!(sketch.entries().count(), 3);
        assert!(sketch.entries().all(|(_, entry)| entry.hash != 2));
    }

    proptest! {
        /// The guarantees of the paper.
        #[test]
        fn heavy_names_are_never_missed(stream in prop::collection::vec((0..60_u64, 1..20_u64), 1..800)) {
            const CAPACITY: usize = 16;
            let mut sketch = Sketch::new(CAPACITY);
            let mut exact: HashMap<u64, u64> = HashMap::new();
            for (number, weight) in &stream {
                add(&mut sketch, *number % 8 * *number, *weight);
                *exact.entry(*number % 8 * *number).or_default() += weight;
            }
            let total: u64 = exact.values().sum();
            let found: HashMap<u64, (u64, u64)> = sketch
                .entries()
                .map(|(weight, entry)| (entry.hash, (weight, entry.error)))
                .collect();
            prop_assert!(found.len() <= CAPACITY);
            for (number, weight) in &exact {
                match found.get(number) {
                    Some((counted, error)) => {
                        prop_assert!(counted >= weight && counted - error <= *weight);
                    }
                    None => prop_assert!(weight * CAPACITY as u64 <= total),
                }
            }
        }
    }
}
