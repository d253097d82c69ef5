//! A disk that fails: the cache is smaller or off, and comes back.

use std::fs;
use std::process::Command;

use rustix::io::Errno;

use super::*;
use crate::cache::store::disk::core::Call;

#[tokio::test]
async fn failing_writes_make_it_read_only_until_the_disk_writes_again() {
    for (error, refusal) in [
        (Errno::IO, Refusal::Failed),
        (Errno::ROFS, Refusal::Failed),
        (Errno::ACCESS, Refusal::Failed),
        (Errno::MFILE, Refusal::Failed),
        (Errno::NOSPC, Refusal::NoSpace),
        (Errno::DQUOT, Refusal::NoSpace),
    ] {
        let dir = folder();
        let tier = open_indexed(config(dir.path())).await;
        let object = version("a", "1", 100 * BLOCK);
        write(&tier, &object, 0..2);
        tier.flush().await;
        tier.core.faults.set(Call::Write, Some(error));
        write(&tier, &object, 2..4);
        tier.flush().await;
        let counters = tier.counters();
        assert_eq!(counters.state(), DiskState::ReadOnly, "{error:?}");
        assert_eq!(counters.dropped(refusal), 1, "{error:?}");
        if refusal == Refusal::Failed {
            assert_eq!(read(&tier, &object, 0..4).await, 2, "{error:?}");
        }
        write(&tier, &object, 2..4);
        assert_eq!(counters.dropped(Refusal::Off), 1, "{error:?}");
        assert!(!tier.write_meta(MetaId([1; 16]), None, "m".into()).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(counters.state(), DiskState::ReadOnly, "{error:?} goes on");
        tier.core.faults.set(Call::Write, None);
        until("it serves", || counters.state() == DiskState::Serving).await;
        write(&tier, &object, 0..4);
        tier.flush().await;
        assert_eq!(read(&tier, &object, 0..4).await, 4, "{error:?}");
    }
}

#[tokio::test]
async fn a_disk_that_does_not_read_is_off_until_it_does() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", 100 * BLOCK);
    write(&tier, &object, 0..20);
    tier.flush().await;
    // The page cache answers without a thread.
    tier.core
        .can_read_at_once
        .store(false, std::sync::atomic::Ordering::Relaxed);
    tier.core.faults.set(Call::Read, Some(Errno::IO));
    for block in 0..4 {
        assert_eq!(tier.counters().state(), DiskState::Serving);
        assert_eq!(read(&tier, &object, block..block + 1).await, 0);
    }
    assert_eq!(tier.counters().state(), DiskState::Off);
    assert_eq!(tier.counters().missed(Miss::Failed), 4);
    assert_eq!(read(&tier, &object, 10..11).await, 0);
    assert_eq!(tier.counters().missed(Miss::Off), 1);
    assert_eq!(
        tier.present(object.segment(SegmentIndex(0))),
        Presence::Known(Blocks::NONE)
    );
    tier.core.faults.set(Call::Read, None);
    until("it serves", || {
        tier.counters().state() == DiskState::Serving
    })
    .await;
    assert_eq!(read(&tier, &object, 0..1).await, 0, "it was unreadable");
    assert_eq!(read(&tier, &object, 10..11).await, 1);
}

#[tokio::test]
async fn what_cannot_be_read_while_it_is_listed_is_found_later() {
    let dir = folder();
    let object = version("a", "1", 100 * BLOCK);
    let tier = open(config(dir.path()));
    write(&tier, &object, 0..4);
    tier.flush().await;
    drop(tier);
    let often = DiskConfig {
        rescan_every: Duration::from_millis(50),
        ..config(dir.path())
    };
    let tier = open(often);
    // Before its threads begin.
    tier.core.faults.set(Call::Read, Some(Errno::IO));
    tier.start();
    until("it is listed", || tier.counters().scans.get() > 2).await;
    assert_eq!(tier.counters().segments.get(), 0);
    assert_eq!(read(&tier, &object, 0..4).await, 0);
    tier.core.faults.set(Call::Read, None);
    until("it is found", || tier.counters().segments.get() == 1).await;
    assert_eq!(tier.counters().deleted_strays.get(), 0);
    assert_eq!(read(&tier, &object, 0..4).await, 4);
}

#[tokio::test]
async fn what_cannot_be_deleted_still_counts() {
    let dir = folder();
    let capacity = 4 * (4096 + 4 * BLOCK);
    let config = DiskConfig {
        capacity: Some(capacity),
        ..config(dir.path())
    };
    let tier = open_indexed(config).await;
    tier.core.faults.set(Call::Delete, Some(Errno::IO));
    for number in 0..6 {
        write(
            &tier,
            &version(&format!("k{number}"), "1", 64 * BLOCK),
            0..4,
        );
        tier.flush().await;
    }
    assert_eq!(tier.counters().state(), DiskState::ReadOnly);
    assert_eq!(tier.counters().segments.get(), 5);
    assert!(tier.counters().bytes.get() > capacity);
    let bucket = PurgeScope::Bucket {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
    };
    let purged = tier.purge(&bucket).await;
    assert_eq!((purged.segments, purged.failures), (0, 5), "it says so");
    assert!(!tier.remove_meta(MetaId([1; 16])).await);
    tier.core.faults.set(Call::Delete, None);
    until("it fits again", || tier.counters().bytes.get() <= capacity).await;
    until("it serves", || {
        tier.counters().state() == DiskState::Serving
    })
    .await;
}

#[tokio::test]
async fn the_directory_may_vanish_under_load_and_is_made_again() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let root = dir.path().join("cache");
    let objects: Vec<_> = (0..40)
        .map(|n| version(&format!("k{n}"), "1", 64 * BLOCK))
        .collect();
    for round in 0..5 {
        let deadline = Instant::now() + Duration::from_millis(300);
        let mut deleted = false;
        while Instant::now() < deadline {
            for object in &objects {
                write(&tier, object, 0..4);
                read(&tier, object, 0..4).await;
            }
            tokio::task::yield_now().await;
            if !deleted {
                // Files come while it is being deleted, so it may take more than one attempt.
                while root.exists() {
                    let _ = fs::remove_dir_all(&root);
                }
                deleted = true;
            }
        }
        until("it is made again", || {
            root.join("CACHEDIR.TAG").exists() && tier.counters().state() == DiskState::Serving
        })
        .await;
        let object = version("after", &round.to_string(), BLOCK);
        until("it keeps again", || {
            write(&tier, &object, 0..1);
            !files_below(&root.join("v1")).is_empty()
        })
        .await;
        tier.flush().await;
        assert_eq!(read(&tier, &object, 0..1).await, 1);
        until("it is indexed", || tier.counters().is_indexed()).await;
    }
}

#[tokio::test]
async fn another_directory_in_its_place_is_used_only_if_it_is_its_own() {
    let dir = folder();
    let root = dir.path().join("cache");
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", BLOCK);
    write(&tier, &object, 0..1);
    tier.flush().await;
    fs::rename(&root, dir.path().join("moved")).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join("thesis.tex"), "years of work").unwrap();
    until("it is off", || tier.counters().state() == DiskState::Off).await;
    assert_eq!(read(&tier, &object, 0..1).await, 0);
    write(&tier, &object, 0..1);
    tier.flush().await;
    assert_eq!(files_below(&root).len(), 1);
    fs::remove_dir_all(&root).unwrap();
    fs::rename(dir.path().join("moved"), &root).unwrap();
    until("it serves", || {
        tier.counters().state() == DiskState::Serving
    })
    .await;
    assert_eq!(read(&tier, &object, 0..1).await, 1);
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_a_miss_and_a_disk_that_hangs_is_off() {
    let dir = folder();
    let config = DiskConfig {
        read_deadline: Duration::from_millis(30),
        readers: 1,
        read_queue: 1,
        ..config(dir.path())
    };
    let tier = open_indexed(config).await;
    let object = version("a", "1", BLOCK);
    write(&tier, &object, 0..1);
    tier.flush().await;
    tier.core
        .can_read_at_once
        .store(false, std::sync::atomic::Ordering::Relaxed);
    tier.core.faults.delay_reads(500);
    let begun = Instant::now();
    while tier.counters().state() != DiskState::Off {
        assert_eq!(read(&tier, &object, 0..1).await, 0);
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
    let counters = tier.counters();
    assert_eq!(counters.missed(Miss::Late), 8);
    assert!(counters.missed(Miss::Busy) > 0, "one reads, one waits");
    let (waited, off) = (counters.missed(Miss::Late), counters.missed(Miss::Off));
    assert_eq!(read(&tier, &object, 0..1).await, 0);
    assert_eq!(counters.missed(Miss::Late), waited, "nobody waits for it");
    assert_eq!(counters.missed(Miss::Off), off + 1);
    tier.core.faults.delay_reads(0);
    until("it serves", || counters.state() == DiskState::Serving).await;
    // The thread that slept wakes up.
    while read(&tier, &object, 0..1).await == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
}

/// A file system of its own, if this process may mount one; unmounted in the end.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) -> bool {
        let remounted = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .output();
        remounted.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_makes_it_smaller() {
    let dir = folder();
    let Some(_mount) = Mount::new(&dir.path().join("cache"), "size=4m,mode=0700") else {
        return; // only root mounts
    };
    let root = dir.path().join("cache");
    let config = DiskConfig {
        capacity: Some(1 << 30),
        min_free_percent: 0,
        ..config(dir.path())
    };
    // Somebody else fills most of it, so that the space is gone before it is measured.
    let tier = open_indexed(config).await;
    fs::write(root.join("ballast"), vec![1; 3 << 20]).unwrap();
    let object = |number: u64| version(&format!("k{number}"), "1", 64 * BLOCK);
    for number in 0..200 {
        write(&tier, &object(number), 0..8);
        tier.flush().await;
        for earlier in 0..=number {
            read(&tier, &object(earlier), 0..8).await;
        }
    }
    let counters = tier.counters();
    assert!(counters.bytes.get() <= 1 << 20);
    assert!(counters.evictions.get() > 0 || counters.dropped(Refusal::NoSpace) > 0);
    fs::remove_file(root.join("ballast")).unwrap();
    until("it serves", || counters.state() == DiskState::Serving).await;
    let late = object(1000);
    until("it keeps", || {
        write(&tier, &late, 0..8);
        tier.present(late.segment(SegmentIndex(0))).blocks().count() == 8
    })
    .await;
    assert_eq!(read(&tier, &late, 0..8).await, 8);
}

#[tokio::test]
async fn a_disk_without_inodes_makes_it_smaller() {
    let dir = folder();
    let options = "size=64m,nr_inodes=400,mode=0700";
    let Some(_mount) = Mount::new(&dir.path().join("cache"), options) else {
        return; // only root mounts
    };
    let tier = open_indexed(config(dir.path())).await;
    let mut kept = 0;
    for number in 0..600 {
        let object = version(&format!("k{number}"), "1", BLOCK);
        until("it serves", || {
            tier.counters().state() == DiskState::Serving
        })
        .await;
        write(&tier, &object, 0..1);
        tier.flush().await;
        kept += read(&tier, &object, 0..1).await;
    }
    assert!(kept > 300, "{kept} kept of 600");
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_is_still_read() {
    let dir = folder();
    let Some(mount) = Mount::new(&dir.path().join("cache"), "size=4m,mode=0700") else {
        return; // only root mounts
    };
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", 64 * BLOCK);
    write(&tier, &object, 0..8);
    tier.flush().await;
    drop(tier);
    // A segment may be open for writing a moment longer.
    until("it is read-only", || mount.remount("ro")).await;
    // It also starts so.
    let tier = open_indexed(config(dir.path())).await;
    assert_eq!(read(&tier, &object, 0..8).await, 8);
    write(&tier, &object, 8..9);
    tier.flush().await;
    assert_eq!(tier.counters().state(), DiskState::ReadOnly);
    tier.forget(&object);
    tier.flush().await;
    let bucket = PurgeScope::Bucket {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
    };
    assert_eq!(tier.purge(&bucket).await.failures, 1);
    assert!(mount.remount("rw"));
    until("it serves", || {
        tier.counters().state() == DiskState::Serving
    })
    .await;
    write(&tier, &object, 8..9);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 8..9).await, 1);
}
