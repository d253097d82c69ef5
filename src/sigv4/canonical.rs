//! The canonical request, built from the bytes of the wire.

use std::borrow::Cow;
use std::ops::Range;

use http::HeaderMap;

use super::encode;

/// The one query parameter that a signature cannot cover: itself.
const SIGNATURE_KEY: &str = "X-Amz-Signature";

/// A query in canonical form: decoded once, encoded again, sorted by name and then by value.
#[derive(Debug, Clone)]
pub struct CanonicalQuery<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> CanonicalQuery<'a> {
    /// Reads a raw query. `k` without `=` is `k=`; empty pairs do not count.
    pub fn parse(raw: &'a str) -> Self {
        let mut pairs: Vec<_> = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = encode::canonical_component(name);
                (name, encode::canonical_component(value))
            })
            .collect();
        pairs.sort_unstable();
        Self { pairs }
    }

    /// Names in canonical form, in order, repeated ones each time.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_ref())
    }

    /// The decoded value of the first parameter with this (canonical) name. `None` when there is
    /// none, or when its value is not UTF-8.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.pairs.iter().find(|(key, _)| key == name)?;
        encode::decode(value)
    }

    fn write(&self, text: &mut Vec<u8>, is_redacted: impl Fn(&str) -> bool) {
        let mut separator: &[u8] = b"";
        for (name, value) in &self.pairs {
            if name == SIGNATURE_KEY {
                continue;
            }
            text.extend_from_slice(separator);
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            if is_redacted(name) {
                text.extend_from_slice(REDACTED);
            } else {
                text.extend_from_slice(value.as_bytes());
            }
            separator = b"&";
        }
    }
}

/// The names in `SignedHeaders`: lower case, strictly ascending.
#[derive(Debug, Clone)]
pub struct SignedHeaders<'a> {
    text: Cow<'a, str>,
    /// Where each name stands in it: they are gone through several times.
    places: Vec<Range<usize>>,
}

impl<'a> SignedHeaders<'a> {
    /// Reads `a;b;c`. Upper case, disorder and repetition are refused, as is anything that is not a
    /// field name.
    pub fn parse(text: Cow<'a, str>) -> Option<Self> {
        let mut places = Vec::with_capacity(8);
        let mut start = 0;
        for name in text.as_bytes().split(|&byte| byte == b';') {
            places.push(start..start + name.len());
            start += name.len() + 1;
        }
        let parsed = Self { text, places };
        let is_sorted = parsed.names().is_sorted_by(|left, right| left < right);
        let is_named = parsed.names().all(is_field_name);
        (is_sorted && is_named).then_some(parsed)
    }

    /// As it stands in the canonical request.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let place = |place: &Range<usize>| &self.text[place.clone()];
        self.places.iter().map(place)
    }

    /// Whether a field, by its lower-case name, is signed.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|signed| signed == name)
    }
}

/// RFC 9110 section 5.6.2 `token`, without upper case.
fn is_field_name(name: &str) -> bool {
    let is_allowed = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => true,
        _ => b"!#$%&'*+.^_`|~".contains(&byte),
    };
    !name.is_empty() && name.bytes().all(is_allowed)
}

/// Everything a signature covers, borrowed from the request.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalRequest<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The path in the form to sign, mostly [`super::canonical_path`] of the raw one.
    pub path: &'a str,
    /// The query.
    pub query: &'a CanonicalQuery<'a>,
    /// `Host`, or `:authority` over HTTP/2.
    pub host: &'a str,
    /// The fields as received; every signed one but `host` is looked up here.
    pub headers: &'a HeaderMap,
    /// Which of them are signed.
    pub signed_headers: &'a SignedHeaders<'a>,
    /// `x-amz-content-sha256`, or what stands for it.
    pub payload_hash: &'a str,
}

const REDACTED: &[u8] = b"REDACTED";

/// Fields and parameters whose values are secrets; they are hidden when a request is shown.
const SECRET_NAMES: [&str; 5] = [
    "authorization",
    "cookie",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
];

impl CanonicalRequest<'_> {
    /// The bytes that are hashed into the string to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(|_| false)
    }

    /// The same for people: secrets are replaced by `REDACTED`, bytes that are not UTF-8 by U+FFFD.
    pub fn to_redacted_string(&self) -> String {
        let is_secret = |name: &str| {
            SECRET_NAMES
                .iter()
                .any(|secret| secret.eq_ignore_ascii_case(name))
        };
        String::from_utf8_lossy(&self.write(is_secret)).into_owned()
    }

    fn write(&self, is_redacted: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut text = Vec::with_capacity(512 + self.path.len());
        text.extend_from_slice(self.method.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.path.as_bytes());
        text.push(b'\n');
        self.query.write(&mut text, &is_redacted);
        text.push(b'\n');
        for name in self.signed_headers.names() {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            if is_redacted(name) {
                text.extend_from_slice(REDACTED);
            } else {
                self.write_field(&mut text, name);
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.signed_headers.as_str().as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.payload_hash.as_bytes());
        text
    }

    fn write_field(&self, text: &mut Vec<u8>, name: &str) {
        if name == "host" {
            write_collapsed(text, self.host.as_bytes());
            return;
        }
        let mut separator: &[u8] = b"";
        for value in self.headers.get_all(name) {
            text.extend_from_slice(separator);
            write_collapsed(text, value.as_bytes());
            separator = b",";
        }
    }
}

/// Trims the value and collapses runs of spaces. S3 knows no other white space here.
fn write_collapsed(text: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if !value.windows(2).any(|pair| pair == b"  ") {
        text.extend_from_slice(value);
        return;
    }
    let mut previous = 0;
    for &byte in value {
        if byte != b' ' || previous != b' ' {
            text.push(byte);
        }
        previous = byte;
    }
}
