//! The metrics table: every metric's name, type, labels and help stand here and nowhere else.
//!
//! `docs/metrics.md` is compared with this table by a test. A metric that is not in the table cannot
//! be recorded, because its field would not exist.

use prometheus::Counter;
use prometheus::CounterVec;
use prometheus::Gauge;
use prometheus::HistogramOpts;
use prometheus::HistogramVec;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;
use prometheus::core::Collector;

use super::labels::CacheResult;
use super::labels::CacheScope;
use super::labels::Difference;
use super::labels::DiskState;
use super::labels::FillEvent;
use super::labels::HedgeEvent;
use super::labels::Outcome;
use super::labels::Refusal;
use super::labels::ReloadOutcome;
use super::labels::RetryReason;
use super::labels::Tier;
use super::labels::UpstreamErrorKind;
use super::labels::Validation;

/// The type of a metric, as Prometheus names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Kind {
    /// Prometheus's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The name that is exposed.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

impl Definition {
    /// The unit, which the name's ending tells.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match name.rsplit('_').next() {
            Some("seconds") => "seconds",
            Some("bytes") => "bytes",
            _ => "1",
        }
    }
}

/// The upper bounds of latency buckets, in seconds. The lowest lie around an answer from memory
/// (some 20 microseconds), the middle ones around S3's first byte (15 to 100 ms), the highest are
/// the time limits of clients.
const LATENCY_BUCKETS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// A kind of collector that the table can hold.
trait Family: Collector + Clone + Sized + 'static {
    const KIND: Kind;

    fn create(row: &Definition) -> prometheus::Result<Self>;

    fn register(row: &Definition, registry: &Registry) -> Self {
        let family = Self::create(row).and_then(|family| {
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        });
        family.expect("the rows of the table are valid and unique, which a test checks")
    }
}

macro_rules! family {
    ($type:ident, $kind:ident, |$row:ident| $create:expr) => {
        impl Family for $type {
            const KIND: Kind = Kind::$kind;

            fn create($row: &Definition) -> prometheus::Result<Self> {
                $create
            }
        }
    };
}

family!(Counter, Counter, |row| Counter::new(row.name, row.help));
family!(CounterVec, Counter, |row| {
    CounterVec::new(Opts::new(row.name, row.help), row.labels)
});
family!(IntCounter, Counter, |row| IntCounter::new(
    row.name, row.help
));
family!(IntCounterVec, Counter, |row| {
    IntCounterVec::new(Opts::new(row.name, row.help), row.labels)
});
family!(Gauge, Gauge, |row| Gauge::new(row.name, row.help));
family!(IntGauge, Gauge, |row| IntGauge::new(row.name, row.help));
family!(IntGaugeVec, Gauge, |row| {
    IntGaugeVec::new(Opts::new(row.name, row.help), row.labels)
});
family!(HistogramVec, Histogram, |row| {
    let options = HistogramOpts::new(row.name, row.help).buckets(LATENCY_BUCKETS.to_vec());
    HistogramVec::new(options, row.labels)
});

macro_rules! metrics {
    ($($field:ident: $type:ident = $name:literal [$($label:literal)*] $help:literal;)*) => {
        /// Every metric, in the order of `docs/metrics.md`.
        pub const TABLE: &[Definition] = &[$(Definition {
            name: $name,
            kind: <$type as Family>::KIND,
            labels: &[$($label),*],
            help: $help,
        },)*];

        /// The registered collectors, one field a row.
        #[derive(Debug)]
        pub(super) struct Families { $(pub(super) $field: $type,)* }

        impl Families {
            pub(super) fn register(registry: &Registry) -> Self {
                let mut rows = TABLE.iter();
                // Fields are initialised in the order in which they are written: the table's.
                Self { $($field: {
                    let row = rows.next().expect("the table has a row for every field");
                    <$type as Family>::register(row, registry)
                },)* }
            }
        }
    };
}

metrics! {
    build_info: IntGaugeVec = "s3proxy_build_info" ["version"]
        "Always 1; the label tells which version runs.";
    connections: IntGauge = "s3proxy_connections" []
        "Client connections that are open.";
    connections_refused: IntCounter = "s3proxy_connections_refused_total" []
        "Client connections closed at once because a limit was reached.";
    requests_in_flight: IntGauge = "s3proxy_requests_in_flight" []
        "Requests that have begun and not ended.";
    fast_path_requests: IntCounter = "s3proxy_fast_path_requests_total" []
        "Requests answered by the fast path: hits that take no waiting, over HTTP/1.1.";
    requests: IntCounterVec = "s3proxy_requests_total" ["operation" "status"]
        "Requests that have ended.";
    requests_refused: IntCounterVec = "s3proxy_requests_refused_total" ["code"]
        "Requests that s3proxy answered with an S3 error of its own.";
    request_duration: HistogramVec = "s3proxy_request_duration_seconds" ["operation"]
        "Time from a request's head to the last byte of its answer.";
    first_byte: HistogramVec = "s3proxy_first_byte_seconds" ["operation"]
        "Time from a request's head to the first byte of its answer.";
    read_first_byte: HistogramVec = "s3proxy_read_first_byte_seconds" ["result"]
        "Time from the head of a GetObject or HeadObject to the first byte of its answer, by what the cache did.";
    client_requests: IntCounterVec = "s3proxy_client_requests_total" ["client"]
        "Requests that have ended, by who signed; those that nobody was verified for are not among them.";
    client_errors: IntCounterVec = "s3proxy_client_errors_total" ["client"]
        "Requests of these that were answered with 4xx or 5xx.";
    client_hits: IntCounterVec = "s3proxy_client_hits_total" ["client"]
        "Requests of these that were answered without the origin.";
    client_response_bytes: IntCounterVec = "s3proxy_client_response_bytes_total" ["client"]
        "Body bytes sent for these.";
    request_bytes: IntCounter = "s3proxy_request_bytes_total" []
        "Body bytes received from clients.";
    response_bytes: IntCounter = "s3proxy_response_bytes_total" []
        "Body bytes sent to clients.";
    upstream_requests: IntCounterVec = "s3proxy_upstream_requests_total" ["origin" "operation" "status"]
        "Requests sent to an origin, each attempt counted.";
    upstream_duration: HistogramVec = "s3proxy_upstream_duration_seconds" ["origin"]
        "Time from sending a request to an origin to the head of its answer.";
    upstream_retries: IntCounterVec = "s3proxy_upstream_retries_total" ["origin" "reason"]
        "Requests sent to an origin once more.";
    upstream_hedges: IntCounterVec = "s3proxy_upstream_hedges_total" ["origin" "hedge"]
        "Second requests beside one to an origin whose answer was late.";
    upstream_connections: IntCounterVec = "s3proxy_upstream_connections_total" ["origin" "reused"]
        "Connections taken for a request to an origin, new or kept.";
    upstream_bytes: IntCounterVec = "s3proxy_upstream_response_bytes_total" ["origin"]
        "Body bytes received from an origin.";
    upstream_errors: IntCounterVec = "s3proxy_upstream_errors_total" ["origin" "kind"]
        "Requests to an origin that brought no usable answer.";
    origin_reachable: IntGaugeVec = "s3proxy_origin_reachable" ["origin"]
        "Whether the last probe reached the origin: 1 or 0.";
    upgrades_failed: IntCounter = "s3proxy_upgrades_failed_total" []
        "Upgrades that were asked for and came to nothing: this process went on.";
    web_identity_exchanges: IntCounterVec = "s3proxy_web_identity_exchanges_total" ["outcome"]
        "Exchanges of a web identity token for temporary credentials.";
    credentials_refresh: IntCounterVec = "s3proxy_credentials_refresh_total" ["origin" "outcome"]
        "Attempts to renew the credentials for an origin.";
    cache_requests: IntCounterVec = "s3proxy_cache_requests_total" ["operation" "result"]
        "Requests by what the cache did for them; those that were refused are not among them.";
    cache_asked_bytes: IntCounter = "s3proxy_cache_asked_bytes_total" []
        "Bytes of objects that clients asked the cache for.";
    cache_served_bytes: IntCounterVec = "s3proxy_cache_served_bytes_total" ["tier"]
        "Bytes of objects that the cache gave to clients, by where they were found.";
    cache_served_blocks: IntCounterVec = "s3proxy_cache_served_blocks_total" ["tier"]
        "Blocks, whole or in part, that the cache gave to clients, by where they were found.";
    cache_fetched_bytes: IntCounter = "s3proxy_cache_fetched_bytes_total" []
        "Body bytes that fills received from origins.";
    cache_fills: IntCounterVec = "s3proxy_cache_fills_total" ["event"]
        "What happened to fills.";
    cache_fill_errors: IntCounterVec = "s3proxy_cache_fill_errors_total" ["kind"]
        "Fills that failed, by what the origin or the way to it did.";
    cache_admissions_refused: IntCounterVec = "s3proxy_cache_admissions_refused_total" ["refusal"]
        "Answers of origins that were not let into the cache.";
    cache_prefetched_bytes: IntCounter = "s3proxy_cache_prefetched_bytes_total" []
        "Bytes fetched before a client asked for them.";
    cache_prefetch_used_bytes: IntCounter = "s3proxy_cache_prefetch_used_bytes_total" []
        "Bytes of these that a client asked for.";
    cache_prefetch_wasted_bytes: IntCounter = "s3proxy_cache_prefetch_wasted_bytes_total" []
        "Bytes of these that went away before a client asked for them.";
    cache_fills_in_flight: IntGauge = "s3proxy_cache_fills_in_flight" []
        "Fills begun and not ended.";
    cache_validations: IntCounterVec = "s3proxy_cache_validations_total" ["validation"]
        "Questions to origins whether an object meta is still good.";
    cache_invalidations: IntCounterVec = "s3proxy_cache_invalidations_total" ["scope"]
        "Objects and buckets invalidated because a client changed them.";
    cache_purges: IntCounterVec = "s3proxy_cache_purges_total" ["scope"]
        "Purges by an operator.";
    cache_metas: IntGauge = "s3proxy_cache_metas" []
        "Objects of which the cache knows the meta, or what a list said of them.";
    cache_entries: IntGaugeVec = "s3proxy_cache_entries" ["tier"]
        "Entries of a tier: buffers in memory, segments on disk.";
    cache_bytes: IntGaugeVec = "s3proxy_cache_bytes" ["tier"]
        "Bytes that a tier holds.";
    cache_capacity_bytes: IntGaugeVec = "s3proxy_cache_capacity_bytes" ["tier"]
        "Bytes that a tier may hold now.";
    cache_evictions: IntCounterVec = "s3proxy_cache_evictions_total" ["tier"]
        "Entries of a tier evicted for space.";
    cache_evicted_bytes: IntCounterVec = "s3proxy_cache_evicted_bytes_total" ["tier"]
        "Bytes of a tier evicted for space.";
    cache_disk_state: IntGaugeVec = "s3proxy_cache_disk_state" ["state"]
        "How the cache on disk is: 1 for the present state, 0 for the others.";
    cache_disk_writes_dropped: IntCounter = "s3proxy_cache_disk_writes_dropped_total" []
        "Writes to the cache on disk dropped because the disk is too slow or cannot take them.";
    cache_disk_errors: IntCounter = "s3proxy_cache_disk_errors_total" []
        "Failures of the file system below the cache on disk.";
    cache_checksum_failures: IntCounter = "s3proxy_cache_checksum_failures_total" []
        "Blocks on disk that were not what was written; they are deleted and count as misses.";
    cache_comparisons: IntCounter = "s3proxy_cache_comparisons_total" []
        "Answers that verify mode compared with what the cache would have said.";
    cache_differences: IntCounterVec = "s3proxy_cache_differences_total" ["difference"]
        "Answers that verify mode found to differ from what the cache would have said.";
    saved_requests: IntCounterVec = "s3proxy_saved_requests_total" ["origin"]
        "Reads of objects that were answered without a request to the origin.";
    saved_bytes: IntCounterVec = "s3proxy_saved_bytes_total" ["origin"]
        "Bytes of objects given to clients from memory or disk instead of the origin.";
    saved_seconds: CounterVec = "s3proxy_saved_seconds_total" ["origin"]
        "Time that reads answered without the origin would have waited for the head of its answer.";
    config_reloads: IntCounterVec = "s3proxy_config_reloads_total" ["reload"]
        "Attempts to read the configuration again, by what came of them.";
    certificate_expires: IntGaugeVec = "s3proxy_certificate_expires_timestamp_seconds" ["listener"]
        "When the certificate of a TLS listener expires, since the Unix epoch.";
    config_loaded: Gauge = "s3proxy_config_loaded_timestamp_seconds" []
        "When the configuration in force was read, since the Unix epoch.";
    access_log_dropped: IntCounter = "s3proxy_access_log_dropped_total" []
        "Access log lines that were lost: whatever takes them is too slow, full or gone.";
    spans_dropped: IntCounter = "s3proxy_spans_dropped_total" []
        "Spans of traces that were lost: the collector is too slow, or does not take them.";
    process_cpu: Counter = "process_cpu_seconds_total" []
        "User and system CPU time spent.";
    process_open_fds: IntGauge = "process_open_fds" []
        "Open file descriptors.";
    process_max_fds: IntGauge = "process_max_fds" []
        "The limit of open file descriptors.";
    process_resident_memory: IntGauge = "process_resident_memory_bytes" []
        "Resident memory.";
    process_start_time: Gauge = "process_start_time_seconds" []
        "Start time of the process since the Unix epoch.";
    process_threads: IntGauge = "process_threads" []
        "Threads of the process.";
}

/// The values of every label whose values the code fixes. The others: `operation` has the names of
/// [`crate::s3::Operation`], `code` those of [`crate::s3::ErrorCode`], `origin` and `client` the names
/// that the configuration gives, `version` this build's version.
pub const LABELS: &[(&str, &[&str])] = &[
    ("difference", Difference::TEXTS),
    ("event", FillEvent::TEXTS),
    ("hedge", HedgeEvent::TEXTS),
    ("kind", UpstreamErrorKind::TEXTS),
    ("outcome", Outcome::TEXTS),
    ("reason", RetryReason::TEXTS),
    ("refusal", Refusal::TEXTS),
    ("reload", ReloadOutcome::TEXTS),
    ("result", CacheResult::TEXTS),
    ("reused", &["false", "true"]),
    ("scope", CacheScope::TEXTS),
    ("state", DiskState::TEXTS),
    ("status", &super::labels::STATUSES),
    ("tier", Tier::TEXTS),
    ("validation", Validation::TEXTS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let mut names = HashSet::new();
        for row in TABLE {
            assert!(names.insert(row.name), "{} twice", row.name);
            let is_counter = row.kind == Kind::Counter;
            assert_eq!(row.name.ends_with("_total"), is_counter, "{}", row.name);
            assert!(
                row.name.starts_with("s3proxy_") || row.name.starts_with("process_"),
                "{}",
                row.name
            );
            if row.kind == Kind::Histogram {
                assert_eq!(row.unit(), "seconds", "{}", row.name);
            }
            assert!(row.help.ends_with('.'), "{}", row.name);
        }
    }

    #[test]
    fn no_label_can_carry_what_a_client_chooses() {
        let bounded = [
            "client",
            "code",
            "listener",
            "operation",
            "origin",
            "version",
        ];
        for label in TABLE.iter().flat_map(|row| row.labels) {
            assert!(
                bounded.contains(label) || LABELS.iter().any(|(name, _)| name == label),
                "{label} has no closed list of values"
            );
        }
    }

    #[test]
    fn every_row_registers() {
        let registry = Registry::new();
        let families = Families::register(&registry);
        families.connections.set(3);
        assert!(
            registry
                .gather()
                .iter()
                .any(|family| family.name() == "s3proxy_connections")
        );
    }
}
