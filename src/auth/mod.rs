//! Who is calling: verifies a request's signature and its payload.
//!
//! A request's way: `mechanism` finds how it claims to be authenticated, `claim` reads the claim,
//! [`Verifier`] checks it against the `keyring` over the raw bytes, and [`PayloadMode`] says how its
//! body has to be checked while it streams. What the caller may do is not decided here.

mod claim;
mod config;
mod error;
mod keyring;
mod mechanism;
mod payload;
mod verifier;
mod web_identity;

pub use config::{AuthConfig, ClientConfig, WebIdentityConfig};
pub use error::{AuthError, Malformed, SignatureMismatch};
pub use payload::{ChecksumAlgorithm, PayloadDecoder, PayloadError, PayloadMode, TrailerField};
pub use verifier::{Verified, Verifier};
pub use web_identity::{ExchangeError, TokenExchange, WebIdentitySession};
