//! What we tell people: metrics, the access log, and whether the service is ready.
//!
//! Other stages hand in facts ([`RequestRecord`], [`OriginMetrics`]); nothing here decides anything
//! about a request, blocks a worker, or holds a secret.

mod access_log;
mod labels;
pub mod logger;
mod metrics;
mod origin;
mod process;
mod readiness;
mod record;
mod table;

pub use access_log::{AccessLog, AccessLogConfig, AccessLogFormat, FIELDS};
pub use labels::{Outcome, RetryReason, UpstreamErrorKind};
pub use metrics::{InProgress, Metrics};
pub use origin::OriginMetrics;
pub use readiness::{Lifecycle, OriginStatus, Phase, Reachability, Readiness};
pub use record::{OriginShare, RequestRecord};
pub use table::{Definition, Kind, LABELS, TABLE};
