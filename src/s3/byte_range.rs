//! The field `Range`, read and resolved as S3 does it.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-14.2>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::fmt;
use std::ops::Range;

use http::HeaderMap;
use http::HeaderValue;
use http::header;

/// What a request's `Range` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeField {
    /// There is none.
    Absent,
    /// `first-last`, both included, or `first-`.
    Interval {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte; `None` is the object's last.
        last: Option<u64>,
    },
    /// `-n`: the last bytes.
    Suffix(u64),
    /// Several ranges, another unit, or not well formed: S3 answers the whole object.
    Ignored,
}

/// The bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole object, with status 200.
    Whole,
    /// A part of it, with status 206: not empty, within the object.
    Part(Range<u64>),
}

/// No byte of the object lies in the range: `InvalidRange`, status 416.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfiable;

/// Where the bytes of a 206 belong. Never empty, always within `size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes.
    pub interval: Range<u64>,
    /// The complete length of the object.
    pub size: u64,
}

impl RangeField {
    /// Reads the field.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::RANGE).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => value.to_str().ok().and_then(read).unwrap_or(Self::Ignored),
            (Some(_), Some(_)) => Self::Ignored,
        }
    }

    /// The bytes that it means of an object of this size.
    pub fn resolve(&self, size: u64) -> Result<ByteRange, Unsatisfiable> {
        match *self {
            Self::Absent | Self::Ignored => Ok(ByteRange::Whole),
            Self::Interval { first, .. } if first >= size => Err(Unsatisfiable),
            Self::Interval { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                Ok(ByteRange::Part(first..end))
            }
            Self::Suffix(0) => Err(Unsatisfiable),
            // Of an empty object S3 answers 200, not 416:
            // <https://github.com/apache/arrow-rs-object-store/issues/846>.
            Self::Suffix(_) if size == 0 => Ok(ByteRange::Whole),
            Self::Suffix(length) => Ok(ByteRange::Part(size.saturating_sub(length)..size)),
        }
    }
}

/// `None` when S3 would take the field for absent, as with `bytes=2-1`:
/// <https://github.com/noobaa/noobaa-core/issues/9889>.
fn read(text: &str) -> Option<RangeField> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first, last) {
        ("", _) => Some(RangeField::Suffix(position(last)?)),
        (_, "") => Some(RangeField::Interval {
            first: position(first)?,
            last: None,
        }),
        (_, _) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(RangeField::Interval {
                first,
                last: Some(last),
            })
        }
    }
}

/// Decimal digits. What is too large lies behind the end of every object all the same: "a recipient
/// ought to anticipate potentially large decimal numerals".
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

impl ContentRange {
    /// Reads `bytes first-last/size`. An unknown size, `*`, is refused.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let (interval, size) = value
            .to_str()
            .ok()?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let (first, last) = interval.split_once('-')?;
        let (first, last, size) = (exact(first)?, exact(last)?, exact(size)?);
        (first <= last && last < size).then(|| Self {
            interval: first..last + 1,
            size,
        })
    }

    /// As it stands in the field.
    pub fn to_field(&self) -> HeaderValue {
        // Digits and signs only; the default is never seen.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("bytes */0"))
    }

    /// `bytes */size`, as it stands in a 416.
    pub fn unsatisfied(size: u64) -> HeaderValue {
        HeaderValue::try_from(format!("bytes */{size}"))
            .unwrap_or(HeaderValue::from_static("bytes */0"))
    }
}

/// Decimal digits that fit.
pub(super) fn exact(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.interval.end.saturating_sub(1);
        write!(f, "bytes {}-{last}/{}", self.interval.start, self.size)
    }
}
