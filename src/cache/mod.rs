//! What we keep: object metas with their freshness, and the blocks of object versions in memory and
//! on disk.
//!
//! Nothing here asks an origin or knows a client. A failure in here is a miss, never an error of the
//! request.

mod block;
mod eviction;
mod key;
pub mod store;

pub use block::{BLOCKS_PER_SEGMENT, BlockIndex, BlockSize, Blocks, SegmentIndex};
pub use eviction::{Heat, Policy, Priority};
pub use key::{ObjectName, ObjectVersion, SegmentId, VersionId};
