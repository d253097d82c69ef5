//! The buffers of one segment, side by side.

use std::ops::Range;

use bytes::Bytes;
use bytes::BytesMut;

use crate::cache::Blocks;
use crate::cache::Heat;

/// Writes shorter than this cost a client's answer more than copying does.
const LONG_WRITE: usize = 256 << 10;

/// The buffers in the order of their places. None overlaps another, and none crosses the boundary
/// of a stretch.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

/// Neighbouring blocks in one buffer.
#[derive(Debug)]
struct Piece {
    places: Range<u32>,
    bytes: Bytes,
    /// None until it is weighed.
    heat: Option<Heat>,
}

/// What was found for a read.
#[derive(Debug)]
pub(super) enum Found {
    /// The bytes from the start of the block, as far as the buffer or the wish reaches.
    Bytes(Bytes),
    /// The wish is long and lies in many buffers: these should become one.
    Scattered(Fragments),
}

/// Neighbouring buffers, without their segment.
#[derive(Debug)]
pub(super) struct Fragments {
    places: Range<u32>,
    buffers: Vec<Bytes>,
}

impl Pieces {
    /// The longest bytes from the start of a block on; at most so many blocks. `block` is the
    /// length of one in bytes, `stretch` the number of blocks that may share a buffer.
    pub(super) fn find(
        &self,
        place: u32,
        at_most: u32,
        block: usize,
        stretch: u32,
    ) -> Option<Found> {
        let index = self.index_of(place)?;
        let piece = &self.0[index];
        if let Some(heat) = &piece.heat {
            heat.touch();
        }
        let end = place.saturating_add(at_most);
        let is_cut = piece.places.end < end && !piece.places.end.is_multiple_of(stretch);
        if is_cut
            && at_most as usize * block >= LONG_WRITE
            && let Some(fragments) = self.scattered(index, place..end, block, stretch)
        {
            return Some(Found::Scattered(fragments));
        }
        let skip = (place - piece.places.start) as usize * block;
        let blocks = end.min(piece.places.end) - place;
        let until = (skip + blocks as usize * block).min(piece.bytes.len());
        Some(Found::Bytes(piece.bytes.slice(skip..until)))
    }

    /// The buffers around one of them, if they hold enough of what is wanted and are too many for
    /// their length.
    fn scattered(
        &self,
        index: usize,
        wanted: Range<u32>,
        block: usize,
        stretch: u32,
    ) -> Option<Fragments> {
        let pieces = &self.0;
        let joins = |left: usize| {
            let end = pieces[left].places.end;
            !end.is_multiple_of(stretch)
                && pieces
                    .get(left + 1)
                    .is_some_and(|next| next.places.start == end)
        };
        let first = (0..index).rev().take_while(|&left| joins(left)).last();
        let first = first.unwrap_or(index);
        let last = (index..pieces.len()).find(|&left| !joins(left))?;
        let run = &pieces[first..=last];
        let places = pieces[first].places.start..pieces[last].places.end;
        let wanted = wanted.end.min(places.end) - wanted.start;
        let length: usize = run.iter().map(|piece| piece.bytes.len()).sum();
        let is_worth_it = wanted as usize * block >= LONG_WRITE && run.len() * LONG_WRITE > length;
        is_worth_it.then(|| Fragments {
            places,
            buffers: run.iter().map(|piece| piece.bytes.clone()).collect(),
        })
    }

    /// Which blocks there are.
    pub(super) fn blocks(&self) -> Blocks {
        let sets = self.0.iter().map(|piece| Blocks::run(piece.places.clone()));
        sets.fold(Blocks::NONE, Blocks::union)
    }

    /// Which runs of a buffer for these places would be new. A buffer that lies within them as a
    /// whole would be replaced, unless nothing is new.
    pub(super) fn missing(&self, places: &Range<u32>) -> Vec<Range<u32>> {
        let asked = Blocks::run(places.clone());
        if asked.without(self.blocks()).is_empty() {
            return Vec::new();
        }
        let stay = self
            .0
            .iter()
            .filter(|piece| !lies_in(&piece.places, places));
        let kept = stay.fold(Blocks::NONE, |all, piece| {
            all.union(Blocks::run(piece.places.clone()))
        });
        runs(asked.without(kept))
    }

    /// Puts a buffer in, and gives those back that it replaces. Nothing is done where another buffer
    /// reaches beyond it.
    pub(super) fn insert(&mut self, places: Range<u32>, bytes: Bytes) -> Vec<Bytes> {
        let first = self
            .0
            .partition_point(|piece| piece.places.end <= places.start);
        let last = self
            .0
            .partition_point(|piece| piece.places.start < places.end);
        let overlapped = &self.0[first..last];
        if !overlapped
            .iter()
            .all(|piece| lies_in(&piece.places, &places))
        {
            return vec![bytes];
        }
        let piece = Piece {
            places,
            bytes,
            heat: None,
        };
        let replaced = self.0.splice(first..last, [piece]);
        replaced.map(|piece| piece.bytes).collect()
    }

    /// Puts one buffer in the place of fragments, if they are still those.
    pub(super) fn join(&mut self, fragments: &Fragments, joined: Bytes) -> Vec<Bytes> {
        let places = &fragments.places;
        let first = self
            .0
            .partition_point(|piece| piece.places.start < places.start);
        let are_those = fragments.buffers.iter().enumerate().all(|(index, buffer)| {
            let piece = self.0.get(first + index);
            piece.is_some_and(|piece| {
                piece.bytes.as_ptr() == buffer.as_ptr() && piece.bytes.len() == buffer.len()
            })
        });
        if are_those {
            self.insert(places.clone(), joined)
        } else {
            vec![joined]
        }
    }

    /// Takes out what lies in these places, which are whole stretches.
    pub(super) fn take(&mut self, places: &Range<u32>) -> Vec<Bytes> {
        let range = self.range_of(places);
        self.0.drain(range).map(|piece| piece.bytes).collect()
    }

    /// The lengths of the buffers in these places, which are whole stretches, with so many bytes for
    /// each on top.
    pub(super) fn weight(&self, places: &Range<u32>, each: u64) -> u64 {
        let pieces = &self.0[self.range_of(places)];
        pieces
            .iter()
            .map(|piece| piece.bytes.len() as u64 + each)
            .sum()
    }

    /// Has these places, which are whole stretches, share their warmth.
    pub(super) fn share(&mut self, places: &Range<u32>, heat: &Heat) {
        let range = self.range_of(places);
        for piece in &mut self.0[range] {
            piece.heat = Some(heat.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of each buffer.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<Range<u32>> {
        self.0.iter().map(|piece| piece.places.clone()).collect()
    }

    fn index_of(&self, place: u32) -> Option<usize> {
        let after = self.0.partition_point(|piece| piece.places.start <= place);
        let index = after.checked_sub(1)?;
        self.0[index].places.contains(&place).then_some(index)
    }

    fn range_of(&self, places: &Range<u32>) -> Range<usize> {
        let first = self
            .0
            .partition_point(|piece| piece.places.start < places.start);
        let last = self
            .0
            .partition_point(|piece| piece.places.start < places.end);
        first..last
    }
}

impl Fragments {
    /// Copies them into one buffer.
    pub(super) fn joined(&self) -> Bytes {
        let length = self.buffers.iter().map(Bytes::len).sum();
        let mut joined = BytesMut::with_capacity(length);
        for buffer in &self.buffers {
            joined.extend_from_slice(buffer);
        }
        joined.freeze()
    }

    /// Which of the joined bytes answer a read.
    pub(super) fn cut(&self, joined: &Bytes, place: u32, at_most: u32, block: usize) -> Bytes {
        let skip = (place - self.places.start) as usize * block;
        let blocks = at_most.min(self.places.end - place);
        let until = (skip + blocks as usize * block).min(joined.len());
        joined.slice(skip..until)
    }
}

fn lies_in(inner: &Range<u32>, outer: &Range<u32>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The runs of a set, in their order.
fn runs(mut blocks: Blocks) -> Vec<Range<u32>> {
    let mut runs = Vec::new();
    while !blocks.is_empty() {
        let start = blocks.0.trailing_zeros();
        let run = start..start + blocks.run_from(start);
        blocks = blocks.without(Blocks::run(run.clone()));
        runs.push(run);
    }
    runs
}
