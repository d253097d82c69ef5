//! GET and HEAD of objects, answered by the read stage: its reply onto the client's connection.
//!
//! Pingora watches the client only while it forwards; here it is done by hand, so that whoever leaves
//! costs nothing further.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::S3Proxy;
use super::ctx::RequestCtx;
use super::failure::Failure;
use super::rejection;
use super::respond;
use crate::auth::Verified;
use crate::cache::AbsentObject;
use crate::cache::ObjectName;
use crate::policy;
use crate::read::Decision;
use crate::read::ObjectReply;
use crate::read::ObjectStream;
use crate::read::ReadAsk;
use crate::read::ReadError;
use crate::read::Reply;
use crate::s3::ContentRange;
use crate::s3::ErrorCode;
use crate::s3::Request;
use crate::telemetry::trace;
use crate::upstream::Answer;

/// Fields of most answers, ours and Pingora's included.
const HEAD_FIELDS: usize = 20;

/// Asks the read stage, as long as the client is there to be answered. `None` leaves the request to
/// be forwarded.
pub(super) async fn answer(
    proxy: &S3Proxy,
    session: &mut Session,
    ctx: &mut RequestCtx,
    request: &Request,
    verified: &Verified,
    now: std::time::SystemTime,
) -> Result<Option<Reply>, Failure> {
    let Some(reader) = &proxy.reader else {
        return Ok(None);
    };
    let headers = &session.req_header().headers;
    let Some(ask) = ask(headers, ctx, request, verified, now)? else {
        return Ok(None);
    };
    if let Some(comparisons) = &proxy.comparisons {
        ctx.cache.bypassed("verify");
        ctx.comparison = comparisons.begin(reader, ask, &ctx.request_id);
        return Ok(None);
    }
    let begun = Instant::now();
    let reply = tokio::select! {
        // A hit is there at once, and then nobody has to listen for the client.
        biased;
        reply = trace::in_span("lookup", reader.answer(&ask)) => reply?,
        gone = session.downstream_session.read_body_or_idle(true) => return Err(left(gone)),
    };
    match &reply {
        Reply::Bypass(why) => {
            ctx.cache.bypassed(why);
            return Ok(None);
        }
        Reply::Object(reply) => ctx
            .cache
            .read(&reply.trace, reply.status(), begun.elapsed()),
        Reply::Absent(absent, trace) => ctx.cache.read(trace, absent.status, begun.elapsed()),
        Reply::Answer(answer, trace) => ctx.cache.read(trace, answer.status, begun.elapsed()),
    }
    Ok(Some(reply))
}

/// The read that a request asks for, if it is one that can be answered from the cache.
pub(super) fn ask(
    headers: &HeaderMap,
    ctx: &mut RequestCtx,
    request: &Request,
    verified: &Verified,
    now: std::time::SystemTime,
) -> Result<Option<ReadAsk>, Failure> {
    let settings = Arc::clone(&ctx.settings);
    let (Some(bucket), Some(key)) = (&request.bucket, &request.key) else {
        return Ok(None);
    };
    if !request.operation.reads_object() {
        return Ok(None);
    }
    if let Some(why) = ReadAsk::uncacheable(request, headers) {
        ctx.cache.bypassed(why);
        return Ok(None);
    }
    // A store that cleans paths would take it for another object, and a write to that would leave
    // this one as it is.
    if policy::has_aliases(bucket.as_str(), key.as_str()) {
        ctx.cache.bypassed("ambiguous-key");
        return Ok(None);
    }
    let serving = settings.serving(bucket).ok_or(ErrorCode::NoSuchBucket)?;
    ctx.cache.origin = Some(serving.metrics.clone());
    let origin = &serving.origin;
    let object = ObjectName {
        origin: origin.config.name.clone(),
        bucket: bucket.clone(),
        key: key.clone(),
    };
    let own = settings.own_credentials(verified).cloned();
    let rule = settings.cache_rules.rule_for(bucket.as_str(), key.as_str());
    let (origin, rule) = (Arc::clone(origin), rule.clone());
    Ok(Some(ReadAsk::new(
        object, origin, rule, request, headers, own, now,
    )))
}

/// Writes a reply.
pub(super) async fn write(
    session: &mut Session,
    ctx: &mut RequestCtx,
    reply: Reply,
) -> pingora::Result<()> {
    match reply {
        Reply::Object(reply) => object(session, ctx, *reply).await,
        Reply::Absent(absent, _) => {
            let answer = answer_of(&absent);
            respond::answer(session, ctx, answer).await
        }
        Reply::Answer(answer, _) => relay(session, ctx, &answer).await,
        Reply::Bypass(why) => pingora::Error::e_explain(pingora::ErrorType::InternalError, why),
    }
}

async fn object(
    session: &mut Session,
    ctx: &mut RequestCtx,
    mut reply: ObjectReply,
) -> pingora::Result<()> {
    let Some(fields) = reply.fields() else {
        return refuse(session, ctx, &reply).await;
    };
    let mut head = head_of(reply.status(), fields);
    // Metas keep nothing of the exchange that taught them.
    respond::sign(&mut head, ctx)?;
    let body = reply.body.take();
    let written = session.write_response_header(Box::new(head), body.is_none());
    written.await.map_err(pingora::Error::into_down)?;
    match body {
        Some(mut stream) => {
            let sent = send(session, &mut stream).await;
            ctx.cache.sent(stream.served(), stream.fills_begun());
            sent
        }
        None => Ok(()),
    }
}

/// A head with these fields. `ResponseHeader::append_header` would write each name down twice and read it
/// again, for spellings that no field here has.
fn head_of(
    status: StatusCode,
    fields: impl Iterator<Item = (HeaderName, HeaderValue)>,
) -> ResponseHeader {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers.reserve(HEAD_FIELDS);
    for (name, value) in fields {
        parts.headers.append(name, value);
    }
    parts.into()
}

/// The bytes, as long as the client takes them.
async fn send(session: &mut Session, stream: &mut ObjectStream) -> pingora::Result<()> {
    loop {
        let piece = tokio::select! {
            biased;
            piece = stream.next() => piece,
            gone = session.downstream_session.read_body_or_idle(true) => {
                gone.map_err(pingora::Error::into_down)?;
                let unasked = "the client sent more than its request";
                let error = pingora::Error::explain(pingora::ErrorType::ConnectionClosed, unasked);
                return Err(error.into_down());
            }
        };
        let is_last = stream.left() == 0;
        match piece {
            Some(Ok(bytes)) => {
                let written = session.write_response_body(Some(bytes), is_last);
                written.await.map_err(pingora::Error::into_down)?;
            }
            // Cut short of its length: the client has to see that bytes are missing.
            Some(Err(error)) => {
                return Err(pingora::Error::because(
                    pingora::ErrorType::ReadError,
                    "a read ended early",
                    error,
                )
                .into_up());
            }
            None => return Ok(()),
        }
        if is_last {
            return Ok(());
        }
    }
}

/// 412 and 416.
async fn refuse(
    session: &mut Session,
    ctx: &mut RequestCtx,
    reply: &ObjectReply,
) -> pingora::Result<()> {
    let size = reply.meta.meta.size;
    let failure = match reply.decision {
        Decision::Unsatisfiable => {
            let range = session.req_header().headers.get(header::RANGE);
            let range = range.and_then(|range| range.to_str().ok());
            Failure::new(ErrorCode::InvalidRange)
                .with("RangeRequested", range.unwrap_or_default())
                .with("ActualObjectSize", size.to_string())
                .with_field(header::CONTENT_RANGE, ContentRange::unsatisfied(size))
        }
        _ => Failure::new(ErrorCode::PreconditionFailed),
    };
    respond::failure(session, ctx, failure).await
}

/// What the origin said, unless it is about our own credentials.
async fn relay(
    session: &mut Session,
    ctx: &mut RequestCtx,
    answer: &Answer,
) -> pingora::Result<()> {
    if !ctx.is_own
        && let Some(failure) = rejection::instead_of(&answer.body)
    {
        return respond::failure(session, ctx, failure).await;
    }
    let answer = Answer {
        status: answer.status,
        headers: answer.headers.clone(),
        body: answer.body.clone(),
    };
    respond::answer(session, ctx, answer).await
}

fn answer_of(absent: &AbsentObject) -> Answer {
    Answer {
        status: absent.status,
        headers: absent.fields.clone(),
        body: absent.body.clone().unwrap_or_default(),
    }
}

/// The client left, or sent what is no part of its request.
fn left(outcome: pingora::Result<Option<Bytes>>) -> Failure {
    match outcome {
        Err(error) => Failure::from(&*error),
        Ok(_) => Failure::new(ErrorCode::InvalidRequest),
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Upstream(error) => error.code(),
            ReadError::Changed | ReadError::Refused(_) => ErrorCode::ServiceUnavailable,
        };
        let mut failure = Self::new(code);
        failure.internal = Some(error.to_string());
        failure
    }
}
