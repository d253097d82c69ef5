//! What a cache key is called in the store.

use std::sync::Arc;
use std::sync::LazyLock;

use pingora_cache::key::HashBinary;

use crate::cache::ObjectName;
use crate::cache::VersionId;
use crate::cache::store::disk::MetaId;
use crate::s3::Bucket;
use crate::s3::Key;

/// No configured origin is called so: a slash cannot stand in such a name.
const ORIGIN: &str = "pingora/cache";

const BUCKET: &str = "pingora-cache";

static PLACE: LazyLock<(Arc<str>, Bucket)> = LazyLock::new(|| {
    let bucket = Bucket::new(BUCKET).expect("a well-formed name");
    (ORIGIN.into(), bucket)
});

/// A `CacheKey` as the store knows it: its hash, the variance included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryId(pub(super) HashBinary);

impl EntryId {
    /// Where its record lies on disk. Hashed once more: the directory may be shared with metas of
    /// other kinds.
    pub(super) fn meta(self) -> MetaId {
        MetaId(*VersionId::of(&[ORIGIN.as_bytes(), &self.0]).as_bytes())
    }

    /// What its bytes lie under, in all their versions.
    pub(super) fn object(self) -> ObjectName {
        let (origin, bucket) = &*PLACE;
        let hex = format!("{:032x}", u128::from_be_bytes(self.0));
        ObjectName {
            origin: Arc::clone(origin),
            bucket: bucket.clone(),
            key: Key::new(&hex).expect("hexadecimal digits are a key"),
        }
    }

    /// One of so many shares.
    pub(super) fn share(self, count: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]])) % count
    }
}
