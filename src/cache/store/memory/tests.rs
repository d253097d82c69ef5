//! The memory tier against a plain model, and what the model cannot see: which buffer a hit lies in.

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::LazyLock;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prop_oneof;
use proptest::proptest;

use super::*;
use crate::cache::ObjectName;
use crate::s3::Bucket;
use crate::s3::ETag;
use crate::s3::Key;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Short, so that a megabyte has many.
const SHORT: u64 = 16 * KIB;

fn version(name: u8, size: u64) -> Arc<ObjectVersion> {
    let object = ObjectName {
        origin: "o".into(),
        bucket: Bucket::new("lake").unwrap(),
        key: Key::new(&format!("key{name}")).unwrap(),
    };
    let etag = ETag::parse("\"1\"").unwrap();
    Arc::new(ObjectVersion::new(object, etag, size))
}

fn tier(capacity: u64, block: u64) -> MemoryTier {
    MemoryTier::new(capacity, BlockSize::new(block).unwrap())
}

/// Bytes that tell whose they are and where they lie: a part of a table whose length has no factor in
/// common with a block's.
fn content(version: &ObjectVersion, interval: Range<u64>) -> Bytes {
    static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..100_003).map(|_| next()).collect()
    });
    let start = interval.start + u64::from(version.id.as_bytes()[0]) * 331;
    let mut at = (start % TABLE.len() as u64) as usize;
    let length = (interval.end - interval.start) as usize;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let until = TABLE.len().min(at + length - bytes.len());
        bytes.extend_from_slice(&TABLE[at..until]);
        at = 0;
    }
    bytes.into()
}

fn put(tier: &MemoryTier, version: &Arc<ObjectVersion>, first: u64, blocks: u64) {
    let run = BlockIndex(first)..BlockIndex(first + blocks);
    let interval = tier.block_size.interval_of(&run, version.size);
    tier.put(version, run.start, &content(version, interval));
}

/// What a read finds, after a look at whether it is right. In blocks.
fn get(tier: &MemoryTier, version: &ObjectVersion, first: u64, at_most: u64) -> Option<u64> {
    let found = tier.get(&version.id, BlockIndex(first), at_most)?;
    let start = first * tier.block_size.bytes();
    let end = start + found.len() as u64;
    assert_eq!(found, content(version, start..end), "bytes at {start}");
    assert!(end == version.size || end.is_multiple_of(tier.block_size.bytes()));
    assert!(!found.is_empty());
    Some((end - start).div_ceil(tier.block_size.bytes()))
}

/// What the tier holds, counted from its buffers, must be what it says.
fn check_figures(tier: &MemoryTier) {
    let mut weight = 0;
    let mut stretches = 0;
    for shard in &tier.shards {
        for (segment, held) in shard.segments.read().iter() {
            assert!(!held.pieces.is_empty(), "an empty segment");
            for index in 0..BLOCKS_PER_SEGMENT as u32 / tier.stretch {
                let own = held.pieces.weight(&tier.places_in(index), OVERHEAD);
                let id = StretchId {
                    segment: *segment,
                    index,
                };
                assert_eq!(own > 0, tier.policy.has(&id), "{id:?}");
                stretches += u64::from(own > 0);
                weight += own;
            }
        }
    }
    let figures = tier.figures();
    assert_eq!((figures.bytes, figures.entries), (weight, stretches));
    assert!(weight <= figures.capacity, "{figures:?}");
}

#[test]
fn a_hit_is_a_slice_of_what_was_put() {
    let (tier, object) = (tier(64 * MIB, 64 * KIB), version(1, 8 * MIB));
    let bytes = content(&object, MIB..2 * MIB);
    tier.put(&object, BlockIndex(16), &bytes);
    let found = tier.get(&object.id, BlockIndex(19), 2).unwrap();
    assert_eq!(found.as_ptr(), bytes[3 * 65_536..].as_ptr());
    assert_eq!(found.len(), 2 * 65_536);
    let found = tier.get(&object.id, BlockIndex(16), u64::MAX).unwrap();
    assert_eq!((found.as_ptr(), found.len()), (bytes.as_ptr(), bytes.len()));
    assert_eq!(get(&tier, &object, 15, 1), None);
    assert_eq!(get(&tier, &object, 32, 1), None);
    check_figures(&tier);
}

#[test]
fn short_buffers_become_a_long_one_when_a_long_read_meets_them() {
    let (tier, object) = (tier(64 * MIB, 64 * KIB), version(1, 8 * MIB));
    for block in (0..16).rev() {
        put(&tier, &object, block, 1);
    }
    let before = tier.figures().bytes;
    assert_eq!(
        get(&tier, &object, 3, 3),
        Some(1),
        "a short read copies nothing"
    );
    assert_eq!(
        get(&tier, &object, 14, 16),
        Some(1),
        "too little of it is wanted"
    );
    assert_eq!(tier.figures().joins, 0);
    assert_eq!(get(&tier, &object, 3, 64), Some(13));
    assert_eq!(tier.figures().joins, 1);
    assert_eq!(get(&tier, &object, 0, 64), Some(16));
    assert_eq!(get(&tier, &object, 14, 64), Some(2));
    assert_eq!(tier.figures().joins, 1, "once is enough");
    assert!(
        tier.figures().bytes < before,
        "fewer buffers, the same bytes"
    );
    check_figures(&tier);
}

#[test]
fn long_buffers_stay_as_they_are() {
    let (tier, object) = (tier(64 * MIB, 64 * KIB), version(1, 8 * MIB));
    put(&tier, &object, 0, 8);
    put(&tier, &object, 8, 8);
    assert_eq!(get(&tier, &object, 0, 64), Some(8));
    // With a hole there is nothing to join beyond it.
    put(&tier, &object, 16, 4);
    put(&tier, &object, 21, 1);
    assert_eq!(get(&tier, &object, 16, 64), Some(4));
    assert_eq!(tier.figures().joins, 0);
    check_figures(&tier);
}

#[test]
fn no_buffer_is_kept_alive_by_a_part_of_it() {
    let (tier, object) = (tier(64 * MIB, 64 * KIB), version(1, 8 * MIB));
    let bytes = content(&object, MIB / 2..3 * MIB / 2);
    let buffer = bytes.as_ptr_range();
    tier.put(&object, BlockIndex(8), &bytes);
    for (block, blocks) in [(8, 8), (16, 8)] {
        let found = tier.get(&object.id, BlockIndex(block), 16).unwrap();
        assert_eq!(found.len(), blocks * 65_536);
        assert!(!buffer.contains(&found.as_ptr()), "a copy");
    }
    check_figures(&tier);
}

#[test]
fn what_is_not_whole_blocks_of_the_object_is_refused() {
    let (tier, object) = (tier(64 * MIB, 64 * KIB), version(1, 5 * MIB + 10));
    let refused = [
        (0, 65_535),        // half a block
        (80, 11),           // longer than the object
        (80, 9),            // its end is missing
        (81, 10),           // beyond the object
        (63, 2 * 65_536),   // two segments
        (0, 0),             // nothing
        (u64::MAX, 65_536), // no such offset
        (u64::MAX / 65_536, 65_536),
    ];
    for (first, length) in refused {
        tier.put(&object, BlockIndex(first), &Bytes::from(vec![0; length]));
    }
    assert_eq!(tier.figures().entries, 0);
    tier.put(
        &object,
        BlockIndex(80),
        &content(&object, 5 * MIB..5 * MIB + 10),
    );
    assert_eq!(get(&tier, &object, 80, 64), Some(1));
    assert_eq!(tier.present(&object.id, SegmentIndex(1)), Blocks(1 << 16));
    assert_eq!(tier.get(&object.id, BlockIndex(u64::MAX), 1), None);
    check_figures(&tier);
}

#[test]
fn a_scan_leaves_hot_blocks_and_footers() {
    let tier = tier(16 * MIB, 64 * KIB);
    let hot = version(1, 8 * MIB);
    let footers: Vec<_> = (10..40).map(|name| version(name, 100 * MIB)).collect();
    for round in 0..2 {
        for block in (0..128).step_by(16) {
            if round == 0 {
                put(&tier, &hot, block, 16);
            }
            get(&tier, &hot, block, 16);
        }
        for footer in &footers {
            put(&tier, footer, 1599, 1);
        }
    }
    let scanned = version(2, 64 * MIB);
    for block in 0..1008 {
        put(&tier, &scanned, block, 1);
        get(&tier, &scanned, block, 1);
        check_figures(&tier);
    }
    let kept = (0..128).filter(|&block| get(&tier, &hot, block, 1).is_some());
    assert_eq!(kept.count(), 128);
    let kept = footers
        .iter()
        .filter(|footer| get(&tier, footer, 1599, 1).is_some());
    assert_eq!(kept.count(), 30);
}

#[test]
fn tiny_objects_are_bounded_by_what_they_take() {
    let tier = tier(MIB, 64 * KIB);
    for name in 0..=255 {
        for size in 1..40 {
            put(&tier, &version(name, size), 0, 1);
        }
    }
    check_figures(&tier);
    assert!(tier.figures().entries < MIB / OVERHEAD);
}

#[test]
fn versions_are_dropped_whole() {
    let tier = tier(256 * MIB, 64 * KIB);
    let objects: Vec<_> = (0..4).map(|name| version(name, 20 * MIB)).collect();
    let huge = version(9, 1 << 60);
    for object in objects.iter().chain([&huge]) {
        for block in (0..320).step_by(16) {
            put(&tier, object, block, 16);
        }
    }
    let dropped = tier.remove_version(&objects[1]);
    assert_eq!((dropped.segments, dropped.bytes), (5, 20 * MIB));
    let dropped = tier.remove_version(&huge);
    assert_eq!((dropped.segments, dropped.bytes), (5, 20 * MIB));
    let dropped = tier.remove_where(|version| version.id == objects[2].id);
    assert_eq!((dropped.segments, dropped.bytes), (5, 20 * MIB));
    for (object, kept) in objects.iter().zip([true, false, false, true]) {
        assert_eq!(get(&tier, object, 17, 1).is_some(), kept);
    }
    check_figures(&tier);
}

#[test]
fn threads_put_read_and_drop_at_once() {
    let tier = tier(4 * MIB, SHORT);
    let objects: Vec<_> = (0..4).map(|name| version(name, 3 * MIB + 5)).collect();
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let (tier, objects) = (&tier, &objects);
            scope.spawn(move || {
                let mut random = worker * 977 + 1;
                for _ in 0..3000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(worker);
                    let bits = random >> 33;
                    let object = &objects[(bits % 4) as usize];
                    let first = bits / 4 % 193;
                    let longest = (193 - first).min(64 - first % 64);
                    match bits / 1024 % 16 {
                        0 => drop(tier.remove_version(object)),
                        1..8 => put(tier, object, first, 1 + bits / 65_536 % longest),
                        _ => drop(get(tier, object, first, 1 + bits / 65_536 % 64)),
                    }
                }
            });
        }
    });
    check_figures(&tier);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u64, u64),
    Get(u8, u64, u64),
    Remove(u8),
    RemoveAllBut(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..3_u8;
    // 200 blocks, the last one short: three whole segments and a bit.
    let step = prop_oneof![
        10 => (name.clone(), 0..200_u64, 1..65_u64).prop_map(|(n, f, c)| Step::Put(n, f, c)),
        10 => (name.clone(), 0..200_u64, 1..5_u64).prop_map(|(n, f, c)| Step::Put(n, f, c)),
        20 => (name.clone(), 0..200_u64, 1..80_u64).prop_map(|(n, f, c)| Step::Get(n, f, c)),
        1 => name.clone().prop_map(Step::Remove),
        1 => name.prop_map(Step::RemoveAllBut),
    ];
    vec(step, 0..60)
}

/// The blocks of a stretch that lie side by side around one of them.
fn run_around(
    model: &HashSet<(u8, u64)>,
    name: u8,
    block: u64,
    stretch: u64,
) -> Option<Range<u64>> {
    model.get(&(name, block))?;
    let begin = block / stretch * stretch;
    let is_known = |block: &u64| model.contains(&(name, *block));
    let before = (begin..block).rev().take_while(is_known).count() as u64;
    let after = (block..begin + stretch).take_while(is_known).count() as u64;
    Some(block - before..block + after)
}

/// A long read leaves no more buffers of a run behind than there are long writes in it.
fn check_lengths(
    tier: &MemoryTier,
    version: &ObjectVersion,
    first: u64,
    at_most: u64,
    run: &Range<u64>,
) {
    let segment = version.segment(BlockIndex(first).segment());
    let begin = segment.index.first_block().0;
    let block = tier.block_size.bytes();
    let places = tier.shard(&segment).segments.read()[&segment]
        .pieces
        .places();
    let within = |place: &&Range<u32>| run.contains(&(begin + u64::from(place.start)));
    let count = places.iter().filter(within).count() as u64;
    let length = (run.end - run.start) * block;
    let wanted = (run.end - first).min(at_most) * block;
    let has_one = places.iter().any(|place| {
        let start = begin + u64::from(place.start);
        start <= first && first + at_most <= begin + u64::from(place.end)
    });
    if wanted >= 256 * KIB && !has_one {
        assert!(
            count == 1 || (count - 1) * 256 * KIB < length,
            "{count} for {length}"
        );
    }
}

/// Runs steps on a tier and on a set of blocks. With room for everything the two are equal; without,
/// the tier has a part.
fn run(steps: Vec<Step>, capacity: u64, block: u64) {
    let tier = tier(capacity, block);
    let is_roomy = capacity > 64 * MIB;
    let size = 199 * block + 77;
    let objects: Vec<_> = (0..3).map(|name| version(name, size)).collect();
    let mut model: HashSet<(u8, u64)> = HashSet::new();
    for step in steps {
        match step {
            Step::Put(name, first, count) => {
                let count = count.min(200 - first).min(64 - first % 64);
                put(&tier, &objects[usize::from(name)], first, count);
                model.extend((first..first + count).map(|block| (name, block)));
            }
            Step::Get(name, first, at_most) => {
                let object = &objects[usize::from(name)];
                let found = get(&tier, object, first, at_most);
                let blocks = found.unwrap_or(0);
                assert!(blocks <= at_most);
                let known = (first..first + blocks).all(|block| model.contains(&(name, block)));
                assert!(known, "{blocks} blocks from {first}");
                if is_roomy {
                    assert_eq!(found.is_some(), model.contains(&(name, first)));
                    if let Some(run) = run_around(&model, name, first, u64::from(tier.stretch)) {
                        check_lengths(&tier, object, first, at_most, &run);
                    }
                }
            }
            Step::Remove(name) => {
                tier.remove_version(&objects[usize::from(name)]);
                model.retain(|(other, _)| *other != name);
            }
            Step::RemoveAllBut(name) => {
                let kept = objects[usize::from(name)].id;
                tier.remove_where(|version| version.id != kept);
                model.retain(|(other, _)| *other == name);
            }
        }
        check_figures(&tier);
        for (name, object) in objects.iter().enumerate() {
            let has = |segment: u32| tier.present(&object.id, SegmentIndex(segment));
            let held: BTreeSet<u64> = (0..200)
                .filter(|&block| has((block / 64) as u32).has((block % 64) as u32))
                .collect();
            let mut known = held
                .iter()
                .map(|&block| model.contains(&(name as u8, block)));
            assert!(known.all(|known| known));
            if is_roomy {
                let all = model
                    .iter()
                    .filter(|(other, _)| usize::from(*other) == name);
                assert_eq!(held.len(), all.count());
            }
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn it_holds_the_union_of_what_was_put(steps in steps()) {
        run(steps, 1 << 30, SHORT);
    }

    #[test]
    fn it_holds_the_union_where_a_segment_has_many_stretches(steps in steps()) {
        run(steps, 1 << 30, 64 * KIB);
    }

    #[test]
    fn it_never_holds_more_than_it_may(steps in steps()) {
        run(steps, 2 * MIB, SHORT);
    }
}
