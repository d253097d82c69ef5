//! The binary on the wire: between a client that says anything and an origin that does anything.

mod access_log;
mod admin_access;
mod admin_explain;
mod admin_stats;
mod admin_top;
mod admin_warm;
mod block_storage;
mod cache_admission;
mod cache_bypass;
mod cache_conditions;
mod cache_crash;
mod cache_disk;
mod cache_fills;
mod cache_freshness;
mod cache_hedges;
mod cache_hits;
mod cache_lists;
mod cache_memory;
mod cache_metrics;
mod cache_model;
mod cache_purge;
mod cache_rights;
mod cache_soak;
mod cache_start;
mod cache_status;
mod cache_strides;
mod cache_tails;
mod cache_verify;
mod cache_versions;
mod cache_writes;
mod cached;
mod call;
mod client;
mod content;
mod ctl;
mod doctor;
mod identities;
mod limits;
mod memory;
mod model_sight;
mod model_steps;
mod model_world;
mod object_origin;
mod object_reads;
mod object_writes;
mod objects;
mod origin;
mod parquet_file;
mod pattern;
mod pingora_program;
mod proxy;
mod reply;
mod segment_files;
mod sigv4;

mod download;
mod download_faults;
mod failure_modes;
mod fast_path;
mod faults;
mod forward;
mod heads;
mod payloads;
mod rejections;
mod reload;
mod reload_files;
mod reload_signal;
mod rights;
mod signatures;
mod slow;
mod targets;
mod tls;
mod traces;
mod upgrade;

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Waits until it holds, at most half a minute.
pub(super) async fn poll_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "no {what} in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
