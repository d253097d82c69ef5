//! The field `Range`, read and resolved as S3 does it.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-14.2>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

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
        let last = self.interval.end.saturating_sub(1);
        let mut number = itoa::Buffer::new();
        // Three numbers have 60 digits at most.
        let mut text = String::with_capacity(72);
        text.push_str("bytes ");
        text.push_str(number.format(self.interval.start));
        text.push('-');
        text.push_str(number.format(last));
        text.push('/');
        text.push_str(number.format(self.size));
        // Digits and signs only; the default is never seen.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */0"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> RangeField {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(text).unwrap());
        RangeField::parse(&headers)
    }

    /// What the answer to this field is: the status, and the interval of a 206.
    fn answer(text: &str, size: u64) -> (u16, Range<u64>) {
        match parse(text).resolve(size) {
            Ok(ByteRange::Whole) => (200, 0..size),
            Ok(ByteRange::Part(interval)) => (206, interval),
            Err(Unsatisfiable) => (416, 0..0),
        }
    }

    #[test]
    fn ranges_are_read_as_s3_reads_them() {
        const SIZE: u64 = 300_000;
        for (text, status, interval) in [
            ("bytes=0-0", 206, 0..1),
            ("bytes=12345-23456", 206, 12_345..23_457),
            ("bytes=0-", 206, 0..SIZE),
            ("bytes=299999-", 206, 299_999..SIZE),
            ("bytes=0-299999", 206, 0..SIZE),
            ("bytes=200000-52428799", 206, 200_000..SIZE),
            ("bytes=0-9223372036854775806", 206, 0..SIZE),
            ("bytes=0-18446744073709551615", 206, 0..SIZE),
            ("bytes=0-99999999999999999999999", 206, 0..SIZE),
            ("bytes=007-008", 206, 7..9),
            ("bytes=-1", 206, 299_999..SIZE),
            ("bytes=-300000", 206, 0..SIZE),
            ("bytes=-524288", 206, 0..SIZE),
            ("bytes=-99999999999999999999999", 206, 0..SIZE),
            ("bytes=300000-", 416, 0..0),
            ("bytes=300000-300001", 416, 0..0),
            ("bytes=99999999999999999999999-", 416, 0..0),
            ("bytes=-0", 416, 0..0),
            ("bytes=5-2", 200, 0..SIZE),
            ("bytes=400000-2", 200, 0..SIZE),
            ("bytes=0-1,5-6", 200, 0..SIZE),
            ("bytes=0-1,", 200, 0..SIZE),
            ("bytes=a-b", 200, 0..SIZE),
            ("bytes=+1-2", 200, 0..SIZE),
            ("bytes=1-+2", 200, 0..SIZE),
            ("bytes=1--2", 200, 0..SIZE),
            ("bytes=1-2-3", 200, 0..SIZE),
            ("bytes=--1", 200, 0..SIZE),
            ("bytes=", 200, 0..SIZE),
            ("bytes=-", 200, 0..SIZE),
            ("bytes=5", 200, 0..SIZE),
            ("bytes 0-1", 200, 0..SIZE),
            ("bytes = 0-9", 200, 0..SIZE),
            ("bytes= 0-9", 200, 0..SIZE),
            ("Bytes=0-9", 200, 0..SIZE),
            ("items=0-1", 200, 0..SIZE),
            ("", 200, 0..SIZE),
        ] {
            assert_eq!(answer(text, SIZE), (status, interval), "{text}");
        }
    }

    #[test]
    fn an_empty_object_has_no_first_byte_and_an_empty_end() {
        for text in ["bytes=0-", "bytes=0-0", "bytes=5-9", "bytes=-0"] {
            assert_eq!(answer(text, 0).0, 416, "{text}");
        }
        assert_eq!(answer("bytes=-9", 0), (200, 0..0));
    }

    #[test]
    fn a_repeated_field_and_foreign_bytes_are_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(RangeField::parse(&headers), RangeField::Absent);
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(RangeField::parse(&headers), RangeField::Ignored);
        headers.insert(
            header::RANGE,
            HeaderValue::from_bytes(b"bytes=0-\xb9").unwrap(),
        );
        assert_eq!(RangeField::parse(&headers), RangeField::Ignored);
    }

    #[test]
    fn content_ranges_are_exact() {
        let parse = |text| ContentRange::parse(&HeaderValue::from_static(text));
        let range = parse("bytes 2-4/10").unwrap();
        assert_eq!((range.interval.clone(), range.size), (2..5, 10));
        assert_eq!(range.to_field(), "bytes 2-4/10");
        assert_eq!(ContentRange::unsatisfied(0), "bytes */0");
        assert_eq!(
            parse("bytes 0-18446744073709551613/18446744073709551615")
                .unwrap()
                .to_field(),
            "bytes 0-18446744073709551613/18446744073709551615"
        );
        for bad in [
            "",
            "bytes 2-4",
            "bytes 2-4/*",
            "bytes */10",
            "bytes 4-2/10",
            "bytes 2-10/10",
            "bytes 2-4/4",
            "bytes 0-0/0",
            "bytes=2-4/10",
            "Bytes 2-4/10",
            "bytes  2-4/10",
            "bytes 2-4/10 ",
            "bytes +2-4/10",
            "bytes 2-4/10/10",
            "bytes 0-0/18446744073709551616",
            "items 2-4/10",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    /// A position as a client may write it, and what it means.
    fn written() -> impl Strategy<Value = (String, u128)> {
        prop_oneof![
            (0..40_u64).prop_map(|n| (n.to_string(), n.into())),
            (0..40_u64).prop_map(|n| (format!("00{n}"), n.into())),
            any::<u64>().prop_map(|n| (n.to_string(), n.into())),
            (0..u128::MAX >> 40).prop_map(|n| (n.to_string(), n)),
        ]
    }

    proptest! {
        #[test]
        fn an_interval_is_what_a_slice_says((first, a) in written(), (last, b) in written(), size in 0..50_u64) {
            let object: Vec<u64> = (0..size).collect();
            let meant: Vec<u64> = object.iter().copied()
                .filter(|at| (a..=b).contains(&u128::from(*at)))
                .collect();
            let (status, interval) = answer(&format!("bytes={first}-{last}"), size);
            // Beyond 64 bits all numbers are one: that two of them stand in the wrong order is lost.
            let is_backwards = a > b && b <= u128::from(u64::MAX);
            match status {
                200 => prop_assert!(is_backwards),
                206 => prop_assert_eq!(interval.collect::<Vec<_>>(), meant),
                _ => prop_assert!(!is_backwards && meant.is_empty()),
            }
        }

        #[test]
        fn an_open_interval_and_a_suffix_too((text, n) in written(), size in 0..50_u64) {
            let from: Vec<u64> = (0..size).filter(|at| u128::from(*at) >= n).collect();
            let (status, interval) = answer(&format!("bytes={text}-"), size);
            prop_assert_eq!(status, if from.is_empty() { 416 } else { 206 });
            prop_assert_eq!(interval.collect::<Vec<_>>(), from);

            let kept: Vec<u64> = (0..size).filter(|at| u128::from(size - at) <= n).collect();
            let (status, interval) = answer(&format!("bytes=-{text}"), size);
            let expected = match (n, size) {
                (0, _) => 416,
                (_, 0) => 200,
                _ => 206,
            };
            prop_assert_eq!(status, expected);
            prop_assert_eq!(interval.collect::<Vec<_>>(), kept);
        }

        #[test]
        fn any_text_is_read(text in "(bytes=)?[ -~]{0,20}", size in any::<u64>()) {
            match parse(&text).resolve(size) {
                Ok(ByteRange::Part(interval)) => {
                    prop_assert!(interval.start < interval.end && interval.end <= size);
                }
                Ok(ByteRange::Whole) | Err(Unsatisfiable) => {}
            }
        }

        #[test]
        fn a_content_range_comes_back(first in any::<u64>(), length in 1..u64::MAX, more in any::<u64>()) {
            let end = first.saturating_add(length);
            prop_assume!(first < end);
            let range = ContentRange { interval: first..end, size: end.saturating_add(more) };
            prop_assert_eq!(ContentRange::parse(&range.to_field()), Some(range));
        }

        #[test]
        fn any_content_range_is_read(text in "bytes [0-9*/-]{0,30}") {
            if let Some(range) = ContentRange::parse(&HeaderValue::from_str(&text).unwrap()) {
                prop_assert!(range.interval.start < range.interval.end);
                prop_assert!(range.interval.end <= range.size);
            }
        }
    }
}
