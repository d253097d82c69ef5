//! Several tiers on one directory: in this process, in others, and in others that are killed.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::*;

/// Tells a child of this test what to do: a directory.
const CHILD: &str = "S3PROXY_TEST_DISK_CHILD";

/// Each tier may hold half of all that is written.
const OBJECTS: u64 = 40;
const CAPACITY: u64 = OBJECTS / 2 * 64 * BLOCK;

fn objects() -> Vec<Arc<ObjectVersion>> {
    let object = |number: u64| version(&format!("k{number}"), "1", 100 * BLOCK + number);
    (0..OBJECTS).map(object).collect()
}

fn crowded(dir: &Path) -> DiskConfig {
    DiskConfig {
        capacity: Some(CAPACITY),
        open_files: 16,
        rescan_every: Duration::from_millis(50),
        ..config(dir)
    }
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Whatever is waited for has to come in this time, on the busiest machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// Writes, reads and forgets until it is enough, which is asked with how many blocks were read. Every
/// byte that is read is checked. Gives how many there were.
async fn live(tier: &DiskTier, seed: u64, is_enough: impl Fn(u64) -> bool) -> u64 {
    let objects = objects();
    let mut dice = Dice(seed);
    let mut blocks = 0;
    while !is_enough(blocks) {
        let object = &objects[usize::try_from(dice.roll(OBJECTS)).unwrap()];
        let first = dice.roll(101);
        let end = (first + 1 + dice.roll(16))
            .min(101)
            .min((first / 64 + 1) * 64);
        match dice.roll(20) {
            0 => tier.forget(object),
            1..8 => write(tier, object, first..end),
            _ => blocks += read(tier, object, first..end).await,
        }
        if dice.roll(200) == 0 {
            tier.flush().await;
        }
    }
    tier.flush().await;
    blocks
}

/// After all: what a new tier finds is right, and within the bounds.
async fn settle(dir: &Path) -> u64 {
    let tier = open_indexed(crowded(dir)).await;
    let mut blocks = 0;
    for object in objects() {
        for block in 0..101 {
            blocks += read(&tier, &object, block..block + 1).await;
        }
    }
    until("it fits", || tier.counters().bytes.get() <= CAPACITY).await;
    assert_eq!(tier.counters().errors.get(), 0);
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tiers_share_a_directory_under_load() {
    let dir = folder();
    let tiers = [open(crowded(dir.path())), open(crowded(dir.path()))];
    let read_blocks = Arc::new(AtomicU64::new(0));
    let deadline = Instant::now() + PATIENCE;
    let lives: Vec<_> = (0..4)
        .map(|number| {
            let tiers = tiers.clone();
            let read_blocks = Arc::clone(&read_blocks);
            tokio::spawn(async move {
                let noted = AtomicU64::new(0);
                let is_enough = |blocks: u64| {
                    let more = blocks - noted.swap(blocks, Ordering::Relaxed);
                    let all = read_blocks.fetch_add(more, Ordering::Relaxed) + more;
                    let is_busy = tiers.iter().all(|tier| {
                        let counters = tier.counters();
                        counters.evictions.get() > 0 && counters.scans.get() > 5
                    });
                    all > 1_000 && is_busy || Instant::now() > deadline
                };
                live(&tiers[number % 2], number as u64, is_enough).await
            })
        })
        .collect();
    for life in lives {
        life.await.unwrap();
    }
    assert!(read_blocks.load(Ordering::Relaxed) > 1_000);
    for tier in &tiers {
        let counters = tier.counters();
        assert_eq!(counters.checksum_failures.get(), 0);
        assert_eq!(counters.errors.get(), 0);
        assert_eq!(counters.state(), DiskState::Serving);
        assert!(counters.evictions.get() > 0);
        assert!(counters.scans.get() > 5);
    }
    // When one is quiet it finds out what the other did.
    drop(tiers);
    assert!(settle(dir.path()).await > 0);
}

#[tokio::test]
async fn a_tier_finds_what_another_wrote_and_deleted() {
    let dir = folder();
    let quick = DiskConfig {
        rescan_every: Duration::from_millis(20),
        ..config(dir.path())
    };
    let (old, new) = (open_indexed(quick.clone()).await, open_indexed(quick).await);
    let object = version("a", "1", 100 * BLOCK);
    let id = object.segment(SegmentIndex(0));
    write(&old, &object, 0..4);
    assert!(old.write_meta(MetaId([1; 16]), None, "m".into()).await);
    old.flush().await;
    until("it is found", || new.present(id).blocks().count() == 4).await;
    until("the meta is found", || new.counters().metas.get() == 1).await;
    assert_eq!(read(&new, &object, 0..4).await, 4);
    assert_eq!(new.read_meta(MetaId([1; 16])).await.unwrap(), "m");
    // What both write is the same.
    write(&new, &object, 2..8);
    new.flush().await;
    write(&old, &object, 2..8);
    old.flush().await;
    assert_eq!(read(&old, &object, 0..8).await, 8);
    let bucket = PurgeScope::Bucket {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
    };
    assert_eq!(old.purge(&bucket).await.segments, 1);
    assert!(old.remove_meta(MetaId([1; 16])).await);
    until("it is gone", || new.present(id).blocks().is_empty()).await;
    until("nothing counts", || new.counters().bytes.get() == 0).await;
    until("it is closed", || new.core.files.len() == 0).await;
    // And written again, through a file that the other had open.
    write(&new, &object, 0..1);
    new.flush().await;
    assert_eq!(read(&new, &object, 0..1).await, 1);
}

/// One file is open here when another process deletes it.
#[tokio::test]
async fn a_purge_reaches_what_another_process_deleted_while_it_was_open() {
    let dir = folder();
    // Nobody looks after the open files meanwhile.
    let quiet = DiskConfig {
        tick: Duration::from_hours(1),
        ..config(dir.path())
    };
    let tier = open_indexed(quiet).await;
    let object = version("a", "1", 100 * BLOCK);
    write(&tier, &object, 0..4);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 0..4).await, 4);
    for file in files_below(&dir.path().join("cache/v1/segments")) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(read(&tier, &object, 0..4).await, 4, "it is still open");
    let purged = tier.purge(&PurgeScope::Key(object.object.clone())).await;
    assert_eq!(purged.failures, 0);
    assert_eq!(read(&tier, &object, 0..4).await, 0);
    assert_eq!(tier.core.files.len(), 0);
}

/// No test of its own: the body of the processes that the tests below start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    // The parent's end of the pipe closes when it ends, however it ends.
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        told.store(true, Ordering::Relaxed);
    });
    let tier = open(crowded(Path::new(&dir)));
    println!("ready");
    let seed = u64::from(std::process::id());
    let blocks = live(&tier, seed, |_| stop.load(Ordering::Relaxed)).await;
    assert_eq!(tier.counters().checksum_failures.get(), 0);
    assert_eq!(tier.counters().errors.get(), 0);
    println!("blocks {blocks}");
}

fn start_child(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "cache::store::disk::tests::sharing::child",
            "--nocapture",
        ])
        .env(CHILD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    // What it says afterwards is read to the end, or it would wait.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[tokio::test]
async fn two_processes_share_a_directory_under_load() {
    let dir = folder();
    let mut children = [start_child(dir.path()), start_child(dir.path())];
    let tier = open(crowded(dir.path()));
    let deadline = Instant::now() + PATIENCE;
    let is_enough = |blocks| {
        let evictions = tier.counters().evictions.get();
        blocks > 1_000 && evictions > 0 || Instant::now() > deadline
    };
    let blocks = live(&tier, 7, is_enough).await;
    assert!(blocks > 1_000, "{blocks}");
    assert_eq!(tier.counters().checksum_failures.get(), 0);
    assert_eq!(tier.counters().errors.get(), 0);
    for child in &mut children {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "it read something wrong");
    }
    drop(tier);
    assert!(settle(dir.path()).await > 0);
}

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_only_right_bytes() {
    let dir = folder();
    let (mut blocks, mut round) = (0, 0);
    // On a busy machine some have written nothing when they are killed.
    while round < 20 || blocks <= 1_000 && round < 200 {
        let mut child = start_child(dir.path());
        tokio::time::sleep(Duration::from_millis(100 + round * 10)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        blocks += settle(dir.path()).await;
        round += 1;
    }
    assert!(blocks > 1_000, "{blocks}");
}
