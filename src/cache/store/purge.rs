//! What is asked of every tier: which blocks it has, and which objects it has to delete.

use std::sync::Arc;

use crate::cache::Blocks;
use crate::cache::ObjectName;
use crate::s3::Bucket;

/// Which blocks of a segment are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// These and no others.
    Known(Blocks),
    /// These; whether there are others is not known before somebody looks.
    Unknown(Blocks),
}

/// What an operator wants to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeScope {
    /// Every version of one object.
    Key(ObjectName),
    /// Every object whose key begins so.
    Prefix {
        /// The configured name of the origin.
        origin: Arc<str>,
        /// The bucket.
        bucket: Bucket,
        /// The beginning of the keys.
        prefix: String,
    },
    /// Every object of a bucket.
    Bucket {
        /// The configured name of the origin.
        origin: Arc<str>,
        /// The bucket.
        bucket: Bucket,
    },
}

/// What a purge deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Objects of which there was something.
    pub objects: u64,
    /// Their segments.
    pub segments: u64,
    /// The bytes that were stored of them.
    pub bytes: u64,
    /// What could not be looked at or deleted: the purge is complete only when this is 0.
    pub failures: u64,
}

impl Presence {
    /// The blocks that are known to be there.
    pub fn blocks(self) -> Blocks {
        match self {
            Self::Known(blocks) | Self::Unknown(blocks) => blocks,
        }
    }
}

impl PurgeScope {
    /// Whether an object is meant.
    pub fn covers(&self, object: &ObjectName) -> bool {
        match self {
            Self::Key(name) => name == object,
            Self::Prefix {
                origin,
                bucket,
                prefix,
            } => {
                *origin == object.origin
                    && *bucket == object.bucket
                    && object.key.as_str().starts_with(prefix.as_str())
            }
            Self::Bucket { origin, bucket } => *origin == object.origin && *bucket == object.bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Key;

    #[test]
    fn a_scope_covers_what_it_names() {
        let object = |origin: &str, bucket: &str, key: &str| ObjectName {
            origin: origin.into(),
            bucket: Bucket::new(bucket).unwrap(),
            key: Key::new(key).unwrap(),
        };
        let lake = || (Arc::from("o"), Bucket::new("lake").unwrap());
        let (origin, bucket) = lake();
        let prefix = PurgeScope::Prefix {
            origin,
            bucket,
            prefix: "a/".to_owned(),
        };
        let (origin, bucket) = lake();
        let whole = PurgeScope::Bucket { origin, bucket };
        let key = PurgeScope::Key(object("o", "lake", "a/b"));
        for (name, covered) in [
            (object("o", "lake", "a/b"), [true, true, true]),
            (object("o", "lake", "a/bc"), [false, true, true]),
            (object("o", "lake", "ab"), [false, false, true]),
            (object("o", "lake2", "a/b"), [false, false, false]),
            (object("p", "lake", "a/b"), [false, false, false]),
        ] {
            let found = [&key, &prefix, &whole].map(|scope| scope.covers(&name));
            assert_eq!(found, covered, "{name:?}");
        }
    }
}
