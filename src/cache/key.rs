//! Whose bytes they are: an object, one version of it, one segment of that.

use std::fmt;
use std::sync::Arc;

use sha2::Digest;
use sha2::Sha256;

use super::block::SegmentIndex;
use crate::s3::Bucket;
use crate::s3::ETag;
use crate::s3::Key;

/// An object, whatever its bytes are at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// The configured name of its origin.
    pub origin: Arc<str>,
    /// Its bucket.
    pub bucket: Bucket,
    /// Its key.
    pub key: Key,
}

/// An object as it is under one ETag. Every byte of it is determined by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The object.
    pub object: ObjectName,
    /// Its ETag, quotes and all.
    pub etag: ETag,
    /// Its complete length in bytes.
    pub size: u64,
    /// The hash of all of the above.
    pub id: VersionId,
}

/// Identifies an object version: 128 bits of SHA-256, since clients choose keys and whoever could
/// make two of them collide would read one object under the name of the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId([u8; 16]);

/// Identifies a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    /// Of which version.
    pub version: VersionId,
    /// Which one.
    pub index: SegmentIndex,
}

impl ObjectVersion {
    /// Names the version of an object.
    pub fn new(object: ObjectName, etag: ETag, size: u64) -> Self {
        let id = VersionId::of(&[
            object.origin.as_bytes(),
            object.bucket.as_str().as_bytes(),
            object.key.as_str().as_bytes(),
            etag.as_bytes(),
            &size.to_le_bytes(),
        ]);
        Self {
            object,
            etag,
            size,
            id,
        }
    }

    /// One of its segments.
    pub fn segment(&self, index: SegmentIndex) -> SegmentId {
        SegmentId {
            version: self.id,
            index,
        }
    }
}

impl VersionId {
    /// Hashes parts, each with its length before it, so that no two lists of parts look alike.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Self(id)
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let ids = [
            VersionId::of(&[b"ab", b"c"]),
            VersionId::of(&[b"a", b"bc"]),
            VersionId::of(&[b"abc"]),
            VersionId::of(&[b"abc", b""]),
            VersionId::of(&[b"", b"abc"]),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
    }

    #[test]
    fn an_id_is_printed_with_all_its_digits() {
        let id = VersionId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
    }
}
