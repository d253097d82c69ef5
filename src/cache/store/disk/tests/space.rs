//! It occupies what it may, and no more.

use super::*;

#[tokio::test]
async fn it_stays_within_its_capacity_and_keeps_what_is_read() {
    let dir = folder();
    let config = DiskConfig {
        capacity: Some(100 * (4096 + 4 * BLOCK)),
        write_queue_bytes: 1 << 30,
        ..config(dir.path())
    };
    let capacity = config.capacity.unwrap();
    let tier = open_indexed(config).await;
    let object = |number: u64| version(&format!("k{number}"), "1", 64 * BLOCK);
    let hot: Vec<_> = (0..10).map(object).collect();
    for object in &hot {
        write(&tier, object, 0..4);
    }
    tier.flush().await;
    for round in 0..10 {
        for object in &hot {
            assert_eq!(read(&tier, object, 0..4).await, 4, "round {round}");
        }
        for number in 0..50 {
            write(&tier, &object(1000 + round * 50 + number), 0..4);
        }
        tier.flush().await;
        assert!(tier.counters().bytes.get() <= capacity);
    }
    let files = files_below(&dir.path().join("cache/v1/segments"));
    assert_eq!(files.len() as u64, tier.counters().segments.get());
    assert!((80..=100).contains(&files.len()), "{} files", files.len());
    let counters = tier.counters();
    assert_eq!(counters.evictions.get(), 510 - files.len() as u64);
    assert_eq!(counters.evicted_bytes.get() % (4096 + 4 * BLOCK), 0);
    let found = tier.present(hot[3].segment(SegmentIndex(0)));
    assert_eq!(found, Presence::Known(Blocks::run(0..4)));
}

#[tokio::test]
async fn a_directory_that_holds_more_than_it_may_is_cut_at_the_start() {
    let dir = folder();
    let large = config(dir.path());
    let tier = open(large.clone());
    for number in 0..64 {
        write(
            &tier,
            &version(&format!("k{number}"), "1", 64 * BLOCK),
            0..8,
        );
    }
    tier.flush().await;
    drop(tier);
    let small = DiskConfig {
        capacity: Some(10 * (4096 + 8 * BLOCK)),
        ..large
    };
    let tier = open_indexed(small).await;
    until("it fits", || tier.counters().segments.get() <= 10).await;
    assert!(files_below(&dir.path().join("cache/v1/segments")).len() <= 10);
}

#[tokio::test]
async fn metas_are_bounded_by_number() {
    let dir = folder();
    let config = DiskConfig {
        max_metas: 20,
        ..config(dir.path())
    };
    let tier = open_indexed(config).await;
    for number in 0..50 {
        assert!(
            tier.write_meta(MetaId([number; 16]), None, "meta".into())
                .await
        );
    }
    assert_eq!(tier.counters().metas.get(), 20);
    assert_eq!(files_below(&dir.path().join("cache/v1/metas")).len(), 20);
}

#[tokio::test]
async fn the_reserve_is_left_free() {
    let dir = folder();
    // More than the file system has left: nothing may be kept.
    let config = DiskConfig {
        min_free_bytes: u64::MAX,
        ..config(dir.path())
    };
    let tier = open(config);
    let object = version("a", "1", BLOCK);
    write(&tier, &object, 0..1);
    tier.flush().await;
    assert_eq!(tier.counters().dropped(Refusal::NoSpace), 1);
    assert_eq!(tier.counters().state(), DiskState::ReadOnly);
    assert_eq!(tier.counters().capacity.get(), 0);
    assert!(files_below(&dir.path().join("cache/v1")).is_empty());
    write(&tier, &object, 0..1);
    assert_eq!(tier.counters().dropped(Refusal::Off), 1);
}

#[tokio::test]
async fn open_files_are_bounded_and_deleted_ones_are_closed() {
    let dir = folder();
    let config = DiskConfig {
        open_files: 32,
        ..config(dir.path())
    };
    let tier = open_indexed(config).await;
    let objects: Vec<_> = (0..200)
        .map(|n| version(&format!("k{n}"), "1", BLOCK))
        .collect();
    for object in &objects {
        write(&tier, object, 0..1);
    }
    tier.flush().await;
    for object in &objects {
        assert_eq!(read(&tier, object, 0..1).await, 1);
    }
    assert!((16..=32).contains(&tier.core.files.len()));
    for file in files_below(&dir.path().join("cache/v1/segments")) {
        std::fs::remove_file(file).unwrap();
    }
    until("they are closed", || tier.core.files.len() == 0).await;
    for object in &objects {
        assert_eq!(read(&tier, object, 0..1).await, 0);
    }
    assert_eq!(tier.counters().missed(Miss::Vanished), 200);
    assert_eq!(tier.counters().segments.get(), 0);
    assert_eq!(tier.counters().bytes.get(), 0);
}

#[tokio::test]
async fn what_cannot_wait_is_dropped_and_counted() {
    let dir = folder();
    let config = DiskConfig {
        write_queue_bytes: 4 * BLOCK,
        ..config(dir.path())
    };
    let tier = open(config);
    let object = version("a", "1", 6400 * BLOCK);
    for block in 0..6400 {
        write(&tier, &object, block..block + 1);
    }
    tier.flush().await;
    let dropped = tier.counters().dropped(Refusal::Busy);
    assert!(dropped > 0);
    assert_eq!(tier.counters().writes.get() + dropped, 6400);
}
