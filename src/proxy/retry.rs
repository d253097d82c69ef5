//! Attempts at an origin: where the next goes, whether there is one, and what an answer means.

use std::net::SocketAddr;

use http::HeaderMap;
use http::StatusCode;
use pingora::Error;
use pingora::ErrorSource;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::upstreams::peer::Peer;

use super::ctx::RequestCtx;
use super::failure::Failure;
use super::respond;
use crate::s3::ErrorCode;
use crate::telemetry::RetryReason;
use crate::telemetry::UpstreamErrorKind;
use crate::upstream::RegionHint;
use crate::upstream::UpstreamError;
use crate::upstream::backoff;
use crate::upstream::connection_kind;
use crate::upstream::hint_of;
use crate::upstream::is_transient;
use crate::upstream::jitter;
use crate::upstream::tell_trace;

/// Ends the request with this failure; `fail_to_proxy` writes it.
pub(super) fn refuse(ctx: &mut RequestCtx, failure: Failure) -> Box<Error> {
    let error = Error::explain(ErrorType::new("Refused"), failure.code.as_str());
    ctx.failure = Some(failure);
    error
}

/// The peer of the next attempt, after a pause unless it is the first.
pub(super) async fn next_peer(ctx: &mut RequestCtx) -> pingora::Result<Box<HttpPeer>> {
    let (attempts, reason) = match &ctx.forward {
        Some(forward) => (forward.attempts, forward.retry),
        None => return Err(refuse(ctx, ErrorCode::InternalError.into())),
    };
    // A bucket that lives elsewhere is asked there at once.
    if attempts > 0 && reason != Some(RetryReason::Region) {
        pingora::time::sleep(backoff(attempts, jitter())).await;
    }
    match peer(ctx).await {
        Ok(peer) => Ok(Box::new(peer)),
        Err(error) => {
            if let (Some(forward), Some(request)) = (&ctx.forward, &ctx.request) {
                let attempt = forward.metrics.attempt(request.operation);
                attempt.failed(error.kind());
            }
            Err(refuse(ctx, error.into()))
        }
    }
}

async fn peer(ctx: &mut RequestCtx) -> Result<HttpPeer, UpstreamError> {
    let bucket = ctx
        .request
        .as_ref()
        .and_then(|request| request.bucket.as_ref());
    let Some(forward) = &mut ctx.forward else {
        return Err(UpstreamError::Redirected);
    };
    let destination = forward.origin.destination(bucket);
    let peer = forward.origin.peer(&destination).await?;
    let address: Option<SocketAddr> = peer.address().as_inet().copied();
    let span = |trace| forward.origin.span(trace, &destination);
    forward.span = ctx.trace.as_ref().map(span);
    forward.begin(destination, address);
    Ok(peer)
}

/// No connection: nothing was sent, so even a write may be tried again.
pub(super) fn after_connect_error(ctx: &mut RequestCtx, mut error: Box<Error>) -> Box<Error> {
    let operation = ctx.request.as_ref().map(|request| request.operation);
    if let (Some(forward), Some(operation)) = (&mut ctx.forward, operation) {
        forward.stop_waiting();
        if let Some(address) = forward.address {
            forward.origin.connect_failed(address);
        }
        let attempt = forward.metrics.attempt(operation);
        attempt.failed(connection_kind(&error));
        let again = forward.try_again(RetryReason::Connect);
        error.set_retry(again);
    }
    error
}

/// The request of this attempt, signed now.
pub(super) async fn signed_request(
    session: &Session,
    ctx: &mut RequestCtx,
) -> pingora::Result<RequestHeader> {
    let parts = (&mut ctx.body, &mut ctx.forward, &ctx.request, &ctx.verified);
    let (Some(body), Some(forward), Some(request), Some(verified)) = parts else {
        return Err(refuse(ctx, ErrorCode::InternalError.into()));
    };
    body.restart();
    let head = session.req_header();
    let own = verified.credentials.as_ref().filter(|_| forward.is_own);
    let signed = match (forward.origin.signer(own).await, &forward.destination) {
        (Ok(signer), Some(destination)) => {
            forward.signed_with = signer;
            let signer = forward.signed_with.as_ref();
            let (method, headers) = (&head.method, &head.headers);
            forward
                .origin
                .request(request, method, headers, body.plan(), destination, signer)
        }
        (Err(error), _) => Err(error),
        (Ok(_), None) => Err(UpstreamError::Redirected),
    };
    match signed {
        Ok(mut signed) => {
            tell_trace(&mut signed, forward.span.as_ref())?;
            forward.attempt = Some(forward.metrics.attempt(request.operation));
            Ok(signed)
        }
        Err(error) => {
            forward.metrics.error(error.kind());
            Err(refuse(ctx, error.into()))
        }
    }
}

/// The exchange failed after the connection was there.
pub(super) fn after_error(
    session: &Session,
    ctx: &mut RequestCtx,
    mut error: Box<Error>,
    is_reused: bool,
) -> Box<Error> {
    error.set_retry(false);
    let Some(forward) = &mut ctx.forward else {
        return error;
    };
    forward.stop_waiting();
    let has_begun = respond::begun(session).is_some();
    if forward.retry.is_some() {
        // `judge_answer` decided already.
        error.set_retry(!has_begun);
        return error;
    }
    if ctx.failure.is_some() || *error.esource() == ErrorSource::Downstream {
        return error;
    }
    let kind = connection_kind(&error);
    match forward.attempt.take() {
        Some(attempt) => attempt.failed(kind),
        None => forward.metrics.error(kind),
    }
    let reason = match kind {
        UpstreamErrorKind::Timeout => RetryReason::Timeout,
        _ if is_reused => RetryReason::StaleConnection,
        _ => RetryReason::Truncated,
    };
    error.set_retry(!has_begun && forward.try_again(reason));
    error
}

/// Whether an answer is for the client, or a reason to ask again.
pub(super) fn judge_answer(
    session: &Session,
    ctx: &mut RequestCtx,
    status: StatusCode,
    headers: &HeaderMap,
) -> pingora::Result<()> {
    if status.is_informational() {
        return Ok(());
    }
    let Some(request) = &ctx.request else {
        return Ok(());
    };
    let Some(forward) = &mut ctx.forward else {
        return Ok(());
    };
    if let Some(span) = &mut forward.span {
        span.answered(status);
    }
    let waited = forward.stop_waiting();
    if let Some(attempt) = forward.attempt.take() {
        attempt.answered(status, waited);
    }
    let signed_for = forward
        .destination
        .as_ref()
        .map(|to| to.region.as_str())
        .unwrap_or_default();
    let hint = hint_of(status, headers, signed_for);
    if let (false, Some(asked)) = (hint == RegionHint::None, &forward.destination) {
        let bucket = request.bucket.as_ref();
        let learned = forward.origin.learn(bucket, &hint, asked);
        let can_replay = !session.as_ref().retry_buffer_truncated();
        if learned.is_ok() && can_replay && forward.try_again(RetryReason::Region) {
            return Err(Error::explain(
                ErrorType::new("BucketRegion"),
                "asked again there",
            ));
        }
        return Err(refuse(ctx, UpstreamError::Redirected.into()));
    }
    if is_transient(status) && forward.try_again(RetryReason::ServerError) {
        return Err(Error::explain(
            ErrorType::new("OriginTransient"),
            status.to_string(),
        ));
    }
    Ok(())
}

/// Ends an exchange that takes longer than the whole may take.
pub(super) fn check_total(ctx: &mut RequestCtx) -> pingora::Result<()> {
    let Some(forward) = &ctx.forward else {
        return Ok(());
    };
    let total = forward.origin.config.timeouts.total;
    if ctx.elapsed() <= total {
        return Ok(());
    }
    forward.metrics.error(UpstreamErrorKind::Timeout);
    Err(refuse(ctx, UpstreamError::TimedOut(total).into()))
}
