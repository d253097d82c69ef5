//! Medians over rounds, their spread, and the table.

use std::time::Duration;

use crate::load::Sample;
use crate::request::Request;
use crate::way::Way;

/// One request at one number of connections on one way.
pub(crate) struct Cell<'a> {
    pub(crate) way: &'a Way,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    samples: Vec<Sample>,
    cpu: Duration,
    origin_requests: u64,
    peak_memory_kib: Option<u64>,
}

impl<'a> Cell<'a> {
    pub(crate) fn new(way: &'a Way, request: &Request, connections: usize) -> Self {
        Self {
            way,
            request: request.clone(),
            connections,
            samples: Vec::new(),
            cpu: Duration::ZERO,
            origin_requests: 0,
            peak_memory_kib: None,
        }
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, sample: Sample, cpu: Duration, origin_requests: u64) {
        self.samples.push(sample);
        self.cpu += cpu;
        self.origin_requests += origin_requests;
        self.peak_memory_kib = self.peak_memory_kib.max(self.way.peak_memory_kib());
    }

    fn row(&self) -> String {
        let rate = median(self.samples.iter().map(Sample::requests_per_second)).0;
        // Each round warms every connection up with one request that is not in the sample.
        let unseen = self.connections * self.samples.len();
        let requests = self.samples.iter().map(Sample::requests).sum::<usize>() + unseen;
        let (cpu, memory) = match self.peak_memory_kib {
            Some(peak) => (
                format!("{:.1}", self.cpu.as_secs_f64() * 1e6 / requests as f64),
                (peak / 1024).to_string(),
            ),
            None => (String::new(), String::new()),
        };
        format!(
            "| {} | {} | {} | {} | {rate:.0} | {:.0} | {cpu} | {memory} | {:.2} |",
            self.request.name,
            self.connections,
            self.way.name,
            latency(&self.samples),
            rate * self.request.object_bytes as f64 / 1e6,
            self.origin_requests as f64 / requests as f64,
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
pub(crate) fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
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
        "| request | connections | way | µs | req/s | MB/s | CPU µs/request | RSS peak MiB \
         | origin requests/request |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|--:|");
    for cell in cells {
        println!("{}", cell.row());
    }
}
