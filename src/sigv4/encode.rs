//! Percent-encoding as S3 signs it: decode once, re-encode every byte outside the unreserved set.
//!
//! No dot-segment removal, no merging of slashes, no double encoding, and `+` is a plus. A `%` that
//! does not start an escape stands for itself, as everywhere else in this program, so that a
//! canonical form names exactly one decoded key.

use std::borrow::Cow;

use super::hex;

/// The canonical form of a raw path; `/` stays as it is, and the empty path is `/`.
pub fn canonical_path(raw: &str) -> Cow<'_, str> {
    if raw.is_empty() {
        return Cow::Borrowed("/");
    }
    canonical(raw, |byte| is_unreserved(byte) || byte == b'/')
}

/// The canonical form of a query key or value; `/` is encoded.
pub(super) fn canonical_component(raw: &str) -> Cow<'_, str> {
    canonical(raw, is_unreserved)
}

/// Undoes the encoding of a canonical component. Bytes that are not UTF-8 make it `None`.
pub(super) fn decode(canonical: &str) -> Option<Cow<'_, str>> {
    percent_encoding::percent_decode_str(canonical)
        .decode_utf8()
        .ok()
}

fn canonical(raw: &str, is_kept: impl Fn(u8) -> bool) -> Cow<'_, str> {
    // Most paths are canonical already; they cost no allocation.
    let Some(first) = raw.bytes().position(|byte| !is_kept(byte)) else {
        return Cow::Borrowed(raw);
    };
    let (kept, rest) = raw.split_at(first);
    let mut text = String::with_capacity(raw.len() + 16);
    text.push_str(kept);
    for byte in percent_encoding::percent_decode_str(rest) {
        if is_kept(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.extend(hex::upper(byte));
        }
    }
    Cow::Owned(text)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_encoded_again() {
        for (raw, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/b/a//b/./c/../d", "/b/a//b/./c/../d"),
            ("/b/year=2024/a+b", "/b/year%3D2024/a%2Bb"),
            ("/b/part%201%2Bx", "/b/part%201%2Bx"),
            ("/b/%c3%bc~%7E%41", "/b/%C3%BC~~A"),
            ("/b/ü", "/b/%C3%BC"),
            ("/b/a%2Fb", "/b/a/b"),
            ("/b/%2525", "/b/%2525"),
            ("/b/100%", "/b/100%25"),
            ("/b/%zz%4", "/b/%25zz%254"),
        ] {
            assert_eq!(canonical_path(raw), expected, "{raw}");
        }
    }

    #[test]
    fn components_encode_the_slash_and_come_back() {
        assert_eq!(canonical_component("hive/a b"), "hive%2Fa%20b");
        assert_eq!(decode("hive%2Fa%20b").unwrap(), "hive/a b");
        assert_eq!(decode("%FF"), None);
    }
}
