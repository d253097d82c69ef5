//! How we talk to the origin: endpoint, rewriting, signing, credentials, retries.

mod config;
mod credentials;
mod framing;
mod resolve;
mod rewrite;
mod sign;
pub mod sts;

pub use config::{Addressing, CredentialSource, Endpoint, OriginConfig, Timeouts};
pub use credentials::{CredentialsError, LoadCredentials, OriginCredentials};
pub use framing::{TrailingFramer, checksum_name};
pub use resolve::{Lookup, ResolveError, Resolver, is_refused};
pub use rewrite::{EMPTY_SHA256, OriginBody, OriginRequest, PayloadHash, rewrite};
pub use sign::{SignError, sign_request};
