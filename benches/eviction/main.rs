//! How many reads hit, with our policy, with least-recently-used, and with two others: moka's TinyLFU
//! and TinyUFO of pingora-memory-cache; and with the one that knows the future.
//!
//! `cargo bench --bench eviction` prints a Markdown table. Entries weigh one each, as segments do. What an
//! entry costs besides is in the last row.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

mod caches;
#[path = "../measure/mod.rs"]
mod measure;
mod traces;

use std::time::Instant;

use caches::{Cache, Lru, Moka, Ours, TinyUfo, best};
use measure::{Plan, median};
use traces::Trace;

const NAMES: [&str; 4] = ["s3proxy", "LRU", "moka", "TinyUFO"];

fn caches(capacity: usize) -> [Box<dyn Cache>; 4] {
    [
        Box::new(Ours::new(capacity)),
        Box::new(Lru::new(capacity)),
        Box::new(Moka::new(capacity)),
        Box::new(TinyUfo::new(capacity)),
    ]
}

fn main() {
    let plan = Plan::of_arguments();
    let rounds = if plan.is_quick { 1 } else { 5 };
    let shrink = if plan.is_quick { 20 } else { 1 };
    println!(
        "| trace | reads | capacity | {} | best possible |",
        NAMES.join(" | ")
    );
    println!("|---|--:|--:|{}", "--:|".repeat(NAMES.len() + 1));
    let mut nanos: Vec<Vec<f64>> = vec![Vec::new(); NAMES.len()];
    for trace in Trace::all(shrink) {
        let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); NAMES.len() + 1];
        let mut reads = 0;
        for seed in 1..=rounds {
            let keys = trace.keys(seed);
            reads = keys.len();
            for (index, mut cache) in caches(trace.capacity).into_iter().enumerate() {
                let begun = Instant::now();
                let hits = keys.iter().filter(|&&key| cache.read(key)).count();
                let each = begun.elapsed().as_secs_f64() * 1e9 / reads as f64;
                nanos[index].push(each);
                ratios[index].push(hits as f64 / reads as f64);
            }
            ratios[NAMES.len()].push(best(&keys, trace.capacity) as f64 / reads as f64);
        }
        let cells = ratios.into_iter().map(|ratios| {
            let ratio = median(ratios.into_iter());
            format!("{:.1} %", ratio * 100.0)
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        println!(
            "| {} | {reads} | {} | {cells} |",
            trace.name, trace.capacity
        );
    }
    let each = nanos
        .into_iter()
        .map(|nanos| format!("{:.0} ns", median(nanos.into_iter())));
    let each = each.collect::<Vec<_>>().join(" | ");
    println!("| a read, median of all | | | {each} | |");
}
