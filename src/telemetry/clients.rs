//! What each client did, by its configured name.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus::IntCounter;

use super::labels::CacheResult;
use super::record::RequestRecord;
use super::table::Families;
use crate::s3::Principal;

/// Names that are told apart. A reload may bring new ones again and again.
const MAX_NAMES: usize = 1000;

/// All holders of web identity tokens: their subjects are not ours to bound. No client can be called
/// so.
const WEB_IDENTITY: &str = "web-identity:*";

/// Whoever comes when there are too many names.
const OTHERS: &str = "other:*";

/// Counters by client, resolved when a client first ends a request.
#[derive(Debug, Default)]
pub(super) struct Clients(RwLock<HashMap<Arc<str>, Arc<Counters>>>);

#[derive(Debug)]
struct Counters {
    requests: IntCounter,
    errors: IntCounter,
    hits: IntCounter,
    response_bytes: IntCounter,
}

impl Clients {
    /// Counts a request that has ended, if somebody was verified.
    pub(super) fn record(&self, families: &Families, record: &RequestRecord<'_>) {
        let name = match record.principal {
            Some(Principal::Client(name)) => name,
            Some(Principal::WebIdentity(_)) => WEB_IDENTITY,
            Some(Principal::Anonymous) => "anonymous",
            None => return,
        };
        let known = self.0.read().get(name).cloned();
        let counters = known.unwrap_or_else(|| self.meet(families, name));
        counters.requests.inc();
        let is_error =
            |status: http::StatusCode| status.is_client_error() || status.is_server_error();
        if record.status.is_some_and(is_error) {
            counters.errors.inc();
        }
        let result = record.cache.map(|cache| cache.result);
        if matches!(result, Some(CacheResult::Hit | CacheResult::HitStale)) {
            counters.hits.inc();
        }
        counters.response_bytes.inc_by(record.response_bytes);
    }

    fn meet(&self, families: &Families, name: &str) -> Arc<Counters> {
        let mut known = self.0.write();
        let name = match known.len() {
            MAX_NAMES.. if !known.contains_key(name) => OTHERS,
            _ => name,
        };
        let counters = known.entry(name.into()).or_insert_with(|| {
            Arc::new(Counters {
                requests: families.client_requests.with_label_values(&[name]),
                errors: families.client_errors.with_label_values(&[name]),
                hits: families.client_hits.with_label_values(&[name]),
                response_bytes: families.client_response_bytes.with_label_values(&[name]),
            })
        });
        Arc::clone(counters)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::SystemTime;

    use http::Method;
    use http::StatusCode;

    use super::*;
    use crate::s3::Operation;
    use crate::telemetry::CacheShare;
    use crate::telemetry::Metrics;

    fn record(principal: Option<&Principal>, status: u16) -> RequestRecord<'_> {
        RequestRecord {
            time: SystemTime::UNIX_EPOCH,
            request_id: "1",
            principal,
            remote: None,
            method: &Method::GET,
            operation: Operation::GetObject,
            bucket: None,
            key: None,
            status: StatusCode::from_u16(status).ok(),
            code: None,
            request_bytes: 0,
            response_bytes: 5,
            duration: Duration::ZERO,
            first_byte: None,
            origin: None,
            cache: Some(CacheShare {
                result: CacheResult::Hit,
                detail: None,
                bytes_from: None,
                origin_requests: 0,
            }),
            user_agent: None,
        }
    }

    #[test]
    fn clients_count_under_their_names_and_strangers_do_not() {
        let metrics = Metrics::new();
        let etl = Principal::Client("etl".into());
        let web = ["a", "b"].map(|subject| Principal::WebIdentity(subject.into()));
        metrics.record_request(&record(Some(&etl), 200));
        metrics.record_request(&record(Some(&etl), 404));
        metrics.record_request(&record(Some(&web[0]), 200));
        metrics.record_request(&record(Some(&web[1]), 200));
        metrics.record_request(&record(None, 403));
        let text = metrics.expose();
        for line in [
            r#"s3proxy_client_requests_total{client="etl"} 2"#,
            r#"s3proxy_client_errors_total{client="etl"} 1"#,
            r#"s3proxy_client_hits_total{client="etl"} 2"#,
            r#"s3proxy_client_response_bytes_total{client="etl"} 10"#,
            r#"s3proxy_client_requests_total{client="web-identity:*"} 2"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("s3proxy_client_requests_total{").count(), 2);
    }

    #[test]
    fn names_are_bounded() {
        let metrics = Metrics::new();
        for number in 0..=MAX_NAMES + 4 {
            let client = Principal::Client(format!("c{number}").into());
            metrics.record_request(&record(Some(&client), 200));
        }
        let first = Principal::Client("c0".into());
        metrics.record_request(&record(Some(&first), 200));
        let text = metrics.expose();
        let others = r#"s3proxy_client_requests_total{client="other:*"} 5"#;
        assert!(text.lines().any(|line| line == others));
        let first = r#"s3proxy_client_requests_total{client="c0"} 2"#;
        assert!(text.lines().any(|line| line == first));
    }
}
