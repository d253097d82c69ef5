//! Web identity tokens, exchanged at the security token service over the origin's client.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use sha2::Digest;
use sha2::Sha256;

use crate::auth::ExchangeError;
use crate::auth::TokenExchange;
use crate::auth::WebIdentityConfig;
use crate::auth::WebIdentitySession;
use crate::s3::Secret;
use crate::sigv4::hex;
use crate::telemetry::Metrics;
use crate::telemetry::Outcome;
use crate::upstream::Answer;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::UpstreamError;
use crate::upstream::sts;
use crate::upstream::sts::StsError;

/// The longest `RoleSessionName` that the service takes.
const MAX_SESSION_NAME: usize = 64;

/// Asks the security token service.
pub(super) struct StsExchange {
    /// The service; only its endpoint and TLS settings are used.
    pub(super) service: Origin,
    pub(super) config: WebIdentityConfig,
    pub(super) fetch: Arc<Fetch>,
    pub(super) metrics: Arc<Metrics>,
}

#[async_trait]
impl TokenExchange for StsExchange {
    async fn exchange(&self, token: &Secret) -> Result<WebIdentitySession, ExchangeError> {
        let outcome = match self.ask(token).await {
            Ok(answer) => understand(&answer),
            Err(error) => {
                log::warn!("the token service cannot be asked: {error}");
                Err(ExchangeError::Unavailable)
            }
        };
        self.metrics.web_identity_exchange(match &outcome {
            Ok(_) => Outcome::Success,
            Err(ExchangeError::Unavailable | ExchangeError::Overloaded) => Outcome::Failed,
            Err(_) => Outcome::Refused,
        });
        outcome
    }
}

impl StsExchange {
    async fn ask(&self, token: &Secret) -> Result<Answer, UpstreamError> {
        let name = session_name(&self.config.session_name, token);
        let body = sts::request_body(&self.config.role_arn, &name, token, self.config.duration);
        let body = Bytes::copy_from_slice(body.as_bytes());
        let destination = self.service.destination(None);
        let head = head(&destination.endpoint.authority(), body.len())
            .map_err(UpstreamError::Connection)?;
        let peer = self.service.peer(&destination).await?;
        let timeout = self.service.config.timeouts.read;
        self.fetch
            .exchange(&peer, head, body, sts::MAX_RESPONSE_BYTES, timeout)
            .await
    }
}

fn head(authority: &str, length: usize) -> pingora::Result<RequestHeader> {
    let mut head = RequestHeader::build("POST", b"/", Some(5))?;
    head.insert_header(header::HOST, authority)?;
    head.insert_header(header::CONTENT_TYPE, sts::REQUEST_CONTENT_TYPE)?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    head.insert_header(header::ACCEPT, "application/xml")?;
    Ok(head)
}

/// Tells sessions apart in the service's logs without telling the token.
fn session_name(prefix: &str, token: &Secret) -> String {
    let hash = hex::encode(&Sha256::digest(token.expose().as_bytes()).into());
    let suffix = &hash[..16];
    let prefix: String = prefix
        .chars()
        .take(MAX_SESSION_NAME - suffix.len() - 1)
        .collect();
    format!("{prefix}-{suffix}")
}

fn understand(answer: &Answer) -> Result<WebIdentitySession, ExchangeError> {
    match sts::parse_response(answer.status, &answer.body) {
        Ok(role) => Ok(WebIdentitySession {
            credentials: role.credentials,
            subject: role.subject.into(),
        }),
        Err(StsError::Rejected { code }) => Err(match code.as_str() {
            "ExpiredTokenException" | "ExpiredToken" => ExchangeError::Expired,
            "AccessDenied" | "AccessDeniedException" => ExchangeError::Denied,
            _ => ExchangeError::Rejected,
        }),
        Err(error @ (StsError::Unavailable { .. } | StsError::Malformed(_))) => {
            log::warn!("{error}");
            Err(ExchangeError::Unavailable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_fit_and_tell_tokens_apart() {
        let (a, b) = (Secret::new("a"), Secret::new("b"));
        assert_ne!(session_name("s3proxy", &a), session_name("s3proxy", &b));
        assert!(session_name("s3proxy", &a).starts_with("s3proxy-"));
        assert_eq!(session_name(&"x".repeat(200), &a).len(), MAX_SESSION_NAME);
    }
}
