//! From Pingora's session to a verified caller.

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
use crate::auth::AuthError;
use crate::auth::Verified;
use crate::auth::Verifier;
use crate::s3::ErrorCode;
use crate::s3::RequestHead;

/// The largest body that is read before its signature can be checked: what Pingora replays.
const MAX_UNVERIFIED_BODY: usize = 60 * 1024;

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
            .map(|authority| authority.as_str())
            .unwrap_or_default(),
    };
    // No authority has these (RFC 9112 section 3.2): whoever reads it next may see another host.
    if host.bytes().any(|byte| b"/?#@\\, ".contains(&byte)) {
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
    session: &mut Session,
    ctx: &mut RequestCtx,
    now: SystemTime,
) -> Result<Verified, Failure> {
    let first = verifier
        .verify(&head_of(session.req_header())?, None, now)
        .await;
    match first {
        Err(AuthError::BodyHashNeeded) => {
            continue_if_expected(session, ctx).await?;
            let early = read_small_body(session).await?;
            let hash: [u8; 32] = Sha256::digest(&early).into();
            ctx.early_body = Some(early);
            let head = head_of(session.req_header())?;
            Ok(verifier.verify(&head, Some(hash), now).await?)
        }
        outcome => Ok(outcome?),
    }
}

/// Reads a body that Pingora will replay to the origin.
async fn read_small_body(session: &mut Session) -> Result<Bytes, Failure> {
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
    let mut whole = BytesMut::new();
    while let Some(piece) = session
        .read_request_body()
        .await
        .map_err(|_| ErrorCode::RequestTimeout)?
    {
        whole.extend_from_slice(&piece);
        if whole.len() > MAX_UNVERIFIED_BODY {
            return Err(too_large());
        }
    }
    Ok(whole.freeze())
}

/// Verifies a body that is empty for the origin before the origin hears of it: a request without a
/// body is complete with its head, so nothing could be held back.
pub(super) async fn verify_empty_body(
    session: &mut Session,
    ctx: &mut RequestCtx,
) -> Result<(), Failure> {
    let Some(body) = ctx.body.as_ref().filter(|body| body.plan().is_empty()) else {
        return Ok(());
    };
    let mut decoder = body.decoder();
    if !body.is_framed() {
        // Over HTTP/2 a body may come without a length.
        if !session.as_mut().is_body_empty() {
            return Err(ErrorCode::MissingContentLength.into());
        }
    } else if ctx.early_body.is_none() {
        ctx.early_body = Some(read_small_body(session).await?);
    }
    if let Some(early) = ctx.early_body.clone() {
        decoder.push(early)?;
    }
    decoder.finish()?;
    Ok(())
}

/// Tells a client that waits for it to send its body, once. Only called when the head was accepted.
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
