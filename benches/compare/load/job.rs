//! What is asked for: who is read from, which objects, how, and for how long.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Loads that run at the same time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
    /// File with the bytes that every object is made of.
    pub(crate) pattern: PathBuf,
    pub(crate) loads: Vec<Load>,
}

/// Reads of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    pub(crate) objects: Vec<Object>,
    pub(crate) read: Reads,
    pub(crate) connections: usize,
    /// At most so many; without it, until the time is over.
    pub(crate) requests: Option<usize>,
    /// At most so long; without either, until all loads that do have an end have ended.
    pub(crate) seconds: Option<f64>,
    /// Each connection rests so long after an answer.
    #[serde(default)]
    pub(crate) pause_micros: u64,
    /// From which time to the first byte on an answer counts as late.
    pub(crate) late_micros: Option<u64>,
}

/// An object whose bytes are a piece of the pattern, which has no end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object {
    /// Bucket and key as they stand in the request line.
    pub(crate) path: String,
    /// Where in the pattern it begins.
    pub(crate) first: u64,
    pub(crate) bytes: u64,
}

/// Which part of the objects a request asks for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Reads {
    /// Each object as a whole, one after the other.
    Whole,
    /// Ranges anywhere, each of another place: so many are made, and sent again when all were sent.
    Anywhere {
        bytes: u64,
        distinct: usize,
        seed: u64,
    },
}

impl Load {
    /// Whether it ends only with the others.
    pub(crate) fn is_endless(&self) -> bool {
        self.requests.is_none() && self.seconds.is_none()
    }
}
