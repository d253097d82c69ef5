//! Whether the service can take requests: where it is in its life, and what was last known of each
//! origin. Stages implement [`Readiness`]; the admin listener shows it.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A part of the process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not everything is built yet.
    Starting,
    /// Requests are welcome.
    Serving,
    /// Running requests end, new ones should go elsewhere.
    Stopping,
}

impl Phase {
    /// The word that `/readyz` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// Where the process is in its life, shared between the server and whoever asks. It only moves
/// forward.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    /// Begins in [`Phase::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that everything is built. Has no effect once stopping.
    pub fn serving(&self) {
        self.0.fetch_max(1, Ordering::Release);
    }

    /// Notes that the process was told to stop.
    pub fn stopping(&self) {
        self.0.fetch_max(2, Ordering::Release);
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }
}

/// What the last probe of an origin found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// No probe has ended yet.
    Unknown,
    /// It answered, whatever the status.
    Reachable,
    /// It did not; the word says why, and holds nothing that a stranger must not see.
    Unreachable(&'static str),
}

/// An origin and what is known of it.
#[derive(Debug, Clone)]
pub struct OriginStatus {
    /// The configured name.
    pub name: Arc<str>,
    /// What the last probe found.
    pub reachability: Reachability,
    /// How long ago that was.
    pub age: Option<Duration>,
}

/// Gives what was last known, at once: it never asks an origin while somebody waits.
pub trait Readiness: Send + Sync {
    /// Every origin.
    fn origins(&self) -> Vec<OriginStatus>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_only_moves_forward() {
        let life = Lifecycle::new();
        assert_eq!(life.phase(), Phase::Starting);
        life.serving();
        assert_eq!(life.phase(), Phase::Serving);
        life.clone().stopping();
        life.serving();
        assert_eq!(life.phase(), Phase::Stopping);
    }
}
