//! What writes do to what is kept.

use std::sync::Arc;

use super::Reader;
use crate::cache::Generation;
use crate::cache::Known;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::PurgeScope;
use crate::cache::Purged;
use crate::s3::Bucket;

impl Reader {
    /// The generation that an object is in: another one after every write.
    pub fn generation(&self, object: &ObjectName) -> Generation {
        self.0.generations.current(object)
    }

    /// An object may be another one from now on. To be called before a write is forwarded and again
    /// when its outcome is known, before the client is told. Answers the version that was known.
    pub fn invalidate(&self, object: &ObjectName) -> Option<Arc<ObjectVersion>> {
        let shared = &self.0;
        shared.generations.advance(object);
        let known = match shared.metas.find(object) {
            Some(Known::Meta(meta) | Known::Outdated(meta)) => Some(Arc::clone(&meta.version)),
            Some(Known::Absent(_)) | None => None,
        };
        shared.metas.remove(object);
        let (shared, object) = (Arc::clone(shared), object.clone());
        tokio::spawn(async move { shared.store.drop_meta(&object).await });
        known
    }

    /// A version was replaced or deleted: its bytes are of no use to anyone any more.
    pub fn forget(&self, version: &ObjectVersion) {
        self.0.store.forget(version);
    }

    /// Every object of a bucket may be another one from now on.
    pub fn invalidate_bucket(&self, origin: &str, bucket: &Bucket) {
        self.0.generations.advance_bucket(origin, bucket.as_str());
    }

    /// Deletes what is kept of a scope, bytes on disk included.
    pub async fn purge(&self, scope: &PurgeScope) -> Purged {
        let shared = &self.0;
        match scope {
            PurgeScope::Key(object) => shared.generations.advance(object),
            PurgeScope::Prefix { origin, bucket, .. } | PurgeScope::Bucket { origin, bucket } => {
                shared.generations.advance_bucket(origin, bucket.as_str());
            }
        }
        shared.metas.remove_where(|object| scope.covers(object));
        shared.store.purge(scope).await
    }
}
