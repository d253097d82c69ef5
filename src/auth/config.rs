//! What the configuration says of the clients, checked.

use std::sync::Arc;
use std::time::Duration;

use crate::s3::Credentials;

/// Who may call, and how strictly signatures are read.
#[derive(Clone)]
pub struct AuthConfig {
    /// Clients with static keys.
    pub clients: Vec<ClientConfig>,
    /// Regions accepted in a credential scope; `None` accepts any, the empty one included.
    pub regions: Option<Vec<String>>,
    /// Refuses `UNSIGNED-PAYLOAD` and unsigned chunks when false.
    pub unsigned_payload: bool,
    /// How far a request's date may be from this machine's clock.
    pub max_skew: Duration,
    /// Whether requests without credentials pass as anonymous, for the rules to judge.
    pub anonymous: bool,
    /// Web identity tokens; absent when not configured.
    pub web_identity: Option<WebIdentityConfig>,
}

/// One client with static keys.
#[derive(Clone)]
pub struct ClientConfig {
    /// Its name in rules, logs and metrics.
    pub name: Arc<str>,
    /// What it signs with.
    pub credentials: Credentials,
}

/// Tokens that are exchanged by `AssumeRoleWithWebIdentity`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebIdentityConfig {
    /// Role to assume; sent as `RoleArn`.
    pub role_arn: String,
    /// Prefix of `RoleSessionName`.
    pub session_name: String,
    /// Lifetime to ask for; the service's own default when absent.
    pub duration: Option<Duration>,
    /// Key pair that clients sign with when they send the token as `x-amz-security-token`.
    /// Without it only `Authorization: Bearer` is accepted.
    pub signing_credentials: Option<Credentials>,
    /// How long before their expiry credentials are replaced.
    pub refresh_before: Duration,
    /// Tokens remembered at once.
    pub max_entries: usize,
}
