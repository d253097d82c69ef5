//! What one read of the model test may see: one version, whole, that was the current one lately.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use s3proxy::read::{Decision, ObjectReply};

use super::model_steps::{Lifetime, ReadSpec};
use super::model_world::World;
use super::object_reads::{Outcome, outcome};
use super::objects::Version;

/// A read, and what was known when it began.
pub(super) struct Sight {
    pub(super) world: Arc<World>,
    pub(super) spec: ReadSpec,
    /// What it sends.
    pub(super) headers: HeaderMap,
    /// The first epoch that it may see.
    pub(super) seen_from: usize,
    /// How often the object had been written.
    pub(super) writes: u64,
    /// Since when something may have been under way that it joins.
    pub(super) busy_since: SystemTime,
}

impl Sight {
    /// Whether something happened that may have made it fail.
    pub(super) fn may_fail(&self) -> bool {
        let writes = self.world.objects.lock()[self.spec.key].writes;
        self.world.is_faulty() || writes != self.writes
    }

    /// How old what it sees may be.
    fn bound(&self) -> Option<Duration> {
        let rule = self.world.rule;
        let lifetime = match rule.freshness {
            Lifetime::For(lifetime) => lifetime,
            Lifetime::Validate => Duration::ZERO,
            Lifetime::Immutable => return None,
        };
        let while_failing = if self.world.is_faulty() {
            rule.stale_if_error
        } else {
            Duration::ZERO
        };
        Some(lifetime + while_failing)
    }

    /// Whether an epoch that is meant was the current one at some moment that counts.
    fn was(&self, bound: Option<Duration>, is_meant: impl Fn(Option<&Version>) -> bool) -> bool {
        let from = bound.map_or(SystemTime::UNIX_EPOCH, |bound| self.busy_since - bound);
        let now = self.world.now();
        let objects = self.world.objects.lock();
        let epochs = &objects[self.spec.key].epochs;
        let mut allowed = epochs.iter().enumerate().skip(self.seen_from);
        allowed.any(|(index, epoch)| {
            let until = epochs.get(index + 1).map(|next| next.since);
            epoch.since <= now
                && until.is_none_or(|until| until > from)
                && is_meant(epoch.version.as_deref())
        })
    }

    pub(super) fn expect_absence(&self, bound: Duration) {
        let was_absent = self.was(Some(bound), |version| version.is_none());
        assert!(was_absent, "{:?}: it was there all the time", self.spec);
    }

    fn version(&self, etag: &str) -> Arc<Version> {
        let objects = self.world.objects.lock();
        let epochs = objects[self.spec.key].epochs.iter().rev();
        let mut versions = epochs.filter_map(|epoch| epoch.version.as_ref());
        let version = versions.find(|version| version.etag == etag);
        Arc::clone(version.unwrap_or_else(|| panic!("{etag} never was")))
    }

    fn is_current(&self, version: &Version) -> bool {
        let objects = self.world.objects.lock();
        let current = objects[self.spec.key].epochs.last().unwrap();
        current
            .version
            .as_ref()
            .is_some_and(|current| current.etag == version.etag)
    }

    pub(super) async fn expect_object(&self, mut reply: ObjectReply) {
        let spec = &self.spec;
        let version = self.version(reply.meta.meta.etag.as_str());
        let is_recent = self.was(self.bound(), |other| {
            other.is_some_and(|other| other.etag == version.etag)
        });
        assert!(is_recent, "{spec:?}: {} is too old", version.etag);
        let decision = match &reply.decision {
            Decision::Whole => Outcome::Whole,
            Decision::Part(interval) => Outcome::Interval(interval.clone()),
            Decision::NotModified => Outcome::NotModified,
            Decision::PreconditionFailed => Outcome::PreconditionFailed,
            Decision::Unsatisfiable => Outcome::Unsatisfiable,
        };
        assert_eq!(
            decision,
            outcome(&self.headers, &version),
            "{spec:?} of {} bytes",
            version.size()
        );
        self.expect_fields(&reply, &version, &decision);
        let interval = match decision {
            Outcome::Whole => 0..version.size(),
            Outcome::Interval(interval) => interval,
            _ => 0..0,
        };
        let Some(mut body) = reply.body.take() else {
            assert!(spec.is_head || interval.is_empty(), "{spec:?}: no body");
            return;
        };
        assert!(!spec.is_head, "{spec:?}: a body");
        let mut position = interval.start;
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    let may_be_cut = self.may_fail() || !self.is_current(&version);
                    assert!(may_be_cut, "{spec:?} was cut without a reason: {error}");
                    return;
                }
            };
            let difference = version.content.first_difference(position, &piece);
            assert_eq!(difference, None, "{spec:?}: bytes of something else");
            assert!(!piece.is_empty());
            position += piece.len() as u64;
            assert!(position <= interval.end, "{spec:?}: too many bytes");
            if spec
                .leaves_after
                .is_some_and(|bytes| position - interval.start >= bytes)
            {
                return;
            }
            spec.between.take().await;
        }
        assert_eq!(position, interval.end, "{spec:?}: too few bytes");
    }

    /// Every field is of this version.
    fn expect_fields(&self, reply: &ObjectReply, version: &Version, decision: &Outcome) {
        let Some(fields) = reply.fields() else {
            assert!(matches!(
                decision,
                Outcome::PreconditionFailed | Outcome::Unsatisfiable
            ));
            return;
        };
        let fields: HeaderMap = fields.collect();
        let field = |name: &str| fields.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("etag"), Some(version.etag.as_str()));
        assert_eq!(
            field("last-modified"),
            Some(version.last_modified().as_str())
        );
        let length = match decision {
            Outcome::NotModified => return,
            Outcome::Interval(interval) => {
                let (first, last) = (interval.start, interval.end - 1);
                let told = format!("bytes {first}-{last}/{}", version.size());
                assert_eq!(field("content-range"), Some(told.as_str()));
                interval.end - interval.start
            }
            _ => {
                assert_eq!(field("content-range"), None);
                version.size()
            }
        };
        assert_eq!(field("content-length"), Some(length.to_string().as_str()));
        for (name, value) in &version.fields {
            assert_eq!(field(name), Some(value.as_str()), "{:?}: {name}", self.spec);
        }
        let checksum = field("x-amz-checksum-crc32");
        if self.spec.wants_checksums && *decision == Outcome::Whole {
            assert_eq!(checksum, version.crc32.as_deref(), "{:?}", self.spec);
        } else {
            assert_eq!(checksum, None, "{:?}", self.spec);
        }
    }
}
