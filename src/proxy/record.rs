//! The end of a request: its numbers and its line in the access log.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::header;
use pingora::ErrorSource;
use pingora::proxy::Session;

use super::S3Proxy;
use super::ctx::RequestCtx;
use super::respond;
use crate::s3::Operation;
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
        format!("{:016X}", self.seed.hash_one(count))
    }
}

/// Writes what there is to tell of a request that has ended.
pub(super) fn write(
    proxy: &S3Proxy,
    session: &Session,
    ctx: &RequestCtx,
    error: Option<&pingora::Error>,
) {
    let head = session.req_header();
    let answered = respond::begun(session);
    let client_left = error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
    if let (Some(error), false, None) = (error, client_left, &ctx.failure) {
        log::warn!("request {} ended early: {error}", ctx.request_id);
    }
    let request = ctx.request.as_ref();
    let attempts = ctx.forward.as_ref().map_or(0, |forward| forward.attempts);
    let cache = ctx.cache.share(attempts);
    if let Some(share) = &cache {
        ctx.cache.count_saved(share, answered);
    }
    let record = RequestRecord {
        time: ctx.started.map_or_else(SystemTime::now, |(_, wall)| wall),
        request_id: &ctx.request_id,
        principal: ctx.verified.as_ref().map(|verified| &verified.principal),
        remote: session
            .client_addr()
            .and_then(|address| address.as_inet().copied()),
        method: &head.method,
        operation: request.map_or(Operation::Unknown, |request| request.operation),
        bucket: request.and_then(|request| request.bucket.as_ref()),
        key: request.and_then(|request| request.key.as_ref()),
        status: answered,
        code: ctx.failure.as_ref().map(|failure| failure.code),
        request_bytes: session.body_bytes_read() as u64,
        response_bytes: session.body_bytes_sent() as u64,
        duration: ctx.elapsed(),
        first_byte: ctx.first_byte,
        origin: origin_share(ctx),
        cache,
        user_agent: head
            .headers
            .get(header::USER_AGENT)
            .map(http::HeaderValue::as_bytes),
    };
    proxy.metrics.record_request(&record);
    proxy.access_log.record(&record);
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
