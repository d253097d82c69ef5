//! Writing, following a write, and reading what was written.

use proptest::prelude::any;
use proptest::proptest;

use super::*;
use crate::cache::BlockIndex;
use crate::cache::store::dumps::dumps;

const LENGTHS: [usize; 9] = [
    0,
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    5 * MIB + 7,
];

#[tokio::test]
async fn what_was_written_is_read_as_a_whole_and_in_ranges() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for storage in [
        storage(64 * MIB, None),
        storage(0, Some(dirs[0].path())),
        storage(64 * MIB, Some(dirs[1].path())),
    ] {
        for (number, length) in LENGTHS.into_iter().enumerate() {
            for declared in [Some(length), None] {
                let name = format!("{number} {declared:?}");
                let bytes = body(7, length);
                let mut write = begin(storage, &name, &meta("t", declared)).await;
                for piece in bytes.chunks(50_001) {
                    write
                        .write_body(bytes.slice_ref(piece), false)
                        .await
                        .unwrap();
                }
                assert!(finish(write).await >= length);
                let (found, mut hit) = lookup(storage, &name).await.expect("a hit");
                assert_eq!(found.headers()["x-tag"], "t");
                assert!(drain(&mut hit).await.unwrap() == bytes, "{name}");
                assert!(hit.can_seek() && hit.get_eviction_weight() >= length);
                assert!(hit.seek(length, None).is_err());
                for start in [0, 1, BLOCK - 1, BLOCK, length / 2, length.saturating_sub(1)] {
                    for count in [1, BLOCK, MIB + 3, length] {
                        if start < length {
                            hit.seek(start, Some(start + count)).unwrap();
                            let wanted = &bytes[start..length.min(start + count)];
                            let got = drain(&mut hit).await.unwrap();
                            assert!(got == wanted, "{name} {start}+{count}");
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_hit_from_memory_is_the_stores_own_buffer() {
    let storage = storage(64 * MIB, None);
    let bytes = body(1, 3 * MIB);
    fill(storage, "a", "t", &bytes).await;
    for name_and_start in [("a", 0), ("a", MIB + 5)] {
        let (name, start) = name_and_start;
        let (_, mut one) = lookup(storage, name).await.unwrap();
        let (_, mut other) = lookup(storage, name).await.unwrap();
        for hit in [&mut one, &mut other] {
            hit.seek(start, None).unwrap();
        }
        let one = one.read_body().await.unwrap().unwrap();
        let other = other.read_body().await.unwrap().unwrap();
        assert_eq!(one.as_ptr(), other.as_ptr(), "no copy");
        assert!(one.len() >= MIB - 5, "in long pieces");
    }
}

#[tokio::test]
async fn what_lands_while_the_disk_is_asked_is_found() {
    let dir = tempfile::tempdir().unwrap();
    // Not listed yet: the disk is asked by name.
    let storage = storage(0, Some(dir.path()));
    let (entry, bytes) = (EntryId(key("a").combined_bin()), body(1, BLOCK));
    let extent = Extent::Exact(BLOCK as u64);
    let written = Body::new(&storage.store, entry, WriteId::new(), extent, 0);
    let record = Arc::new(Record {
        body: Arc::new(written),
        length: BLOCK as u64,
        meta: Serialized::of(&meta("t", Some(BLOCK))).unwrap(),
        has_landed: false.into(),
    });
    storage.records.insert(entry, Arc::clone(&record));
    let mut found = Box::pin(read(storage, "a"));
    let now = tokio::time::timeout(Duration::ZERO, &mut found).await;
    assert!(now.is_err(), "nothing is there yet");
    // The disk has told so by now, and nobody has read it.
    std::thread::sleep(Duration::from_millis(100));
    record.body.admit(BlockIndex(0), bytes.clone());
    storage.store.flush().await;
    record.has_landed.store(true, Ordering::Release);
    assert!(found.await.is_some_and(|(_, body)| body == bytes));
}

#[tokio::test]
async fn a_write_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(64 * MIB, Some(dir.path()));
    for declared in [Some(8 * MIB), None] {
        let mut write = begin(storage, "a", &meta("t", declared)).await;
        write.write_body(body(1, 3 * MIB), false).await.unwrap();
        let (_, mut follower) = lookup(storage, "a").await.expect("it can be followed");
        assert!(follower.read_body().await.unwrap().is_some());
        drop(write);
        assert!(drain(&mut follower).await.is_err(), "it is cut");
        drop(follower);
        assert!(lookup(storage, "a").await.is_none());
        storage.flush().await;
        assert_eq!(storage.store.memory().bytes, 0);
        assert_eq!(kept(dir.path(), ""), [] as [&Path; 0]);
    }
}

#[tokio::test]
async fn a_body_shorter_than_it_said_is_not_kept() {
    let storage = storage(64 * MIB, None);
    let mut write = begin(storage, "a", &meta("t", Some(100))).await;
    write.write_body(body(1, 99), true).await.unwrap();
    assert!(write.finish().await.is_err());
    assert!(lookup(storage, "a").await.is_none());
    // The answer to HEAD tells of a length and has no body.
    let write = begin(storage, "a", &meta("head", Some(100))).await;
    finish(write).await;
    let wanted = ("head".to_owned(), Vec::new());
    assert_eq!(read(storage, "a").await, Some(wanted));
}

#[tokio::test]
async fn followers_read_what_is_written_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    // Without memory, whoever falls behind reads from disk.
    let storage = storage(0, Some(dir.path()));
    let bytes = body(3, 9 * MIB);
    for declared in [Some(bytes.len()), None] {
        let mut write = begin(storage, "a", &meta("t", declared)).await;
        let tag = write.streaming_write_tag().map(<[u8]>::to_vec);
        let own = storage
            .lookup_streaming_write(&key("a"), tag.as_deref(), &span())
            .await
            .unwrap();
        let (_, mut own) = own.expect("the one who writes follows too");
        let (_, mut late) = lookup(storage, "a").await.unwrap();
        assert_eq!(late.can_seek(), declared.is_some());
        assert!(!late.should_count_access());
        if declared.is_some() {
            late.seek(MIB + 1, Some(8 * MIB)).unwrap();
        }
        let mut read = Vec::new();
        for piece in bytes.chunks(70_000) {
            write
                .write_body(bytes.slice_ref(piece), false)
                .await
                .unwrap();
            let got = own.read_body().await.unwrap().unwrap();
            assert_eq!(got, piece, "nobody waits for more");
            read.extend_from_slice(&got);
        }
        assert!(read == bytes);
        let from = if declared.is_some() {
            MIB + 1..8 * MIB
        } else {
            0..bytes.len()
        };
        // It ends where the write does, and not before.
        let all = tokio::spawn(async move { drain(&mut late).await.unwrap() });
        finish(write).await;
        assert!(all.await.unwrap() == bytes[from]);
        assert!(own.read_body().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn without_streaming_nobody_follows() {
    let store = Arc::new(Store::new(block_size(), 64 << 20, None));
    let storage = BlockStorage::new(store).without_streaming();
    let storage: &'static BlockStorage = Box::leak(Box::new(storage));
    assert!(!storage.support_streaming_partial_write());
    let mut write = begin(storage, "a", &meta("t", Some(10))).await;
    write.write_body(body(1, 10), true).await.unwrap();
    assert!(lookup(storage, "a").await.is_none());
    finish(write).await;
    assert_eq!(tag_of(storage, "a").await.as_deref(), Some("t"));
}

#[tokio::test]
async fn a_body_longer_than_anything_that_is_kept_passes() {
    let storage = storage(0, None);
    let piece = body(1, 8 * MIB);
    let most = Extent::Open.bytes(block_size());
    let mut write = begin(storage, "a", &meta("t", None)).await;
    let (_, mut follower) = lookup(storage, "a").await.unwrap();
    for _ in 0..=most / piece.len() as u64 {
        write.write_body(piece.clone(), false).await.unwrap();
        assert_eq!(follower.read_body().await.unwrap().unwrap(), piece);
    }
    assert_eq!(finish(write).await, 0, "nothing is kept");
    assert!(follower.read_body().await.unwrap().is_none());
    assert!(lookup(storage, "a").await.is_none());
}

#[tokio::test]
async fn keys_differ_by_their_variance() {
    let storage = storage(64 * MIB, None);
    fill(storage, "a", "plain", &body(1, 100)).await;
    let mut other = key("a");
    other.set_variance_key([9; 16]);
    assert!(storage.lookup(&other, &span()).await.unwrap().is_none());
}

/// A blob as docs/disk-format.md shows it.
#[test]
fn a_record_is_these_bytes() {
    let store = Arc::new(Store::new(block_size(), 0, None));
    let entry = EntryId([5; 16]);
    let write = WriteId([0xab; 16]);
    let mut dumps = dumps().into_iter();
    let golden = dumps.find(|dump| dump.file == "record").unwrap();
    let golden = Bytes::from(golden.bytes);
    let record = Record::decode(&store, entry, &golden).unwrap();
    assert_eq!(record.length, 0x0001_0203);
    assert_eq!(
        (record.body.write, record.body.extent),
        (write, Extent::Open)
    );
    assert_eq!(
        record.body.version.etag.as_str(),
        format!("\"{}\"", "ab".repeat(16))
    );
    assert_eq!(record.encode(), golden);
    for other in [0_u32, 2] {
        let mut other = other.to_le_bytes().to_vec();
        other.extend_from_slice(&golden[4..]);
        assert!(Record::decode(&store, entry, &other.into()).is_none());
    }
}

proptest! {
    #[test]
    fn any_blob_is_read_without_panic(blob in proptest::collection::vec(any::<u8>(), 0..80)) {
        let store = Arc::new(Store::new(block_size(), 0, None));
        let mut ours = FORMAT_BYTES.to_vec();
        ours.extend_from_slice(&blob);
        for blob in [blob, ours] {
            if let Some(record) = Record::decode(&store, EntryId([1; 16]), &blob.into()) {
                let _ = record.meta.meta();
            }
        }
    }
}

const FORMAT_BYTES: [u8; 4] = [1, 0, 0, 0];
