//! The fence against writes: what was asked before a write counts for nothing after it.
//!
//! Whoever asks an origin notes the generation of the object first; whoever writes advances it, once
//! before the write is forwarded and once more before its client sees the answer. What was noted and
//! what is current differ from then on, however late the answer to the question comes in.
//!
//! The table is fixed, and objects share its slots by hash. A shared slot makes an innocent object
//! be asked for once more and never does harm.
//!
//! A generation is the number of the last write among all writes. So whoever asks about objects that
//! it cannot name yet, by listing a bucket, notes the number alone, and can tell afterwards of each
//! object whether it was written since.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ObjectName;

/// 512 KiB. Of a thousand objects in use, a write to another one hits 15 in a thousand times.
const OBJECT_SLOTS: usize = 1 << 16;

/// 8 KiB; writes to whole buckets are rare.
const BUCKET_SLOTS: usize = 1 << 10;

// Every access is `SeqCst`. A writer advances and then asks the origin; a reader notes and then asks
// the origin; a third looks at both the slot and an entry of the cache. With acquire and release each
// pair is in order, but nothing says that all of them agree on one order of slot, entry and the
// bucket's slot. A `SeqCst` load costs what a plain one costs on x86-64 and little more on aarch64.
const ORDER: Ordering = Ordering::SeqCst;

/// Generations of all objects.
pub struct Generations {
    objects: Box<[AtomicU64]>,
    buckets: Box<[AtomicU64]>,
    /// Writes so far.
    writes: AtomicU64,
    seed: u64,
}

/// A moment between two writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

/// Which generation an object was in at some moment. Only equality means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation {
    object: u64,
    bucket: u64,
}

impl Generation {
    /// Whether nothing was written since the process began.
    pub fn is_first(self) -> bool {
        self.object == 0 && self.bucket == 0
    }
}

impl Default for Generations {
    fn default() -> Self {
        // Nobody shall choose a key that shares the slot of somebody else's.
        Self::new(RandomState::new().hash_one(0_u8))
    }
}

impl Generations {
    /// Places objects by this seed.
    pub fn new(seed: u64) -> Self {
        let slots = |count| std::iter::repeat_with(AtomicU64::default).take(count);
        Self {
            objects: slots(OBJECT_SLOTS).collect(),
            buckets: slots(BUCKET_SLOTS).collect(),
            writes: AtomicU64::new(0),
            seed,
        }
    }

    /// The generation that an object is in.
    pub fn current(&self, name: &ObjectName) -> Generation {
        let (object, bucket) = self.slots(name);
        Generation {
            object: object.load(ORDER),
            bucket: bucket.load(ORDER),
        }
    }

    /// The present moment.
    pub fn moment(&self) -> Moment {
        Moment(self.writes.load(ORDER))
    }

    /// The generation that an object has been in ever since a moment; `None` when it was written
    /// after it.
    pub fn since(&self, name: &ObjectName, moment: Moment) -> Option<Generation> {
        let current = self.current(name);
        (current.object <= moment.0 && current.bucket <= moment.0).then_some(current)
    }

    /// A write to the object: what was asked before is outdated.
    pub fn advance(&self, name: &ObjectName) {
        self.count(self.slots(name).0);
    }

    /// A write to anything in the bucket, or to the bucket itself.
    pub fn advance_bucket(&self, origin: &str, bucket: &str) {
        let hash = self.bucket_hash(origin, bucket);
        self.count(slot(&self.buckets, hash));
    }

    /// Puts the number of a new write into a slot. Numbers in a slot only grow: the number is taken
    /// after a look at the slot, and put there only if nobody else has put one meanwhile.
    fn count(&self, slot: &AtomicU64) {
        let mut before = slot.load(ORDER);
        loop {
            let write = self.writes.fetch_add(1, ORDER) + 1;
            match slot.compare_exchange(before, write, ORDER, ORDER) {
                Ok(_) => return,
                Err(other) => before = other,
            }
        }
    }

    fn slots(&self, name: &ObjectName) -> (&AtomicU64, &AtomicU64) {
        let bucket = self.bucket_hash(&name.origin, name.bucket.as_str());
        let object = xxh3_64_with_seed(name.key.as_str().as_bytes(), bucket);
        (slot(&self.objects, object), slot(&self.buckets, bucket))
    }

    fn bucket_hash(&self, origin: &str, bucket: &str) -> u64 {
        let origin = xxh3_64_with_seed(origin.as_bytes(), self.seed);
        xxh3_64_with_seed(bucket.as_bytes(), origin)
    }
}

/// Both tables have a power of two of slots.
fn slot(table: &[AtomicU64], hash: u64) -> &AtomicU64 {
    let place = hash & (table.len() as u64 - 1);
    &table[usize::try_from(place).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Bucket;
    use crate::s3::Key;

    fn name(origin: &str, bucket: &str, key: &str) -> ObjectName {
        ObjectName {
            origin: origin.into(),
            bucket: Bucket::new(bucket).unwrap(),
            key: Key::new(key).unwrap(),
        }
    }

    #[test]
    fn a_write_outdates_its_object_and_hardly_another() {
        let generations = Generations::new(7);
        let written = name("o", "b", "k");
        let others: Vec<_> = (0..1000).map(|n| name("o", "b", &format!("{n}"))).collect();
        let before = generations.current(&written);
        let others_before: Vec<_> = others.iter().map(|n| generations.current(n)).collect();
        generations.advance(&written);
        assert_ne!(generations.current(&written), before);
        let now = others.iter().map(|name| generations.current(name));
        let touched = now.zip(&others_before).filter(|(a, b)| a != *b).count();
        assert!(touched <= 2, "{touched}");
    }

    #[test]
    fn a_write_to_a_bucket_outdates_all_of_it() {
        let generations = Generations::new(7);
        let inside: Vec<_> = (0..100).map(|n| name("o", "b", &format!("{n}"))).collect();
        let outside = [name("o", "c", "1"), name("p", "b", "1")];
        let before: Vec<_> = inside.iter().map(|n| generations.current(n)).collect();
        let outside_before = outside.each_ref().map(|n| generations.current(n));
        generations.advance_bucket("o", "b");
        for (name, before) in inside.iter().zip(before) {
            assert_ne!(generations.current(name), before);
        }
        assert_eq!(
            outside.each_ref().map(|n| generations.current(n)),
            outside_before
        );
    }

    #[test]
    fn what_was_written_since_a_moment_is_told_apart() {
        let generations = Generations::new(7);
        let (before, after) = (name("o", "b", "before"), name("o", "b", "after"));
        generations.advance(&before);
        let moment = generations.moment();
        generations.advance(&after);
        let unchanged = Some(generations.current(&before));
        assert_eq!(generations.since(&before, moment), unchanged);
        assert_eq!(generations.since(&after, moment), None);
        generations.advance_bucket("o", "b");
        assert_eq!(generations.since(&before, moment), None);
        let elsewhere = name("o", "c", "before");
        assert!(generations.since(&elsewhere, moment).is_some());
    }

    #[test]
    fn writers_at_once_all_count() {
        let generations = Generations::new(7);
        let object = name("o", "b", "k");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let (before, moment) = (generations.current(&object), generations.moment());
                        generations.advance(&object);
                        assert_ne!(generations.current(&object), before);
                        assert_eq!(generations.since(&object, moment), None);
                    }
                });
            }
        });
    }

    #[test]
    fn origin_bucket_and_key_do_not_run_into_each_other() {
        let generations = Generations::new(7);
        let names = [
            name("a", "bc", "d"),
            name("ab", "c", "d"),
            name("a", "b", "cd"),
        ];
        let before = names.each_ref().map(|name| generations.current(name));
        generations.advance(&names[0]);
        assert_eq!(generations.current(&names[1]), before[1]);
        assert_eq!(generations.current(&names[2]), before[2]);
    }
}
