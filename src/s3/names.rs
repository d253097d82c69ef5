//! Bucket names and object keys: types that cannot hold anything else.

use std::fmt;
use std::sync::Arc;

use super::ErrorCode;

/// What makes a text a pattern over names, and not a name.
pub const GLOB_MARKS: [char; 5] = ['*', '?', '[', '{', '\\'];

/// The longest key, in bytes of UTF-8:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>.
const MAX_KEY_BYTES: usize = 1024;

/// The longest bucket name that S3 ever accepted (new ones end at 63):
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
const MAX_BUCKET_BYTES: usize = 255;

/// A bucket name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Arc<str>);

impl Bucket {
    /// Accepts what some S3 service has accepted as a bucket name: letters, digits, `.`, `-` and
    /// `_`, beginning with a letter or digit. Never a path separator or a dot segment.
    pub fn new(name: &str) -> Result<Self, ErrorCode> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= MAX_BUCKET_BYTES
            && name.chars().all(is_allowed)
            && !name.contains("..");
        if well_formed {
            Ok(Self(name.into()))
        } else {
            Err(ErrorCode::InvalidBucketName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object key: the decoded name, never a path. Dots and slashes in it mean nothing to S3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Decodes the percent-encoded form once.
    pub fn decode(encoded: &str) -> Result<Self, ErrorCode> {
        if !has_whole_escapes(encoded) {
            return Err(ErrorCode::InvalidURI);
        }
        let decoded = percent_encoding::percent_decode_str(encoded)
            .decode_utf8()
            .map_err(|_| ErrorCode::InvalidURI)?;
        Self::new(&decoded)
    }

    /// Takes a decoded name.
    pub fn new(name: &str) -> Result<Self, ErrorCode> {
        match name.len() {
            0 => Err(ErrorCode::InvalidURI),
            1..=MAX_KEY_BYTES => Ok(Self(name.into())),
            _ => Err(ErrorCode::KeyTooLongError),
        }
    }

    /// The decoded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether every `%` begins an escape. What else a `%` means differs between services.
fn has_whole_escapes(encoded: &str) -> bool {
    encoded
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_hold_no_path() {
        for name in ["lake", "my.bucket-1", "0x", "Legacy_Name"] {
            assert!(Bucket::new(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a..b", "-a", "a%2F", "a b", "ü"] {
            assert_eq!(
                Bucket::new(name),
                Err(ErrorCode::InvalidBucketName),
                "{name}"
            );
        }
    }

    #[test]
    fn keys_are_decoded_once_and_bounded() {
        assert_eq!(
            Key::decode("a%20%2B%3D+%252F").unwrap().as_str(),
            "a +=+%2F"
        );
        for bad in ["%ff", "%", "a%2", "a%zz", "%%20"] {
            assert_eq!(Key::decode(bad), Err(ErrorCode::InvalidURI), "{bad}");
        }
        assert_eq!(
            Key::decode(&"k".repeat(1025)),
            Err(ErrorCode::KeyTooLongError)
        );
        assert!(Key::decode(&"%C3%BC".repeat(512)).is_ok());
    }
}
