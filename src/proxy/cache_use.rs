//! What the cache did for a request: told to its client in two fields, to the log and to metrics.
//!
//! The fields `Cache-Status` and `Server-Timing` stand on every answer, refusals included.

use std::time::Duration;

use http::HeaderValue;
use http::Method;
use http::StatusCode;

use super::ctx::RequestCtx;
use crate::read::CacheTrace;
use crate::read::Served;
use crate::s3::Operation;
use crate::s3::Request;
use crate::telemetry::BytesFrom;
use crate::telemetry::CacheResult;
use crate::telemetry::CacheShare;
use crate::telemetry::CacheStatus;
use crate::telemetry::OriginMetrics;
use crate::telemetry::ServerTiming;

/// What the cache did for one request, as far as it is known.
#[derive(Default)]
pub struct CacheUse {
    /// What it did; absent while a request may still be refused.
    pub status: Option<CacheStatus>,
    /// When it was known who asks and that they may.
    pub verified_after: Option<Duration>,
    /// How long the read stage took to begin its answer.
    pub read_time: Option<Duration>,
    /// How long the origin was waited for, if not by forwarding.
    pub origin_time: Option<Duration>,
    /// Requests to the origin, if not by forwarding.
    pub origin_requests: u32,
    /// Body bytes by where they were found.
    pub bytes_from: Option<BytesFrom>,
    /// The origin of a read, for what was saved of it.
    pub origin: Option<OriginMetrics>,
}

impl CacheUse {
    /// The read stage begins its answer, which will have this status.
    pub(super) fn read(&mut self, trace: &CacheTrace, answer: StatusCode, took: Duration) {
        self.status = Some(status_of(trace, answer));
        self.origin_requests = trace.origin_requests;
        if trace.origin_requests > 0 || trace.collapsed {
            self.origin_time = Some(took);
        } else {
            self.read_time = Some(took);
        }
    }

    /// So much of the body went out; how many fills that took beyond what the trace says.
    pub(super) fn sent(&mut self, served: Served, fills: u32) {
        self.origin_requests = self.origin_requests.saturating_add(fills);
        self.bytes_from = Some(BytesFrom {
            memory: served.memory,
            disk: served.disk,
            origin: served.origin,
        });
    }

    /// The request goes to the origin, unless it is known already that and why.
    pub(super) fn forwarded(&mut self, request: &Request, method: &Method, is_on: bool) {
        self.status.get_or_insert_with(|| {
            let (result, detail) = match request.operation {
                _ if !request.operation.is_safe(method) => (CacheResult::Method, None),
                _ if !is_on => (CacheResult::Bypass, Some("off")),
                Operation::GetObject | Operation::HeadObject => {
                    (CacheResult::Bypass, Some("request"))
                }
                _ => (CacheResult::Bypass, Some("operation")),
            };
            CacheStatus {
                detail,
                ..CacheStatus::new(result)
            }
        });
    }

    /// Not for the cache, for this reason.
    pub(super) fn bypassed(&mut self, why: &'static str) {
        self.status = Some(CacheStatus {
            detail: Some(why),
            ..CacheStatus::new(CacheResult::Bypass)
        });
    }

    /// What there is to tell when the request has ended after so many attempts of forwarding it. An
    /// answer that began as a hit is none when the origin had to give some of its bytes.
    pub(super) fn share(&self, attempts: u32) -> Option<CacheShare> {
        let status = self.status?;
        let is_fetched = self.bytes_from.is_some_and(|bytes| bytes.origin > 0);
        let result = match status.result {
            CacheResult::Hit if is_fetched => CacheResult::Partial,
            result => result,
        };
        Some(CacheShare {
            result,
            detail: status.detail,
            bytes_from: self.bytes_from,
            origin_requests: self.origin_requests.saturating_add(attempts),
        })
    }

    /// Counts what the origin was spared.
    pub(super) fn count_saved(&self, share: &CacheShare, answered: Option<StatusCode>) {
        let Some(origin) = &self.origin else { return };
        let is_answered = answered.is_some_and(|status| !status.is_server_error());
        if share.result == CacheResult::Hit && share.origin_requests == 0 && is_answered {
            origin.saved_request();
        }
        if let Some(bytes) = share.bytes_from {
            origin.saved_bytes(bytes.memory + bytes.disk);
        }
    }
}

fn status_of(trace: &CacheTrace, answer: StatusCode) -> CacheStatus {
    let is_hit = trace.result == CacheResult::Hit;
    // What is immutable stays fresh for longer than a number of seconds can tell.
    let left = trace.left.map(|left| left.as_secs()).filter(|_| is_hit);
    let left = left.and_then(|left| u32::try_from(left).ok());
    let overdue = trace.overdue.map(|overdue| overdue.as_secs().max(1));
    let overdue = overdue.and_then(|overdue| u32::try_from(overdue).ok());
    CacheStatus {
        ttl: left
            .map(i64::from)
            .or(overdue.map(|overdue| -i64::from(overdue))),
        fwd_status: trace.forward_status.filter(|status| *status != answer),
        is_stored: trace.stored,
        is_collapsed: trace.collapsed,
        detail: trace.detail,
        ..CacheStatus::new(trace.result)
    }
}

/// The fields that tell what the cache did and where the time went. They stand behind what other caches say there.
pub(super) fn fields(ctx: &RequestCtx) -> (HeaderValue, Option<HeaderValue>) {
    let cache = &ctx.cache;
    let code = ctx.failure.as_ref().map(|failure| failure.code.as_str());
    let status = match (cache.status, code) {
        (Some(status), code) => CacheStatus {
            detail: status.detail.or(code),
            ..status
        }
        .to_field(),
        (None, Some(code)) => CacheStatus::own_answer(code),
        (None, None) => CacheStatus::new(CacheResult::Bypass).to_field(),
    };
    let forward = ctx.forward.as_ref().filter(|forward| forward.attempts > 0);
    let timing = ServerTiming {
        verify: cache.verified_after,
        cache: cache.read_time,
        origin: forward.map(|forward| forward.waited).or(cache.origin_time),
    };
    (status, timing.to_field())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::BaseDomains;
    use crate::s3::RequestHead;
    use http::HeaderMap;

    fn forwarded(method: &Method, path: &str, query: &str, is_on: bool) -> String {
        let headers = HeaderMap::new();
        let head = RequestHead {
            method,
            raw_path: path,
            raw_query: query,
            host: "proxy",
            headers: &headers,
        };
        let request = Request::classify(&head, &BaseDomains::default()).unwrap();
        let mut cache = CacheUse::default();
        cache.forwarded(&request, method, is_on);
        let field = cache.status.unwrap().to_field();
        field.to_str().unwrap().to_owned()
    }

    #[test]
    fn forwarded_requests_say_why() {
        for (method, path, query, expected) in [
            (Method::PUT, "/lake/a", "", "s3proxy; fwd=method"),
            (Method::POST, "/lake", "delete", "s3proxy; fwd=method"),
            (
                Method::GET,
                "/lake/a",
                "versionId=1",
                "s3proxy; fwd=bypass; detail=request",
            ),
            (
                Method::GET,
                "/lake",
                "list-type=2",
                "s3proxy; fwd=bypass; detail=operation",
            ),
        ] {
            assert_eq!(forwarded(&method, path, query, true), expected);
        }
        let off = forwarded(&Method::GET, "/lake/a", "", false);
        assert_eq!(off, "s3proxy; fwd=bypass; detail=off");
    }

    #[test]
    fn the_trace_of_a_read_becomes_its_status() {
        let trace = CacheTrace {
            left: Some(Duration::from_millis(41_900)),
            ..CacheTrace::default()
        };
        let hit = status_of(&trace, StatusCode::OK).to_field();
        assert_eq!(hit, "s3proxy; hit; ttl=41");
        let immutable = CacheTrace {
            left: Some(Duration::MAX),
            ..trace
        };
        assert_eq!(
            status_of(&immutable, StatusCode::OK).to_field(),
            "s3proxy; hit"
        );
        let freshened = CacheTrace {
            result: CacheResult::Stale,
            forward_status: Some(StatusCode::NOT_MODIFIED),
            ..trace
        };
        assert_eq!(
            status_of(&freshened, StatusCode::PARTIAL_CONTENT).to_field(),
            "s3proxy; fwd=stale; fwd-status=304"
        );
    }

    #[test]
    fn a_hit_that_ran_out_of_bytes_is_partial() {
        let mut cache = CacheUse::default();
        cache.read(&CacheTrace::default(), StatusCode::OK, Duration::ZERO);
        assert_eq!(cache.share(0).unwrap().result, CacheResult::Hit);
        let served = Served {
            memory: 1,
            disk: 0,
            origin: 1,
        };
        cache.sent(served, 2);
        let share = cache.share(0).unwrap();
        assert_eq!(share.result, CacheResult::Partial);
        assert_eq!(share.origin_requests, 2);
    }
}
