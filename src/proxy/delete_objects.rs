//! DeleteObjects: the body is read whole, every key in it is authorized, and the origin gets it
//! written anew.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::header;
use md5::Digest;
use md5::Md5;
use pingora::proxy::Session;

use super::S3Proxy;
use super::body;
use super::ctx::RequestCtx;
use super::failure::Failure;
use super::invalidation::Invalidation;
use super::limits::Limits;
use super::rejection;
use super::verify;
use crate::auth::Verified;
use crate::s3::Access;
use crate::s3::Action;
use crate::s3::Bucket;
use crate::s3::DeleteObjects;
use crate::s3::ErrorCode;
use crate::s3::Grant;
use crate::s3::Request;
use crate::s3::Right;
use crate::s3::Target;
use crate::upstream::Answer;
use crate::upstream::Question;

/// Longest answer: a thousand keys of a kilobyte each, escaped, with an error for each.
const MAX_ANSWER: usize = 16 << 20;

/// Forwards the request and gives the origin's answer.
pub(super) async fn answer(
    proxy: &S3Proxy,
    session: &mut Session,
    ctx: &mut RequestCtx,
    request: &Request,
    verified: &Verified,
) -> Result<Answer, Failure> {
    let bucket = request.bucket.as_ref().ok_or(ErrorCode::InvalidURI)?;
    let settings = Arc::clone(&ctx.settings);
    let received = read_whole(&settings.limits, session, ctx, verified).await?;
    check_md5(&session.req_header().headers, &received)?;
    let asked = DeleteObjects::parse(&received)?;
    settings
        .policy
        .authorize(&verified.principal, &accesses(request, bucket, &asked))?;
    ctx.is_verified();
    let serving = settings.serving(bucket).ok_or(ErrorCode::NoSuchBucket)?;
    let document = Bytes::from(asked.to_xml());
    let question = Question {
        request,
        method: Method::POST,
        headers: fields(&session.req_header().headers, &document)?,
        body: document,
        is_read: false,
        own: settings.own_credentials(verified),
        max_answer: MAX_ANSWER,
    };
    ctx.cache
        .forwarded(request, &Method::POST, proxy.reader.is_some());
    ctx.cache.origin_requests = 1;
    ctx.cache.origin = Some(serving.metrics.clone());
    let keys = asked.objects.iter().map(|object| &object.key);
    let origin = &serving.origin.config.name;
    ctx.invalidation = Invalidation::of_objects(proxy, origin, bucket, keys, true);
    let begun = Instant::now();
    let answer = serving.origin.ask(&proxy.fetch, &question).await;
    ctx.cache.origin_time = Some(begun.elapsed());
    if let Some(invalidation) = &mut ctx.invalidation {
        match &answer {
            Ok(answer) => invalidation.answered(answer.status),
            Err(_) => invalidation.again(),
        }
    }
    let answer = answer?;
    if question.own.is_none()
        && !answer.status.is_success()
        && let Some(failure) = rejection::instead_of(&answer.body)
    {
        return Err(failure);
    }
    Ok(answer)
}

/// What is needed for every object: to delete it, and what fields of the request ask for beside,
/// such as to pass over its retention.
fn accesses<'a>(
    request: &'a Request,
    bucket: &'a Bucket,
    asked: &'a DeleteObjects,
) -> Vec<Access<'a>> {
    let mut accesses = Vec::with_capacity(asked.objects.len());
    for object in &asked.objects {
        let version = object.names_version().then_some(&Grant::Versions);
        let grants = request.extra_grants.iter().chain(version);
        let rights = grants.map(|grant| Right::Granted(Action::Delete, *grant));
        for right in [Right::Plain(Action::Delete)].into_iter().chain(rights) {
            accesses.push(Access {
                right,
                bucket,
                target: Target::Key(object.key.as_str()),
            });
        }
    }
    accesses
}

/// Reads and verifies the body, bounded.
async fn read_whole(
    limits: &Limits,
    session: &mut Session,
    ctx: &mut RequestCtx,
    verified: &Verified,
) -> Result<Bytes, Failure> {
    let limit = limits.xml_body_bytes;
    let mut decoder = verified.payload.decoder();
    let mut whole = BytesMut::new();
    let mut early = ctx.early_body.clone();
    loop {
        let piece = match early.take() {
            Some(piece) => Some(piece),
            None => verify::read_piece(limits, session, ctx).await?,
        };
        let Some(piece) = piece else { break };
        if let Some(decoded) = decoder.push(piece)? {
            whole.extend_from_slice(&decoded);
        }
        if whole.len() > limit {
            return Err(ErrorCode::MalformedXML.into());
        }
    }
    let (rest, _trailer) = decoder.finish()?;
    whole.extend_from_slice(&rest.unwrap_or_default());
    let promised = body::content_length(&session.req_header().headers)?;
    if whole.is_empty() && promised.is_none_or(|length| length == 0) {
        return Err(ErrorCode::MalformedXML.into());
    }
    Ok(whole.freeze())
}

fn check_md5(headers: &HeaderMap, received: &[u8]) -> Result<(), ErrorCode> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(());
    };
    let claimed = STANDARD
        .decode(value.as_bytes())
        .map_err(|_| ErrorCode::InvalidDigest)?;
    if claimed.as_slice() == Md5::digest(received).as_slice() {
        Ok(())
    } else {
        Err(ErrorCode::BadDigest)
    }
}

/// The client's fields without the checksums of its own document, with those of ours.
fn fields(client: &HeaderMap, document: &[u8]) -> Result<HeaderMap, Failure> {
    let mut fields: HeaderMap = client
        .iter()
        .filter(|(name, _)| !name.as_str().starts_with("x-amz-checksum-"))
        .filter(|(name, _)| *name != "x-amz-sdk-checksum-algorithm")
        .filter(|(name, _)| *name != header::CONTENT_ENCODING)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let md5 = STANDARD.encode(Md5::digest(document));
    let md5 = HeaderValue::from_str(&md5).map_err(|_| ErrorCode::InternalError)?;
    fields.insert("content-md5", md5);
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::BaseDomains;
    use crate::s3::RequestHead;

    #[test]
    fn every_object_needs_what_the_request_asks_for() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-bypass-governance-retention",
            HeaderValue::from_static("true"),
        );
        let head = RequestHead {
            method: &Method::POST,
            raw_path: "/lake",
            raw_query: "delete",
            host: "proxy",
            headers: &headers,
        };
        let request = Request::classify(&head, &BaseDomains::default()).unwrap();
        let body = b"<Delete><Object><Key>a</Key></Object>\
                     <Object><Key>b</Key><VersionId>v</VersionId></Object></Delete>";
        let asked = DeleteObjects::parse(body).unwrap();
        let bucket = request.bucket.clone().unwrap();
        let accesses = accesses(&request, &bucket, &asked);
        let rights: Vec<_> = accesses.iter().map(|a| (a.target, a.right)).collect();
        let (plain, granted) = (Right::Plain(Action::Delete), |grant| {
            Right::Granted(Action::Delete, grant)
        });
        assert_eq!(
            rights,
            [
                (Target::Key("a"), plain),
                (Target::Key("a"), granted(Grant::Retention)),
                (Target::Key("b"), plain),
                (Target::Key("b"), granted(Grant::Retention)),
                (Target::Key("b"), granted(Grant::Versions)),
            ]
        );
    }
}
