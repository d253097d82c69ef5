//! Where blocks are kept: memory over disk.

pub mod disk;
#[cfg(test)]
mod dumps;
mod memory;
mod metas;
mod purge;
mod storage;
mod tiers;

pub use memory::{MemoryFigures, MemoryTier};
pub use purge::{Presence, PurgeScope, Purged};
pub use storage::{BlockStorage, ScanResistant};
pub use tiers::Store;
