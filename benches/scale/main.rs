//! What a hit costs, and what an entry takes, as more is cached: object metas, blocks in memory, segments
//! on disk, from a thousand to a million of each.
//!
//! `cargo bench --bench scale` prints a Markdown table of up to a hundred thousand, which takes two minutes and
//! 1 GB below `TMPDIR`; with `-- --million` of up to a million, which takes ten times as much.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

#[path = "../measure/mod.rs"]
mod measure;

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use measure::{Dice, Plan, Sample, disk_tier, median, meta, object, spread, take_turns, version};
use s3proxy::cache::store::disk::DiskTier;
use s3proxy::cache::{
    BlockIndex, BlockSize, CachedMeta, Generations, Metas, ObjectName, ObjectVersion, Store,
};
use tokio::runtime::Runtime;

/// Of each object. Small, so that what is measured is the entry and not its bytes.
const OBJECT_BYTES: usize = 1024;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something with so many entries, of which one can be hit.
trait Kept {
    fn hit(&self, number: u64);
}

/// A way of keeping, with `count` entries.
type Build = fn(count: u64) -> Box<dyn Kept>;

const WAYS: [(&str, Build); 3] = [
    ("object meta", KeptMetas::build),
    ("1 KiB from memory", KeptBlocks::build),
    ("1 KiB from disk", KeptSegments::build),
];

struct Row {
    count: u64,
    /// Resident memory that came with its entries, for each of them.
    bytes_an_entry: f64,
    kept: Box<dyn Kept>,
}

/// Asks for the memory of one way with so many entries, in a process that has held nothing before.
const RESIDENT: &str = "--resident";

fn main() {
    let plan = Plan::of_arguments();
    let asked: Vec<String> = std::env::args()
        .skip_while(|word| word != RESIDENT)
        .skip(1)
        .collect();
    if let [way, count] = &asked[..] {
        let before = resident_bytes();
        let count = count.parse().unwrap();
        let _kept = WAYS[way.parse::<usize>().unwrap()].1(count);
        println!("{}", (resident_bytes() - before) / count as f64);
        return;
    }
    let is_full = std::env::args().any(|argument| argument == "--million");
    let counts: &[u64] = match (plan.is_quick, is_full) {
        (true, _) => &[10, 100],
        (false, false) => &[1_000, 10_000, 100_000],
        (false, true) => &[1_000, 10_000, 100_000, 1_000_000],
    };
    println!("| hit | entries | µs, CPU | ratio to the fewest | resident bytes an entry |");
    println!("|---|--:|--:|--:|--:|");
    for way in 0..WAYS.len() {
        report(&plan, way, counts);
    }
}

fn report(plan: &Plan, way: usize, counts: &[u64]) {
    let (name, build) = WAYS[way];
    let rows: Vec<Row> = counts
        .iter()
        .map(|&count| Row {
            count,
            bytes_an_entry: bytes_an_entry(way, count),
            kept: build(count),
        })
        .collect();
    let mut rounds: Vec<Box<dyn FnMut() -> Sample>> = rows
        .iter()
        .map(|row| {
            let mut dice = Dice(7);
            let (kept, count) = (&row.kept, row.count);
            Box::new(move || plan.sample(|| kept.hit(dice.roll(count))))
                as Box<dyn FnMut() -> Sample>
        })
        .collect();
    let mut turns: Vec<&mut dyn FnMut() -> Sample> = rounds
        .iter_mut()
        .map(|round| &mut **round as &mut dyn FnMut() -> Sample)
        .collect();
    let samples = take_turns(plan, &mut turns);
    for (row, of_row) in rows.iter().zip(&samples) {
        let ratios = of_row.iter().zip(&samples[0]);
        let ratio = median(ratios.map(|(this, fewest)| this.cpu_micros() / fewest.cpu_micros()));
        println!(
            "| {name} | {} | {} | {ratio:.2} | {:.0} |",
            row.count,
            spread(of_row.iter().map(Sample::cpu_micros)),
            row.bytes_an_entry,
        );
    }
}

fn bytes_an_entry(way: usize, count: u64) -> f64 {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([RESIDENT, &way.to_string(), &count.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    text.trim().parse().unwrap()
}

struct KeptMetas {
    names: Vec<ObjectName>,
    metas: Metas,
}

impl KeptMetas {
    fn build(count: u64) -> Box<dyn Kept> {
        let generations = Arc::new(Generations::new(1));
        let metas = Metas::new(u64::MAX, Arc::clone(&generations));
        let names: Vec<_> = (0..count).map(|number| object(&key(number))).collect();
        for name in &names {
            metas.insert(known(name, &generations), SystemTime::now());
        }
        Box::new(Self { names, metas })
    }
}

impl Kept for KeptMetas {
    fn hit(&self, number: u64) {
        let found = self.metas.find(&self.names[index(number)]);
        assert!(found.is_some(), "{number}");
        black_box(found);
    }
}

/// What a proxy knows of an object of S3 that it has read.
fn known(name: &ObjectName, generations: &Generations) -> CachedMeta {
    let generation = generations.current(name);
    CachedMeta::new(name.clone(), meta(1024), SystemTime::now(), generation)
}

struct KeptBlocks {
    versions: Vec<Arc<ObjectVersion>>,
    store: Store,
}

impl KeptBlocks {
    fn build(count: u64) -> Box<dyn Kept> {
        let store = Store::new(BlockSize::DEFAULT, 1 << 40, None);
        let versions: Vec<_> = (0..count).map(numbered).collect();
        for version in &versions {
            store.admit(version, BlockIndex(0), Bytes::from(vec![1; OBJECT_BYTES]));
        }
        Box::new(Self { versions, store })
    }
}

impl Kept for KeptBlocks {
    fn hit(&self, number: u64) {
        let found = self
            .store
            .hot(&self.versions[index(number)], BlockIndex(0), 1);
        assert!(found.is_some(), "{number}");
        black_box(found);
    }
}

struct KeptSegments {
    versions: Vec<Arc<ObjectVersion>>,
    tier: Arc<DiskTier>,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl KeptSegments {
    fn build(count: u64) -> Box<dyn Kept> {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, tier) = disk_tier(dir.path(), 1 << 40);
        let versions: Vec<_> = (0..count).map(numbered).collect();
        runtime.block_on(async {
            for (number, version) in versions.iter().enumerate() {
                tier.write(version, BlockIndex(0), Bytes::from(vec![1; OBJECT_BYTES]));
                if number % 500 == 499 {
                    tier.flush().await;
                }
            }
            tier.flush().await;
        });
        Box::new(Self {
            versions,
            tier,
            runtime,
            _dir: dir,
        })
    }
}

impl Kept for KeptSegments {
    fn hit(&self, number: u64) {
        let version = &self.versions[index(number)];
        let read = self.tier.read(version, BlockIndex(0)..BlockIndex(1));
        let found = self.runtime.block_on(read);
        assert!(found.is_some(), "{number}");
        black_box(found);
    }
}

fn key(number: u64) -> String {
    format!("hive/year=2026/month=11/part-{number:08}.parquet")
}

fn numbered(number: u64) -> Arc<ObjectVersion> {
    version(&key(number), OBJECT_BYTES)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim_end_matches("kB").trim();
    kib.parse::<f64>().unwrap() * 1024.0
}
