//! The access log: one line a request, written by a thread of its own.
//!
//! A request never waits for whoever takes the lines. They go into a bounded buffer; when it is full
//! they are dropped and counted, and so are those that cannot be written.

mod file;
mod format;
mod journal;
mod output;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use format::FIELDS;

use super::metrics::Metrics;
use super::record::RequestRecord;
use file::LogFile;
use journal::Journal;
use output::Output;
use output::Stream;
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

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessLogTo {
    /// Standard output.
    #[default]
    Stdout,
    /// The end of this file.
    File(PathBuf),
    /// systemd's journal, with a field for each part of the line.
    Journal,
}

/// What the access log shows, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub to: AccessLogTo,
    /// How a line looks.
    pub format: AccessLogFormat,
    /// Whether a line names the object's key.
    pub keys: bool,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            to: AccessLogTo::Stdout,
            format: AccessLogFormat::Text,
            keys: true,
        }
    }
}

impl AccessLogTo {
    /// Whether lines could go there, without changing anything.
    pub fn check(&self) -> io::Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => file::check(path),
            Self::Journal => journal::check(Path::new(journal::SOCKET)),
        }
    }
}

/// Takes lines, and has them written.
#[derive(Debug)]
pub struct AccessLog {
    config: AccessLogConfig,
    metrics: Arc<Metrics>,
    writer: Writer,
}

impl AccessLog {
    /// Writes to where the configuration says.
    pub fn open(config: AccessLogConfig, metrics: Arc<Metrics>) -> io::Result<Self> {
        let output: Box<dyn Output> = match &config.to {
            // What is off makes no file.
            _ if config.format == AccessLogFormat::Off => Box::new(Stream(Box::new(io::sink()))),
            AccessLogTo::Stdout => Box::new(Stream(Box::new(io::stdout()))),
            AccessLogTo::File(path) => Box::new(LogFile::open(path.clone())?),
            AccessLogTo::Journal => Box::new(Journal::open(PathBuf::from(journal::SOCKET))?),
        };
        Ok(Self::with(config, metrics, output))
    }

    /// Writes to `output`.
    pub fn new(
        config: AccessLogConfig,
        metrics: Arc<Metrics>,
        output: Box<dyn io::Write + Send>,
    ) -> Self {
        Self::with(config, metrics, Box::new(Stream(output)))
    }

    /// The writing thread begins with the first line, so that it survives the fork of a process that
    /// goes into the background.
    fn with(config: AccessLogConfig, metrics: Arc<Metrics>, output: Box<dyn Output>) -> Self {
        let writer = Writer::new(output, Arc::clone(&metrics));
        Self {
            config,
            metrics,
            writer,
        }
    }

    /// Writes the line of a request that has ended, without ever waiting for the output.
    pub fn record(&self, record: &RequestRecord<'_>) {
        if self.config.format == AccessLogFormat::Off {
            return;
        }
        let line = self.config.line(record);
        if !self.writer.push(&line) {
            self.metrics.access_log_dropped(1);
        }
    }

    /// Has the file opened anew, because it was moved away: no line that comes from now on goes into
    /// the old one. Only once the process is in the background, if it goes there.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Waits until everything so far is written, but no longer than `limit`; the answer tells
    /// whether it is. For the end of the process.
    pub fn flush(&self, limit: Duration) -> bool {
        self.writer.flush(limit)
    }
}

impl AccessLogConfig {
    /// The line of a request, without the line feed; for the journal, its entry.
    pub fn line(&self, record: &RequestRecord<'_>) -> String {
        let line = match self.format {
            AccessLogFormat::Text => format::text(record, self.keys),
            AccessLogFormat::Json => format::json(record, self.keys),
            AccessLogFormat::Off => return String::new(),
        };
        match self.to {
            AccessLogTo::Stdout | AccessLogTo::File(_) => line,
            AccessLogTo::Journal => format::journal(record, self.keys, &line),
        }
    }
}
