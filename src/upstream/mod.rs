//! How we talk to the origin: endpoint, rewriting, signing, credentials, retries.

mod config;

pub use config::{Addressing, CredentialSource, Endpoint, OriginConfig, OriginIdentity, Timeouts};
