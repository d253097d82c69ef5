//! Where the column chunks of a Parquet file lie, as its footer says.
//!
//! Of the footer only row groups, columns, offsets and lengths are read. What is not as every writer
//! writes it (chunks in other files, out of order or over each other, a footer that is encrypted) is
//! left alone: then nothing is known of the file, and nothing is lost but a guess.
//!
//! The format: <https://parquet.apache.org/docs/file-format/metadata/>.

mod footer;
#[cfg(test)]
mod tests;
mod thrift;

use std::ops::Range;

use footer::Chunks;

/// Before the length of the footer and this, a file ends with its footer.
const MAGIC: &[u8] = b"PAR1";

/// The length of the footer and the magic bytes.
pub(super) const END: u64 = 8;

/// No longer footer is read. One with 1,000 columns and 100 row groups has about 10 MB.
const MAX_FOOTER: u64 = 16 << 20;

/// A layout with more chunks is not remembered: 12 bytes for each.
const MAX_CHUNKS: usize = 256 << 10;

/// A column chunk, by the place of its row group and of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Chunk {
    pub(super) group: u32,
    pub(super) column: u32,
}

/// Where the column chunks of one file lie: row group by row group, and in each column by column,
/// in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    columns: u32,
    starts: Box<[u64]>,
    lengths: Box<[u32]>,
}

/// Where the footer lies in a file of this size that ends with these bytes; `None` when it is no
/// Parquet file, or the footer is encrypted or too long.
pub(super) fn footer_of(end: &[u8], size: u64) -> Option<Range<u64>> {
    let rest = end.strip_suffix(MAGIC)?;
    let length = u64::from(u32::from_le_bytes(*rest.last_chunk()?));
    let last = size.checked_sub(END)?;
    // The file begins with magic bytes, too.
    let start = last.checked_sub(length)?;
    let is_read = length <= MAX_FOOTER && start >= MAGIC.len() as u64;
    is_read.then_some(start..last)
}

impl Layout {
    /// Reads a footer that begins at `start` in its file. Linear in its length: about a millisecond
    /// for a megabyte.
    pub(super) fn parse(footer: &[u8], start: u64) -> Option<Self> {
        let chunks = Chunks::parse(footer, MAX_CHUNKS).ok()?;
        let Chunks {
            columns,
            starts,
            lengths,
        } = chunks;
        // From the first byte behind the magic to the footer, none over another.
        let mut end = MAGIC.len() as u64;
        for (chunk, length) in starts.iter().zip(&lengths) {
            if *chunk < end {
                return None;
            }
            end = chunk.checked_add(u64::from(*length))?;
        }
        (columns > 0 && end <= start).then_some(Self {
            columns,
            starts: starts.into(),
            lengths: lengths.into(),
        })
    }

    /// How many row groups there are.
    pub(super) fn groups(&self) -> u32 {
        // As many as there are chunks, at most.
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX) / self.columns
    }

    /// How many columns there are.
    #[cfg(test)]
    pub(super) fn columns(&self) -> u32 {
        self.columns
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.starts.len() * (size_of::<u64>() + size_of::<u32>())
    }

    /// The bytes of a chunk; empty when there is none.
    pub(super) fn interval(&self, chunk: Chunk) -> Range<u64> {
        let index = chunk.group as usize * self.columns as usize + chunk.column as usize;
        match (self.starts.get(index), self.lengths.get(index)) {
            (Some(start), Some(length)) if chunk.column < self.columns => {
                *start..start + u64::from(*length)
            }
            _ => 0..0,
        }
    }

    /// The chunks of which an interval has bytes.
    pub(super) fn touched_by(&self, interval: &Range<u64>) -> impl Iterator<Item = Chunk> {
        let behind = self.starts.partition_point(|start| *start < interval.end);
        let before = self
            .starts
            .partition_point(|start| *start <= interval.start);
        let first = before.saturating_sub(1);
        let wanted = interval.clone();
        (first..behind.max(first))
            .map(|index| {
                // It fits: so does their number.
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                Chunk {
                    group: index / self.columns,
                    column: index % self.columns,
                }
            })
            .filter(move |chunk| {
                let bytes = self.interval(*chunk);
                bytes.start.max(wanted.start) < bytes.end.min(wanted.end)
            })
    }

    /// Row groups of as many chunks of one length, side by side behind the magic bytes.
    #[cfg(test)]
    pub(in crate::read) fn even(groups: u32, columns: u32, length: u64) -> Self {
        let chunks = u64::from(groups * columns);
        Self {
            columns,
            starts: (0..chunks).map(|chunk| 4 + chunk * length).collect(),
            lengths: (0..chunks)
                .map(|_| u32::try_from(length).unwrap())
                .collect(),
        }
    }
}
