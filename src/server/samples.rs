//! Has a sample of the metrics taken every second, so that pages can show the past.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::MissedTickBehavior;

use crate::telemetry::Metrics;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Takes samples of these metrics.
pub(super) struct Samples(pub(super) Arc<Metrics>);

#[async_trait]
impl BackgroundService for Samples {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.0.sample(),
                // Errors when the sender is gone: the process is ending as well.
                _ = shutdown.changed() => return,
            }
        }
    }
}
