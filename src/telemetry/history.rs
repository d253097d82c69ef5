//! The past, in samples: one a second for ten minutes and one a minute for a day, so that a page that
//! is opened later shows it. Its memory is bounded by these numbers.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::figures::Figures;
use super::snapshot::Distribution;
use super::snapshot::Snapshot;
use super::snapshot::float;
use super::stats;

/// Samples that are kept, one a second.
const SECONDS: usize = 600;

/// Samples that are kept, one a minute.
const MINUTES: usize = 1440;

/// Between two of the first kind.
const SECOND: Duration = Duration::from_secs(1);

/// Between two of the other.
const MINUTE: Duration = Duration::from_mins(1);

/// A timer may come a little early.
const EARLY: Duration = Duration::from_millis(100);

/// Latencies of a second are told of so many of them: in one alone there are too few reads.
const LATENCY_SECONDS: usize = 10;

/// What a sample holds, in this order. Counters are totals since the start, as the metrics are;
/// latencies are those of reads in the last ten seconds, or in the last minute.
pub const SAMPLE_FIELDS: &[&str] = &[
    "time",
    "requests",
    "client_errors",
    "errors",
    "in_flight",
    "connections",
    "reads",
    "hits",
    "asked_bytes",
    "memory_bytes",
    "disk_bytes",
    "origin_bytes",
    "fetched_bytes",
    "origin_requests",
    "saved_requests",
    "saved_bytes",
    "saved_seconds",
    "evictions",
    "evicted_bytes",
    "memory_used",
    "disk_used",
    "fills_in_flight",
    "hit_p50",
    "hit_p95",
    "hit_p99",
    "miss_p50",
    "miss_p95",
    "miss_p99",
];

/// One sample: a number for each field; absent where there was nothing to measure.
pub type Sample = Vec<Option<f64>>;

/// How fine the past is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// A sample a second.
    Second,
    /// A sample a minute.
    Minute,
}

/// Some of the past.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Past {
    /// Seconds between two samples.
    pub step_seconds: u64,
    /// What a sample holds.
    pub fields: &'static [&'static str],
    /// The samples, the oldest first.
    pub samples: Vec<Sample>,
}

/// The samples so far.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: Mutex<Ring>,
    minutes: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
    /// When the last one was taken, since the process began.
    last: Option<Duration>,
    /// First bytes of hits and misses at the latest samples, the oldest first.
    first_bytes: VecDeque<[Distribution; 2]>,
}

impl History {
    /// Takes the samples that are due at this moment of the process's life.
    pub(super) fn take(
        &self,
        uptime: Duration,
        time: f64,
        look: impl FnOnce() -> (Snapshot, Option<Figures>),
    ) {
        let due = |ring: &Mutex<Ring>, step| ring.lock().is_due(uptime, step);
        let is_second = due(&self.seconds, SECOND);
        let is_minute = due(&self.minutes, MINUTE);
        if !is_second && !is_minute {
            return;
        }
        let (look, figures) = look();
        let counts = counts(&look, figures.as_ref(), time);
        let first_bytes = [stats::HITS, stats::MISSES].map(|of| stats::first_byte(&look, of));
        let rings = [
            (is_second, &self.seconds, SECONDS, LATENCY_SECONDS),
            (is_minute, &self.minutes, MINUTES, 1),
        ];
        for (is_due, ring, most, window) in rings {
            if is_due {
                let mut ring = ring.lock();
                ring.push(counts.clone(), &first_bytes, most, window);
                ring.last = Some(uptime);
            }
        }
    }

    /// The samples that are later than this, in seconds since 1970.
    pub(super) fn past(&self, resolution: Resolution, since: f64) -> Past {
        let (ring, step) = match resolution {
            Resolution::Second => (&self.seconds, SECOND),
            Resolution::Minute => (&self.minutes, MINUTE),
        };
        let ring = ring.lock();
        let is_later = |sample: &&Sample| sample[0].is_some_and(|time| time > since);
        Past {
            step_seconds: step.as_secs(),
            fields: SAMPLE_FIELDS,
            samples: ring.samples.iter().filter(is_later).cloned().collect(),
        }
    }
}

impl Ring {
    fn is_due(&self, uptime: Duration, step: Duration) -> bool {
        self.last
            .is_none_or(|last| uptime.saturating_sub(last) >= step.saturating_sub(EARLY))
    }

    fn push(
        &mut self,
        mut sample: Sample,
        first_bytes: &[Distribution; 2],
        most: usize,
        window: usize,
    ) {
        let nothing = Default::default();
        let before = self.first_bytes.front().unwrap_or(&nothing);
        for (now, before) in first_bytes.iter().zip(before) {
            let since = now.since(before);
            sample.extend([0.5, 0.95, 0.99].map(|part| since.quantile(part)));
        }
        self.first_bytes.push_back(first_bytes.clone());
        if self.first_bytes.len() > window {
            self.first_bytes.pop_front();
        }
        if self.samples.len() == most {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// Everything of a sample but latencies.
fn counts(look: &Snapshot, figures: Option<&Figures>, time: f64) -> Sample {
    let figures = figures.copied().unwrap_or_default();
    let tiers = [figures.memory, figures.disk.tier];
    let reads = stats::reads_by_result(look);
    let sum = |name| look.sum(name, &[]);
    let served = |tier| look.sum("s3proxy_cache_served_bytes_total", &[("tier", tier)]);
    let statuses = look.by("s3proxy_requests_total", "status", &[]);
    let errors = |class: char| {
        let of_class = statuses
            .iter()
            .filter(|(status, _)| status.starts_with(class));
        of_class.map(|(_, count)| float(*count)).sum()
    };
    let values = [
        time,
        sum("s3proxy_requests_total"),
        errors('4'),
        errors('5'),
        sum("s3proxy_requests_in_flight"),
        sum("s3proxy_connections"),
        float(reads.values().sum()),
        float(stats::hits(&reads)),
        sum("s3proxy_cache_asked_bytes_total"),
        served("memory"),
        served("disk"),
        served("origin"),
        sum("s3proxy_cache_fetched_bytes_total"),
        sum("s3proxy_upstream_requests_total"),
        sum("s3proxy_saved_requests_total"),
        sum("s3proxy_saved_bytes_total"),
        sum("s3proxy_saved_seconds_total"),
        tiers.iter().map(|tier| float(tier.evictions)).sum(),
        tiers.iter().map(|tier| float(tier.evicted_bytes)).sum(),
        float(figures.memory.bytes),
        float(figures.disk.tier.bytes),
        sum("s3proxy_cache_fills_in_flight"),
    ];
    values.into_iter().map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    fn look() -> (Snapshot, Option<Figures>) {
        (Snapshot::new(Registry::new().gather()), None)
    }

    fn times(history: &History, resolution: Resolution, since: f64) -> Vec<u64> {
        let past = history.past(resolution, since);
        let time = |sample: &Sample| crate::telemetry::snapshot::whole(sample[0].unwrap());
        past.samples.iter().map(time).collect()
    }

    #[test]
    fn the_past_is_bounded_and_the_oldest_goes_first() {
        let history = History::default();
        for second in 0..3 * 3600 {
            let uptime = Duration::from_secs(second);
            history.take(uptime, uptime.as_secs_f64(), look);
        }
        let seconds = times(&history, Resolution::Second, -1.0);
        assert_eq!(seconds.len(), SECONDS);
        assert_eq!(seconds.first(), Some(&(3 * 3600 - 600)));
        assert_eq!(seconds.last(), Some(&(3 * 3600 - 1)));
        let minutes = times(&history, Resolution::Minute, -1.0);
        assert_eq!(minutes.len(), 180);
        let later = times(&history, Resolution::Second, 10_797.0);
        assert_eq!(later, [10_798, 10_799]);
    }

    #[test]
    fn what_is_not_due_is_not_looked_at() {
        let history = History::default();
        history.take(Duration::from_secs(5), 5.0, look);
        history.take(Duration::from_millis(5_500), 5.5, || panic!("not due"));
        history.take(Duration::from_millis(5_950), 5.95, look);
        assert_eq!(times(&history, Resolution::Second, -1.0).len(), 2);
        assert_eq!(times(&history, Resolution::Minute, -1.0).len(), 1);
    }

    /// A second tells latencies of the last ten, a minute of that minute.
    #[test]
    fn latencies_are_those_of_a_while() {
        let registry = Registry::new();
        let families = crate::telemetry::table::Families::register(&registry);
        let history = History::default();
        let hits = families.read_first_byte.with_label_values(&["hit"]);
        hits.observe(0.02);
        for second in 0..130 {
            if second == 30 {
                hits.observe(3.0);
            }
            let uptime = Duration::from_secs(second);
            let look = || (Snapshot::new(registry.gather()), None);
            history.take(uptime, uptime.as_secs_f64(), look);
        }
        let told = |resolution| {
            let field = SAMPLE_FIELDS.iter().position(|field| *field == "hit_p99");
            let samples = history.past(resolution, -1.0).samples;
            let has = |sample: &&Sample| sample[field.unwrap()].is_some();
            let times = samples.iter().filter(has).map(|sample| sample[0].unwrap());
            times
                .map(crate::telemetry::snapshot::whole)
                .collect::<Vec<_>>()
        };
        let expected: Vec<u64> = (0..1).chain(30..40).collect();
        assert_eq!(told(Resolution::Second), expected);
        assert_eq!(told(Resolution::Minute), [0, 60]);
    }

    #[test]
    fn a_sample_has_a_number_for_each_field() {
        let history = History::default();
        history.take(Duration::ZERO, 1.0, look);
        let past = history.past(Resolution::Second, 0.0);
        assert_eq!(past.samples[0].len(), SAMPLE_FIELDS.len());
        assert_eq!(past.fields[0], "time");
        assert_eq!(past.samples[0].last(), Some(&None), "no miss, no latency");
    }
}
