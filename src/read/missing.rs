//! Begins fills for what is missing of an interval.

use std::ops::Range;
use std::sync::Arc;

use super::error::FillError;
use super::fill::Fill;
use super::filling::Filling;
use super::filling::Source;
use super::plan::Beyond;
use super::shared::Shared;
use crate::cache::BlockIndex;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::SegmentIndex;
use crate::telemetry::trace;
use crate::upstream::Priority;

/// What is asked for.
pub(super) struct Wanted {
    /// The bytes.
    pub(super) interval: Range<u64>,
    /// The byte that a client waits for, if any does: its fill goes before all others.
    pub(super) position: Option<u64>,
    /// A block that is said to be stored and could not be read.
    pub(super) distrusted: Option<BlockIndex>,
    /// What may be fetched along with the bytes.
    pub(super) beyond: Beyond,
}

/// What came of it.
pub(super) struct Begun {
    /// The fills that were begun, in the order of the object.
    pub(super) fills: Vec<Arc<Fill>>,
    /// Everything before is stored or on its way; for the rest there was no room.
    pub(super) to: u64,
}

/// Begins fills for which there is room.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    version: &Arc<ObjectVersion>,
    source: &Source,
    wanted: Wanted,
) -> Begun {
    let mut fills = register(shared, version, &wanted).await;
    let mut to = wanted.interval.end;
    for index in 0..fills.len() {
        let fill = &fills[index];
        let is_demand = wanted
            .position
            .is_some_and(|position| fill.interval.contains(&position));
        let length = fill.interval.end - fill.interval.start;
        // A fill that a client waits for waits for its share itself.
        let share = (!is_demand).then(|| shared.fills.share_ahead(length));
        if let Some(None) = share {
            // What is not begun is not there to be waited for.
            to = fill.interval.start;
            for fill in fills.drain(index..) {
                shared.fills.end(&fill);
                fill.end(Err(FillError::Abandoned));
            }
            break;
        }
        let source = Source {
            priority: if is_demand {
                Priority::Demand
            } else {
                Priority::Prefetch
            },
            ..source.clone()
        };
        let filling = Filling::new(shared, fill, source);
        let filling = filling.run(share.flatten(), None);
        tokio::spawn(trace::in_span("fill", filling));
    }
    Begun { fills, to }
}

/// The fills of what is missing, registered and not begun.
async fn register(
    shared: &Shared,
    version: &Arc<ObjectVersion>,
    wanted: &Wanted,
) -> Vec<Arc<Fill>> {
    let blocks = shared.config.block_size.touched_by(&wanted.interval);
    if blocks.is_empty() {
        return Vec::new();
    }
    let segments = blocks.start.segment().0..=BlockIndex(blocks.end.0 - 1).segment().0;
    let first = *segments.start();
    let mut stored: Vec<Blocks> = Vec::new();
    for index in segments {
        stored.push(shared.blocks(version, SegmentIndex(index)).await);
    }
    let mut is_stored = |block: BlockIndex| {
        let (segment, place) = (block.segment(), block.place());
        let was_stored = stored[(segment.0 - first) as usize].has(place);
        // What was stored a moment ago is in memory at least.
        (was_stored && wanted.distrusted != Some(block))
            || shared.store.hot(version, block, 1).is_some()
    };
    let window = blocks.start.0..blocks.end.0;
    shared
        .fills
        .begin_missing(version, window, wanted.beyond, &mut is_stored)
}
