//! The keys that requests may be signed with, and the signing keys already derived from them.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::AuthConfig;
use crate::s3::{Credentials, Secret};
use crate::sigv4::SigningKey;

/// Signing keys kept for one access key: today's and yesterday's for a few regions.
const KEPT_KEYS: usize = 8;

/// All known key pairs by access key id.
pub(super) struct Keyring {
    by_id: HashMap<Arc<str>, Holder>,
    stranger: Holder,
}

/// One key pair, and who may use it.
pub(super) struct Holder {
    /// The pair itself.
    pub(super) credentials: Credentials,
    /// The client with this static key pair.
    pub(super) client: Option<Arc<str>>,
    /// Whether a session token signed with this pair is a web identity token.
    pub(super) brings_tokens: bool,
    signing_keys: SigningKeys,
}

impl Keyring {
    /// Collects the clients and the pair that web identity tokens come with. When both have the same
    /// access key id, the client's secret counts and a session token decides which one is meant.
    pub(super) fn new(config: &AuthConfig) -> Self {
        let mut by_id = HashMap::new();
        for client in &config.clients {
            let mut holder = Holder::new(client.credentials.clone());
            holder.client = Some(Arc::clone(&client.name));
            by_id.insert(Arc::clone(&client.credentials.access_key_id), holder);
        }
        let web_identity = config.web_identity.as_ref();
        if let Some(pair) = web_identity.and_then(|identity| identity.signing_credentials.as_ref())
        {
            by_id
                .entry(Arc::clone(&pair.access_key_id))
                .or_insert_with(|| Holder::new(pair.clone()))
                .brings_tokens = true;
        }
        let nobody = Credentials::fixed("", Secret::new("0".repeat(40)));
        Self {
            by_id,
            stranger: Holder::new(nobody),
        }
    }

    /// The holder of an access key id, or a stranger that belongs to nobody: whoever checks a
    /// signature does the same work for both.
    pub(super) fn holder(&self, access_key_id: &str) -> Result<&Holder, &Holder> {
        self.by_id.get(access_key_id).ok_or(&self.stranger)
    }
}

impl Holder {
    fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            client: None,
            brings_tokens: false,
            signing_keys: SigningKeys::default(),
        }
    }

    /// The signing key of a day and region, derived unless it is kept.
    pub(super) fn signing_key(&self, day: &str, region: &str) -> Arc<ScopedKey> {
        self.signing_keys.find(day, region).unwrap_or_else(|| {
            let secret = self.credentials.secret_access_key.expose();
            Arc::new(ScopedKey {
                day: day.into(),
                region: region.into(),
                key: SigningKey::derive(secret, day, region, "s3"),
            })
        })
    }

    /// Keeps a signing key. Called for verified requests only, so that nobody without the secret can
    /// push keys out.
    pub(super) fn keep(&self, key: &Arc<ScopedKey>) {
        self.signing_keys.keep(key);
    }
}

/// A signing key and what it was derived for.
pub(super) struct ScopedKey {
    day: Box<str>,
    /// The region, shared by all requests for it.
    pub(super) region: Arc<str>,
    /// The key.
    pub(super) key: SigningKey,
}

/// A short list, newest first, read without a lock. A map keyed by hashes would have to compare the
/// scope all the same, and a client signs for one day and one region at a time.
#[derive(Default)]
struct SigningKeys(ArcSwap<Vec<Arc<ScopedKey>>>);

impl SigningKeys {
    fn find(&self, day: &str, region: &str) -> Option<Arc<ScopedKey>> {
        let kept = self.0.load();
        kept.iter()
            .find(|key| &*key.day == day && &*key.region == region)
            .map(Arc::clone)
    }

    fn keep(&self, key: &Arc<ScopedKey>) {
        if self.find(&key.day, &key.region).is_some() {
            return;
        }
        self.0.rcu(|kept| {
            let older = kept.iter().take(KEPT_KEYS - 1);
            std::iter::once(key)
                .chain(older)
                .map(Arc::clone)
                .collect::<Vec<_>>()
        });
    }
}
