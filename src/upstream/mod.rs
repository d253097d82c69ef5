//! How we talk to the origin: endpoint, rewriting, signing, credentials, retries.

mod config;
mod framing;
mod region;
mod retry;
mod rewrite;
mod sign;

pub use config::{Addressing, CredentialSource, Endpoint, OriginConfig, OriginIdentity, Timeouts};
pub use framing::{TrailingFramer, checksum_name};
pub use region::{RegionHint, Regions, hint_of, regional_endpoint};
pub use retry::{RetryBudget, backoff};
pub use rewrite::{EMPTY_SHA256, OriginBody, OriginRequest, PayloadHash, rewrite};
pub use sign::{SignError, sign_request};
