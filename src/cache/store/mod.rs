//! Where blocks are kept.

pub mod disk;
mod interim;
mod purge;

pub use interim::Store;
pub use purge::{Presence, PurgeScope, Purged};
