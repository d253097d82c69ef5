//! What is written is read, whatever else happened to be asked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn what_was_written_is_read() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    // 100 blocks and 100 bytes: two segments, the last block short.
    let object = version("a", "1", 100 * BLOCK + 100);
    let last = SegmentIndex(1);
    assert_eq!(read(&tier, &object, 0..1).await, 0);
    write(&tier, &object, 3..10);
    write(&tier, &object, 62..64);
    write(&tier, &object, 64..66);
    write(&tier, &object, 100..101);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 0..4).await, 0, "from the first on");
    assert_eq!(read(&tier, &object, 3..4).await, 1);
    assert_eq!(
        read(&tier, &object, 5..20).await,
        5,
        "up to what is missing"
    );
    assert_eq!(
        read(&tier, &object, 62..66).await,
        2,
        "up to the segment's end"
    );
    assert_eq!(read(&tier, &object, 64..66).await, 2);
    assert_eq!(read(&tier, &object, 100..120).await, 1, "the object's end");
    assert_eq!(read(&tier, &object, 101..102).await, 0);
    assert_eq!(
        tier.present(object.segment(last)),
        Presence::Known(Blocks::run(0..2).union(Blocks::run(36..37)))
    );
    let counters = tier.counters();
    assert_eq!(counters.writes.get(), 4);
    assert_eq!(counters.reads.get(), 5);
    assert_eq!(counters.missed(Miss::Absent), 3);
    assert_eq!(counters.segments.get(), 2);
    // 9 and 3 blocks and the heads; the short block takes a page.
    assert_eq!(
        counters.bytes.get(),
        4096 + 9 * BLOCK + 4096 + 2 * BLOCK + 4096
    );
}

#[tokio::test]
async fn a_run_has_at_most_a_mebibyte() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let object = version("a", "1", 64 * BLOCK);
    assert_eq!(LONGEST_RUN, 64 * BLOCK);
    write(&tier, &object, 0..64);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 0..64).await, 64);
    let large = DiskConfig {
        block_size: BlockSize::new(1 << 20).unwrap(),
        ..config(dir.path())
    };
    let tier = open(large);
    let object = version("b", "1", 3 << 20);
    for block in 0..3 {
        let bytes = content(&object, block << 20..(block + 1) << 20);
        tier.write(&object, BlockIndex(block), bytes);
    }
    tier.flush().await;
    let bytes = tier
        .read(&object, BlockIndex(1)..BlockIndex(3))
        .await
        .unwrap();
    assert!(bytes == content(&object, 1 << 20..2 << 20));
}

#[tokio::test]
async fn what_is_no_run_of_whole_blocks_is_not_kept() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", 70 * BLOCK + 10);
    let bytes = blocks_of(&object, 0..70);
    let short = usize::try_from(BLOCK - 1).unwrap();
    for (first, bytes) in [
        (0, Bytes::new()),
        (0, bytes.slice(..short)),
        (0, bytes.slice(..short + 2)),
        (63, bytes.slice(..2 * (short + 1))),
        (0, bytes.clone()),
        (70, bytes.slice(..9)),
        (70, bytes.slice(..11)),
        (71, bytes.slice(..10)),
        (u64::MAX, bytes.slice(..10)),
    ] {
        tier.write(&object, BlockIndex(first), bytes);
    }
    tier.flush().await;
    assert_eq!(tier.counters().dropped(Refusal::Unfit), 9);
    assert_eq!(tier.counters().writes.get(), 0);
    let long = ObjectName {
        origin: "o".repeat(4000).into(),
        ..super::object("a")
    };
    let long = Arc::new(ObjectVersion::new(long, object.etag.clone(), BLOCK));
    write(&tier, &long, 0..1);
    tier.flush().await;
    assert_eq!(tier.counters().dropped(Refusal::Unfit), 10);
    assert_eq!(
        tier.read(&object, BlockIndex(u64::MAX)..BlockIndex(u64::MAX))
            .await,
        None
    );
    let reversed = Range {
        start: BlockIndex(2),
        end: BlockIndex(1),
    };
    assert_eq!(tier.read(&object, reversed).await, None);
    assert_eq!(
        files_below(&dir.path().join("cache/v1")),
        Vec::<std::path::PathBuf>::new()
    );
}

#[tokio::test]
async fn it_is_found_again_after_a_restart_by_name_and_by_index() {
    let dir = folder();
    let object = version("a/b", "1", 200 * BLOCK);
    let tier = open(config(dir.path()));
    write(&tier, &object, 0..5);
    write(&tier, &object, 130..131);
    tier.flush().await;
    drop(tier);
    let tier = open(config(dir.path()));
    // Before its threads listed anything: the index is empty for sure.
    assert_eq!(
        tier.core
            .read(&tier.segment(&object, SegmentIndex(0)), 1..3)
            .unwrap()
            .len(),
        2 * 16384
    );
    assert_eq!(
        tier.core.look(&tier.segment(&object, SegmentIndex(2))),
        Blocks::run(2..3)
    );
    assert_eq!(
        tier.core.look(&tier.segment(&object, SegmentIndex(1))),
        Blocks::NONE
    );
    assert_eq!(
        tier.core.index.blocks(object.segment(SegmentIndex(1))),
        Some(Blocks::NONE),
        "remembered"
    );
    tier.start();
    until("it is indexed", || tier.counters().is_indexed()).await;
    assert_eq!(
        tier.present(object.segment(SegmentIndex(0))),
        Presence::Known(Blocks::run(0..5))
    );
    assert_eq!(tier.look(&object, SegmentIndex(2)).await, Blocks::run(2..3));
    assert_eq!(read(&tier, &object, 0..5).await, 5);
    assert_eq!(tier.counters().segments.get(), 2);
    assert_eq!(tier.counters().index_progress.get(), 256);
}

/// Before the directory was listed, a segment is known by its name alone.
#[tokio::test]
async fn a_segment_that_is_added_to_before_it_is_listed_keeps_its_older_blocks() {
    let dir = folder();
    let version = version("a", "1", 64 * BLOCK);
    let tier = open_indexed(config(dir.path())).await;
    write(&tier, &version, 5..29);
    tier.flush().await;
    drop(tier);
    let tier = open(config(dir.path()));
    write(&tier, &version, 31..64);
    tier.flush().await;
    assert_eq!(read(&tier, &version, 18..29).await, 11);
    assert_eq!(read(&tier, &version, 31..64).await, 33);
}

#[tokio::test]
async fn versions_do_not_mix() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let one = version("a", "1", 4 * BLOCK);
    let two = version("a", "2", 4 * BLOCK);
    let longer = version("a", "1", 5 * BLOCK);
    write(&tier, &one, 0..4);
    tier.flush().await;
    assert_eq!(read(&tier, &two, 0..4).await, 0);
    assert_eq!(read(&tier, &longer, 0..4).await, 0);
    write(&tier, &two, 0..2);
    tier.flush().await;
    assert_eq!(read(&tier, &two, 0..4).await, 2);
    assert_eq!(read(&tier, &one, 0..4).await, 4);
}

#[tokio::test]
async fn a_forgotten_version_is_deleted_and_others_stay() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let one = version("a", "1", 300 * BLOCK);
    let two = version("a", "2", 300 * BLOCK);
    for first in [0, 64, 128, 299] {
        write(&tier, &one, first..first + 1);
        write(&tier, &two, first..first + 1);
    }
    tier.forget(&one);
    tier.flush().await;
    for segment in 0..5 {
        assert_eq!(
            tier.present(one.segment(SegmentIndex(segment))).blocks(),
            Blocks::NONE
        );
    }
    assert_eq!(read(&tier, &one, 64..65).await, 0);
    assert_eq!(read(&tier, &two, 64..65).await, 1);
    assert_eq!(files_below(&dir.path().join("cache/v1")).len(), 4);
    assert_eq!(tier.counters().bytes.get(), 4 * (4096 + BLOCK));
    // At once, for whoever asks next.
    tier.forget(&two);
    assert_eq!(
        tier.present(two.segment(SegmentIndex(0))).blocks(),
        Blocks::NONE
    );
    // One that is too long to be looked for by name.
    let long = version("b", "1", 5000 * 64 * BLOCK);
    write(&tier, &long, 4000 * 64..4000 * 64 + 2);
    tier.flush().await;
    tier.forget(&long);
    tier.flush().await;
    assert!(files_below(&dir.path().join("cache/v1")).is_empty());
}

/// For longer than a listing takes, and than what waits to be written.
async fn is_not_found(tier: &DiskTier, object: &Arc<ObjectVersion>) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(200) {
        assert_eq!(read(tier, object, 0..4).await, 0);
        assert_eq!(tier.look(object, SegmentIndex(0)).await, Blocks::NONE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_forgotten_version_is_not_found_before_it_is_deleted() {
    let dir = folder();
    let object = version("a", "1", 4 * BLOCK);
    let before = open_indexed(config(dir.path())).await;
    write(&before, &object, 0..4);
    before.flush().await;
    drop(before);
    // By name: it is not listed yet, and then it is.
    let tier = open(config(dir.path()));
    tier.core.faults.delay_deletes(300);
    tier.forget(&object);
    is_not_found(&tier, &object).await;
    tier.flush().await;
    // Nor what was given to the tier before, and not written yet.
    let other = version("a", "2", 4 * BLOCK);
    write(&tier, &other, 0..4);
    tier.forget(&other);
    is_not_found(&tier, &other).await;
    // What is given to it afterwards is kept.
    write(&tier, &other, 0..4);
    tier.flush().await;
    assert_eq!(read(&tier, &other, 0..4).await, 4);
}

#[tokio::test]
async fn a_purge_deletes_its_scope_even_before_the_index_knows() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let keys = ["t/1", "t/2", "t/2x", "u/1"];
    for key in keys {
        for etag in ["1", "2"] {
            write(&tier, &version(key, etag, 100 * BLOCK), 0..2);
            write(&tier, &version(key, etag, 100 * BLOCK), 99..100);
        }
    }
    assert!(
        tier.write_meta(MetaId([1; 16]), Some(&object("t/2")), "meta".into())
            .await
    );
    assert!(tier.write_meta(MetaId([2; 16]), None, "meta".into()).await);
    let key = PurgeScope::Key(object("t/2"));
    let purged = tier.purge(&key).await;
    assert_eq!(
        (purged.objects, purged.segments, purged.failures),
        (1, 4, 0)
    );
    assert_eq!(purged.bytes, 4 * 4096 + 6 * BLOCK);
    assert_eq!(tier.read_meta(MetaId([1; 16])).await, None);
    assert_eq!(tier.read_meta(MetaId([2; 16])).await.unwrap(), "meta");
    drop(tier);
    // Another process, whose index is empty.
    let tier = open(config(dir.path()));
    let prefix = PurgeScope::Prefix {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
        prefix: "t/".to_owned(),
    };
    let purged = tier.core.purge(&prefix);
    assert_eq!((purged.objects, purged.segments), (2, 8));
    assert_eq!(
        read(&tier, &version("t/1", "1", 100 * BLOCK), 0..2).await,
        0
    );
    assert_eq!(
        read(&tier, &version("u/1", "1", 100 * BLOCK), 0..2).await,
        2
    );
    let bucket = PurgeScope::Bucket {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
    };
    let purged = tier.purge(&bucket).await;
    assert_eq!((purged.objects, purged.segments), (1, 4));
    assert_eq!(
        read(&tier, &version("u/1", "1", 100 * BLOCK), 0..2).await,
        0
    );
    assert_eq!(tier.purge(&bucket).await, Purged::default());
    assert_eq!(files_below(&dir.path().join("cache/v1/segments")).len(), 0);
}

#[tokio::test]
async fn metas_are_kept_replaced_and_removed() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let (one, two) = (MetaId([7; 16]), MetaId([8; 16]));
    assert_eq!(tier.read_meta(one).await, None);
    assert!(tier.write_meta(one, Some(&object("k")), "old".into()).await);
    assert!(tier.write_meta(one, Some(&object("k")), "new".into()).await);
    assert!(tier.write_meta(two, None, Bytes::new()).await);
    assert!(
        !tier.write_meta(two, None, vec![0; 65 << 10].into()).await,
        "too long"
    );
    assert_eq!(tier.read_meta(one).await.unwrap(), "new");
    drop(tier);
    let tier = open(config(dir.path()));
    assert_eq!(tier.read_meta(one).await.unwrap(), "new");
    assert_eq!(tier.read_meta(two).await.unwrap(), "");
    until("it is indexed", || tier.counters().is_indexed()).await;
    assert_eq!(tier.counters().metas.get(), 2);
    assert!(tier.remove_meta(one).await);
    assert!(tier.remove_meta(one).await, "it is not there: done");
    assert_eq!(tier.read_meta(one).await, None);
    // Another under its name.
    let paths = files_below(&dir.path().join("cache/v1/metas"));
    assert_eq!(paths.len(), 1);
    fs::create_dir_all(dir.path().join("cache/v1/metas/07")).unwrap();
    fs::rename(
        &paths[0],
        dir.path()
            .join(format!("cache/v1/metas/07/{}", "07".repeat(16))),
    )
    .unwrap();
    drop(tier);
    let tier = open(config(dir.path()));
    assert_eq!(tier.read_meta(one).await, None);
    assert_eq!(tier.counters().checksum_failures.get(), 1);
    assert!(files_below(&dir.path().join("cache/v1/metas")).is_empty());
}

#[tokio::test]
async fn files_and_directories_are_private() {
    let dir = folder();
    let tier = open(config(dir.path()));
    write(&tier, &version("a", "1", BLOCK), 0..1);
    assert!(tier.write_meta(MetaId([1; 16]), None, "m".into()).await);
    tier.flush().await;
    let root = dir.path().join("cache");
    let files = files_below(&root);
    assert_eq!(files.len(), 3);
    for file in files {
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
            0o600,
            "{file:?}"
        );
        for parent in file
            .ancestors()
            .skip(1)
            .take_while(|parent| parent.starts_with(&root))
        {
            let mode = fs::metadata(parent).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{parent:?}");
        }
    }
}

#[tokio::test]
async fn files_are_sparse() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let object = version("a", "1", 64 * BLOCK);
    write(&tier, &object, 63..64);
    tier.flush().await;
    let found = fs::metadata(&files_below(&dir.path().join("cache/v1"))[0]).unwrap();
    assert_eq!(found.len(), 4096 + 64 * BLOCK);
    assert!(
        found.blocks() * 512 <= 4096 + 2 * BLOCK,
        "{} blocks",
        found.blocks()
    );
}
