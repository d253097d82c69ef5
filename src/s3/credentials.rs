//! Key pairs and the one type that secrets live in.
//!
//! Nothing here can be printed: `Secret` has no `Debug` and no `Display`, and neither has anything
//! that holds one, so a secret cannot reach a log by accident.

use std::sync::Arc;
use std::time::SystemTime;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret string: a secret access key, a session token, a bearer token. Wiped when dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes ownership of the text; the caller keeps no copy.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The text itself, for computing with it. Never pass the result to a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Compares in constant time for equal lengths.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// An access key pair, with the session token and the expiry that temporary ones have.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Public half; may be logged.
    pub access_key_id: Arc<str>,
    /// Secret half.
    pub secret_access_key: Secret,
    /// Sent as `x-amz-security-token`; temporary credentials only.
    pub session_token: Option<Secret>,
    /// When the origin stops accepting them; `None` for static ones.
    pub expires_at: Option<SystemTime>,
}

impl Credentials {
    /// A key pair that never expires.
    pub fn fixed(access_key_id: impl Into<Arc<str>>, secret_access_key: Secret) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key,
            session_token: None,
            expires_at: None,
        }
    }
}
