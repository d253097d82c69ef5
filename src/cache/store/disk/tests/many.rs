//! A directory with very many segments: nobody waits for its index.

use std::fs;

use super::*;

const SEGMENTS: u64 = 100_000;

/// Makes files without the tier, a few blocks' worth of space for all.
fn plant(dir: &Path) -> Vec<Arc<ObjectVersion>> {
    let size = BlockSize::new(BLOCK).unwrap();
    let (tier, objects): (_, Vec<_>) = (
        open(config(dir)),
        (0..SEGMENTS)
            .map(|number| version(&format!("k{number}"), "1", 10))
            .collect(),
    );
    drop(tier);
    let root = dir.join("cache/v1");
    for fan in names::fans() {
        fs::create_dir_all(root.join("segments").join(fan)).unwrap();
    }
    for object in &objects {
        let segment = Segment {
            version: Arc::clone(object),
            index: SegmentIndex(0),
            block_size: size,
        };
        let bytes = content(object, 0..10);
        let seal = format::Seal::new(segment.id());
        let entry = format::Entry {
            length: 10,
            checksum: seal.checksum(0, &bytes),
        };
        let mut file = format::encode_header(object, segment.index, size).unwrap();
        let (offset, table) = format::encode_entries(seal, 0, &[entry]);
        file.resize(usize::try_from(offset).unwrap(), 0);
        file.extend_from_slice(&table);
        file.resize(4096, 0);
        file.extend_from_slice(&bytes);
        fs::write(root.join(segment.path()), file).unwrap();
    }
    objects
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_while_a_large_directory_is_listed() {
    let dir = folder();
    let objects = plant(dir.path());
    let tier = open(config(dir.path()));
    let counters = tier.counters();
    // What is asked for first is there before the index is; how long both take is the machine's.
    assert_eq!(read(&tier, &objects[77_777], 0..1).await, 1);
    assert!(!counters.is_indexed(), "it was no test");
    // Everything goes on meanwhile: writing, forgetting, purging, reading.
    let new: Vec<_> = (0..100)
        .map(|number| version(&format!("new{number}"), "1", BLOCK))
        .collect();
    for (number, object) in new.iter().enumerate() {
        write(&tier, object, 0..1);
        tier.forget(&objects[number]);
    }
    tier.flush().await;
    assert!(!counters.is_indexed(), "it was no test");
    for object in &objects[..100] {
        assert_eq!(read(&tier, object, 0..1).await, 0, "it was forgotten");
    }
    for object in new.iter().chain(objects[100..].iter().step_by(991)) {
        assert_eq!(read(&tier, object, 0..1).await, 1);
    }
    until("it is indexed", || counters.is_indexed()).await;
    assert_eq!(counters.segments.get(), SEGMENTS, "100 less, 100 more");
    let purged = tier
        .purge(&PurgeScope::Key(objects[333].object.clone()))
        .await;
    assert_eq!((purged.objects, purged.segments), (1, 1));
    assert_eq!(read(&tier, &objects[333], 0..1).await, 0);
    // Listing again changes nothing.
    assert!(tier.core.scan(|| true));
    assert_eq!(counters.segments.get(), SEGMENTS - 1);
    assert_eq!(counters.deleted_strays.get(), 0);
    assert_eq!(
        (counters.errors.get(), counters.checksum_failures.get()),
        (0, 0)
    );
    for object in new.iter().chain(objects[400..].iter().step_by(991)) {
        assert_eq!(read(&tier, object, 0..1).await, 1);
    }
}
