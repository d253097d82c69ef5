//! What the benchmarks of the cache share: how long and how often, time on the processor, medians, and objects to
//! keep.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use s3proxy::cache::store::disk::{DiskConfig, DiskTier};
use s3proxy::cache::{ObjectName, ObjectVersion};
use s3proxy::s3::{Bucket, ETag, Key, ObjectMeta};
use tokio::runtime::Runtime;

/// How long and how often.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    /// Whether it only has to work.
    pub(crate) is_quick: bool,
}

/// What one way cost in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) runs: u64,
    pub(crate) wall: Duration,
    /// Of all threads of this process.
    pub(crate) cpu: Duration,
}

impl Plan {
    /// Cargo says `--bench` when it benchmarks; as a test, this only has to work.
    pub(crate) fn of_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let is_quick = has("--quick") || !has("--bench");
        let (rounds, milliseconds) = if is_quick { (1, 5) } else { (9, 250) };
        Self {
            rounds,
            duration: Duration::from_millis(milliseconds),
            is_quick,
        }
    }

    /// Runs something again and again for one round.
    pub(crate) fn sample(&self, mut run: impl FnMut()) -> Sample {
        let (begun, before) = (Instant::now(), cpu_time());
        let mut runs = 0;
        while runs == 0 || begun.elapsed() < self.duration {
            run();
            runs += 1;
        }
        Sample {
            runs,
            wall: begun.elapsed(),
            cpu: cpu_time().saturating_sub(before),
        }
    }
}

impl Sample {
    pub(crate) fn wall_micros(&self) -> f64 {
        self.wall.as_secs_f64() * 1e6 / self.runs as f64
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.runs as f64
    }
}

/// One round of each way after the other, and again: whatever else the machine does meets all of
/// them. Gives the samples of each way.
pub(crate) fn take_turns(plan: &Plan, ways: &mut [&mut dyn FnMut() -> Sample]) -> Vec<Vec<Sample>> {
    let mut samples = vec![Vec::new(); ways.len()];
    for round in 0..plan.rounds {
        for turn in 0..ways.len() {
            // No way is always the first.
            let way = (turn + round) % ways.len();
            samples[way].push(ways[way]());
        }
    }
    samples
}

/// `median (least–greatest)`.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let digits = usize::from(values[values.len() / 2] < 100.0);
    let [least, middle, greatest] =
        [0, values.len() / 2, values.len() - 1].map(|index| format!("{:.digits$}", values[index]));
    format!("{middle} ({least}–{greatest})")
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Time that this process's threads were on a processor.
pub(crate) fn cpu_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanos = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Numbers that look random, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.roll(1 << 30) as f64 / f64::from(1 << 30)
    }
}

const ETAG: &str = "\"9bb58f26192e4ba00f01e2e7b136bbd8\"";

/// An object of this key.
pub(crate) fn object(key: &str) -> ObjectName {
    ObjectName {
        origin: "main".into(),
        bucket: Bucket::new("lake").unwrap(),
        key: Key::new(key).unwrap(),
    }
}

/// Its only version, of this size.
pub(crate) fn version(key: &str, size: usize) -> Arc<ObjectVersion> {
    let etag = ETag::parse(ETAG).unwrap();
    Arc::new(ObjectVersion::new(object(key), etag, size as u64))
}

/// What its origin says of it.
pub(crate) fn meta(size: u64) -> ObjectMeta {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("etag", ETAG),
        ("content-length", size.to_string().as_str()),
        ("content-type", "application/octet-stream"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sun, 22 Nov 2026 00:00:00 GMT"),
        ("x-amz-server-side-encryption", "AES256"),
    ] {
        fields.insert(name, value.parse().unwrap());
    }
    let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &fields, false).unwrap();
    meta
}

/// A disk tier in a new directory below this one, and the runtime that it wants.
pub(crate) fn disk_tier(dir: &Path, capacity: u64) -> (Runtime, Arc<DiskTier>) {
    let config = DiskConfig {
        capacity: Some(capacity),
        min_free_percent: 0,
        write_queue_bytes: 1 << 30,
        ..DiskConfig::new(dir.join("cache"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tier = runtime.block_on(async { DiskTier::open(config, Arc::default()).unwrap() });
    (runtime, tier)
}
