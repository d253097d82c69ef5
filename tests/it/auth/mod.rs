//! Verification, from the wire bytes to the verdict.

mod captured;
mod chunked;
mod cross_signed;
mod mutated;
mod payload;
mod request;
mod rules;
mod suite;
mod web_identity;
