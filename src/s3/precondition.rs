//! Preconditions of reads, evaluated as S3 does it.
//!
//! If-Match decides before If-Unmodified-Since and If-None-Match before If-Modified-Since: the dates
//! count only where there is no ETag to compare.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header;
use http::header::HeaderName;

use super::ETag;

/// What a request wants to hold before it is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<ETags>,
    if_none_match: Option<ETags>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<IfRange>,
}

/// What comes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ETags {
    /// `*`.
    Any,
    /// As the client wrote them, with or without quotes.
    Listed(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum IfRange {
    ETag(String),
    Date(SystemTime),
}

impl Preconditions {
    /// Reads the fields. A date that is none is ignored.
    pub fn parse(headers: &HeaderMap) -> Self {
        Self {
            if_match: etags(headers, &header::IF_MATCH),
            if_none_match: etags(headers, &header::IF_NONE_MATCH),
            if_modified_since: date(headers, &header::IF_MODIFIED_SINCE),
            if_unmodified_since: date(headers, &header::IF_UNMODIFIED_SINCE),
            if_range: if_range(headers),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Holds them against an object.
    pub fn evaluate(&self, etag: &ETag, last_modified: Option<SystemTime>) -> Verdict {
        let modified = last_modified.map(whole_seconds);
        let has_required = match (&self.if_match, self.if_unmodified_since, modified) {
            (Some(tags), _, _) => tags.has(etag, is_strong_match),
            (None, Some(bound), Some(modified)) => modified <= bound,
            (None, _, _) => true,
        };
        if !has_required {
            return Verdict::Failed;
        }
        let is_known = match (&self.if_none_match, self.if_modified_since, modified) {
            (Some(tags), _, _) => tags.has(etag, is_weak_match),
            (None, Some(bound), Some(modified)) => modified <= bound,
            (None, _, _) => false,
        };
        if is_known {
            Verdict::NotModified
        } else {
            Verdict::Proceed
        }
    }

    /// Whether `Range` counts: `If-Range` is absent or names this object's validator. Otherwise the
    /// whole object is the answer.
    pub fn range_applies(&self, etag: &ETag, last_modified: Option<SystemTime>) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::ETag(tag)) => is_strong_match(tag, etag),
            Some(IfRange::Date(date)) => last_modified.map(whole_seconds) == Some(*date),
        }
    }
}

impl ETags {
    fn has(&self, etag: &ETag, matches: fn(&str, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| matches(tag, etag)),
        }
    }
}

/// Of a weak ETag nothing is promised about bytes, so it matches nothing.
fn is_strong_match(asked: &str, etag: &ETag) -> bool {
    !etag.is_weak() && !asked.starts_with("W/") && is_same_opaque(asked, etag)
}

fn is_weak_match(asked: &str, etag: &ETag) -> bool {
    is_same_opaque(asked.strip_prefix("W/").unwrap_or(asked), etag)
}

/// S3 takes ETags without quotes too.
fn is_same_opaque(asked: &str, etag: &ETag) -> bool {
    let opaque = etag.opaque();
    let bare = opaque.trim_matches('"');
    asked == opaque || (!asked.is_empty() && asked == bare)
}

/// All ETags of all fields of this name; `None` without any.
fn etags(headers: &HeaderMap, name: &HeaderName) -> Option<ETags> {
    let mut listed = Vec::new();
    for value in headers.get_all(name) {
        // Bytes that no ETag of ours has are kept as a tag that matches nothing.
        let text = String::from_utf8_lossy(value.as_bytes());
        split_list(&text, &mut listed);
    }
    match listed.as_slice() {
        [] => None,
        tags if tags.iter().any(|tag| tag == "*") => Some(ETags::Any),
        _ => Some(ETags::Listed(listed)),
    }
}

/// Splits at the commas outside of quotes.
fn split_list(text: &str, list: &mut Vec<String>) {
    let mut is_quoted = false;
    let items = text.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    });
    let items = items.map(str::trim).filter(|item| !item.is_empty());
    list.extend(items.map(str::to_owned));
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(text).ok()
}

fn if_range(headers: &HeaderMap) -> Option<IfRange> {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    let text = values.next()?.to_str().unwrap_or_default().trim();
    let is_single = values.next().is_none();
    match httpdate::parse_http_date(text) {
        Ok(date) if is_single => Some(IfRange::Date(date)),
        // What is no validator matches none: the whole object is always right.
        _ => Some(IfRange::ETag(if is_single { text } else { "" }.to_owned())),
    }
}

/// Dates in fields have no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => time,
    }
}
