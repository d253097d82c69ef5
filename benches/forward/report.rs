//! Medians over rounds, their spread, and the table.

use std::time::Duration;

use crate::load::Sample;
use crate::request::Request;

/// One request at one number of connections.
pub(crate) struct Cell {
    pub(crate) request: Request,
    pub(crate) connections: usize,
    direct: Vec<Sample>,
    proxied: Vec<Sample>,
    cpu: Duration,
    peak_memory_kib: u64,
}

impl Cell {
    pub(crate) fn new(request: Request, connections: usize) -> Self {
        Self {
            request,
            connections,
            direct: Vec::new(),
            proxied: Vec::new(),
            cpu: Duration::ZERO,
            peak_memory_kib: 0,
        }
    }

    /// Adds a round.
    pub(crate) fn add(
        &mut self,
        direct: Sample,
        proxied: Sample,
        cpu: Duration,
        peak_memory_kib: u64,
    ) {
        self.direct.push(direct);
        self.proxied.push(proxied);
        self.cpu += cpu;
        self.peak_memory_kib = self.peak_memory_kib.max(peak_memory_kib);
    }

    fn row(&self) -> String {
        let pairs = self.direct.iter().zip(&self.proxied);
        let ratios = pairs.map(|(direct, proxied)| {
            proxied.median().as_secs_f64() / direct.median().as_secs_f64()
        });
        let rate = |samples: &[Sample]| median(samples.iter().map(Sample::requests_per_second)).0;
        let (direct, proxied) = (rate(&self.direct), rate(&self.proxied));
        let megabytes = |rate: f64| rate * self.request.object_bytes as f64 / 1e6;
        // Each round warms every connection up with one request that is not in the sample.
        let unseen = self.connections * self.proxied.len();
        let requests: usize = self.proxied.iter().map(Sample::requests).sum();
        format!(
            "| {} | {} | {} | {} | {:.2} | {direct:.0} | {proxied:.0} | {:.0} | {:.0} | {:.0} | {} |",
            self.request.name,
            self.connections,
            latency(&self.direct),
            latency(&self.proxied),
            median(ratios).0,
            megabytes(direct),
            megabytes(proxied),
            self.cpu.as_secs_f64() * 1e6 / (requests + unseen) as f64,
            self.peak_memory_kib / 1024
        )
    }
}

/// Median of the rounds' medians in microseconds, and the least and greatest of them.
fn latency(samples: &[Sample]) -> String {
    let medians = samples.iter().map(|s| s.median().as_secs_f64() * 1e6);
    let (median, least, greatest) = median(medians);
    format!("{median:.0} ({least:.0}–{greatest:.0})")
}

/// Median, least and greatest.
fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}

/// Prints the table.
pub(crate) fn print(cells: &[Cell], rounds: usize, duration: Duration) {
    println!(
        "{rounds} rounds of {duration:?} each way; latencies in µs: median (least–greatest round)\n"
    );
    println!(
        "| request | connections | direct µs | proxied µs | ratio | direct req/s | proxied req/s \
         | direct MB/s | proxied MB/s | proxy CPU µs/request | proxy RSS peak MiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for cell in cells {
        println!("{}", cell.row());
    }
}
