//! A process's life once everything is built: it takes over where there is somebody to take over
//! from, serves, hands over or is told to stop, drains, and does the last things.

use std::sync::Arc;
use std::time::Duration;

use pingora::server::RunArgs;
use pingora::server::Server;
use pingora::services::ServiceHandle;
use pingora::services::background::GenBackgroundService;

use super::ServerError;
use super::cache::Cache;
use super::logs::Logs;
use super::stop::LifecycleWatch;
use super::stop::Stop;
use super::upgrade::CommandLine;
use super::upgrade::Handover;
use super::upgrade::Taking;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;

/// What is needed from here on.
pub(super) struct Life {
    pub(super) upgrade_sock: String,
    pub(super) upgrade_timeout: Duration,
    pub(super) command: CommandLine,
    /// Whether another process is to be followed.
    pub(super) is_successor: bool,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) logs: Logs,
}

impl Life {
    /// Serves until the end. `s3` is the service that is to be there before others are told so.
    pub(super) fn live(self, mut server: Server, s3: &ServiceHandle) -> Result<(), ServerError> {
        let taking = if self.is_successor {
            Some(Taking::begin(&self.upgrade_sock).map_err(ServerError::TakeOver)?)
        } else {
            None
        };
        // From here on nothing fails: the process that is to be followed sends its sockets.
        let metrics = Arc::clone(&self.metrics);
        let handover = Handover::new(
            self.upgrade_sock,
            self.upgrade_timeout,
            self.command,
            taking,
            metrics,
        );
        let succeeded = handover.served();
        let (cache, logs) = (self.cache, self.logs);
        let finish: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            if let Some(cache) = &cache {
                cache.flush();
            }
            logs.flush();
        });
        let watch = LifecycleWatch {
            lifecycle: self.lifecycle,
            metrics: self.metrics,
            succeeded: succeeded.clone(),
            finish: Arc::clone(&finish),
        };
        let watch = GenBackgroundService::new("lifecycle".to_owned(), Arc::new(watch));
        server.add_service(watch);
        server.add_service(handover).add_dependency(s3);
        server.bootstrap();
        server.run(RunArgs {
            shutdown_signal: Box::new(Stop::new(succeeded)),
        });
        finish();
        Ok(())
    }
}
