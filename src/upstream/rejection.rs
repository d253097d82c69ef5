//! An origin that rejects the proxy's own credentials: it is told, counted, and the credentials are
//! given up for others where there may be others.

use std::sync::Arc;

use http::StatusCode;

use super::credentials::OriginCredentials;
use super::fetch::Answer;
use super::origin::Origin;
use crate::s3::Credentials;
use crate::s3::xml::Element;
use crate::telemetry::OriginMetrics;
use crate::telemetry::UpstreamErrorKind;

/// Elements of an error document, at most.
const MAX_ELEMENTS: usize = 64;

/// Codes by which a service rejects who signed, or how.
const CODES: &[&str] = &[
    "AccountProblem",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// Whether an answer with this status may reject who signed.
pub fn may_reject(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}

/// The code by which an error document rejects who signed, if it does.
pub fn rejection_code(document: &[u8]) -> Option<String> {
    let root = Element::parse(document, MAX_ELEMENTS).ok()?;
    let code = root.child_text("Code").filter(|_| root.name == "Error")?;
    CODES.contains(&code).then(|| code.to_owned())
}

/// What a request in the origin's own name was signed with.
pub struct SignedWith {
    origin: Arc<str>,
    credentials: OriginCredentials,
    used: Credentials,
    metrics: Option<OriginMetrics>,
}

impl SignedWith {
    /// Acts on a rejection.
    pub fn rejected(&self, code: &str) {
        log::error!("origin {} rejects our credentials with {code}", self.origin);
        if let Some(metrics) = &self.metrics {
            metrics.error(UpstreamErrorKind::Credentials);
        }
        self.credentials.invalidate(&self.used);
    }

    /// Acts on a whole answer, if it is a rejection.
    pub fn check(&self, answer: &Answer) {
        if may_reject(answer.status)
            && let Some(code) = rejection_code(&answer.body)
        {
            self.rejected(&code);
        }
    }
}

impl Origin {
    /// Remembers what was used for a request until its answer is here.
    pub fn signed_with(&self, used: Credentials) -> SignedWith {
        SignedWith {
            origin: Arc::clone(&self.config.name),
            credentials: self.credentials.clone(),
            used,
            metrics: self.metrics().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_signer_is_a_rejection() {
        let error = |code: &str| {
            format!("<Error><Code>{code}</Code><AWSAccessKeyId>A</AWSAccessKeyId></Error>")
        };
        assert!(rejection_code(error("SignatureDoesNotMatch").as_bytes()).is_some());
        assert!(rejection_code(error("ExpiredToken").as_bytes()).is_some());
        for other in ["AccessDenied", "NoSuchKey", "InvalidObjectState"] {
            assert!(rejection_code(error(other).as_bytes()).is_none(), "{other}");
        }
        assert!(rejection_code(b"<html>InvalidAccessKeyId</html>").is_none());
        assert!(rejection_code(b"").is_none());
    }
}
