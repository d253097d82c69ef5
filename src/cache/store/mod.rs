//! Where blocks are kept: memory over disk.

pub mod disk;
mod memory;
mod metas;
mod purge;
mod tiers;

pub use memory::{MemoryFigures, MemoryTier};
pub use purge::{Presence, PurgeScope, Purged};
pub use tiers::Store;
