//! What the configuration says of the logs, checked.

/// The access log: one line a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// How a line is written.
    pub format: AccessLogFormat,
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// `key=value` pairs, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
    /// No access log.
    Off,
}
