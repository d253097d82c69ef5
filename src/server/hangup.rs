//! SIGHUP: caught from the first moment on, so that it never ends the process, and answered by a
//! reload as soon as there is something to reload.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use signal_hook::consts::SIGHUP;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::reload::Cause;
use super::reload::Reloader;

/// A mark that a SIGHUP came.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Catches the signal from now on. It needs no thread, and outlives becoming a daemon.
    pub fn install() -> io::Result<Self> {
        let mark = Self::default();
        signal_hook::flag::register(SIGHUP, Arc::clone(&mark.0))?;
        Ok(mark)
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Reloads at each SIGHUP. One that came while the process was starting counts as well.
pub(super) struct HangupWatch {
    pub(super) hangup: Hangup,
    pub(super) reloader: Reloader,
}

#[async_trait]
impl BackgroundService for HangupWatch {
    /// Goes on while the process stops: the signal is still answered, if only by saying so.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut signals = match signal(SignalKind::hangup()) {
            Ok(signals) => signals,
            Err(error) => {
                log::error!("SIGHUP does not reload: {error}; `POST /-/reload` does");
                return;
            }
        };
        loop {
            if self.hangup.take() {
                self.reloader.reload(Cause::Signal).await;
            } else if signals.recv().await.is_none() {
                return;
            }
        }
    }
}
