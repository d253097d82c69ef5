//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its support code too"
)]
#![allow(clippy::similar_names, reason = "a verifier answers what is verified")]

mod auth;
