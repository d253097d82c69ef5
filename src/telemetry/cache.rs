//! The metrics of the cache, resolved once: what happens while requests are served.
//!
//! What a tier holds is not counted here but read from it ([`super::CacheFigures`]).

use std::sync::Arc;

use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;

use super::labels::CacheResult;
use super::labels::CacheScope;
use super::labels::Difference;
use super::labels::FillEvent;
use super::labels::OPERATIONS;
use super::labels::Refusal;
use super::labels::Tier;
use super::labels::UpstreamErrorKind;
use super::labels::Validation;
use super::labels::operation_index;
use super::metrics::Handles;
use super::metrics::InProgress;
use super::table::Families;
use crate::s3::Operation;

/// Handles to the metrics of the cache. Cloning shares them.
#[derive(Debug, Clone)]
pub struct CacheMetrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    requests_family: IntCounterVec,
    requests: Handles<IntCounter>,
    asked_bytes: IntCounter,
    served_bytes: Row,
    served_blocks: Row,
    fetched_bytes: IntCounter,
    fills: Row,
    fills_in_flight: IntGauge,
    fill_errors: Row,
    admissions_refused: Row,
    prefetched_bytes: IntCounter,
    prefetch_used_bytes: IntCounter,
    prefetch_wasted_bytes: IntCounter,
    validations: Row,
    invalidations: Row,
    purges: Row,
    comparisons: IntCounter,
    differences: Row,
}

/// One counter for each value of a label, in the order of its `TEXTS`.
type Row = Vec<IntCounter>;

impl CacheMetrics {
    pub(super) fn new(families: &Families) -> Self {
        let row = |family: &IntCounterVec, values: &[&str]| -> Row {
            let resolve = |value: &&str| family.with_label_values(&[value]);
            values.iter().map(resolve).collect()
        };
        Self(Arc::new(Counters {
            requests_family: families.cache_requests.clone(),
            requests: Handles::new(OPERATIONS * CacheResult::ALL.len()),
            asked_bytes: families.cache_asked_bytes.clone(),
            served_bytes: row(&families.cache_served_bytes, Tier::TEXTS),
            served_blocks: row(&families.cache_served_blocks, Tier::TEXTS),
            fetched_bytes: families.cache_fetched_bytes.clone(),
            fills: row(&families.cache_fills, FillEvent::TEXTS),
            fills_in_flight: families.cache_fills_in_flight.clone(),
            fill_errors: row(&families.cache_fill_errors, UpstreamErrorKind::TEXTS),
            admissions_refused: row(&families.cache_admissions_refused, Refusal::TEXTS),
            prefetched_bytes: families.cache_prefetched_bytes.clone(),
            prefetch_used_bytes: families.cache_prefetch_used_bytes.clone(),
            prefetch_wasted_bytes: families.cache_prefetch_wasted_bytes.clone(),
            validations: row(&families.cache_validations, Validation::TEXTS),
            invalidations: row(&families.cache_invalidations, CacheScope::TEXTS),
            purges: row(&families.cache_purges, CacheScope::TEXTS),
            comparisons: families.cache_comparisons.clone(),
            differences: row(&families.cache_differences, Difference::TEXTS),
        }))
    }

    /// Counts a request that has ended, by what the cache did for it.
    pub(super) fn request(&self, operation: Operation, result: CacheResult) {
        let index = operation_index(operation) * CacheResult::ALL.len() + result as usize;
        let labels = [operation.name(), result.as_str()];
        self.0
            .requests
            .get(index, || self.0.requests_family.with_label_values(&labels))
            .inc();
    }

    /// A client asked for this many bytes of an object that the cache serves.
    pub fn asked(&self, bytes: u64) {
        self.0.asked_bytes.inc_by(bytes);
    }

    /// Bytes were handed to a client, lying in this many blocks.
    pub fn served(&self, tier: Tier, blocks: u64, bytes: u64) {
        self.0.served_blocks[tier as usize].inc_by(blocks);
        self.0.served_bytes[tier as usize].inc_by(bytes);
    }

    /// A fill received bytes.
    pub fn fetched(&self, bytes: u64) {
        self.0.fetched_bytes.inc_by(bytes);
    }

    /// Something happened to a fill. Of one that failed, [`Self::fill_failed`] tells more.
    pub fn fill(&self, event: FillEvent) {
        self.0.fills[event as usize].inc();
    }

    /// Counts a fill as in flight for as long as the value lives.
    pub fn filling(&self) -> InProgress {
        InProgress::new(&self.0.fills_in_flight)
    }

    /// A fill failed because of the origin, or on the way to it.
    pub fn fill_failed(&self, kind: UpstreamErrorKind) {
        self.fill(FillEvent::Failed);
        self.0.fill_errors[kind as usize].inc();
    }

    /// An answer was not let into the cache.
    pub fn admission_refused(&self, refusal: Refusal) {
        self.0.admissions_refused[refusal as usize].inc();
    }

    /// Bytes are fetched for which no client has asked yet.
    pub fn prefetched(&self, bytes: u64) {
        self.0.prefetched_bytes.inc_by(bytes);
    }

    /// A client asked for bytes that had been fetched ahead.
    pub fn prefetch_used(&self, bytes: u64) {
        self.0.prefetch_used_bytes.inc_by(bytes);
    }

    /// Bytes fetched ahead went away before a client asked for them.
    pub fn prefetch_wasted(&self, bytes: u64) {
        self.0.prefetch_wasted_bytes.inc_by(bytes);
    }

    /// The origin was asked whether an object meta is still good.
    pub fn validation(&self, validation: Validation) {
        self.0.validations[validation as usize].inc();
    }

    /// A client changed an object or a bucket.
    pub fn invalidated(&self, scope: CacheScope) {
        self.0.invalidations[scope as usize].inc();
    }

    /// An operator purged something.
    pub fn purged(&self, scope: CacheScope) {
        self.0.purges[scope as usize].inc();
    }

    /// An answer was compared with what the cache would have said.
    pub fn compared(&self) {
        self.0.comparisons.inc();
    }

    /// A comparison found a difference.
    pub fn differs(&self, difference: Difference) {
        self.0.differences[difference as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn the_cache_counts_under_its_labels() {
        let metrics = Metrics::new();
        let cache = metrics.cache();
        cache.asked(100);
        cache.served(Tier::Memory, 1, 30);
        cache.served(Tier::Origin, 2, 70);
        cache.fetched(131_072);
        cache.fill(FillEvent::Started);
        cache.fill_failed(UpstreamErrorKind::Closed);
        cache.admission_refused(Refusal::ETag);
        cache.prefetched(9);
        cache.prefetch_used(7);
        cache.prefetch_wasted(8);
        cache.validation(Validation::Replaced);
        cache.invalidated(CacheScope::Bucket);
        cache.purged(CacheScope::Prefix);
        cache.compared();
        cache.differs(Difference::Body);
        cache.request(Operation::GetObject, CacheResult::Partial);
        let text = metrics.expose();
        for line in [
            "s3proxy_cache_asked_bytes_total 100",
            r#"s3proxy_cache_served_bytes_total{tier="memory"} 30"#,
            r#"s3proxy_cache_served_bytes_total{tier="disk"} 0"#,
            r#"s3proxy_cache_served_bytes_total{tier="origin"} 70"#,
            r#"s3proxy_cache_served_blocks_total{tier="origin"} 2"#,
            "s3proxy_cache_fetched_bytes_total 131072",
            r#"s3proxy_cache_fills_total{event="started"} 1"#,
            r#"s3proxy_cache_fills_total{event="failed"} 1"#,
            r#"s3proxy_cache_fill_errors_total{kind="closed"} 1"#,
            r#"s3proxy_cache_admissions_refused_total{refusal="etag"} 1"#,
            "s3proxy_cache_prefetched_bytes_total 9",
            "s3proxy_cache_prefetch_used_bytes_total 7",
            "s3proxy_cache_prefetch_wasted_bytes_total 8",
            r#"s3proxy_cache_validations_total{validation="replaced"} 1"#,
            r#"s3proxy_cache_invalidations_total{scope="bucket"} 1"#,
            r#"s3proxy_cache_purges_total{scope="prefix"} 1"#,
            "s3proxy_cache_comparisons_total 1",
            r#"s3proxy_cache_differences_total{difference="body"} 1"#,
            r#"s3proxy_cache_requests_total{operation="GetObject",result="partial"} 1"#,
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
