//! In what two answers to one read differ: pure.

use std::collections::BTreeSet;
use std::fmt;

use http::HeaderMap;
use http::HeaderName;
use http::StatusCode;
use http::header;
use xxhash_rust::xxh3::Xxh3;

use crate::s3::kept_fields;
use crate::telemetry::Difference;

/// What is compared of an answer.
pub(super) struct Seen {
    status: StatusCode,
    /// Those that describe the object or the part of it, ETag and range among them.
    fields: HeaderMap,
    length: Option<u64>,
    /// Its body.
    pub(super) digest: Digest,
}

/// The length and hash of a body.
#[derive(Default)]
pub(super) struct Digest {
    bytes: u64,
    hash: Xxh3,
}

/// In what two answers differ.
#[derive(Default)]
pub(super) struct Differences {
    /// Each once.
    pub(super) kinds: Vec<Difference>,
    text: Vec<String>,
}

impl Seen {
    /// From the head of an answer.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        Self {
            status,
            fields: described(status, headers),
            length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            digest: Digest::default(),
        }
    }

    /// Whether it tells of the origin and not of the object.
    pub(super) fn is_failure(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl Digest {
    /// The next bytes.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
    }
}

impl Differences {
    /// What the cache would have said against what the origin said. Another ETag is one difference:
    /// that other bytes belong to it is none.
    pub(super) fn between(expected: &Seen, seen: &Seen, is_head: bool) -> Self {
        let mut differences = Self::default();
        if expected.status != seen.status {
            let (expected, seen) = (expected.status.as_u16(), seen.status.as_u16());
            differences.add(Difference::Status, format!("status {expected}, not {seen}"));
            return differences;
        }
        let names: BTreeSet<&str> = expected
            .fields
            .keys()
            .chain(seen.fields.keys())
            .map(HeaderName::as_str)
            .filter(|name| !same_field(name, &expected.fields, &seen.fields))
            .collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            differences.add(Difference::Field, format!("fields {}", names.join(", ")));
        }
        let has_bytes = matches!(seen.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if !has_bytes || !same_field("etag", &expected.fields, &seen.fields) {
            return differences;
        }
        if expected.length != seen.length {
            let length = |length: Option<u64>| length.map_or("none".to_owned(), |n| n.to_string());
            let (expected, seen) = (length(expected.length), length(seen.length));
            differences.add(Difference::Length, format!("length {expected}, not {seen}"));
        } else if !is_head {
            differences.compare_bodies(&expected.digest, &seen.digest);
        }
        differences
    }

    fn compare_bodies(&mut self, expected: &Digest, seen: &Digest) {
        if expected.bytes != seen.bytes {
            let text = format!("{} bytes, not {}", expected.bytes, seen.bytes);
            self.add(Difference::Length, text);
        } else if expected.hash.digest128() != seen.hash.digest128() {
            self.add(
                Difference::Body,
                "other bytes under the same ETag".to_owned(),
            );
        }
    }

    /// Whether there is none.
    pub(super) fn is_none(&self) -> bool {
        self.kinds.is_empty()
    }

    fn add(&mut self, kind: Difference, text: String) {
        self.kinds.push(kind);
        self.text.push(text);
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text.join("; "))
    }
}

fn same_field(name: &str, one: &HeaderMap, other: &HeaderMap) -> bool {
    one.get_all(name).iter().eq(other.get_all(name))
}

/// The fields that are compared. A 304 tells what is still good and need not repeat the rest; an
/// error describes no object.
fn described(status: StatusCode, headers: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let mut copy = |name: &HeaderName| {
        for value in headers.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    };
    match status {
        StatusCode::NOT_MODIFIED => copy(&header::ETAG),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            copy(&header::ETAG);
            copy(&header::CONTENT_RANGE);
            let is_whole = status == StatusCode::OK;
            let sums = headers
                .keys()
                .filter(|name| is_whole && name.as_str().starts_with("x-amz-checksum-"));
            sums.for_each(copy);
            fields.extend(kept_fields(headers).unwrap_or_default());
        }
        _ => {}
    }
    fields
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seen(status: u16, fields: &[(&'static str, &'static str)], body: &[u8]) -> Seen {
        let fields = fields.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap();
        let mut seen = Seen::new(status, &fields.collect());
        for piece in body.chunks(3) {
            seen.digest.take(piece);
        }
        seen
    }

    const FIELDS: [(&str, &str); 3] = [
        ("etag", "\"1\""),
        ("content-length", "9"),
        ("content-type", "text/csv"),
    ];

    fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let others = FIELDS.into_iter().filter(|(known, _)| *known != name);
        others.chain([(name, value)]).collect()
    }

    #[test]
    fn the_exchange_is_not_compared() {
        let one = seen(200, &with("date", "now"), b"some text");
        let mut fields = with("x-amz-request-id", "1");
        fields.reverse();
        fields.push(("server", "S3"));
        let other = seen(200, &fields, b"some text");
        assert!(Differences::between(&one, &other, false).is_none());
        let (mine, theirs) = (seen(404, &FIELDS, b"<Error/>"), seen(404, &[], b"<Error>"));
        assert!(Differences::between(&mine, &theirs, false).is_none());
        let (mine, theirs) = (seen(304, &FIELDS, b""), seen(304, &FIELDS[..1], b""));
        assert!(Differences::between(&mine, &theirs, false).is_none());
    }

    #[test]
    fn each_difference_has_its_kind() {
        use Difference::{Body, Field, Length, Status};
        let expected = seen(200, &FIELDS, b"some text");
        for (other, kinds, text) in [
            (seen(404, &[], b""), vec![Status], "status 200, not 404"),
            (
                seen(206, &FIELDS, b"some text"),
                vec![Status],
                "status 200, not 206",
            ),
            (
                seen(200, &with("content-type", "text/plain"), b"some text"),
                vec![Field],
                "fields content-type",
            ),
            (
                seen(200, &with("x-amz-meta-a", "1"), b"Some text"),
                vec![Field, Body],
                "fields x-amz-meta-a; other bytes under the same ETag",
            ),
            (
                seen(200, &with("etag", "\"2\""), b"other"),
                vec![Field],
                "fields etag",
            ),
            (
                seen(200, &with("content-length", "4"), b"some"),
                vec![Length],
                "length 9, not 4",
            ),
            (seen(200, &FIELDS, b"some"), vec![Length], "9 bytes, not 4"),
            (
                seen(200, &FIELDS, b"some bear"),
                vec![Body],
                "other bytes under the same ETag",
            ),
        ] {
            let differences = Differences::between(&expected, &other, false);
            assert_eq!(differences.kinds, kinds, "{text}");
            assert_eq!(differences.to_string(), text);
        }
        let head = seen(200, &FIELDS, b"");
        assert!(Differences::between(&expected, &head, true).is_none());
    }
}
