//! The SigV4 algorithm only, shared by verifying and signing: canonical request, credential scope,
//! signing key, chunk signatures. Values in, values out; no clock, no I/O, no policy.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

mod canonical;
mod chunk;
mod credential;
mod date;
mod encode;
pub mod hex;
mod key;

use http::HeaderName;

pub use canonical::{CanonicalQuery, CanonicalRequest, SignedHeaders};
pub use chunk::{ChunkSignatures, EMPTY_SHA256_HEX};
pub use credential::Credential;
pub use date::AmzDate;
pub use encode::canonical_path;
pub use key::{Signature, SigningKey, string_to_sign};

/// The moment of signing.
pub static AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// The hash of the body, or what stands for it.
pub static AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// What temporary credentials come with.
pub static AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Name of the algorithm in `Authorization`, in `X-Amz-Algorithm` and in the string to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
