//! How a request claims to be authenticated. Exactly one way is accepted at a time.

use http::header;

use crate::auth::AuthError;
use crate::auth::error::Malformed;
use crate::s3::RequestHead;
use crate::sigv4::{ALGORITHM, CanonicalQuery};

/// Every SigV4 query parameter that carries authentication. Names are case-sensitive in S3; other
/// spellings are refused, lest somebody later reads them differently.
const QUERY_PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Fields that decide about authentication or framing and therefore stand at most once.
const SINGLE_FIELDS: [&str; 9] = [
    "authorization",
    "content-length",
    "date",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
];

const SIGV4A: &str = "AWS4-ECDSA-P256-SHA256";

/// How a request claims to be authenticated.
#[derive(Clone, Copy)]
pub(super) enum Mechanism<'a> {
    /// Not at all.
    Anonymous,
    /// `Authorization: Bearer`, with the token.
    Bearer(&'a str),
    /// `Authorization: AWS4-HMAC-SHA256`, with what follows.
    Header(&'a str),
    /// A presigned URL.
    Query,
}

impl<'a> Mechanism<'a> {
    /// Finds the mechanism; refuses the ones we do not speak, and more than one.
    pub(super) fn of(
        head: &RequestHead<'a>,
        query: &CanonicalQuery<'_>,
    ) -> Result<Self, AuthError> {
        refuse_ambiguous_fields(head)?;
        let in_query = query_mechanism(query)?;
        let Some(value) = head.headers.get(header::AUTHORIZATION) else {
            return match in_query {
                None => Ok(Self::Anonymous),
                Some(QueryMechanism::V2) => Err(AuthError::SignatureV2),
                Some(QueryMechanism::V4) => Ok(Self::Query),
            };
        };
        let value = value
            .to_str()
            .map_err(|_| AuthError::AmbiguousField("authorization"))?;
        if in_query.is_some() {
            return Err(AuthError::SeveralMechanisms);
        }
        let (scheme, rest) = value.trim_ascii().split_once(' ').unwrap_or((value, ""));
        let rest = rest.trim_ascii();
        if scheme == ALGORITHM {
            Ok(Self::Header(rest))
        } else if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            Ok(Self::Bearer(rest))
        } else if scheme == SIGV4A {
            Err(AuthError::SignatureV4a)
        } else if scheme == "AWS" {
            Err(AuthError::SignatureV2)
        } else {
            Err(AuthError::UnsupportedScheme)
        }
    }
}

enum QueryMechanism {
    V2,
    V4,
}

fn query_mechanism(query: &CanonicalQuery<'_>) -> Result<Option<QueryMechanism>, AuthError> {
    let (mut v2, mut v4) = (false, false);
    let mut previous = "";
    for name in query.names() {
        v2 |= name == "AWSAccessKeyId";
        if let Some(parameter) = QUERY_PARAMETERS
            .iter()
            .find(|parameter| parameter.eq_ignore_ascii_case(name))
        {
            if name != *parameter || name == previous {
                return Err(AuthError::QueryMalformed(Malformed::Parts));
            }
            v4 = true;
        }
        previous = name;
    }
    match (v2, v4) {
        (true, true) => Err(AuthError::SeveralMechanisms),
        (true, false) => Ok(Some(QueryMechanism::V2)),
        (false, true) => Ok(Some(QueryMechanism::V4)),
        (false, false) => Ok(None),
    }
}

fn refuse_ambiguous_fields(head: &RequestHead<'_>) -> Result<(), AuthError> {
    // Hardly any request repeats a field: one comparison settles it.
    if head.headers.len() == head.headers.keys_len() {
        return Ok(());
    }
    let repeated = SINGLE_FIELDS
        .into_iter()
        .find(|name| head.headers.get_all(*name).iter().nth(1).is_some());
    repeated.map_or(Ok(()), |name| Err(AuthError::AmbiguousField(name)))
}
