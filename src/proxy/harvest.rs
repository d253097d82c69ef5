//! Pages of ListObjects on their way to a client, read along for what they say of objects.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;
use http::header;

use super::S3Proxy;
use super::ctx::RequestCtx;
use crate::policy;
use crate::policy::Action;
use crate::read::ListedFile;
use crate::read::ReadAsk;
use crate::s3::Access;
use crate::s3::Operation;
use crate::s3::Request;
use crate::s3::Right;
use crate::s3::Target;

/// A page is about to be asked for. What an identity of its own is shown says nothing about others.
pub(super) fn begin(proxy: &S3Proxy, ctx: &mut RequestCtx, request: &Request) {
    let is_page = matches!(
        request.operation,
        Operation::ListObjects | Operation::ListObjectsV2
    );
    let is_own = ctx.forward.as_ref().is_none_or(|forward| forward.is_own);
    let parts = (&proxy.reader, &request.bucket, ctx.origin_name());
    if let (true, false, (Some(reader), Some(bucket), Some(origin))) = (is_page, is_own, parts)
        && let Some((_, asked)) = ctx.started
    {
        let rules = Arc::clone(&ctx.settings.cache_rules);
        ctx.harvest = Some(reader.harvest(origin, bucket.clone(), rules, asked));
    }
}

/// The origin's answer begins.
pub(super) fn answered(ctx: &mut RequestCtx, status: StatusCode, headers: &HeaderMap) {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let is_plain = status == StatusCode::OK && !headers.contains_key(header::CONTENT_ENCODING);
    let begun = ctx.harvest.take().and_then(|mut harvest| {
        let is_read = is_plain && harvest.begin(length);
        is_read.then_some(harvest)
    });
    ctx.harvest = begun;
}

/// A piece of the page passes, perhaps the last one.
pub(super) fn pass(proxy: &S3Proxy, ctx: &mut RequestCtx, piece: Option<&Bytes>, end: bool) {
    let Some(harvest) = &mut ctx.harvest else {
        return;
    };
    if !piece.is_none_or(|piece| harvest.take(piece)) {
        ctx.harvest = None;
    } else if end && let Some(harvest) = ctx.harvest.take() {
        let files = harvest.finish();
        if !files.is_empty() {
            fetch_tails(proxy, ctx, files);
        }
    }
}

/// What comes first of the files that whoever lists them may read, and nobody else's business.
fn fetch_tails(proxy: &S3Proxy, ctx: &RequestCtx, files: Vec<ListedFile>) {
    let (Some(reader), Some(verified)) = (&proxy.reader, &ctx.verified) else {
        return;
    };
    // There is nothing to be faster for.
    if proxy.comparisons.is_some() {
        return;
    }
    let now = SystemTime::now();
    let settings = &ctx.settings;
    let asks = files.into_iter().filter_map(|file| {
        let ListedFile { object, rule, size } = file;
        let (bucket, key) = (&object.bucket, object.key.as_str());
        let access = Access {
            right: Right::Plain(Action::Read),
            bucket,
            target: Target::Key(key),
        };
        let is_plain = !policy::has_aliases(bucket.as_str(), key);
        let may_read = settings.policy.authorize(&verified.principal, &[access]);
        let serving = settings.serving(bucket)?;
        let origin = &serving.origin;
        let is_there = origin.config.name == object.origin;
        (is_plain && is_there && may_read.is_ok()).then(|| {
            let ask = ReadAsk::ahead(object, Arc::clone(origin), rule, now);
            (ask, size)
        })
    });
    reader.fetch_tails(asks.collect());
}
