//! Recording: handles to the table's metrics that cost an array access and an atomic addition.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use parking_lot::Mutex;
use prometheus::Histogram;
use prometheus::IntCounter;
use prometheus::IntGauge;
use prometheus::Registry;
use prometheus::TextEncoder;

use super::cache::CacheMetrics;
use super::clients::Clients;
use super::figures::CacheFigures;
use super::figures::Figures;
use super::history::History;
use super::history::Past;
use super::history::Resolution;
use super::labels::CacheResult;
use super::labels::OPERATIONS;
use super::labels::Outcome;
use super::labels::ReloadOutcome;
use super::labels::STATUSES;
use super::labels::operation_index;
use super::labels::status_index;
use super::origin::OriginMetrics;
use super::prices::Prices;
use super::process;
use super::record::RequestRecord;
use super::snapshot::Snapshot;
use super::stats;
use super::stats::Stats;
use super::table::Families;
use super::top::Counts;
use super::top::Top;
use super::top::TopBy;
use super::top::TopList;
use crate::s3::ErrorCode;

/// Every metric of the process. One is made at the start and shared.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    requests: Handles<IntCounter>,
    refused: Handles<IntCounter>,
    durations: Handles<Histogram>,
    first_bytes: Handles<Histogram>,
    read_first_bytes: Handles<Histogram>,
    clients: Clients,
    top: Top,
    history: History,
    started: Instant,
    cache: CacheMetrics,
    shown_cache: OnceLock<ShownCache>,
    /// Counters that are raised to what others counted are raised by one reader at a time.
    reading: Mutex<()>,
}

struct ShownCache(Arc<dyn CacheFigures>);

impl fmt::Debug for ShownCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.figures().fmt(f)
    }
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry);
        families
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        for outcome in Outcome::TEXTS {
            families
                .web_identity_exchanges
                .with_label_values(&[outcome]);
        }
        for outcome in ReloadOutcome::TEXTS {
            families.config_reloads.with_label_values(&[outcome]);
        }
        Arc::new(Self {
            registry,
            cache: CacheMetrics::new(&families),
            shown_cache: OnceLock::new(),
            reading: Mutex::default(),
            families,
            requests: Handles::new(OPERATIONS * STATUSES.len()),
            refused: Handles::new(ErrorCode::ALL.len()),
            durations: Handles::new(OPERATIONS),
            first_bytes: Handles::new(OPERATIONS),
            read_first_bytes: Handles::new(CacheResult::ALL.len()),
            clients: Clients::default(),
            top: Top::default(),
            history: History::default(),
            started: Instant::now(),
        })
    }

    /// The handles of an origin. Take them once, when the origin is built.
    pub fn origin(&self, name: &str) -> OriginMetrics {
        OriginMetrics::new(&self.families, name)
    }

    /// The handles of the cache.
    pub fn cache(&self) -> CacheMetrics {
        self.cache.clone()
    }

    /// Shows from now on what this cache holds. Only the first one is taken.
    pub fn show_cache(&self, cache: Arc<dyn CacheFigures>) {
        let _ = self.shown_cache.set(ShownCache(cache));
    }

    /// Counts a client connection for as long as the value lives.
    pub fn connection(&self) -> InProgress {
        InProgress::new(&self.families.connections)
    }

    /// Client connections that are open.
    pub fn open_connections(&self) -> i64 {
        self.families.connections.get()
    }

    /// Counts an upgrade that came to nothing. Of one that succeeds nobody is left to count it.
    pub fn upgrade_failed(&self) {
        self.families.upgrades_failed.inc();
    }

    /// Counts a request that the fast path answered.
    pub fn fast_path_request(&self) {
        self.families.fast_path_requests.inc();
    }

    /// Counts a connection that a limit closed at once.
    pub fn connection_refused(&self) {
        self.families.connections_refused.inc();
    }

    /// Counts a request as in flight for as long as the value lives.
    pub fn request(&self) -> InProgress {
        InProgress::new(&self.families.requests_in_flight)
    }

    /// Records a request that has ended.
    pub fn record_request(&self, record: &RequestRecord<'_>) {
        let operation = operation_index(record.operation);
        let status = status_index(record.status);
        let name = [record.operation.name()];
        let families = &self.families;
        self.requests
            .get(operation * STATUSES.len() + status, || {
                families
                    .requests
                    .with_label_values(&[name[0], STATUSES[status]])
            })
            .inc();
        self.durations
            .get(operation, || {
                families.request_duration.with_label_values(&name)
            })
            .observe(record.duration.as_secs_f64());
        if let Some(first_byte) = record.first_byte {
            self.first_bytes
                .get(operation, || families.first_byte.with_label_values(&name))
                .observe(first_byte.as_secs_f64());
        }
        if let Some(code) = record.code {
            self.refused
                .get(code as usize, || {
                    families
                        .requests_refused
                        .with_label_values(&[code.as_str()])
                })
                .inc();
        }
        if let Some(cache) = &record.cache {
            self.cache.request(record.operation, cache.result);
            self.record_read(record, cache.result);
        }
        self.clients.record(families, record);
        families.request_bytes.inc_by(record.request_bytes);
        families.response_bytes.inc_by(record.response_bytes);
    }

    fn record_read(&self, record: &RequestRecord<'_>, result: CacheResult) {
        if !record.operation.reads_object() {
            return;
        }
        if let Some(first_byte) = record.first_byte {
            let family = &self.families.read_first_byte;
            self.read_first_bytes
                .get(result as usize, || {
                    family.with_label_values(&[result.as_str()])
                })
                .observe(first_byte.as_secs_f64());
        }
        if let (Some(bucket), Some(key)) = (record.bucket, record.key) {
            let is_hit = matches!(result, CacheResult::Hit | CacheResult::HitStale);
            let counts = Counts {
                requests: 1,
                hits: u64::from(is_hit),
                misses: u64::from(!is_hit),
                bytes: record.response_bytes,
            };
            let (bucket, key) = (bucket.as_str(), key.as_str());
            self.top.add(self.started.elapsed(), bucket, key, &counts);
        }
    }

    /// Counts an exchange of a web identity token.
    pub fn web_identity_exchange(&self, outcome: Outcome) {
        self.families
            .web_identity_exchanges
            .with_label_values(&[outcome.as_str()])
            .inc();
    }

    /// Counts an attempt to read the configuration again.
    pub fn config_reload(&self, outcome: ReloadOutcome) {
        self.families
            .config_reloads
            .with_label_values(&[outcome.as_str()])
            .inc();
    }

    /// Notes when the configuration in force was read.
    pub fn config_loaded(&self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        self.families
            .config_loaded
            .set(since.unwrap_or_default().as_secs_f64());
    }

    /// Notes when the certificate of a listener expires, in seconds since the Unix epoch.
    pub fn certificate_expires(&self, listener: &str, at: i64) {
        let family = &self.families.certificate_expires;
        family.with_label_values(&[listener]).set(at);
    }

    /// Shows nothing any more of whether an origin can be reached that is served no longer.
    pub fn forget_origin(&self, name: &str) {
        // An error says that nothing was shown.
        let _ = self.families.origin_reachable.remove_label_values(&[name]);
    }

    /// Counts spans that did not get to the collector.
    pub(super) fn spans_dropped(&self, spans: u64) {
        self.families.spans_dropped.inc_by(spans);
    }

    /// Counts lines that the access log had no room for, or that could not be written.
    pub(super) fn access_log_dropped(&self, lines: u64) {
        self.families.access_log_dropped.inc_by(lines);
    }

    /// Everything in Prometheus's text format, with the process's own numbers and those of the cache
    /// read now.
    pub fn expose(&self) -> String {
        let reading = self.reading.lock();
        process::read_into(&self.families);
        self.read_cache();
        drop(reading);
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| {
                log::error!("the metrics cannot be encoded: {error}");
                String::new()
            })
    }

    /// The same, added up.
    pub fn stats(&self, prices: &Prices) -> Stats {
        let reading = self.reading.lock();
        process::read_into(&self.families);
        drop(reading);
        let (look, figures) = self.look();
        let moment = stats::Moment {
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            time: seconds_since_1970(),
            figures,
        };
        stats::stats(&look, &moment, prices)
    }

    /// Notes a sample of the past, when one is due. To be called once a second.
    pub fn sample(&self) {
        let uptime = self.started.elapsed();
        self.history
            .take(uptime, seconds_since_1970(), || self.look());
    }

    /// The samples that are later than this, in seconds since 1970.
    pub fn past(&self, resolution: Resolution, since: f64) -> Past {
        self.history.past(resolution, since)
    }

    /// The objects and prefixes that are read most, so many of each at most.
    pub fn top(&self, by: TopBy, limit: usize) -> TopList {
        self.top.list(self.started.elapsed(), by, limit)
    }

    fn look(&self) -> (Snapshot, Option<Figures>) {
        let reading = self.reading.lock();
        let figures = self.read_cache();
        drop(reading);
        (Snapshot::new(self.registry.gather()), figures)
    }

    /// While nobody else reads.
    fn read_cache(&self) -> Option<Figures> {
        let ShownCache(cache) = self.shown_cache.get()?;
        let figures = cache.figures();
        figures.show(&self.families);
        Some(figures)
    }
}

fn seconds_since_1970() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Counts something in a gauge for as long as it lives.
#[derive(Debug)]
#[must_use = "it stops counting when it is dropped"]
pub struct InProgress(IntGauge);

impl InProgress {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A row of metric handles, each resolved from its labels when it is first used.
#[derive(Debug)]
pub(super) struct Handles<T>(Box<[OnceLock<T>]>);

impl<T> Handles<T> {
    pub(super) fn new(len: usize) -> Self {
        Self((0..len).map(|_| OnceLock::new()).collect())
    }

    pub(super) fn get(&self, index: usize, resolve: impl FnOnce() -> T) -> &T {
        self.0[index].get_or_init(resolve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Operation;
    use http::Method;
    use http::StatusCode;
    use std::time::Duration;

    fn record(operation: Operation, status: u16) -> RequestRecord<'static> {
        RequestRecord {
            time: SystemTime::UNIX_EPOCH,
            request_id: "1",
            principal: None,
            remote: None,
            method: &Method::GET,
            operation,
            bucket: None,
            key: None,
            status: StatusCode::from_u16(status).ok(),
            code: None,
            request_bytes: 3,
            response_bytes: 5,
            duration: Duration::from_millis(2),
            first_byte: Some(Duration::from_millis(1)),
            origin: None,
            cache: None,
            user_agent: None,
        }
    }

    #[test]
    fn requests_are_counted_under_their_labels() {
        let metrics = Metrics::new();
        metrics.record_request(&record(Operation::GetObject, 206));
        metrics.record_request(&record(Operation::GetObject, 206));
        metrics.record_request(&record(Operation::Unknown, 418));
        let refused = RequestRecord {
            code: Some(ErrorCode::SlowDown),
            ..record(Operation::ListBuckets, 503)
        };
        metrics.record_request(&refused);
        let text = metrics.expose();
        for line in [
            r#"s3proxy_requests_total{operation="GetObject",status="206"} 2"#,
            r#"s3proxy_requests_total{operation="Unknown",status="4xx"} 1"#,
            r#"s3proxy_requests_total{operation="ListBuckets",status="503"} 1"#,
            r#"s3proxy_requests_refused_total{code="SlowDown"} 1"#,
            r#"s3proxy_request_duration_seconds_bucket{operation="GetObject",le="0.0025"} 2"#,
            r#"s3proxy_first_byte_seconds_count{operation="GetObject"} 2"#,
            "s3proxy_request_bytes_total 12",
            "s3proxy_response_bytes_total 20",
            r#"s3proxy_web_identity_exchanges_total{outcome="success"} 0"#,
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn gauges_follow_the_life_of_a_request() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.request(), metrics.request());
        drop(first);
        assert!(
            metrics
                .expose()
                .contains("\ns3proxy_requests_in_flight 1\n")
        );
        drop(second);
        assert!(
            metrics
                .expose()
                .contains("\ns3proxy_requests_in_flight 0\n")
        );
    }

    #[test]
    fn any_operation_and_status_can_be_recorded() {
        let metrics = Metrics::new();
        for operation in Operation::ALL.iter().chain([&Operation::Unknown]) {
            for status in [0, 100, 200, 299, 304, 503, 599, 999] {
                metrics.record_request(&record(*operation, status));
            }
        }
        for code in ErrorCode::ALL {
            let refused = RequestRecord {
                code: Some(*code),
                ..record(Operation::GetObject, 400)
            };
            metrics.record_request(&refused);
        }
        assert!(
            metrics
                .expose()
                .contains(r#"code="XAmzContentSHA256Mismatch"} 1"#)
        );
    }
}
