//! What we tell people: metrics, the access log, and whether the service is ready.
//!
//! Other stages hand in facts ([`RequestRecord`], [`OriginMetrics`], [`CacheMetrics`]) or are read when
//! somebody looks ([`CacheFigures`], [`Readiness`]); nothing here decides anything
//! about a request, blocks a worker, or holds a secret.

mod access_log;
mod cache;
mod cache_status;
mod clients;
mod figures;
mod history;
mod labels;
pub mod logger;
mod metrics;
mod origin;
mod prices;
mod process;
mod readiness;
mod record;
mod server_timing;
mod snapshot;
pub mod stats;
mod table;
mod top;
pub mod trace;

pub use access_log::{AccessLog, AccessLogConfig, AccessLogFormat, AccessLogTo, FIELDS};
pub use cache::CacheMetrics;
pub use cache_status::{CACHE_STATUS, CacheStatus};
pub use figures::{CacheFigures, DiskFigures, Figures, TierFigures};
pub use history::{Past, Resolution, SAMPLE_FIELDS, Sample};
pub use labels::{CacheResult, CacheScope, Difference, DiskState, FillEvent, HedgeEvent};
pub use labels::{
    Outcome, Refusal, ReloadOutcome, RetryReason, Tier, UpstreamErrorKind, Validation,
};
pub use metrics::{InProgress, Metrics};
pub use origin::Attempt;
pub use origin::OriginMetrics;
pub use prices::Prices;
pub use readiness::{Lifecycle, OriginStatus, Phase, Reachability, Readiness};
pub use record::{BytesFrom, CacheShare, OriginShare, RequestRecord};
pub use server_timing::{SERVER_TIMING, ServerTiming};
pub use stats::Stats;
pub use table::{Definition, Kind, LABELS, TABLE};
pub use top::{Counts, TopBy, TopList, TopRow};
