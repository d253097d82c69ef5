//! The signing key, what it signs, and the comparison of signatures.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ALGORITHM, AmzDate, hex};

/// A signature; compared in constant time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text.as_bytes()).map(Self)
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(&self.0)
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Signature {}

/// A key that is good for one day, region and service. It has no `Debug`: whoever holds it can sign.
///
/// Kept as the keyed HMAC state, so that a signature costs two compressions less than from the bytes.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Derives the key: four HMACs, the reason why keys are worth keeping.
    pub fn derive(secret_access_key: &str, day: &str, region: &str, service: &str) -> Self {
        let secret = zeroize::Zeroizing::new(format!("AWS4{secret_access_key}"));
        let key = [day, region, service, "aws4_request"].iter().fold(
            keyed(secret.as_bytes()),
            |key, part| {
                let derived = key.chain_update(part).finalize().into_bytes();
                keyed(&derived)
            },
        );
        Self(key)
    }

    /// Signs a string to sign.
    pub fn sign(&self, string_to_sign: &[u8]) -> Signature {
        let code = self.0.clone().chain_update(string_to_sign).finalize();
        Signature(code.into_bytes().into())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The string to sign of a request: algorithm, date, scope, hash of the canonical request.
pub fn string_to_sign(date: &AmzDate, scope: &str, canonical_request: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(canonical_request).into();
    let mut text = String::with_capacity(ALGORITHM.len() + scope.len() + 84);
    text.push_str(ALGORITHM);
    text.push('\n');
    text.push_str(date.as_str());
    text.push('\n');
    text.push_str(scope);
    text.push('\n');
    hex::push(&mut text, &hash);
    text
}
