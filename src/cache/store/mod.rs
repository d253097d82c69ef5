//! Where blocks are kept.

pub mod disk;
mod purge;

pub use purge::{Presence, PurgeScope, Purged};
