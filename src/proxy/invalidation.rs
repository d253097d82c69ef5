//! Writes make what the cache keeps untrue: it is told before a write is forwarded, and again when
//! its outcome is known, before the client is.
//!
//! Between the two an origin may answer reads with what was before or with what comes after. Either
//! is right at that moment; but what was asked before the second time counts for nothing after it.

use std::sync::Arc;

use http::Method;
use http::StatusCode;

use super::S3Proxy;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::policy;
use crate::read::Reader;
use crate::s3::Bucket;
use crate::s3::Changes;
use crate::s3::Key;
use crate::s3::Operation;
use crate::s3::Request;
use crate::telemetry::CacheScope;

/// What a request that is under way changes. Whatever becomes of it, the cache is told once more
/// when this goes.
pub struct Invalidation {
    reader: Reader,
    changed: Changed,
    /// Whether success means other bytes than before.
    replaces: bool,
    /// What was known of the objects before.
    replaced: Vec<Arc<ObjectVersion>>,
    /// Whether the head of the answer does not yet tell the outcome: the origin begins it to keep the
    /// connection alive.
    is_told_late: bool,
    /// Whether the outcome is known, and the cache was told since.
    is_over: bool,
}

enum Changed {
    Objects(Vec<ObjectName>),
    Bucket { origin: Arc<str>, bucket: Bucket },
}

impl Invalidation {
    /// Tells the cache that the request is about to be forwarded. `None` when it changes nothing.
    pub(super) fn begin(
        proxy: &S3Proxy,
        request: &Request,
        method: &Method,
        origin: &Arc<str>,
    ) -> Option<Self> {
        let bucket = request.bucket.as_ref()?;
        match (request.operation.changes(method), &request.key) {
            (Changes::Nothing | Changes::Named, _) => None,
            (Changes::Object, Some(key)) => {
                let replaces = matches!(
                    request.operation,
                    Operation::PutObject
                        | Operation::CopyObject
                        | Operation::CompleteMultipartUpload
                        | Operation::DeleteObject
                );
                let keys = std::iter::once(key);
                let mut begun = Self::of_objects(proxy, origin, bucket, keys, replaces)?;
                begun.is_told_late = matches!(
                    request.operation,
                    Operation::CompleteMultipartUpload | Operation::CopyObject
                );
                Some(begun)
            }
            (Changes::Object, None) | (Changes::Bucket, _) => {
                let reader = proxy.reader.clone()?;
                proxy.metrics.cache().invalidated(CacheScope::Bucket);
                let changed = Changed::Bucket {
                    origin: Arc::clone(origin),
                    bucket: bucket.clone(),
                };
                Some(Self::new(reader, changed, false))
            }
        }
    }

    /// The same for objects that a body names.
    pub(super) fn of_objects<'a>(
        proxy: &S3Proxy,
        origin: &Arc<str>,
        bucket: &Bucket,
        keys: impl Iterator<Item = &'a Key>,
        replaces: bool,
    ) -> Option<Self> {
        let reader = proxy.reader.clone()?;
        let metrics = proxy.metrics.cache();
        let mut objects = Vec::new();
        for key in keys {
            metrics.invalidated(CacheScope::Object);
            add_every_name(&mut objects, origin, bucket, key);
        }
        Some(Self::new(reader, Changed::Objects(objects), replaces))
    }

    fn new(reader: Reader, changed: Changed, replaces: bool) -> Self {
        let versions = invalidate(&reader, &changed);
        Self {
            reader,
            changed,
            replaces,
            replaced: versions,
            is_told_late: false,
            is_over: false,
        }
    }

    /// The outcome is known, or at least as much of it as there will be.
    pub(super) fn again(&mut self) {
        // Once more would do no harm, but what was read since would be fetched again.
        if !self.is_over {
            invalidate(&self.reader, &self.changed);
            self.is_over = true;
        }
    }

    /// The same, with the status that the origin answered by.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.again();
        self.is_over = !self.is_told_late;
        if self.replaces && status.is_success() {
            for version in self.replaced.drain(..) {
                self.reader.forget(&version);
            }
        }
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        self.again();
    }
}

fn invalidate(reader: &Reader, changed: &Changed) -> Vec<Arc<ObjectVersion>> {
    match changed {
        Changed::Objects(objects) => objects
            .iter()
            .filter_map(|name| reader.invalidate(name))
            .collect(),
        Changed::Bucket { origin, bucket } => {
            reader.invalidate_bucket(origin, bucket);
            Vec::new()
        }
    }
}

/// The object, and any other that a store which cleans paths may take it for.
fn add_every_name(objects: &mut Vec<ObjectName>, origin: &Arc<str>, bucket: &Bucket, key: &Key) {
    objects.push(ObjectName {
        origin: Arc::clone(origin),
        bucket: bucket.clone(),
        key: key.clone(),
    });
    for (bucket, key) in policy::aliases(bucket.as_str(), key.as_str()).unwrap_or_default() {
        if let (Ok(bucket), Ok(key)) = (Bucket::new(&bucket), Key::new(&key)) {
            objects.push(ObjectName {
                origin: Arc::clone(origin),
                bucket,
                key,
            });
        }
    }
}
