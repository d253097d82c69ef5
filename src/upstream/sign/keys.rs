//! Signing keys that are kept. Deriving one costs four HMACs; it is good for a whole day.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::s3::Credentials;
use crate::s3::Secret;
use crate::sigv4::SigningKey;

/// Keys kept at most. An origin needs one, and one more for every client that it judges itself.
const MAX_KEPT: usize = 1024;

/// The signing keys of one origin, wiped when dropped.
#[derive(Default)]
pub struct SigningKeys {
    hasher: RandomState,
    /// By the hash of access key id and region.
    kept: RwLock<HashMap<u64, Arc<Kept>>>,
}

struct Kept {
    access_key_id: Arc<str>,
    secret: Secret,
    day: String,
    region: String,
    key: SigningKey,
}

impl Kept {
    fn is_for(&self, credentials: &Credentials, day: &str, region: &str) -> bool {
        self.access_key_id == credentials.access_key_id
            && self.day == day
            && self.region == region
            && self.secret == credentials.secret_access_key
    }
}

impl SigningKeys {
    /// Signs with the key of these credentials for this day and region.
    pub(super) fn sign(
        &self,
        credentials: &Credentials,
        day: &str,
        region: &str,
        string_to_sign: &str,
    ) -> String {
        let place = self.hasher.hash_one((&credentials.access_key_id, region));
        let kept = self.kept.read().get(&place).map(Arc::clone);
        let kept = match kept {
            Some(kept) if kept.is_for(credentials, day, region) => kept,
            _ => self.derive(place, credentials, day, region),
        };
        kept.key.sign(string_to_sign.as_bytes()).to_hex()
    }

    fn derive(&self, place: u64, credentials: &Credentials, day: &str, region: &str) -> Arc<Kept> {
        let secret = &credentials.secret_access_key;
        let new = Arc::new(Kept {
            access_key_id: Arc::clone(&credentials.access_key_id),
            secret: secret.clone(),
            day: day.to_owned(),
            region: region.to_owned(),
            key: SigningKey::derive(secret.expose(), day, region, "s3"),
        });
        let mut kept = self.kept.write();
        if kept.len() >= MAX_KEPT {
            // Yesterday's first, then all: deriving them anew is a matter of microseconds.
            kept.retain(|_, kept| kept.day == day);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
        }
        kept.insert(place, Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(keys: &SigningKeys, id: &str, secret: &str, day: &str, region: &str) -> String {
        let credentials = Credentials::fixed(id, Secret::new(secret));
        let signature = keys.sign(&credentials, day, region, "text");
        let derived = SigningKey::derive(secret, day, region, "s3");
        assert_eq!(signature, derived.sign(b"text").to_hex());
        signature
    }

    #[test]
    fn a_kept_key_serves_only_what_it_was_derived_for() {
        let keys = SigningKeys::default();
        let mut signatures = Vec::new();
        for _ in 0..2 {
            for (id, secret, day, region) in [
                ("A", "one", "20261121", "us-east-1"),
                ("A", "two", "20261121", "us-east-1"),
                ("A", "one", "20261122", "us-east-1"),
                ("A", "one", "20261121", "eu-west-1"),
                ("B", "one", "20261121", "us-east-1"),
            ] {
                signatures.push(signed(&keys, id, secret, day, region));
            }
        }
        signatures.sort_unstable();
        signatures.dedup();
        // The access key id is no part of the key.
        assert_eq!(signatures.len(), 4);
        assert_eq!(keys.kept.read().len(), 3);
    }

    #[test]
    fn a_key_is_derived_once() {
        let keys = SigningKeys::default();
        signed(&keys, "A", "one", "20261121", "us-east-1");
        let first = keys.kept.read().values().next().map(Arc::clone).unwrap();
        signed(&keys, "A", "one", "20261121", "us-east-1");
        let second = keys.kept.read().values().next().map(Arc::clone).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn keys_are_bounded() {
        let keys = SigningKeys::default();
        for number in 0..MAX_KEPT * 2 + 10 {
            signed(&keys, &number.to_string(), "s", "20261121", "r");
            assert!(keys.kept.read().len() <= MAX_KEPT);
        }
        assert_eq!(keys.kept.read().len(), 10);
    }
}
