//! Reads the layout of a file from what the store has of its end.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::ObjectVersion;
use crate::read::parquet;
use crate::read::parquet::Layout;
use crate::read::shared::Shared;

/// A footer of this length takes less time than handing it to another thread does.
const SHORT_FOOTER: usize = 64 << 10;

/// What came of it.
pub(super) enum Lesson {
    Layout(Layout),
    /// No Parquet file, or none that is understood.
    None,
    /// The end of the file is not stored, or not all of it.
    Absent,
}

/// Reads the end of a version. Nothing is fetched for it.
pub(super) async fn learn(shared: &Shared, version: &Arc<ObjectVersion>) -> Lesson {
    let size = version.size;
    let end = size.saturating_sub(parquet::END)..size;
    let Some(end) = stored(shared, version, end).await else {
        return Lesson::Absent;
    };
    let Some(footer) = parquet::footer_of(&end, size) else {
        return Lesson::None;
    };
    let start = footer.start;
    let Some(footer) = stored(shared, version, footer).await else {
        return Lesson::Absent;
    };
    let layout = if footer.len() <= SHORT_FOOTER {
        Layout::parse(&footer, start)
    } else {
        let parsed = tokio::task::spawn_blocking(move || Layout::parse(&footer, start));
        parsed.await.ok().flatten()
    };
    layout.map_or(Lesson::None, Lesson::Layout)
}

/// The bytes of an interval, if all of them are stored.
async fn stored(
    shared: &Shared,
    version: &Arc<ObjectVersion>,
    interval: Range<u64>,
) -> Option<Vec<u8>> {
    let grid = shared.config.block_size;
    let mut bytes = Vec::new();
    let mut position = interval.start;
    while position < interval.end {
        let blocks = grid.touched_by(&(position..interval.end));
        let count = blocks.end.0 - blocks.start.0;
        let first = grid.start_of(blocks.start);
        let piece = match shared.store.hot(version, blocks.start, count) {
            Some(piece) => piece,
            None => shared.store.cold(version, blocks).await?,
        };
        let piece = piece.get(usize::try_from(position - first).ok()?..)?;
        let left = usize::try_from(interval.end - position).ok()?;
        let piece = &piece[..left.min(piece.len())];
        if piece.is_empty() {
            return None;
        }
        bytes.extend_from_slice(piece);
        position += piece.len() as u64;
    }
    Some(bytes)
}
