//! What the cache is told.

use std::path::PathBuf;

use super::BlockSize;

/// Sizes of the two tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of memory for blocks; 0 switches the memory tier off.
    pub memory: u64,
    /// Bytes of disk for blocks, only with `dir`; `None` is as much as `min_free` leaves.
    pub disk: Option<u64>,
    /// Where the disk tier lives; `None` means memory only.
    pub dir: Option<PathBuf>,
    /// The unit of presence.
    pub block_size: BlockSize,
    /// What the disk tier leaves free of its file system, in percent.
    pub min_free: u8,
}

/// What the cache is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// It answers reads.
    #[default]
    On,
    /// It is not used: every request is forwarded.
    Off,
    /// Every read is forwarded, and what the cache would have said is compared with the answer.
    Verify,
}
