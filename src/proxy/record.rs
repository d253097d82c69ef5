//! The end of a request: its numbers and its line in the access log.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;
use pingora::ErrorSource;
use pingora::proxy::Session;

use super::ctx::RequestCtx;
use super::respond;
use crate::s3::Operation;
use crate::sigv4::hex;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::OriginShare;
use crate::telemetry::RequestRecord;

/// Gives every request of this process an id that no other process gives.
#[derive(Debug, Default)]
pub struct RequestIds {
    seed: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    /// Sixteen hexadecimal digits, as S3's own ids have.
    pub fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let bytes = self.seed.hash_one(count).to_be_bytes();
        let mut text = String::with_capacity(16);
        for byte in bytes {
            text.extend(hex::upper(byte));
        }
        text
    }
}

/// What the connection knows of a request that has ended.
pub(super) struct Exchange<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) remote: Option<SocketAddr>,
    /// The answer's status, if it began.
    pub(super) answered: Option<StatusCode>,
    /// Body bytes received.
    pub(super) received: u64,
    /// Body bytes sent.
    pub(super) sent: u64,
}

impl<'a> Exchange<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        let head = session.req_header();
        Self {
            method: &head.method,
            headers: &head.headers,
            remote: session
                .client_addr()
                .and_then(|address| address.as_inet().copied()),
            answered: respond::begun(session),
            received: session.body_bytes_read() as u64,
            sent: session.body_bytes_sent() as u64,
        }
    }
}

/// Where it is told.
pub(super) struct Books<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) access_log: &'a AccessLog,
}

/// Writes what there is to tell of a request that has ended.
pub(super) fn write(
    books: &Books<'_>,
    exchange: &Exchange<'_>,
    ctx: &RequestCtx,
    error: Option<&pingora::Error>,
) {
    let client_left = error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
    if let (Some(error), false, None) = (error, client_left, &ctx.failure) {
        log::warn!("request {} ended early: {error}", ctx.request_id);
    }
    let request = ctx.request.as_ref();
    let attempts = ctx.forward.as_ref().map_or(0, |forward| forward.attempts);
    let cache = ctx.cache.share(attempts);
    if let Some(share) = &cache {
        ctx.cache.count_saved(share, exchange.answered);
    }
    let record = RequestRecord {
        time: ctx.started.map_or_else(SystemTime::now, |(_, wall)| wall),
        request_id: &ctx.request_id,
        principal: ctx.verified.as_ref().map(|verified| &verified.principal),
        remote: exchange.remote,
        method: exchange.method,
        operation: request.map_or(Operation::Unknown, |request| request.operation),
        bucket: request.and_then(|request| request.bucket.as_ref()),
        key: request.and_then(|request| request.key.as_ref()),
        status: exchange.answered,
        code: ctx.failure.as_ref().map(|failure| failure.code),
        request_bytes: exchange.received,
        response_bytes: exchange.sent,
        duration: ctx.elapsed(),
        first_byte: ctx.first_byte,
        origin: origin_share(ctx),
        cache,
        user_agent: exchange
            .headers
            .get(header::USER_AGENT)
            .map(http::HeaderValue::as_bytes),
    };
    books.metrics.record_request(&record);
    books.access_log.record(&record);
    if let Some(trace) = &ctx.trace {
        trace.end(&record);
    }
}

fn origin_share(ctx: &RequestCtx) -> Option<OriginShare<'_>> {
    if let Some(forward) = &ctx.forward {
        return Some(OriginShare {
            name: forward.metrics.name(),
            time: forward.waited,
            retries: forward.attempts.saturating_sub(1),
        });
    }
    let cache = &ctx.cache;
    let origin = cache.origin.as_ref()?;
    Some(OriginShare {
        name: origin.name(),
        time: cache.origin_time?,
        retries: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids = RequestIds::default();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.len(), 16);
        assert_ne!(
            RequestIds::default().next(),
            first,
            "two processes, two sequences"
        );
    }
}
