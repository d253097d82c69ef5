//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its support code too"
)]
#![allow(
    clippy::assigning_clones,
    clippy::format_push_string,
    reason = "support code is written to be read, not to be fast"
)]
#![allow(clippy::similar_names, reason = "a verifier answers what is verified")]

mod auth;
mod config;
mod monitoring;
mod wire;
