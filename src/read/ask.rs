//! A read as the client asked for it.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;

use crate::cache::CacheRule;
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
use crate::upstream::Priority;

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

/// How the fields begin that bring the key to an object.
const CUSTOMER_KEY: &str = "x-amz-server-side-encryption-customer-";

/// A GET or HEAD of an object, verified and authorized.
#[derive(Clone)]
pub struct ReadAsk {
    /// Of which object.
    pub object: ObjectName,
    /// Where it is.
    pub origin: Arc<Origin>,
    /// How its answers are kept.
    pub rule: CacheRule,
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
    /// Whether a client waits for the answer.
    pub priority: Priority,
}

impl ReadAsk {
    /// Why the answer to a read is not determined by the object, its meta, the range and the
    /// preconditions alone; `None` when it is, and can come from the cache.
    pub fn uncacheable(request: &Request, headers: &HeaderMap) -> Option<&'static str> {
        let parameters = request.query.iter().map(|(name, _)| name.as_str());
        if let Some(name) = parameters.into_iter().find(|name| *name != "x-id") {
            return Some(match name {
                "versionId" => "version",
                "partNumber" => "part",
                _ if name.starts_with("response-") => "response-fields",
                _ => "query",
            });
        }
        let name = headers
            .keys()
            .chain(request.hoisted.iter().map(|(name, _)| name))
            .map(http::HeaderName::as_str)
            .find(|name| name.starts_with("x-amz-") && !UNDERSTOOD.contains(name))?;
        Some(match name {
            _ if name.starts_with(CUSTOMER_KEY) => "customer-key",
            _ => "field",
        })
    }

    /// Reads what the fields of a cacheable request say.
    pub fn new(
        object: ObjectName,
        origin: Arc<Origin>,
        rule: CacheRule,
        request: &Request,
        headers: &HeaderMap,
        own: Option<Credentials>,
        now: SystemTime,
    ) -> Self {
        let in_query = || {
            let hoisted: HeaderMap = request.hoisted.iter().cloned().collect();
            wants_checksums(&hoisted)
        };
        Self {
            object,
            origin,
            rule,
            is_head: request.operation == Operation::HeadObject,
            range: RangeField::parse(headers),
            preconditions: Preconditions::parse(headers),
            wants_checksums: wants_checksums(headers)
                || (!request.hoisted.is_empty() && in_query()),
            own,
            now,
            priority: Priority::Demand,
        }
    }

    /// Asks for an object that no client waits for, in the origin's own name.
    pub fn ahead(
        object: ObjectName,
        origin: Arc<Origin>,
        rule: CacheRule,
        now: SystemTime,
    ) -> Self {
        Self {
            object,
            origin,
            rule,
            is_head: true,
            range: RangeField::Absent,
            preconditions: Preconditions::default(),
            wants_checksums: false,
            own: None,
            now,
            priority: Priority::Prefetch,
        }
    }

    /// Who asks the origin, when not the proxy itself.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.own.as_ref().map(identity_of)
    }
}

/// The identity of whoever has these credentials.
pub(super) fn identity_of(own: &Credentials) -> Identity {
    let token = own.session_token.as_ref().map(Secret::expose);
    Identity::of(&own.access_key_id, token)
}
