//! The access log: one line a request, written by a thread of its own.
//!
//! A request never waits for whoever reads the log. Lines go into a bounded buffer; when it is full
//! they are dropped and counted.

mod format;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use format::FIELDS;

use super::metrics::Metrics;
use super::record::RequestRecord;
use writer::Writer;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// `name=value` pairs (logfmt).
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// No line at all.
    Off,
}

/// What the access log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// How a line looks.
    pub format: AccessLogFormat,
    /// Whether a line names the object's key.
    pub keys: bool,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            format: AccessLogFormat::Text,
            keys: true,
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub struct AccessLog {
    config: AccessLogConfig,
    metrics: Arc<Metrics>,
    writer: Writer,
}

impl AccessLog {
    /// Writes to standard output.
    pub fn stdout(config: AccessLogConfig, metrics: Arc<Metrics>) -> Self {
        Self::new(config, metrics, Box::new(io::stdout()))
    }

    /// Writes to `output`. The writing thread begins with the first line, so that it survives the
    /// fork of a process that goes into the background.
    pub fn new(
        config: AccessLogConfig,
        metrics: Arc<Metrics>,
        output: Box<dyn io::Write + Send>,
    ) -> Self {
        Self {
            config,
            metrics,
            writer: Writer::new(output),
        }
    }

    /// Writes the line of a request that has ended, without ever waiting for the output.
    pub fn record(&self, record: &RequestRecord<'_>) {
        if self.config.format == AccessLogFormat::Off {
            return;
        }
        let line = self.config.line(record);
        if !self.writer.push(&line) {
            self.metrics.access_log_dropped();
        }
    }

    /// Waits until everything so far is written, but no longer than `limit`; the answer tells
    /// whether it is. For the end of the process.
    pub fn flush(&self, limit: Duration) -> bool {
        self.writer.flush(limit)
    }
}

impl AccessLogConfig {
    /// The line of a request, without the line feed.
    pub fn line(&self, record: &RequestRecord<'_>) -> String {
        match self.format {
            AccessLogFormat::Text => format::text(record, self.keys),
            AccessLogFormat::Json => format::json(record, self.keys),
            AccessLogFormat::Off => String::new(),
        }
    }
}
