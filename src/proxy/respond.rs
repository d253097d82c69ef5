//! Answers of our own: always with a length, never closing a connection that can be kept.

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use pingora::ErrorSource;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::cache_use;
use super::ctx::RequestCtx;
use super::failure::Failure;
use crate::telemetry::CACHE_STATUS;
use crate::telemetry::SERVER_TIMING;
use crate::upstream::Answer;

/// Our name in `Server`; the origin's own is not shown.
pub(super) const SERVER: &str = "s3proxy";

/// The field of S3 that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Writes a failure as an S3 error document. A HEAD gets the head alone.
pub(super) async fn failure(
    session: &mut Session,
    ctx: &mut RequestCtx,
    failure: Failure,
) -> pingora::Result<()> {
    let resource = session.req_header().uri.path().to_owned();
    let document = failure.to_xml(&resource, &ctx.request_id);
    let status = failure.code.status();
    let field = failure.field.clone();
    log_failure(ctx, &failure);
    ctx.failure = Some(failure);
    let waits = session.req_header().headers.contains_key(header::EXPECT) && !ctx.is_continued;
    if waits || ctx.is_body_broken {
        // A client that waits for 100 Continue will never send its body now: do not wait for it.
        session.set_keepalive(None);
    } else {
        // What is left of a body is read, up to a bound: closing on top of it would reset the
        // connection, and the client would never see this answer.
        session
            .as_mut()
            .set_close_on_response_before_downstream_finish(false);
    }
    let mut head = ResponseHeader::build(status, Some(9))?;
    if let Some(field) = field {
        let (name, value) = *field;
        head.insert_header(name, value)?;
    }
    write_document(session, ctx, head, document).await
}

/// Writes an XML document.
pub(super) async fn document_with(
    session: &mut Session,
    ctx: &RequestCtx,
    status: StatusCode,
    document: String,
) -> pingora::Result<()> {
    let head = ResponseHeader::build(status, Some(8))?;
    write_document(session, ctx, head, document).await
}

async fn write_document(
    session: &mut Session,
    ctx: &RequestCtx,
    mut head: ResponseHeader,
    document: String,
) -> pingora::Result<()> {
    head.insert_header(header::CONTENT_TYPE, "application/xml")?;
    head.insert_header(header::CONTENT_LENGTH, document.len())?;
    clean(&mut head, ctx)?;
    let is_head = session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(head), is_head)
        .await?;
    if !is_head {
        session
            .write_response_body(Some(Bytes::from(document)), true)
            .await?;
    }
    Ok(())
}

fn log_failure(ctx: &RequestCtx, failure: &Failure) {
    let (id, code) = (&ctx.request_id, failure.code.as_str());
    match &failure.internal {
        Some(internal) => log::warn!("request {id} failed with {code}: {internal}"),
        None => log::debug!("request {id} refused with {code}: {}", failure.message),
    }
}

/// Writes an origin's whole answer.
pub(super) async fn answer(
    session: &mut Session,
    ctx: &RequestCtx,
    answer: Answer,
) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(answer.status, Some(answer.headers.len() + 5))?;
    for (name, value) in &answer.headers {
        if *name != header::TRANSFER_ENCODING {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    // The answer to a GET may be told to a HEAD.
    let is_head = session.req_header().method == Method::HEAD;
    if !is_head {
        head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    }
    clean(&mut head, ctx)?;
    let has_body = !answer.body.is_empty() && !is_head;
    session
        .write_response_header(Box::new(head), !has_body)
        .await?;
    if has_body {
        session.write_response_body(Some(answer.body), true).await?;
    }
    Ok(())
}

/// Takes off a head what is not for clients, and puts our own fields on. A region would send some
/// clients elsewhere.
pub(super) fn clean(head: &mut ResponseHeader, ctx: &RequestCtx) -> pingora::Result<()> {
    for name in ["x-amz-bucket-region", "alt-svc", "connection", "keep-alive"] {
        head.remove_header(name);
    }
    sign(head, ctx)
}

/// Puts our own fields on a head that has nothing which is not for clients. Other caches may have said something in
/// those that tell of the cache.
pub(super) fn sign(head: &mut ResponseHeader, ctx: &RequestCtx) -> pingora::Result<()> {
    for (name, value) in own_fields(ctx) {
        if name == SERVER_TIMING || name == CACHE_STATUS {
            head.append_header(name, value)?;
        } else {
            head.insert_header(name, value)?;
        }
    }
    Ok(())
}

/// The fields that we put on every answer.
pub(super) fn own_fields(ctx: &RequestCtx) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let server = (header::SERVER, HeaderValue::from_static(SERVER));
    let id = HeaderValue::from_str(&ctx.request_id).ok();
    let (status, timing) = cache_use::fields(ctx);
    [server]
        .into_iter()
        .chain(id.map(|id| (REQUEST_ID, id)))
        .chain([(CACHE_STATUS, status)])
        .chain(timing.map(|timing| (SERVER_TIMING, timing)))
}

/// Answers a request that failed on the way, when there is still someone to answer.
pub(super) async fn proxy_error(
    session: &mut Session,
    ctx: &mut RequestCtx,
    error: &pingora::Error,
) -> u16 {
    if begun(session).is_some() {
        // A client that left in the middle of its answer did not fail.
        let client_left = *error.esource() == ErrorSource::Downstream;
        if ctx.failure.is_none() && !client_left {
            ctx.failure = Some(error.into());
        }
        return 0;
    }
    // What was written may be there all the same.
    ctx.invalidate_again();
    let cause = ctx.failure.take().unwrap_or_else(|| error.into());
    let status = cause.code.status().as_u16();
    // The rest of the request may still be on its way: nothing can follow on this connection.
    session.set_keepalive(None);
    ctx.answer_begins();
    let written = failure(session, ctx, cause).await;
    // Closing on top of unread bytes would take the answer away from the client.
    let _ = session.as_mut().drain_request_body().await;
    match written {
        Ok(()) => status,
        Err(_) => 0,
    }
}

/// The status of the answer, once it has begun; 100 Continue is none.
pub(super) fn begun(session: &Session) -> Option<StatusCode> {
    let status = session.response_written()?.status;
    (!status.is_informational()).then_some(status)
}
