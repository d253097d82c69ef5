//! To be replaced.
use super::{Presence, PurgeScope, Purged};
use crate::cache::{BlockIndex, BlockSize, Blocks, ObjectVersion, SegmentIndex, VersionId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Interim.
pub struct Store(Mutex<HashMap<(VersionId, u64), Bytes>>, BlockSize);
impl Store {
    /// Interim.
    pub fn interim(block: BlockSize) -> Self {
        Self(Mutex::default(), block)
    }
    /// Interim.
    pub fn memory_capacity(&self) -> u64 {
        1 << 30
    }
    /// Interim.
    pub fn hot(&self, version: &ObjectVersion, block: BlockIndex, _at_most: u64) -> Option<Bytes> {
        self.0.lock().get(&(version.id, block.0)).cloned()
    }
    /// Interim.
    #[allow(clippy::unused_async)]
    pub async fn cold(
        &self,
        _version: &Arc<ObjectVersion>,
        _blocks: Range<BlockIndex>,
    ) -> Option<Bytes> {
        None
    }
    /// Interim.
    pub fn present(&self, version: &ObjectVersion, segment: SegmentIndex) -> Presence {
        let map = self.0.lock();
        let mut blocks = 0;
        for place in 0..64 {
            if map.contains_key(&(version.id, segment.first_block().0 + place)) {
                blocks |= 1 << place;
            }
        }
        Presence::Known(Blocks(blocks))
    }
    /// Interim.
    #[allow(clippy::unused_async)]
    pub async fn look(&self, version: &Arc<ObjectVersion>, segment: SegmentIndex) -> Blocks {
        self.present(version, segment).blocks()
    }
    /// Interim.
    pub fn admit(&self, version: &Arc<ObjectVersion>, first: BlockIndex, bytes: Bytes) {
        let size = usize::try_from(self.1.bytes()).unwrap_or(0);
        let mut map = self.0.lock();
        let mut rest = bytes;
        let mut index = first.0;
        while !rest.is_empty() {
            let n = size.min(rest.len());
            map.insert((version.id, index), rest.split_to(n));
            index += 1;
        }
    }
    /// Interim.
    pub fn forget(&self, version: &ObjectVersion) {
        self.0.lock().retain(|(id, _), _| *id != version.id);
    }
    /// Interim.
    #[allow(clippy::unused_async)]
    pub async fn purge(&self, _scope: &PurgeScope) -> Purged {
        self.0.lock().clear();
        Purged::default()
    }
}
