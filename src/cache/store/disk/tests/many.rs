//! A directory with very many segments: the first hit does not wait for the index.

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
async fn the_first_hit_does_not_wait_for_the_index() {
    let dir = folder();
    let objects = plant(dir.path());
    let begun = Instant::now();
    let tier = open(config(dir.path()));
    assert_eq!(read(&tier, &objects[77_777], 0..1).await, 1);
    let first_hit = begun.elapsed();
    assert!(!tier.counters().is_indexed(), "it was no test");
    let mut slowest = Duration::ZERO;
    let mut hits = 0;
    for object in objects.iter().step_by(991) {
        let begun = Instant::now();
        hits += read(&tier, object, 0..1).await;
        slowest = slowest.max(begun.elapsed());
    }
    assert_eq!(hits, 101);
    until("it is indexed", || tier.counters().is_indexed()).await;
    let indexed = begun.elapsed();
    println!("first hit {first_hit:?}, slowest of 101 {slowest:?}, indexed {indexed:?}");
    assert_eq!(tier.counters().segments.get(), SEGMENTS);
    assert!(first_hit < Duration::from_secs(1), "{first_hit:?}");
    assert_eq!(read(&tier, &objects[5], 0..1).await, 1);
    let scans = tier.counters().scans.get();
    let begun = Instant::now();
    assert!(tier.core.scan(|| true));
    println!("listed again in {:?} after {scans}", begun.elapsed());
    let begun = Instant::now();
    let purged = tier
        .purge(&PurgeScope::Key(objects[3].object.clone()))
        .await;
    println!("purged one key in {:?}", begun.elapsed());
    assert_eq!((purged.objects, purged.segments), (1, 1));
}
