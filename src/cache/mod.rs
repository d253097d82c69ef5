//! What we keep: object metas with their freshness, and the blocks of object versions in memory and
//! on disk.
//!
//! Nothing here asks an origin or knows a client. A failure in here is a miss, never an error of the
//! request.

mod block;
mod config;
mod eviction;
mod freshness;
mod generation;
mod key;
mod meta;
mod rule_text;
mod rules;
pub mod store;
mod verdict;

pub use block::{BLOCKS_PER_SEGMENT, BlockIndex, BlockSize, Blocks, SegmentIndex};
pub use config::{CacheMode, StoreConfig};
pub use eviction::{Heat, Policy, Priority};
pub use freshness::{Judgement, judge, judge_absent};
pub use generation::{Generation, Generations, Moment};
pub use key::{ObjectName, ObjectVersion, SegmentId, VersionId};
pub use meta::{AbsentObject, CachedMeta, Known, Metas, SeededMeta};
pub use rules::{
    CacheRule, CacheRules, DATA_FILES, DEFAULT_FRESHNESS, Freshness, POINTERS, RuleSpec,
};
pub use store::{BlockStorage, Presence, PurgeScope, Purged, ScanResistant, Store};
pub use verdict::{Identity, Verdicts};
