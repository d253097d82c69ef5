//! What we tell people: metrics and the access log.

mod config;

pub use config::{AccessLogConfig, AccessLogFormat};
