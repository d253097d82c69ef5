//! Random sequences of reads, writes, faults, evictions and restarts against the whole read path and
//! an origin in the process, held against a plain model.
//!
//! `S3PROXY_TEST_SEQUENCES` says how many, `S3PROXY_TEST_SEED` which is the first. A failure prints
//! its seed; with it, and one sequence, it runs again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::model_steps::Sequence;
use super::model_world::World;
use super::object_origin::ObjectOrigin;

/// No sequence takes longer, stalls and all.
const PATIENCE: Duration = Duration::from_mins(1);

/// More than there are processors: a sequence often waits.
const THREADS: usize = 4;

fn from_environment(name: &str) -> Option<u64> {
    let said = std::env::var(name).ok()?;
    Some(
        said.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn random_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Whole microseconds: short enough to be typed.
    since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
}

#[test]
fn every_read_is_of_one_version_that_was_current_lately() {
    let count = from_environment("S3PROXY_TEST_SEQUENCES").unwrap_or(10_000);
    let first = from_environment("S3PROXY_TEST_SEED").unwrap_or_else(random_seed);
    println!("{count} sequences from S3PROXY_TEST_SEED={first} on");
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let next = Arc::clone(&next);
            std::thread::spawn(move || run(first, count, &next))
        })
        .collect();
    let mut failed = Vec::new();
    let mut requests = 0;
    for thread in threads {
        let (seeds, seen) = thread.join().unwrap();
        failed.extend(seeds);
        requests += seen;
    }
    println!("{requests} requests at the origin in {:?}", begun.elapsed());
    assert!(
        failed.is_empty(),
        "run again with S3PROXY_TEST_SEQUENCES=1 and S3PROXY_TEST_SEED set to one of {failed:?}"
    );
}

/// Runs one sequence after the other until there are none left; answers which failed, and how many
/// requests there were.
fn run(first: u64, count: u64, next: &AtomicU64) -> (Vec<u64>, usize) {
    let mut failed = Vec::new();
    let mut requests = 0;
    loop {
        // A runtime and an origin for some hundred sequences: cheap, and nothing piles up.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let store = runtime.block_on(async { Arc::new(ObjectOrigin::start().await) });
        for _ in 0..200 {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || failed.len() >= 5 {
                return (failed, requests);
            }
            let seed = first + index;
            let running = AssertUnwindSafe(|| runtime.block_on(run_one(seed, &store)));
            if std::panic::catch_unwind(running).is_err() {
                let sequence = Sequence::random(seed);
                eprintln!("S3PROXY_TEST_SEED={seed} failed: {sequence:#?}");
                failed.push(seed);
                break;
            }
            requests += store.origin.take().len();
        }
    }
}

async fn run_one(seed: u64, store: &Arc<ObjectOrigin>) {
    let sequence = Sequence::random(seed);
    let world = World::new(store, &sequence);
    let running = tokio::time::timeout(PATIENCE, world.run(&sequence));
    assert!(
        running.await.is_ok(),
        "the sequence does not come to an end"
    );
    store.objects.forget_all();
}
