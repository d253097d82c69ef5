//! The one integration binary: whole parts of s3proxy from outside.

#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions are tests too"
)]

mod config;
