//! SIGUSR1: caught from the first moment on, so that it never ends the process, and answered by
//! opening the access log anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use signal_hook::consts::SIGUSR1;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::telemetry::AccessLog;

/// A mark that a SIGUSR1 came.
#[derive(Debug, Clone, Default)]
pub struct Rotation(Arc<AtomicBool>);

impl Rotation {
    /// Catches the signal from now on. It needs no thread, and outlives becoming a daemon.
    pub fn install() -> io::Result<Self> {
        let mark = Self::default();
        signal_hook::flag::register(SIGUSR1, Arc::clone(&mark.0))?;
        Ok(mark)
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Opens the access log anew at each SIGUSR1. One that came while the process was starting counts as
/// well.
pub(super) struct RotationWatch {
    rotation: Rotation,
    access_log: Arc<AccessLog>,
}

impl RotationWatch {
    pub(super) fn new(rotation: Rotation, access_log: Arc<AccessLog>) -> Self {
        Self {
            rotation,
            access_log,
        }
    }
}

#[async_trait]
impl BackgroundService for RotationWatch {
    /// Goes on while the process stops: it still writes lines.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut signals = match signal(SignalKind::user_defined1()) {
            Ok(signals) => signals,
            Err(error) => {
                log::error!("SIGUSR1 does not rotate the access log: {error}");
                return;
            }
        };
        loop {
            if self.rotation.take() {
                self.access_log.reopen();
            } else if signals.recv().await.is_none() {
                return;
            }
        }
    }
}
