//! From Pingora's session to a verified caller.

use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use bytes::BytesMut;
use http::header;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use sha2::Digest;
use sha2::Sha256;

use super::body;
use super::ctx::RequestCtx;
use super::failure::Failure;
use super::limits::Limits;
use crate::auth::AuthError;
use crate::auth::PayloadMode;
use crate::auth::Verified;
use crate::auth::Verifier;
use crate::s3::ErrorCode;
use crate::s3::RequestHead;

/// How long a body that is read whole may take. Such a body is small, and until it is there its
/// sender may be a stranger who holds a place among the requests.
const WHOLE_BODY: Duration = Duration::from_mins(1);

/// Bytes on the wire for a byte of content that is expected of an aws-chunked body at most.
const FRAMING_FACTOR: u64 = 4;

/// The largest body that is read before its signature can be checked: what Pingora replays.
const MAX_UNVERIFIED_BODY: usize = 64 * 1024;

/// The head as it came over the wire. An absolute-form target is cut to its path.
pub(super) fn head_of(head: &RequestHeader) -> Result<RequestHead<'_>, ErrorCode> {
    let target = std::str::from_utf8(head.raw_path()).map_err(|_| ErrorCode::InvalidURI)?;
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let host = match head.headers.get(header::HOST) {
        Some(host) => host.to_str().map_err(|_| ErrorCode::InvalidArgument)?,
        None => head
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default(),
    };
    // No authority has these (RFC 9112 section 3.2): whoever reads it next may see another host.
    let is_delimiter = |byte| matches!(byte, b'/' | b'?' | b'#' | b'@' | b'\\' | b',' | b' ');
    if host.bytes().any(is_delimiter) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(RequestHead {
        method: &head.method,
        raw_path,
        raw_query,
        host,
        headers: &head.headers,
    })
}

/// Verifies the caller. A request that does not say the hash of its body is verified with the hash
/// of what it really sends, when that is small.
pub(super) async fn verify(
    verifier: &Verifier,
    limits: &Limits,
    session: &mut Session,
    ctx: &mut RequestCtx,
    now: SystemTime,
) -> Result<Verified, Failure> {
    let first = verifier
        .verify(&head_of(session.req_header())?, None, now)
        .await;
    match first {
        Err(AuthError::BodyHashNeeded) => {
            let early = read_small_body(limits, session, ctx).await?;
            let hash: [u8; 32] = Sha256::digest(&early).into();
            ctx.early_body = Some(early);
            let head = head_of(session.req_header())?;
            Ok(verifier.verify(&head, Some(hash), now).await?)
        }
        outcome => Ok(outcome?),
    }
}

/// Reads a body that Pingora will replay to the origin.
async fn read_small_body(
    limits: &Limits,
    session: &mut Session,
    ctx: &mut RequestCtx,
) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::because(
            ErrorCode::MissingSecurityHeader,
            "Missing required header for this request: x-amz-content-sha256",
        )
    };
    let promised = body::content_length(&session.req_header().headers)?;
    if promised.is_some_and(|length| length > MAX_UNVERIFIED_BODY as u64) {
        return Err(too_large());
    }
    session.enable_retry_buffering();
    continue_if_expected(session, ctx).await?;
    let mut whole = BytesMut::new();
    while let Some(piece) = read_piece(limits, session, ctx).await? {
        whole.extend_from_slice(&piece);
        if whole.len() > MAX_UNVERIFIED_BODY {
            return Err(too_large());
        }
    }
    Ok(whole.freeze())
}

/// Reads and checks a small body before the origin hears of the request, so that a wrong one
/// never reaches it at all. Larger ones are checked while they stream, and cut off before their
/// end: a service that keeps an upload without its end, against its promised length, has no other
/// protection than this.
pub(super) async fn check_small_body(
    limits: &Limits,
    session: &mut Session,
    ctx: &mut RequestCtx,
    mode: &PayloadMode,
) -> Result<(), Failure> {
    let length = match body::content_length(&session.req_header().headers)? {
        Some(length) => length,
        None if !mode.is_aws_chunked() => 0,
        None => mode
            .decoded_length()
            .unwrap_or(u64::MAX)
            .saturating_mul(FRAMING_FACTOR),
    };
    // Over HTTP/2 a body may come without a length.
    if length == 0 && !session.as_mut().is_body_empty() && !mode.is_aws_chunked() {
        return Err(ErrorCode::MissingContentLength.into());
    }
    let is_checked = mode.is_aws_chunked() || mode.sha256_hex().is_some();
    if ctx.early_body.is_some() || !is_checked || length > MAX_UNVERIFIED_BODY as u64 {
        return Ok(());
    }
    session.enable_retry_buffering();
    continue_if_expected(session, ctx).await?;
    let mut decoder = mode.decoder();
    while let Some(piece) = read_piece(limits, session, ctx).await? {
        if session.as_ref().retry_buffer_truncated() {
            return Err(Failure::because(
                ErrorCode::InvalidRequest,
                "The framing of the body is out of proportion to its content.",
            ));
        }
        decoder.push(piece)?;
    }
    decoder.finish()?;
    ctx.early_body = Some(session.as_ref().get_retry_buffer().unwrap_or_default());
    Ok(())
}

/// Reads the next piece of a body that is read here, within the time that a whole body has. A body
/// that breaks off takes its connection with it: nothing after it can be told apart from it.
pub(super) async fn read_piece(
    limits: &Limits,
    session: &mut Session,
    ctx: &mut RequestCtx,
) -> Result<Option<Bytes>, Failure> {
    // Pingora bounds the silence between two pieces over HTTP/1.1 only.
    let patience = ctx
        .body_time_left()
        .min(limits.read_timeout)
        .min(WHOLE_BODY.saturating_sub(ctx.elapsed()));
    let failure = match tokio::time::timeout(patience, session.read_request_body()).await {
        Ok(Ok(piece)) => return Ok(piece),
        Ok(Err(error)) => Failure::from(&*error.into_down()),
        Err(_) => ErrorCode::RequestTimeout.into(),
    };
    ctx.is_body_broken = true;
    Err(failure)
}

/// Tells a client that waits for it to send its body, once. Only called when the head was accepted.
/// A client that asks for it with an empty body gets it too: some wait for nothing else.
pub(super) async fn continue_if_expected(
    session: &mut Session,
    ctx: &mut RequestCtx,
) -> Result<(), Failure> {
    if std::mem::replace(&mut ctx.is_continued, true) {
        return Ok(());
    }
    let expect = session.req_header().headers.get(header::EXPECT);
    if expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        // Pingora takes any answer before the end of the body as the last on its connection, this
        // one included.
        let stream = session.as_mut();
        stream.set_close_on_response_before_downstream_finish(false);
        let written = stream.write_continue_response().await;
        stream.set_close_on_response_before_downstream_finish(true);
        written.map_err(|_| ErrorCode::RequestTimeout)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> (String, String) {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        head.append_header("host", "proxy:3000").unwrap();
        let head = head_of(&head).unwrap();
        assert_eq!(head.host, "proxy:3000");
        (head.raw_path.to_owned(), head.raw_query.to_owned())
    }

    #[test]
    fn the_target_is_taken_raw() {
        let pair = |path: &str, query: &str| (path.to_owned(), query.to_owned());
        assert_eq!(
            parts("/lake/a%2Fb/../c?x=1?2&y"),
            pair("/lake/a%2Fb/../c", "x=1?2&y")
        );
        assert_eq!(parts("/lake/http://x"), pair("/lake/http://x", ""));
        assert_eq!(parts("http://proxy:3000/lake/a?b"), pair("/lake/a", "b"));
    }
}
