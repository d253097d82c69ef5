//! The fills that are running: one for every missing block, however many ask for it, within a budget
//! of bytes in flight.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use super::fill::Fill;
use super::fill::Follower;
use super::plan;
use super::plan::Beyond;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::ObjectVersion;
use crate::cache::VersionId;

/// Locks over the running fills.
const SHARDS: usize = 16;

/// Read-ahead takes nothing of the last quarter of the budget: that is for bytes a client waits for.
const DEMAND_SHARE: usize = 4;

/// Permits are counted in this many bytes.
const UNIT: u64 = 1 << 10;

/// Running fills.
pub(super) struct Fills {
    block: BlockSize,
    shards: [Mutex<HashMap<VersionId, Vec<Arc<Fill>>>>; SHARDS],
    budget: Arc<Semaphore>,
    units: usize,
}

/// A share of the budget. It is given back when the fill has ended.
pub(super) struct Share(
    #[expect(dead_code, reason = "held, never looked at")] OwnedSemaphorePermit,
);

impl Fills {
    /// At most so many bytes are fetched and not yet stored at one moment.
    pub(super) fn new(block: BlockSize, budget: u64) -> Self {
        // Below two of the longest fills, a read and a read-ahead could not run side by side.
        let units = (budget.max(2 * plan::MAX_FILL) / UNIT).min(u64::from(u32::MAX));
        let units = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            block,
            shards: std::array::from_fn(|_| Mutex::default()),
            budget: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// Reads along with a running fill of this byte.
    pub(super) fn follow(&self, version: &VersionId, offset: u64) -> Option<Follower> {
        let shard = self.shard(version).lock();
        let covering = |fill: &&Arc<Fill>| fill.interval.contains(&offset);
        shard.get(version)?.iter().find(covering).map(Fill::follow)
    }

    /// Reads along with a running fill of some of these bytes.
    pub(super) fn follow_any(
        &self,
        version: &VersionId,
        interval: &Range<u64>,
    ) -> Option<Follower> {
        let shard = self.shard(version).lock();
        let overlaps = |fill: &&Arc<Fill>| {
            fill.interval.start < interval.end && interval.start < fill.interval.end
        };
        shard.get(version)?.iter().find(overlaps).map(Fill::follow)
    }

    /// Whether some of these bytes are on their way.
    pub(super) fn is_filling(&self, version: &VersionId, interval: &Range<u64>) -> bool {
        let shard = self.shard(version).lock();
        let overlaps = |fill: &Arc<Fill>| {
            fill.interval.start < interval.end && interval.start < fill.interval.end
        };
        let fills = shard.get(version);
        fills.is_some_and(|fills| fills.iter().any(overlaps))
    }

    /// Begins a fill of this interval, whatever is there already: its bytes are on their way.
    pub(super) fn begin(&self, version: &Arc<ObjectVersion>, interval: Range<u64>) -> Arc<Fill> {
        let fill = Fill::new(Arc::clone(version), interval);
        let mut shard = self.shard(&version.id).lock();
        shard.entry(version.id).or_default().push(Arc::clone(&fill));
        fill
    }

    /// Begins fills for what is missing of a window of blocks: those that are neither stored, as
    /// `is_stored` says, nor on their way. The answer is in the order of the object, and may go on
    /// behind the window.
    ///
    /// `is_stored` is asked while no fill can end, so that none is begun for a block that has just
    /// been stored.
    pub(super) fn begin_missing(
        &self,
        version: &Arc<ObjectVersion>,
        window: Range<u64>,
        beyond: Beyond,
        is_stored: &mut dyn FnMut(BlockIndex) -> bool,
    ) -> Vec<Arc<Fill>> {
        let mut shard = self.shard(&version.id).lock();
        let running = shard.get(&version.id).map_or(&[][..], Vec::as_slice);
        let missing = plan::missing_runs(window, beyond, &mut |block| {
            self.is_on_its_way(block, running) || is_stored(block)
        });
        // A gap may be merged over a stored block, never over one on its way: that would be a
        // second fill of it.
        let fills: Vec<_> = missing
            .iter()
            .flat_map(|run| self.without_running(run, running))
            .flat_map(|run| plan::parts(&run, self.block))
            .map(|part| self.block.interval_of(&part, version.size))
            .map(|interval| Fill::new(Arc::clone(version), interval))
            .collect();
        if !fills.is_empty() {
            let entry = shard.entry(version.id).or_default();
            entry.extend(fills.iter().cloned());
        }
        fills
    }

    /// Whether a running fill brings this block as a whole. One that was asked for when the object was
    /// shorter may end within a block.
    fn is_on_its_way(&self, block: BlockIndex, running: &[Arc<Fill>]) -> bool {
        let brings = |fill: &Arc<Fill>| {
            let whole = self.block.contained_in(&fill.interval, fill.version.size);
            whole.contains(&block)
        };
        running.iter().any(brings)
    }

    /// Cuts a run at the blocks that are on their way.
    fn without_running(
        &self,
        run: &Range<BlockIndex>,
        running: &[Arc<Fill>],
    ) -> Vec<Range<BlockIndex>> {
        let mut runs: Vec<Range<BlockIndex>> = Vec::new();
        for block in (run.start.0..run.end.0).map(BlockIndex) {
            if self.is_on_its_way(block, running) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == block => run.end.0 += 1,
                _ => runs.push(block..BlockIndex(block.0 + 1)),
            }
        }
        runs
    }

    /// A fill has ended; what it brought is stored.
    pub(super) fn end(&self, fill: &Arc<Fill>) {
        let mut shard = self.shard(&fill.version.id).lock();
        if let Some(fills) = shard.get_mut(&fill.version.id) {
            fills.retain(|other| !Arc::ptr_eq(other, fill));
            if fills.is_empty() {
                shard.remove(&fill.version.id);
            }
        }
    }

    /// A share of the budget for so many bytes, as soon as there is one.
    pub(super) async fn share(&self, bytes: u64) -> Option<Share> {
        let budget = Arc::clone(&self.budget);
        let permit = budget.acquire_many_owned(self.units_of(bytes)).await;
        permit.ok().map(Share)
    }

    /// A share for bytes that nobody waits for yet; none when the budget is wanted for others.
    pub(super) fn share_ahead(&self, bytes: u64) -> Option<Share> {
        let units = self.units_of(bytes);
        let left = self.budget.available_permits();
        if left < units as usize + self.units / DEMAND_SHARE {
            return None;
        }
        let budget = Arc::clone(&self.budget);
        budget.try_acquire_many_owned(units).ok().map(Share)
    }

    fn units_of(&self, bytes: u64) -> u32 {
        let units = bytes.div_ceil(UNIT).min(self.units as u64);
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    fn shard(&self, version: &VersionId) -> &Mutex<HashMap<VersionId, Vec<Arc<Fill>>>> {
        &self.shards[usize::from(version.as_bytes()[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::version;

    const BLOCK: u64 = 64 << 10;

    fn fills(budget: u64) -> Fills {
        Fills::new(BlockSize::DEFAULT, budget)
    }

    /// The blocks of the fills that are begun for a window.
    fn begun(
        fills: &Fills,
        version: &Arc<ObjectVersion>,
        window: Range<u64>,
        stored: &[u64],
    ) -> Vec<(u64, u64)> {
        let begun = fills.begin_missing(version, window, Beyond::HOLE, &mut |block| {
            stored.contains(&block.0)
        });
        let blocks = |fill: &Arc<Fill>| (fill.interval.start / BLOCK, fill.interval.end / BLOCK);
        begun.iter().map(blocks).collect()
    }

    #[test]
    fn a_block_that_is_on_its_way_is_in_no_other_fill() {
        let (fills, version) = (fills(0), version("a", 100 * BLOCK));
        let running = fills.begin(&version, 2 * BLOCK..3 * BLOCK);
        // A stored block is fetched along with its neighbours, one on its way never is.
        assert_eq!(begun(&fills, &version, 0..8, &[5]), [(0, 2), (3, 8)]);
        assert_eq!(begun(&fills, &version, 0..10, &[]), [(8, 10)]);
        assert_eq!(begun(&fills, &version, 0..10, &[]), []);
        fills.end(&running);
        assert_eq!(begun(&fills, &version, 0..10, &[]), [(2, 3)]);
    }

    #[test]
    fn a_part_of_a_block_on_its_way_is_not_the_block() {
        let (fills, version) = (fills(0), version("a", 10 * BLOCK + 7));
        fills.begin(&version, BLOCK - 5..2 * BLOCK + 5);
        assert_eq!(begun(&fills, &version, 0..4, &[]), [(0, 1), (2, 4)]);
        // The object's last block is whole where the object ends.
        fills.begin(&version, 9 * BLOCK..version.size);
        assert_eq!(begun(&fills, &version, 9..11, &[]), []);
    }

    #[tokio::test]
    async fn a_fill_for_which_there_is_no_budget_waits() {
        let fills = Arc::new(fills(0));
        let ahead = fills.share_ahead(plan::MAX_FILL).expect("half of it");
        assert!(fills.share_ahead(plan::MAX_FILL).is_none(), "for clients");
        let first = fills.share(plan::MAX_FILL).await;
        let second = {
            let fills = Arc::clone(&fills);
            tokio::spawn(async move { fills.share(1).await.is_some() })
        };
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished(), "all of it is in use");
        drop(first);
        assert!(second.await.unwrap());
        drop(ahead);
    }
}
