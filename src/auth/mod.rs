//! Who is calling: verifies a request's signature and its payload.

mod config;

pub use config::{AuthConfig, ClientConfig, WebIdentityConfig};
