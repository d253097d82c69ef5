//! Whoever calls from an async worker never waits for the disk there.

use std::sync::atomic::Ordering;

use rustix::fs::Advice;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

use super::*;

#[tokio::test]
async fn no_call_is_made_on_the_thread_of_a_caller() {
    let dir = folder();
    let object = version("a", "1", 100 * BLOCK);
    let id = MetaId([1; 16]);
    let before = open_indexed(config(dir.path())).await;
    write(&before, &object, 0..4);
    assert!(before.write_meta(id, None, "m".into()).await);
    before.flush().await;
    drop(before);
    // This one finds everything by name: its first listing takes longer.
    let tier = open(config(dir.path()));
    tier.core.can_read_at_once.store(false, Ordering::Relaxed);
    tier.core.faults.delay_reads(300);
    let blocks = tier.look(&object, SegmentIndex(0)).await;
    assert_eq!(blocks, Blocks::run(0..4));
    assert_eq!(tier.read_meta(id).await.as_deref(), Some(&b"m"[..]));
    assert_eq!(read(&tier, &object, 0..4).await, 4);
    tier.core.faults.delay_reads(0);
    write(&tier, &object, 4..8);
    assert!(tier.write_meta(id, None, "n".into()).await);
    assert!(tier.remove_meta(id).await);
    tier.forget(&object);
    tier.flush().await;
    write(&tier, &object, 0..4);
    let bucket = PurgeScope::Bucket {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
    };
    assert_eq!(tier.purge(&bucket).await.segments, 1);
    let threads = tier.core.faults.threads();
    for kind in ["disk-read", "disk-write", "disk-metas", "disk-purge"] {
        let is_of_kind = |name: &String| name.starts_with(kind);
        assert!(threads.iter().any(is_of_kind), "{kind}: {threads:?}");
    }
    let is_own = |name: &String| name.starts_with("disk-");
    assert!(threads.iter().all(is_own), "{threads:?}");
}

/// The kernel may keep what it is asked to drop; not every time.
const ATTEMPTS: usize = 100;

/// Has the page cache drop a file, as far as the file system lets it.
fn drop_pages(path: &Path) -> std::fs::File {
    let file = std::fs::File::open(path).unwrap();
    rustix::fs::fdatasync(&file).unwrap();
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    file
}

/// Whether files here can be dropped from memory: those of a file system that is memory cannot.
fn can_drop_pages(dir: &Path) -> bool {
    let path = dir.join("probe");
    std::fs::write(&path, vec![1; 64 << 10]).unwrap();
    (0..ATTEMPTS).any(|_| {
        let file = drop_pages(&path);
        let mut bytes = [0; 4096];
        let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
        let read = rustix::io::preadv2(&file, &mut slices, 32 << 10, ReadWriteFlags::NOWAIT);
        read == Err(Errno::AGAIN)
    })
}

/// As after a restart, and where there are more files than are held open.
#[tokio::test]
async fn a_file_in_memory_is_opened_on_the_thread_of_the_caller() {
    let dir = folder();
    if !can_drop_pages(dir.path()) {
        return;
    }
    let object = version("a", "1", 3 * 64 * BLOCK);
    let tier = open_indexed(config(dir.path())).await;
    for segment in 0..3 {
        write(&tier, &object, segment * 64..segment * 64 + 4);
    }
    tier.flush().await;
    tier.core.files.close_all();
    let at_once = tier.read_at_once(&object, BlockIndex(64)..BlockIndex(66));
    assert_eq!(at_once, Some(blocks_of(&object, 64..66)));
    assert_eq!(tier.counters().direct_reads.get(), 1);
    assert_eq!(tier.core.files.len(), 1, "it stays open");
    let absent = tier.read_at_once(&object, BlockIndex(68)..BlockIndex(69));
    assert_eq!(absent, None);
    assert_eq!(
        tier.counters().missed(Miss::Absent),
        0,
        "nothing is said of it"
    );
}

#[tokio::test]
async fn what_is_not_in_memory_is_left_to_a_thread() {
    let dir = folder();
    if !can_drop_pages(dir.path()) {
        return;
    }
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", 4 * BLOCK);
    write(&tier, &object, 0..4);
    tier.flush().await;
    let direct = || tier.counters().direct_reads.get();
    assert_eq!(read(&tier, &object, 0..4).await, 4);
    assert_eq!(direct(), 1, "what was just written is in memory");
    for _ in 0..ATTEMPTS {
        for path in files_below(&dir.path().join("cache/v1/segments")) {
            drop_pages(&path);
        }
        let before = direct();
        assert_eq!(read(&tier, &object, 0..4).await, 4);
        if direct() == before {
            return;
        }
    }
    panic!("every read was made on the thread of its caller");
}
