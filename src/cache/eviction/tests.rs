//! The policy against a plain model, and against least-recently-used on a scan.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;

use super::Policy;
use super::Priority;

/// Drops what was not used for longest.
struct Lru {
    capacity: u64,
    used: u64,
    clock: u64,
    entries: HashMap<u64, (u64, u64)>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    fn new(capacity: u64) -> Self {
        Self {
            capacity,
            used: 0,
            clock: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    fn read(&mut self, key: u64, weight: u64) -> bool {
        self.clock += 1;
        let known = self.entries.insert(key, (self.clock, weight));
        self.order.insert(self.clock, key);
        if let Some((time, _)) = known {
            self.order.remove(&time);
            return true;
        }
        self.used += weight;
        while self.used > self.capacity {
            let (_, oldest) = self.order.pop_first().unwrap();
            self.used -= self.entries.remove(&oldest).unwrap().1;
        }
        false
    }
}

fn read(policy: &Policy<u64>, key: u64, weight: u64, priority: Priority) -> bool {
    if policy.touch(&key) {
        return true;
    }
    policy.insert(key, weight, priority);
    policy.evict_until_fits();
    false
}

#[test]
fn a_scan_of_four_times_the_cache_leaves_the_hot_set() {
    let capacity = 4000;
    let policy = Policy::new(capacity);
    let mut lru = Lru::new(capacity);
    let hot: Vec<u64> = (0..700).collect(); // 2,800 of 4,000
    for _ in 0..2 {
        for &key in &hot {
            read(&policy, key, 4, Priority::Normal);
            lru.read(key, 4);
        }
    }
    for key in 10_000..14_000 {
        read(&policy, key, 4, Priority::Normal);
        lru.read(key, 4);
    }
    let kept = hot.iter().filter(|key| policy.has(key)).count();
    let kept_by_lru = hot.iter().filter(|&&key| lru.read(key, 4)).count();
    assert!(kept * 100 >= hot.len() * 95, "{kept} of {}", hot.len());
    assert_eq!(kept_by_lru, 0, "the scan is long enough to matter");
}

/// Sequential readers come back to an entry for each of its pieces.
#[test]
fn a_scan_in_small_pieces_is_one_scan() {
    let policy = Policy::new(4000);
    for _ in 0..3 {
        for key in 0..700 {
            read(&policy, key, 4, Priority::Normal);
        }
    }
    for streams in (10_000..14_000).step_by(8) {
        for _ in 0..16 {
            for stream in 0..8 {
                read(&policy, streams + stream, 4, Priority::Normal);
            }
        }
    }
    let kept = (0..700).filter(|key| policy.has(key)).count();
    assert!(kept >= 665, "{kept}");
}

#[test]
fn scans_between_reads_leave_the_hot_set() {
    let capacity = 4000;
    let policy = Policy::new(capacity);
    let (mut hits, mut reads, mut cold) = (0, 0, 1 << 32);
    for round in 0..20 {
        for key in 0..500 {
            let hit = read(&policy, key, 4, Priority::Normal);
            if round > 3 {
                reads += 1;
                hits += u32::from(hit);
            }
            for _ in 0..8 {
                cold += 1;
                read(&policy, cold, 4, Priority::Normal);
            }
        }
    }
    assert!(hits * 100 >= reads * 95, "{hits} of {reads}");
}

/// Whichever part it keeps, no more than the capacity's share of the loop can be found.
#[test]
fn a_loop_longer_than_the_cache_finds_a_part_of_itself() {
    for len in (1100..6000).step_by(400) {
        let policy = Policy::new(1000);
        let (rounds, mut hits) = (9, 0);
        for round in 0..rounds {
            for key in 0..len {
                let hit = read(&policy, key, 1, Priority::Normal);
                hits += u64::from(hit && round > 0);
            }
        }
        let best = 1000 * (rounds - 1);
        assert!(
            hits * 100 >= best * 80,
            "{hits} of {best} in loops of {len}"
        );
    }
}

#[test]
fn another_hot_set_takes_over() {
    let policy = Policy::new(1000);
    for set in 0..5 {
        let mut hits = 0;
        for round in 0..20 {
            for key in 0..700 {
                let hit = read(&policy, set * 10_000 + key, 1, Priority::Normal);
                hits += u32::from(hit && round == 19);
            }
        }
        assert!(hits > 650, "{hits} of set {set}");
    }
}

#[test]
fn what_is_protected_outlives_a_scan_that_reads_everything_twice() {
    let policy = Policy::new(1000);
    for footer in 0..200 {
        read(&policy, footer, 1, Priority::High);
    }
    for key in 1000..20_000 {
        read(&policy, key, 1, Priority::Normal);
        read(&policy, key, 1, Priority::Normal);
    }
    let kept = (0..200).filter(|footer| policy.has(footer)).count();
    assert_eq!(kept, 200);
}

#[test]
fn what_is_protected_takes_no_more_than_its_share() {
    let policy = Policy::new(1000);
    for round in 0..3 {
        for key in 0..700 {
            read(&policy, key, 1, Priority::Normal);
            read(&policy, round * 10_000 + 5000 + key, 1, Priority::High);
        }
    }
    let kept = (0..700).filter(|key| policy.has(key)).count();
    assert!(kept > 600, "{kept}");
}

#[test]
fn an_entry_heavier_than_the_capacity_goes_again() {
    let policy = Policy::new(10);
    policy.insert(1, 5, Priority::Normal);
    policy.insert(2, u64::MAX, Priority::High);
    policy.insert(3, u64::MAX, Priority::Normal);
    policy.evict_until_fits();
    assert!(policy.used() <= 10);
    policy.remove(&1);
    assert_eq!((policy.used(), policy.len()), (0, 0));
}

#[test]
fn hot_entries_do_not_make_eviction_slow() {
    let policy = Policy::new(50_000);
    let heats: Vec<_> = (0..50_000)
        .map(|key| policy.insert(key, 1, Priority::Normal))
        .collect();
    for _ in 0..5 {
        policy.insert(u64::MAX, 10_000, Priority::Normal); // time passes
        policy.remove(&u64::MAX);
        for heat in &heats {
            heat.touch();
        }
    }
    policy.resize(25_000);
    let before = policy.entries().len();
    assert!(policy.evict().is_some());
    policy.evict_until_fits();
    assert_eq!(before - policy.len(), 25_000);
}

#[test]
fn threads_touch_insert_and_evict_at_once() {
    let policy = Arc::new(Policy::new(1000));
    let workers: Vec<_> = (0..4_u64)
        .map(|worker| {
            let policy = Arc::clone(&policy);
            thread::spawn(move || {
                for step in 0..20_000_u64 {
                    let key = (step * (worker + 1)) % 3000;
                    read(&policy, key, 1 + key % 5, Priority::Normal);
                    if step % 50 == 0 {
                        policy.remove(&(key / 2));
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    policy.evict_until_fits();
    let weights: u64 = policy.entries().iter().map(|(_, weight, _)| weight).sum();
    assert_eq!(weights, policy.used());
    assert!(policy.used() <= 1000);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u64, bool),
    Grow(u8, u64),
    Shrink(u8, u64),
    Touch(u8),
    Remove(u8),
    Evict,
    Fit,
    Resize(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..40_u8;
    let step = prop_oneof![
        6 => (key.clone(), 0..30_u64, any::<bool>()).prop_map(|(k, w, p)| Step::Insert(k, w, p)),
        2 => (key.clone(), 0..20_u64).prop_map(|(k, w)| Step::Grow(k, w)),
        1 => (key.clone(), 0..20_u64).prop_map(|(k, w)| Step::Shrink(k, w)),
        4 => key.clone().prop_map(Step::Touch),
        2 => key.prop_map(Step::Remove),
        1 => proptest::strategy::Just(Step::Evict),
        3 => proptest::strategy::Just(Step::Fit),
        1 => (0..300_u64).prop_map(Step::Resize),
    ];
    vec(step, 0..200)
}

proptest! {
    /// Keys and weights are those of a plain map less what was evicted; nothing is evicted that fits.
    #[test]
    fn keys_and_weights_are_those_of_a_map(steps in steps()) {
        let policy = Policy::new(100);
        let mut model: HashMap<u8, u64> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(key, weight, is_high) => {
                    let priority = if is_high { Priority::High } else { Priority::Normal };
                    policy.insert(key, weight, priority);
                    model.insert(key, weight);
                }
                Step::Grow(key, more) => {
                    let known = model.get_mut(&key).map(|weight| *weight += more).is_some();
                    assert_eq!(policy.grow(&key, more), known);
                }
                Step::Shrink(key, less) => {
                    let shrunk = model.get_mut(&key).map(|weight| *weight = weight.saturating_sub(less));
                    assert_eq!(policy.shrink(&key, less), shrunk.is_some());
                }
                Step::Touch(key) => assert_eq!(policy.touch(&key), model.contains_key(&key)),
                Step::Remove(key) => assert_eq!(policy.remove(&key), model.remove(&key)),
                Step::Evict => {
                    let is_over = model.values().sum::<u64>() > policy.capacity();
                    let gone = policy.evict();
                    assert_eq!(gone.is_some(), is_over);
                    if let Some((key, weight)) = gone {
                        assert_eq!(model.remove(&key), Some(weight));
                    }
                }
                Step::Fit => {
                    for (key, weight) in policy.evict_until_fits() {
                        assert!(model.values().sum::<u64>() > policy.capacity(), "{key} fitted");
                        assert_eq!(model.remove(&key), Some(weight));
                    }
                    assert!(policy.used() <= policy.capacity());
                }
                Step::Resize(capacity) => policy.resize(capacity),
            }
            assert_eq!(policy.used(), model.values().sum::<u64>());
            assert_eq!(policy.len(), model.len());
            let entries: HashMap<u8, u64> =
                policy.entries().into_iter().map(|(key, weight, _)| (key, weight)).collect();
            assert_eq!(entries, model);
        }
    }
}
