//! An entity tag: opaque, compared byte by byte, never taken for a checksum.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3>

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// The longest ETag that is kept; S3's own have 34 to 40 bytes.
const MAX_BYTES: usize = 256;

/// An ETag as the origin writes it, quotes and all.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Accepts `"..."` and `W/"..."`.
    pub fn parse(text: &str) -> Option<Self> {
        let opaque = text.strip_prefix("W/").unwrap_or(text);
        let inner = opaque.strip_prefix('"')?.strip_suffix('"')?;
        let is_etagc = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
        let well_formed = text.len() <= MAX_BYTES && inner.bytes().all(is_etagc);
        well_formed.then(|| Self(text.into()))
    }

    /// The same, from a field's value.
    pub fn from_field(value: &HeaderValue) -> Option<Self> {
        Self::parse(value.to_str().ok()?)
    }

    /// As it stands in a field.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether equal bytes are promised only for meaning, not for bytes. Such objects are not cached.
    pub fn is_weak(&self) -> bool {
        self.0.starts_with("W/")
    }

    /// Without `W/`.
    pub fn opaque(&self) -> &str {
        self.0.strip_prefix("W/").unwrap_or(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_quoted() {
        for good in ["\"\"", "\"a\"", "W/\"a\"", "\"d41d8-3\"", "\"!#~\""] {
            assert!(ETag::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a",
            "\"",
            "\"a",
            "a\"",
            "w/\"a\"",
            "\"a\"b\"",
            "\"a b\"",
            "\"\u{7f}\"",
        ] {
            assert!(ETag::parse(bad).is_none(), "{bad}");
        }
        assert!(ETag::parse(&format!("\"{}\"", "e".repeat(255))).is_none());
        assert!(ETag::parse("W/\"a\"").unwrap().is_weak());
        assert_eq!(ETag::parse("W/\"a\"").unwrap().opaque(), "\"a\"");
    }
}
