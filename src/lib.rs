//! s3proxy: an S3-compatible verifying, authorizing, re-signing proxy on Pingora.
//!
//! A request passes the modules in this order:
//!
//! 1. [`server`] built everything from the [`config`] and accepted the connection.
//! 2. [`proxy`] runs Pingora's phases and calls the others; it decides nothing that values alone can.
//! 3. [`s3`] reads operation, bucket and key from the head as it came over the wire.
//! 4. [`auth`] verifies the signature over the same bytes, with the algorithm in [`sigv4`], and says
//!    how the body has to be checked while it streams.
//! 5. [`policy`] authorizes every access that the operation needs.
//! 6. [`read`] answers GetObject and HeadObject from the [`cache`], and fills it.
//! 7. [`upstream`] finds the origin's address, builds a new request from an allow list, signs it
//!    last, and says whether an answer is final.
//! 8. [`telemetry`] counts it and writes its line.
//!
//! [`admin`] stands beside: health, readiness, metrics, statistics; [`ctl`] is the command that asks
//! it, and the [`doctor`] tries all of it without serving. A module names only modules below it: `ctl`,
//! `doctor` and `server`, `config`, `proxy`, `admin` and `read`, `auth` and `policy` and `cache` and
//! `upstream`, `telemetry`, `s3` and `sigv4`; `tests/tidy.rs` sees to that.
//! `ARCHITECTURE.md` has the phases, the invariants and the reasons.

pub mod admin;
pub mod auth;
pub mod cache;
pub mod config;
pub mod ctl;
pub mod doctor;
pub mod policy;
pub mod proxy;
pub mod read;
pub mod s3;
pub mod server;
pub mod sigv4;
pub mod telemetry;
pub mod upstream;
