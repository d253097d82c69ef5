//! Signals that are caught from the first moment on, so that they never end the process, and answered
//! as soon as there is something to answer them: SIGHUP by a reload, SIGUSR1 by opening the access
//! log anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGUSR1;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::reload::Cause;
use super::reload::Reloader;
use crate::telemetry::AccessLog;

/// Both, each with what went wrong in catching it.
pub struct Signals {
    pub(super) hangup: Caught,
    pub(super) rotation: Caught,
}

/// A mark that a signal came.
pub(super) struct Caught {
    name: &'static str,
    kind: SignalKind,
    came: Arc<AtomicBool>,
    fault: Option<io::Error>,
}

impl Signals {
    /// Catches them from now on. It needs no thread, and outlives becoming a daemon.
    pub fn catch() -> Self {
        Self {
            hangup: Caught::new("SIGHUP", SIGHUP),
            rotation: Caught::new("SIGUSR1", SIGUSR1),
        }
    }

    /// Warns of those that could not be caught, when there is a log.
    pub fn tell_faults(&self) {
        for caught in [&self.hangup, &self.rotation] {
            if let Some(fault) = &caught.fault {
                log::warn!("{} cannot be caught: {fault}", caught.name);
            }
        }
    }
}

impl Caught {
    fn new(name: &'static str, number: i32) -> Self {
        let came = Arc::<AtomicBool>::default();
        let registered = signal_hook::flag::register(number, Arc::clone(&came));
        Self {
            name,
            kind: SignalKind::from_raw(number),
            came,
            fault: registered.err(),
        }
    }

    /// Each one, those too that came while the process was starting.
    fn arrivals(&self) -> io::Result<Arrivals<'_>> {
        let signals = signal(self.kind)?;
        let came = &self.came;
        Ok(Arrivals { came, signals })
    }
}

/// A signal's arrivals; several may count as one.
struct Arrivals<'a> {
    came: &'a AtomicBool,
    signals: Signal,
}

impl Arrivals<'_> {
    /// Waits for the next one; false when there is none any more.
    async fn next(&mut self) -> bool {
        while !self.came.swap(false, Ordering::AcqRel) {
            if self.signals.recv().await.is_none() {
                return false;
            }
        }
        true
    }
}

/// Reloads at each SIGHUP.
pub(super) struct HangupWatch {
    pub(super) hangup: Caught,
    pub(super) reloader: Reloader,
}

#[async_trait]
impl BackgroundService for HangupWatch {
    /// Goes on while the process stops: the signal is still answered, if only by saying so.
    async fn start(&self, _shutdown: ShutdownWatch) {
        match self.hangup.arrivals() {
            Ok(mut arrivals) => {
                while arrivals.next().await {
                    self.reloader.reload(Cause::Signal).await;
                }
            }
            Err(error) => log::error!("SIGHUP does not reload: {error}; `POST /-/reload` does"),
        }
    }
}

/// Opens the access log anew at each SIGUSR1.
pub(super) struct RotationWatch {
    pub(super) rotation: Caught,
    pub(super) access_log: Arc<AccessLog>,
}

#[async_trait]
impl BackgroundService for RotationWatch {
    /// Goes on while the process stops: it still writes lines.
    async fn start(&self, _shutdown: ShutdownWatch) {
        match self.rotation.arrivals() {
            Ok(mut arrivals) => {
                while arrivals.next().await {
                    self.access_log.reopen();
                }
            }
            Err(error) => log::error!("SIGUSR1 does not rotate the access log: {error}"),
        }
    }
}
