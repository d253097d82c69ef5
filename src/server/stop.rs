//! When the process ends, and how soon: signals, a successor, and the last request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownSignal;
use pingora::server::ShutdownSignalWatch;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

use super::notify;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;

/// A connection that was accepted in the last moment gets this long to be counted.
const LINGER: Duration = Duration::from_millis(500);

/// How often it is looked whether the last connection has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Decides for Pingora when the process ends.
pub(super) struct Stop {
    succeeded: watch::Receiver<bool>,
}

impl Stop {
    /// Also ends it when a successor serves.
    pub(super) fn new(succeeded: watch::Receiver<bool>) -> Self {
        Self { succeeded }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let mut succeeded = self.succeeded.clone();
        let mut terminate = Listen::to(SignalKind::terminate());
        let mut interrupt = Listen::to(SignalKind::interrupt());
        let mut quit = Listen::to(SignalKind::quit());
        loop {
            tokio::select! {
                () = terminate.recv() => return ShutdownSignal::GracefulTerminate,
                () = interrupt.recv() => return ShutdownSignal::FastShutdown,
                () = quit.recv() => log::warn!(
                    "SIGQUIT does nothing: a process that is started with --upgrade takes over by itself"
                ),
                // An error when the sender is gone, which ends the process anyway.
                _ = succeeded.wait_for(|succeeded| *succeeded) => return ShutdownSignal::GracefulTerminate,
            }
        }
    }
}

/// A signal that may not be there to be had.
struct Listen(Option<Signal>);

impl Listen {
    fn to(kind: SignalKind) -> Self {
        Self(signal(kind).ok())
    }

    async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Notes where the process is in its life, gives signs of it, and ends it once it is idle: Pingora
/// would wait for the whole of its grace period.
pub(super) struct LifecycleWatch {
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) succeeded: watch::Receiver<bool>,
    /// What is to be done last.
    pub(super) finish: Arc<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl BackgroundService for LifecycleWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        self.lifecycle.serving();
        let mut due = notify::watchdog().map(tokio::time::interval);
        loop {
            let beat = async {
                match &mut due {
                    Some(due) => due.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Errors when the sender is gone: the process is ending as well.
                _ = shutdown.changed() => break,
                _ = beat => notify::alive(),
            }
        }
        self.lifecycle.stopping();
        if !*self.succeeded.borrow() {
            notify::stopping();
        }
        self.until_idle().await;
        log::info!("idle: ending");
        let finish = Arc::clone(&self.finish);
        // Ends the process: there is nothing to come back to.
        let _ = tokio::task::spawn_blocking(move || {
            finish();
            std::process::exit(0)
        })
        .await;
    }
}

impl LifecycleWatch {
    async fn until_idle(&self) {
        tokio::time::sleep(LINGER).await;
        while self.metrics.open_connections() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}
