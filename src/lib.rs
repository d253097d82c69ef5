//! s3proxy: an S3-compatible verifying, authorizing, re-signing proxy on Pingora.

pub mod admin;
pub mod auth;
pub mod config;
pub mod policy;
pub mod proxy;
pub mod s3;
pub mod server;
pub mod sigv4;
pub mod telemetry;
pub mod upstream;
