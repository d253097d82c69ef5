//! Pages of ListObjects on their way to a client, read along for what they say of objects.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;
use http::header;

use super::S3Proxy;
use super::ctx::RequestCtx;
use crate::s3::Operation;
use crate::s3::Request;

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
pub(super) fn pass(ctx: &mut RequestCtx, piece: Option<&Bytes>, end: bool) {
    let Some(harvest) = &mut ctx.harvest else {
        return;
    };
    if !piece.is_none_or(|piece| harvest.take(piece)) {
        ctx.harvest = None;
    } else if end && let Some(harvest) = ctx.harvest.take() {
        harvest.finish();
    }
}
