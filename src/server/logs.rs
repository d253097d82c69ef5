//! What is written of each request: its line, and its spans.

use std::sync::Arc;
use std::time::Duration;

use super::ServerError;
use super::traces::Exporter;
use crate::config::Config;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::trace::Traces;

/// How long the end of the process waits for the last of each.
const LAST: Duration = Duration::from_secs(2);

/// The access log, and traces where they are configured.
#[derive(Clone)]
pub(super) struct Logs {
    pub(super) access_log: Arc<AccessLog>,
    pub(super) exporter: Option<Arc<Exporter>>,
}

impl Logs {
    pub(super) fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, ServerError> {
        let access_log = AccessLog::open(config.access_log.clone(), Arc::clone(metrics));
        let exporter = config.traces.as_ref().map(|config| Exporter {
            config: config.clone(),
            traces: Traces::new(config.sample_ratio, Arc::clone(metrics)),
        });
        Ok(Self {
            access_log: Arc::new(access_log.map_err(ServerError::AccessLog)?),
            exporter: exporter.map(Arc::new),
        })
    }

    pub(super) fn traces(&self) -> Option<Arc<Traces>> {
        let exporter = self.exporter.as_ref();
        exporter.map(|exporter| Arc::clone(&exporter.traces))
    }

    /// Waits for what is not written yet, but not for long.
    pub(super) fn flush(&self) {
        self.access_log.flush(LAST);
        if let Some(exporter) = &self.exporter {
            exporter.traces.flush(LAST);
        }
    }
}
