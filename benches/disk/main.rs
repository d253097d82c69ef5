//! What a warm read from the disk tier costs, against reading the same bytes from plain files in the
//! page cache, with and without a checksum; and what writing costs.
//!
//! `cargo bench --bench disk` prints two Markdown tables. The directory is below `TMPDIR`.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

#[path = "../measure/mod.rs"]
mod measure;

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use measure::{Dice, Plan, Sample, disk_tier, median, spread, take_turns, version};
use s3proxy::cache::store::disk::DiskTier;
use s3proxy::cache::{BlockIndex, ObjectVersion};
use tokio::runtime::Runtime;
use xxhash_rust::xxh3::xxh3_64;

const MIB: usize = 1 << 20;
const BLOCK: usize = 64 << 10;

/// In files of 4 MiB, as segments are.
const OBJECT_BYTES: usize = 256 << 20;
const FILE_BYTES: usize = 4 << 20;

const SIZES: [(&str, usize); 4] = [
    ("64 KiB", BLOCK),
    ("1 MiB", MIB),
    ("8 MiB", 8 * MIB),
    ("whole, 256 MiB", OBJECT_BYTES),
];

struct Stand {
    runtime: Runtime,
    tier: Arc<DiskTier>,
    version: Arc<ObjectVersion>,
    files: Vec<File>,
    dir: tempfile::TempDir,
}

fn main() {
    let plan = Plan::of_arguments();
    let stand = Stand::new();
    println!("| warm read | | µs, CPU | GB/s | ratio to plain files |");
    println!("|---|---|--:|--:|--:|");
    for (name, size) in SIZES {
        let mut dice = [Dice(7), Dice(7), Dice(7)];
        let [a, b, c] = &mut dice;
        let mut files = || plan.sample(|| stand.read_plain(a, size, false));
        let mut checked = || plan.sample(|| stand.read_plain(b, size, true));
        let mut ours = || plan.sample(|| stand.read_tier(c, size));
        let samples = take_turns(&plan, &mut [&mut files, &mut checked, &mut ours]);
        let names = [
            "plain files",
            "plain files, XXH3 over each block",
            "s3proxy",
        ];
        report(name, size, &names, &samples);
    }
    println!("\n| write of 1 MiB runs | | µs, CPU | GB/s | ratio to plain files |");
    println!("|---|---|--:|--:|--:|");
    for (name, count) in [("16 MiB", 16), ("128 MiB", 128)] {
        let (mut number, mut object) = (0, 0);
        let mut files = || {
            plan.sample(|| {
                number += 1;
                stand.write_plain(number, count);
            })
        };
        let mut ours = || {
            plan.sample(|| {
                object += 1;
                stand.write_tier(object, count);
            })
        };
        let samples = take_turns(&plan, &mut [&mut files, &mut ours]);
        report(name, count * MIB, &["plain files", "s3proxy"], &samples);
    }
    let direct = stand.tier.counters().direct_reads.get();
    let reads = stand.tier.counters().reads.get();
    println!("\n{direct} of {reads} reads took no thread.");
}

impl Stand {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, tier) = disk_tier(dir.path(), 4 << 30);
        let version = version("read", OBJECT_BYTES);
        runtime.block_on(async {
            for index in 0..OBJECT_BYTES / MIB {
                let first = BlockIndex((index * MIB / BLOCK) as u64);
                tier.write(&version, first, piece(index));
                if index % 64 == 63 {
                    tier.flush().await;
                }
            }
        });
        let plain = dir.path().join("plain");
        fs::create_dir(&plain).unwrap();
        let files = (0..OBJECT_BYTES / FILE_BYTES).map(|number| {
            let path = plain.join(number.to_string());
            let pieces = (0..FILE_BYTES / MIB).map(|index| piece(number * 4 + index));
            fs::write(&path, pieces.collect::<Vec<_>>().concat()).unwrap();
            File::open(path).unwrap()
        });
        Self {
            runtime,
            tier,
            version,
            files: files.collect(),
            dir,
        }
    }

    /// In runs of at most a mebibyte within one file, as the tier reads.
    fn read_plain(&self, dice: &mut Dice, size: usize, is_checked: bool) {
        let mut position = place(dice, size);
        let end = position + size;
        while position < end {
            let run = (end - position).min(MIB);
            let mut bytes = vec![0; run];
            let file = &self.files[position / FILE_BYTES];
            let offset = (position % FILE_BYTES) as u64;
            file.read_exact_at(&mut bytes, offset).unwrap();
            if is_checked {
                for block in bytes.chunks(BLOCK) {
                    black_box(xxh3_64(block));
                }
            }
            black_box(bytes);
            position += run;
        }
    }

    fn read_tier(&self, dice: &mut Dice, size: usize) {
        let start = place(dice, size);
        let (mut block, end) = (start / BLOCK, (start + size) / BLOCK);
        self.runtime.block_on(async {
            while block < end {
                let wanted = BlockIndex(block as u64)..BlockIndex(end as u64);
                let run = self.tier.read(&self.version, wanted).await.unwrap();
                block += run.len() / BLOCK;
                black_box(run);
            }
        });
    }

    fn write_plain(&self, number: usize, count: usize) {
        let dir = self.dir.path().join(format!("plain-{number}-{count}"));
        fs::create_dir(&dir).unwrap();
        let bytes = piece(1);
        for first in (0..count).step_by(FILE_BYTES / MIB) {
            let file = File::create(dir.join(first.to_string())).unwrap();
            for index in 0..FILE_BYTES / MIB {
                file.write_all_at(&bytes, (index * MIB) as u64).unwrap();
            }
        }
        remove(&dir);
    }

    fn write_tier(&self, number: usize, count: usize) {
        let version = version(&format!("written-{number}-{count}"), OBJECT_BYTES);
        let bytes = piece(1);
        self.runtime.block_on(async {
            for index in 0..count {
                let first = BlockIndex((index * MIB / BLOCK) as u64);
                self.tier.write(&version, first, bytes.clone());
            }
            self.tier.flush().await;
            self.tier.forget(&version);
            self.tier.flush().await;
        });
    }
}

fn report(name: &str, size: usize, ways: &[&str], samples: &[Vec<Sample>]) {
    for (way, of_way) in ways.iter().zip(samples) {
        let ratios = of_way.iter().zip(&samples[0]);
        let ratio = median(ratios.map(|(this, plain)| this.cpu_micros() / plain.cpu_micros()));
        let rate = of_way
            .iter()
            .map(|sample| size as f64 / sample.wall_micros() / 1e3);
        println!(
            "| {name} | {way} | {} | {:.1} | {ratio:.2} |",
            spread(of_way.iter().map(Sample::cpu_micros)),
            median(rate),
        );
    }
}

fn place(dice: &mut Dice, size: usize) -> usize {
    usize::try_from(dice.roll((OBJECT_BYTES / size) as u64)).unwrap() * size
}

fn piece(index: usize) -> Bytes {
    (0..MIB).map(|at| ((at ^ index) % 256) as u8).collect()
}

fn remove(dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
}
