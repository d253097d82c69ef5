//! The metrics of one origin, resolved once when the origin is built.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use prometheus::Counter;
use prometheus::Histogram;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;

use super::labels::GIVEN_UP;
use super::labels::HedgeEvent;
use super::labels::OPERATIONS;
use super::labels::Outcome;
use super::labels::RetryReason;
use super::labels::STATUSES;
use super::labels::UpstreamErrorKind;
use super::labels::operation_index;
use super::labels::status_index;
use super::metrics::Handles;
use super::table::Families;
use crate::s3::Operation;

/// Handles to the metrics that carry an origin's name. Cloning shares them.
#[derive(Debug, Clone)]
pub struct OriginMetrics(Arc<Origin>);

#[derive(Debug)]
struct Origin {
    name: String,
    requests_family: IntCounterVec,
    requests: Handles<IntCounter>,
    duration: Histogram,
    reachable: IntGauge,
    retries: Vec<IntCounter>,
    hedges: Vec<IntCounter>,
    errors: Vec<IntCounter>,
    credentials: Vec<IntCounter>,
    /// New, then reused.
    connections: Vec<IntCounter>,
    saved_requests: IntCounter,
    saved_bytes: IntCounter,
    saved_seconds: Counter,
    /// The running mean of the time to the head of a read's answer, in nanoseconds; 0 before the
    /// first.
    usual_wait: AtomicU64,
    bytes: IntCounter,
}

/// A request under way to an origin. It is counted once, whatever becomes of it: dropped before the
/// head of an answer, as one that was given up.
#[derive(Debug)]
#[must_use = "dropped, it counts as given up"]
pub struct Attempt {
    metrics: OriginMetrics,
    operation: Operation,
    is_over: bool,
}

impl Attempt {
    /// It brought the head of an answer, after so long.
    pub fn answered(mut self, status: StatusCode, time_to_head: Duration) {
        self.end(status_index(Some(status)));
        let origin = &self.metrics.0;
        origin.duration.observe(time_to_head.as_secs_f64());
        if self.operation.reads_object() {
            origin.learn_wait(time_to_head);
        }
    }

    /// It failed before the head of an answer.
    pub fn failed(mut self, kind: UpstreamErrorKind) {
        self.end(status_index(None));
        self.metrics.error(kind);
    }

    fn end(&mut self, status: usize) {
        self.is_over = true;
        self.metrics.count(self.operation, status);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(GIVEN_UP);
        }
    }
}

/// The running mean follows the last few dozen answers: each moves it by this part of its distance.
const MEAN_WEIGHT: u64 = 32;

impl OriginMetrics {
    pub(super) fn new(families: &Families, name: &str) -> Self {
        let all = |family: &IntCounterVec, values: &[&str]| {
            let resolve = |value: &&str| family.with_label_values(&[name, value]);
            values.iter().map(resolve).collect()
        };
        Self(Arc::new(Origin {
            name: name.to_owned(),
            requests_family: families.upstream_requests.clone(),
            requests: Handles::new(OPERATIONS * STATUSES.len()),
            duration: families.upstream_duration.with_label_values(&[name]),
            reachable: families.origin_reachable.with_label_values(&[name]),
            retries: all(&families.upstream_retries, RetryReason::TEXTS),
            hedges: all(&families.upstream_hedges, HedgeEvent::TEXTS),
            errors: all(&families.upstream_errors, UpstreamErrorKind::TEXTS),
            credentials: all(&families.credentials_refresh, Outcome::TEXTS),
            connections: all(&families.upstream_connections, &["false", "true"]),
            saved_requests: families.saved_requests.with_label_values(&[name]),
            saved_bytes: families.saved_bytes.with_label_values(&[name]),
            saved_seconds: families.saved_seconds.with_label_values(&[name]),
            usual_wait: AtomicU64::new(0),
            bytes: families.upstream_bytes.with_label_values(&[name]),
        }))
    }

    /// The origin's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A request to this origin begins.
    pub fn attempt(&self, operation: Operation) -> Attempt {
        Attempt {
            metrics: self.clone(),
            operation,
            is_over: false,
        }
    }

    /// Counts a read that was answered without a request to this origin. It would have waited for
    /// as long as such requests usually do: [`Self::usual_wait`].
    pub fn saved_request(&self) {
        self.0.saved_requests.inc();
        self.0.saved_seconds.inc_by(self.usual_wait().as_secs_f64());
    }

    /// Counts body bytes that a client got from memory or disk instead of this origin.
    pub fn saved_bytes(&self, bytes: u64) {
        self.0.saved_bytes.inc_by(bytes);
    }

    /// How long this origin lately takes from a GetObject or HeadObject to the head of its answer: a
    /// mean in which every answer counts 1/32 and those before it the rest. Zero before the first
    /// answer.
    pub fn usual_wait(&self) -> Duration {
        Duration::from_nanos(self.0.usual_wait.load(Ordering::Relaxed))
    }

    /// Counts an error after the head of the answer, or one without a request.
    pub fn error(&self, kind: UpstreamErrorKind) {
        self.0.errors[kind as usize].inc();
    }

    /// Counts a further attempt.
    pub fn retry(&self, reason: RetryReason) {
        self.0.retries[reason as usize].inc();
    }

    /// Counts a second request beside one whose answer was late.
    pub fn hedge(&self, event: HedgeEvent) {
        self.0.hedges[event as usize].inc();
    }

    /// Counts a connection taken for a request.
    pub fn connection(&self, is_reused: bool) {
        self.0.connections[usize::from(is_reused)].inc();
    }

    /// Counts bytes of a body.
    pub fn received(&self, bytes: usize) {
        self.0.bytes.inc_by(bytes as u64);
    }

    /// Counts an attempt to renew the credentials.
    pub fn credentials_refresh(&self, outcome: Outcome) {
        self.0.credentials[outcome as usize].inc();
    }

    /// Notes what the last probe found.
    pub fn reachable(&self, is_reachable: bool) {
        self.0.reachable.set(i64::from(is_reachable));
    }

    /// Counts a request by its place among [`STATUSES`].
    fn count(&self, operation: Operation, status: usize) {
        let index = operation_index(operation) * STATUSES.len() + status;
        self.0
            .requests
            .get(index, || {
                let labels = [self.name(), operation.name(), STATUSES[status]];
                self.0.requests_family.with_label_values(&labels)
            })
            .inc();
    }
}

impl Origin {
    /// Moves the running mean. Of two answers at once one may not count, which no mean minds.
    fn learn_wait(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mean = self.usual_wait.load(Ordering::Relaxed);
        let moved = match mean {
            0 => wait,
            _ => mean - mean / MEAN_WEIGHT + wait / MEAN_WEIGHT,
        };
        self.usual_wait.store(moved, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn an_origin_counts_under_its_name() {
        let metrics = Metrics::new();
        let origin = metrics.origin("lake");
        let read = origin.attempt(Operation::GetObject);
        read.answered(StatusCode::OK, Duration::from_millis(30));
        let head = origin.attempt(Operation::HeadObject);
        head.failed(UpstreamErrorKind::Timeout);
        drop(origin.attempt(Operation::PutObject));
        origin.retry(RetryReason::StaleConnection);
        origin.hedge(HedgeEvent::Won);
        origin.connection(true);
        origin.received(512);
        origin.credentials_refresh(Outcome::Refused);
        origin.reachable(true);
        let text = metrics.expose();
        for line in [
            r#"s3proxy_upstream_requests_total{operation="GetObject",origin="lake",status="200"} 1"#,
            r#"s3proxy_upstream_requests_total{operation="HeadObject",origin="lake",status="none"} 1"#,
            r#"s3proxy_upstream_requests_total{operation="PutObject",origin="lake",status="given_up"} 1"#,
            r#"s3proxy_upstream_errors_total{kind="timeout",origin="lake"} 1"#,
            r#"s3proxy_upstream_errors_total{kind="resolve",origin="lake"} 0"#,
            r#"s3proxy_upstream_retries_total{origin="lake",reason="stale_connection"} 1"#,
            r#"s3proxy_upstream_hedges_total{hedge="won",origin="lake"} 1"#,
            r#"s3proxy_upstream_connections_total{origin="lake",reused="true"} 1"#,
            r#"s3proxy_upstream_response_bytes_total{origin="lake"} 512"#,
            r#"s3proxy_upstream_duration_seconds_bucket{origin="lake",le="0.05"} 1"#,
            r#"s3proxy_credentials_refresh_total{origin="lake",outcome="refused"} 1"#,
            r#"s3proxy_origin_reachable{origin="lake"} 1"#,
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn what_is_saved_is_what_such_requests_usually_take() {
        let metrics = Metrics::new();
        let origin = metrics.origin("lake");
        origin.saved_request();
        assert_eq!(origin.usual_wait(), Duration::ZERO, "nothing is known yet");
        let wait = |operation, millis| {
            let attempt = origin.attempt(operation);
            attempt.answered(StatusCode::OK, Duration::from_millis(millis));
        };
        wait(Operation::GetObject, 32);
        wait(Operation::PutObject, 5_000);
        assert_eq!(origin.usual_wait(), Duration::from_millis(32));
        origin.saved_request();
        origin.saved_bytes(7);
        wait(Operation::HeadObject, 64);
        assert_eq!(origin.usual_wait(), Duration::from_millis(33));
        for _ in 0..500 {
            wait(Operation::GetObject, 10);
        }
        let usual = origin.usual_wait().as_millis();
        assert!((9..=11).contains(&usual), "{usual} ms");
        let text = metrics.expose();
        for line in [
            r#"s3proxy_saved_requests_total{origin="lake"} 2"#,
            r#"s3proxy_saved_bytes_total{origin="lake"} 7"#,
            r#"s3proxy_saved_seconds_total{origin="lake"} 0.032"#,
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn the_same_name_gives_the_same_counters() {
        let metrics = Metrics::new();
        for _ in 0..2 {
            metrics.origin("lake").retry(RetryReason::Connect);
        }
        let line = r#"s3proxy_upstream_retries_total{origin="lake",reason="connect"} 2"#;
        assert!(metrics.expose().contains(line));
    }
}
