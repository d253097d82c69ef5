//! A read as the client asked for it.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;

use crate::cache::CacheRule;
use crate::cache::CacheRules;
use crate::cache::Identity;
use crate::cache::ObjectName;
use crate::s3::Credentials;
use crate::s3::Operation;
use crate::s3::Preconditions;
use crate::s3::RangeField;
use crate::s3::Request;
use crate::s3::Secret;
use crate::s3::wants_checksums;
use crate::upstream::Origin;

/// `x-amz-*` fields that do not change what a GET or HEAD of an object answers, except for the
/// checksum mode, which is understood here. With any other, the origin is asked.
const UNDERSTOOD: &[&str] = &[
    "x-amz-api-version",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-user-agent",
];

/// A GET or HEAD of an object, verified and authorized.
#[derive(Clone)]
pub struct ReadAsk {
    /// Of which object.
    pub object: ObjectName,
    /// Where it is.
    pub origin: Arc<Origin>,
    /// Whether only the head is wanted.
    pub is_head: bool,
    /// Which bytes.
    pub range: RangeField,
    /// On which conditions.
    pub preconditions: Preconditions,
    /// Whether checksums are wanted.
    pub wants_checksums: bool,
    /// The client's credentials, when its requests are signed in its own name.
    pub own: Option<Credentials>,
    /// When it was asked.
    pub now: SystemTime,
}

impl ReadAsk {
    /// Whether the answer to a request is determined by the object, its meta, the range and the
    /// preconditions; of such requests alone an answer can come from the cache.
    pub fn is_cacheable(request: &Request, headers: &HeaderMap) -> bool {
        let is_read = matches!(
            request.operation,
            Operation::GetObject | Operation::HeadObject
        );
        let mut fields = headers
            .keys()
            .chain(request.hoisted.iter().map(|(name, _)| name))
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"));
        is_read
            && request.query.iter().all(|(name, _)| name == "x-id")
            && fields.all(|name| UNDERSTOOD.contains(&name))
    }

    /// Reads what the fields of a cacheable request say.
    pub fn new(
        object: ObjectName,
        origin: Arc<Origin>,
        request: &Request,
        headers: &HeaderMap,
        own: Option<Credentials>,
        now: SystemTime,
    ) -> Self {
        let hoisted: HeaderMap = request.hoisted.iter().cloned().collect();
        Self {
            object,
            origin,
            is_head: request.operation == Operation::HeadObject,
            range: RangeField::parse(headers),
            preconditions: Preconditions::parse(headers),
            wants_checksums: wants_checksums(headers) || wants_checksums(&hoisted),
            own,
            now,
        }
    }

    /// Who asks the origin, when not the proxy itself.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.own.as_ref().map(identity_of)
    }

    /// The rule for the object.
    pub(super) fn rule<'a>(&self, rules: &'a CacheRules) -> &'a CacheRule {
        rules.rule_for(self.object.bucket.as_str(), self.object.key.as_str())
    }
}

/// The identity of whoever has these credentials.
pub(super) fn identity_of(own: &Credentials) -> Identity {
    let token = own.session_token.as_ref().map(Secret::expose);
    Identity::of(&own.access_key_id, token)
}
