//! What HeadObject returns, learned from any answer about an object, and the fields of answers that
//! are given from it.
//!
//! Strict on the way in: an answer that leaves a doubt which bytes it is about teaches nothing. On
//! the way out every field of the origin comes back except those about the exchange itself.

mod bytes;
mod fields;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::SystemTime;

use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http::header::HeaderName;

use super::ContentRange;
use super::ETag;
use super::byte_range::exact;
pub use fields::kept_fields;

/// An object as its origin describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its complete length in bytes.
    pub size: u64,
    /// Its ETag, a strong one.
    pub etag: ETag,
    /// When it was written, in whole seconds; `None` when the origin did not say it in a way that
    /// can be read.
    pub last_modified: Option<SystemTime>,
    /// Everything that describes it: Content-Type, Last-Modified, Cache-Control, Accept-Ranges,
    /// `x-amz-meta-*`, `x-amz-version-id` and so on. No ETag, no length, no range, no checksum.
    pub fields: HeaderMap,
    /// Checksums of the whole object.
    pub checksums: Checksums,
    /// The ETag once more, ready for an answer.
    etag_field: HeaderValue,
}

/// `x-amz-checksum-*` of a whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksums {
    /// Nobody asked the origin for them.
    Unknown,
    /// What the origin gives who asks for them, perhaps nothing.
    Known(HeaderMap),
    /// The origin gives them unasked.
    Unasked(HeaderMap),
}

/// Why an answer teaches nothing about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCacheable {
    /// Neither 200 nor 206.
    Status,
    /// No ETag, a weak one, one that is not well formed, or several.
    ETag,
    /// No `Content-Length`, one that is not well formed, several, or a transfer coding besides.
    Length,
    /// A `Content-Range` that is missing, not well formed, against the length, or without reason.
    Range,
    /// Several ranges in one body.
    Multipart,
    /// Encrypted with a key of the client's.
    CustomerKey,
    /// More fields, or longer ones, than are kept.
    TooLarge,
    /// Two times of one modification.
    LastModified,
}

/// Which answer is given from a meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind<'a> {
    /// The whole object or its HEAD, status 200.
    Whole,
    /// Status 206, of GET and HEAD: these bytes, not empty and within the object.
    Part(&'a Range<u64>),
    /// Status 304: validators and what caches need, no length.
    NotModified,
}

impl ObjectMeta {
    /// Learns from a 200 of GET or HEAD, or from a 206 of GET. `asked_checksums` is whether the
    /// request had `x-amz-checksum-mode: ENABLED`. With a 206 comes where its bytes belong.
    pub fn from_answer(
        status: StatusCode,
        headers: &HeaderMap,
        asked_checksums: bool,
    ) -> Result<(Self, Option<ContentRange>), NotCacheable> {
        let is_part = match status {
            StatusCode::OK => false,
            StatusCode::PARTIAL_CONTENT => true,
            _ => return Err(NotCacheable::Status),
        };
        if headers.keys().any(fields::is_customer_key) {
            return Err(NotCacheable::CustomerKey);
        }
        if headers
            .get_all(header::CONTENT_TYPE)
            .iter()
            .any(fields::is_multipart_range)
        {
            return Err(NotCacheable::Multipart);
        }
        let length = length(headers)?;
        let range = content_range(headers, is_part, length)?;
        let etag = etag(headers)?;
        let last_modified = last_modified(headers)?;
        let mut fields = kept_fields(headers).ok_or(NotCacheable::TooLarge)?;
        if is_part {
            // Not every origin says it with a part, which proves it.
            let told = fields.entry(header::ACCEPT_RANGES);
            told.or_insert(HeaderValue::from_static("bytes"));
        }
        let checksums = match fields::checksums(headers).ok_or(NotCacheable::TooLarge)? {
            // Those of a part are no one's business, those of the whole do not come with a part.
            _ if is_part => Checksums::Unknown,
            given if asked_checksums => Checksums::Known(given),
            given if given.is_empty() => Checksums::Unknown,
            given => Checksums::Unasked(given),
        };
        let size = range.as_ref().map_or(length, |range| range.size);
        let meta = Self {
            size,
            etag_field: field_of(&etag),
            etag,
            last_modified,
            fields,
            checksums,
        };
        Ok((meta, range))
    }

    /// Of an object as a page of ListObjects tells it: without Content-Type, metadata and whatever
    /// else a page leaves out.
    pub fn listed(size: u64, etag: ETag, last_modified: Option<SystemTime>) -> Self {
        let date = last_modified
            .map(httpdate::fmt_http_date)
            .and_then(|date| HeaderValue::try_from(date).ok());
        let dates = date.map(|date| (header::LAST_MODIFIED, date));
        Self {
            size,
            etag_field: field_of(&etag),
            etag,
            last_modified,
            fields: dates.into_iter().collect(),
            checksums: Checksums::Unknown,
        }
    }

    /// The fields of an answer, in the origin's order, then ours. `wants_checksums` is whether the
    /// client asked with `x-amz-checksum-mode: ENABLED`.
    pub fn answer_fields(
        &self,
        kind: AnswerKind<'_>,
        wants_checksums: bool,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let (length, range) = match kind {
            AnswerKind::Whole => (Some(self.size), None),
            AnswerKind::Part(interval) => {
                let range = ContentRange {
                    interval: interval.clone(),
                    size: self.size,
                };
                let length = interval.end.saturating_sub(interval.start);
                (Some(length), Some(range.to_field()))
            }
            AnswerKind::NotModified => (None, None),
        };
        let checksums = match (&self.checksums, kind) {
            (Checksums::Known(given), AnswerKind::Whole) if wants_checksums => Some(given),
            (Checksums::Unasked(given), AnswerKind::Whole) => Some(given),
            _ => None,
        };
        let is_304 = kind == AnswerKind::NotModified;
        let own = |(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone());
        self.fields
            .iter()
            .filter(move |(name, _)| !is_304 || fields::belongs_to_304(name))
            .chain(checksums.into_iter().flatten())
            .map(own)
            .chain([(header::ETAG, self.etag_field.clone())])
            .chain(length.map(|length| (header::CONTENT_LENGTH, length.into())))
            .chain(range.map(|range| (header::CONTENT_RANGE, range)))
    }

    /// Whether a 304 confirms this meta as it is. It does not when the same bytes were written once
    /// more, perhaps with other metadata: the ETag stays, the date does not.
    pub fn is_confirmed_by(&self, headers: &HeaderMap) -> bool {
        let same = |name: &HeaderName, known: Option<&HeaderValue>| {
            let mut given = headers.get_all(name).iter();
            given.all(|value| Some(value) == known)
        };
        same(&header::ETAG, Some(&self.etag_field))
            && same(
                &header::LAST_MODIFIED,
                self.fields.get(header::LAST_MODIFIED),
            )
    }

    /// Whether both are about the same bytes.
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.etag == other.etag && self.size == other.size
    }

    /// Keeps checksums that were learned before, when this answer had none and the object is the
    /// same.
    pub fn keep_checksums_of(&mut self, before: &Self) {
        let is_same = self.is_same_version(before)
            && self.fields.get(header::LAST_MODIFIED) == before.fields.get(header::LAST_MODIFIED);
        if is_same && self.checksums == Checksums::Unknown {
            self.checksums.clone_from(&before.checksums);
        }
    }

    /// Roughly the bytes of memory that it takes.
    pub fn weight(&self) -> usize {
        let checksums = match &self.checksums {
            Checksums::Unknown => 0,
            Checksums::Known(given) | Checksums::Unasked(given) => fields::weight(given),
        };
        size_of::<Self>()
            + 2 * self.etag.as_bytes().len()
            + fields::weight(&self.fields)
            + checksums
    }
}

/// Whether the answer to a read brings the checksums of the object: `ENABLED`.
pub static CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

/// Whether a request asks for checksums. S3 reads the value in any case.
pub fn wants_checksums(headers: &HeaderMap) -> bool {
    headers
        .get(&CHECKSUM_MODE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"enabled"))
}

fn field_of(etag: &ETag) -> HeaderValue {
    // An ETag is made of what a field may hold; the default is never seen.
    HeaderValue::from_str(etag.as_str()).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The only value of a field; `None` for none and for several.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn length(headers: &HeaderMap) -> Result<u64, NotCacheable> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(NotCacheable::Length);
    }
    only(headers, &header::CONTENT_LENGTH)
        .and_then(|value| exact(value.to_str().ok()?))
        .ok_or(NotCacheable::Length)
}

fn content_range(
    headers: &HeaderMap,
    is_part: bool,
    length: u64,
) -> Result<Option<ContentRange>, NotCacheable> {
    if !is_part {
        let is_absent = !headers.contains_key(header::CONTENT_RANGE);
        return is_absent.then_some(None).ok_or(NotCacheable::Range);
    }
    let range = only(headers, &header::CONTENT_RANGE)
        .and_then(ContentRange::parse)
        .filter(|range| range.interval.end - range.interval.start == length)
        .ok_or(NotCacheable::Range)?;
    Ok(Some(range))
}

fn etag(headers: &HeaderMap) -> Result<ETag, NotCacheable> {
    only(headers, &header::ETAG)
        .and_then(ETag::from_field)
        .filter(|etag| !etag.is_weak())
        .ok_or(NotCacheable::ETag)
}

fn last_modified(headers: &HeaderMap) -> Result<Option<SystemTime>, NotCacheable> {
    let mut values = headers.get_all(header::LAST_MODIFIED).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(read_date(value)),
        (Some(_), Some(_)) => Err(NotCacheable::LastModified),
    }
}

fn read_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}
