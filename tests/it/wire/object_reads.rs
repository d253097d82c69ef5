//! How S3 answers GetObject and HeadObject: ranges, preconditions, fields.

use std::ops::Range;
use std::sync::Arc;

use super::object_origin::{Asked, Refusal};
use super::objects::{Objects, Version};
use super::reply::{Payload, Reply};

/// Parameters that replace fields of the answer.
const RESPONSE_FIELDS: &[(&str, &str)] = &[
    ("response-content-type", "Content-Type"),
    ("response-content-language", "Content-Language"),
    ("response-expires", "Expires"),
    ("response-cache-control", "Cache-Control"),
    ("response-content-disposition", "Content-Disposition"),
    ("response-content-encoding", "Content-Encoding"),
];

/// What a `Range` comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Interval(Range<u64>),
    Unsatisfiable,
}

/// Reads a `Range` as S3 does: one interval in bytes, everything else is as if it were not there.
pub(super) fn part_of(range: Option<&str>, size: u64) -> Part {
    let Some((first, last)) = range
        .and_then(|range| range.strip_prefix("bytes="))
        .filter(|spec| !spec.contains(','))
        .and_then(|spec| spec.split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) => Some(number),
        // More than any object has.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Some(u64::MAX),
        Err(_) => None,
    };
    let interval = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(count)) if first.is_empty() => size - count.min(size)..size,
        _ => return Part::Whole,
    };
    if size == 0 && first.is_empty() && number(last) != Some(0) {
        // Of an empty object S3 gives its end: <https://github.com/apache/arrow-rs-object-store/issues/846>.
        return Part::Whole;
    }
    if interval.start >= interval.end {
        Part::Unsatisfiable
    } else {
        Part::Interval(interval)
    }
}

/// What the preconditions of a read come to: `None` when it goes on.
fn condition_fails(asked: &Asked<'_>, version: &Version) -> Option<u16> {
    let date = |name| httpdate::parse_http_date(asked.field(name)?).ok();
    let opaque = version.etag.trim_start_matches("W/");
    let lists = |name: &str| {
        asked.field(name).map(|list| {
            list.split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"))
                .any(|tag| tag == "*" || tag == opaque)
        })
    };
    match lists("if-match") {
        Some(false) => return Some(412),
        Some(true) => {}
        None => {
            if date("if-unmodified-since").is_some_and(|date| version.modified > date) {
                return Some(412);
            }
        }
    }
    match lists("if-none-match") {
        Some(true) => Some(304),
        Some(false) => None,
        None => date("if-modified-since")
            .is_some_and(|date| version.modified <= date)
            .then_some(304),
    }
}

/// The current version, the one that is named, or why there is none to read.
fn found(objects: &Objects, asked: &Asked<'_>) -> Result<Arc<Version>, Refusal> {
    if !objects.has_bucket(&asked.bucket) {
        return Err(Refusal::new(404, "NoSuchBucket"));
    }
    let signer = asked.seen.signer.as_deref().unwrap_or_default();
    if objects.is_denied(signer, &asked.bucket, &asked.key) {
        return Err(Refusal::new(403, "AccessDenied"));
    }
    if let Some(owner) = asked.field("x-amz-expected-bucket-owner")
        && owner != objects.owner()
    {
        return Err(Refusal::new(403, "AccessDenied"));
    }
    let path = asked.path();
    let version = match asked.parameter("versionId") {
        None => objects
            .current(&path)
            .ok_or(Refusal::new(404, "NoSuchKey"))?,
        Some(id) => objects
            .by_version_id(&path, id)
            .ok_or(Refusal::new(404, "NoSuchVersion"))?,
    };
    let key = asked.field("x-amz-server-side-encryption-customer-key-md5");
    if key != version.customer_key_md5.as_deref() {
        return Err(Refusal::new(400, "InvalidRequest"));
    }
    Ok(version)
}

pub(super) fn read(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let version = found(objects, asked)?;
    match condition_fails(asked, &version) {
        Some(304) => {
            let reply = Reply::status(304).header("ETag", &version.etag);
            let reply = reply.header("Last-Modified", &version.last_modified());
            return Ok(with_version_id(reply, &version));
        }
        Some(status) => return Err(Refusal::new(status, "PreconditionFailed")),
        None => {}
    }
    let range_applies = asked
        .field("if-range")
        .is_none_or(|validator| validator == version.etag || validator == version.last_modified());
    let range = asked.field("range").filter(|_| range_applies);
    let reply = match part_of(range, version.size()) {
        Part::Unsatisfiable => {
            let refusal = Refusal::new(416, "InvalidRange");
            let range = range.unwrap_or_default();
            return Err(refusal
                .element("RangeRequested", range)
                .element("ActualObjectSize", &version.size().to_string())
                .field("Content-Range", &format!("bytes */{}", version.size())));
        }
        Part::Interval(interval) => {
            let told = format!(
                "bytes {}-{}/{}",
                interval.start,
                interval.end - 1,
                version.size()
            );
            Reply::new(206, Payload::Object(Arc::clone(&version.content), interval))
                .header("Content-Range", &told)
        }
        Part::Whole => {
            let whole = 0..version.size();
            let reply = Reply::new(200, Payload::Object(Arc::clone(&version.content), whole));
            with_checksum(reply, asked, &version)
        }
    };
    let mut reply = with_part_number(described(reply, &version), asked, &version);
    for (parameter, name) in RESPONSE_FIELDS {
        if let Some(value) = asked.parameter(parameter) {
            reply = reply.set(name, value);
        }
    }
    if let Some(md5) = &version.customer_key_md5 {
        reply = reply
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key-MD5", md5);
    }
    if asked.field("x-amz-request-payer").is_some() {
        reply = reply.header("x-amz-request-charged", "requester");
    }
    Ok(reply)
}

fn with_checksum(reply: Reply, asked: &Asked<'_>, version: &Version) -> Reply {
    let mode = asked.field("x-amz-checksum-mode");
    match &version.crc32 {
        Some(crc32) if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("enabled")) => reply
            .header("x-amz-checksum-crc32", crc32)
            .header("x-amz-checksum-type", "FULL_OBJECT"),
        _ => reply,
    }
}

/// The only part of an object is all of it, and is said to be a part all the same.
fn with_part_number(reply: Reply, asked: &Asked<'_>, version: &Version) -> Reply {
    if asked.parameter("partNumber").is_none() || version.size() == 0 {
        return reply;
    }
    let told = format!("bytes 0-{}/{}", version.size() - 1, version.size());
    let reply = Reply {
        status: 206,
        ..reply
    }
    .set("Content-Range", &told);
    reply.header("x-amz-mp-parts-count", &version.parts.max(1).to_string())
}

fn with_version_id(reply: Reply, version: &Version) -> Reply {
    match &version.version_id {
        Some(id) => reply.header("x-amz-version-id", id),
        None => reply,
    }
}

fn described(reply: Reply, version: &Version) -> Reply {
    let mut reply = with_version_id(reply, version)
        .header("ETag", &version.etag)
        .header("Last-Modified", &version.last_modified())
        .header("Accept-Ranges", "bytes")
        .header("Content-Type", "binary/octet-stream")
        .header("x-amz-server-side-encryption", "AES256");
    for (name, value) in &version.fields {
        reply = reply.set(name, value);
    }
    reply
}

#[test]
fn ranges_are_read_as_s3_does() {
    let part = |range| part_of(Some(range), 10);
    assert_eq!(part("bytes=0-0"), Part::Interval(0..1));
    assert_eq!(part("bytes=3-"), Part::Interval(3..10));
    assert_eq!(
        part("bytes=8-99999999999999999999999"),
        Part::Interval(8..10)
    );
    assert_eq!(part("bytes=-4"), Part::Interval(6..10));
    assert_eq!(part("bytes=-40"), Part::Interval(0..10));
    for range in ["bytes=10-", "bytes=-0", "bytes=11-12"] {
        assert_eq!(part(range), Part::Unsatisfiable, "{range}");
    }
    for range in [
        "bytes=5-2",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=a-b",
        "bytes=",
        "bytes=-",
    ] {
        assert_eq!(part(range), Part::Whole, "{range}");
    }
    assert_eq!(part_of(Some("bytes=-5"), 0), Part::Whole);
    assert_eq!(part_of(None, 0), Part::Whole);
}
