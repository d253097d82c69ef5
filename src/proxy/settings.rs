//! What the configuration in force says of requests: one value, replaced as a whole by a reload.
//!
//! A request takes it once, when its head has arrived, and keeps it to its end.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::limits::Limits;
use crate::auth::Verified;
use crate::auth::Verifier;
use crate::cache::CacheRules;
use crate::policy::Policy;
use crate::s3::BaseDomains;
use crate::s3::Bucket;
use crate::s3::Credentials;
use crate::s3::ErrorCode;
use crate::s3::Principal;
use crate::telemetry::OriginMetrics;
use crate::upstream::Origin;
use crate::upstream::OriginIdentity;

/// All that may change between two requests.
pub struct Settings {
    /// Domains below which the host names the bucket.
    pub domains: BaseDomains,
    /// Who is calling.
    pub verifier: Verifier,
    /// What they may do.
    pub policy: Policy,
    /// In whose name their requests reach the origin; the origin's own where absent.
    pub identities: Identities,
    /// Origins in the order in which a bucket is looked up.
    pub origins: Vec<ServedOrigin>,
    /// How long answers hold.
    pub cache_rules: Arc<CacheRules>,
    /// Bounds on clients.
    pub limits: Limits,
}

/// An origin with its metrics.
#[derive(Clone)]
pub struct ServedOrigin {
    /// The origin.
    pub origin: Arc<Origin>,
    /// Its metrics.
    pub metrics: OriginMetrics,
}

/// In whose name requests reach the origin.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// By client name.
    pub clients: HashMap<Arc<str>, OriginIdentity>,
    /// For web identities.
    pub web_identity: Option<OriginIdentity>,
}

/// The settings in force. Cloning shares the place where they are replaced.
#[derive(Clone)]
pub struct InForce(Arc<ArcSwap<Settings>>);

impl InForce {
    /// Begins with these.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// Those of this moment. Whoever decides several things takes them once.
    pub fn now(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Every request whose head arrives from now on gets these.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}

impl Settings {
    /// The origin that serves a bucket: the first whose globs match.
    pub fn serving(&self, bucket: &Bucket) -> Option<&ServedOrigin> {
        let serves =
            |served: &&ServedOrigin| served.origin.config.buckets.is_match(bucket.as_str());
        self.origins.iter().find(serves)
    }

    /// Anonymous callers have no list of buckets: S3 does not give them one either.
    pub(super) fn check_is_known(&self, principal: &Principal) -> Result<(), ErrorCode> {
        match principal {
            Principal::Anonymous if self.policy.anonymous.allow.is_empty() => {
                Err(ErrorCode::AccessDenied)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_own(&self, principal: &Principal) -> bool {
        let identity = match principal {
            Principal::Client(name) => self.identities.clients.get(name).copied(),
            Principal::WebIdentity(_) => self.identities.web_identity,
            Principal::Anonymous => None,
        };
        identity == Some(OriginIdentity::Own)
    }

    /// The credentials of a client whose requests are signed in its own name.
    pub(super) fn own_credentials<'a>(&self, verified: &'a Verified) -> Option<&'a Credentials> {
        verified
            .credentials
            .as_ref()
            .filter(|_| self.is_own(&verified.principal))
    }
}
