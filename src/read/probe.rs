//! The first request about an object whose meta is not known or no longer fresh: chosen so that the
//! trip that learns the meta also brings the bytes that are wanted.

use std::ops::Range;

use super::plan;
use crate::cache::BlockSize;
use crate::s3::RangeField;
use crate::upstream::AskedRange;

/// What is known when the request is chosen.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    /// Whether the client asked for a head.
    pub(super) is_head: bool,
    /// The range that it asked for.
    pub(super) range: RangeField,
    /// The object's size, as far as it is known: from a stale meta or a list.
    pub(super) size: Option<u64>,
    /// The stale meta that can be confirmed, if there is one.
    pub(super) stale: Option<Stale>,
    /// Whether a footer is worth fetching at once.
    pub(super) is_data_file: bool,
    /// Whether nothing but a HEAD will do: checksums are to be learned, or a verdict.
    pub(super) needs_head: bool,
}

/// A meta that is no longer fresh.
#[derive(Debug, Clone)]
pub(super) struct Stale {
    /// What of the bytes that the client wants is not stored, from the first of them to the first
    /// that is; empty when that is the first one.
    pub(super) missing: Range<u64>,
}

/// The request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    /// A HEAD, or else a GET.
    pub(super) is_head: bool,
    /// The range of a GET.
    pub(super) range: Option<AskedRange>,
    /// Whether it carries the known ETag in `If-None-Match`.
    pub(super) is_conditional: bool,
}

impl Situation {
    /// Chooses the request.
    pub(super) fn probe(&self, block: BlockSize) -> Probe {
        if self.needs_head || (self.is_head && (self.stale.is_some() || !self.is_data_file)) {
            return Probe {
                is_head: true,
                range: None,
                is_conditional: self.stale.is_some() && !self.needs_head,
            };
        }
        Probe {
            is_head: false,
            range: self.missing(self.asked(block)),
            is_conditional: self
                .stale
                .as_ref()
                .is_some_and(|stale| stale.missing.is_empty()),
        }
    }

    /// No more of it than is missing.
    fn missing(&self, asked: Option<AskedRange>) -> Option<AskedRange> {
        let missing = match &self.stale {
            Some(stale) if !stale.missing.is_empty() => &stale.missing,
            _ => return asked,
        };
        match asked {
            None => Some(AskedRange::Interval(missing.clone())),
            Some(AskedRange::Interval(asked)) if missing.contains(&asked.start) => {
                let end = asked.end.min(missing.end);
                Some(AskedRange::Interval(asked.start..end))
            }
            other => other,
        }
    }

    /// The range to ask for; none for the whole object, which also works for empty ones and brings
    /// the checksums along.
    fn asked(&self, block: BlockSize) -> Option<AskedRange> {
        if self.is_head {
            return Some(self.tail(plan::TAIL, block));
        }
        match self.range {
            RangeField::Absent | RangeField::Ignored => None,
            RangeField::Suffix(length) if length > plan::MAX_FIRST_FILL => {
                // What the client reads first is far from the end, where the size is told.
                Some(self.suffix(length, block))
            }
            RangeField::Suffix(length) if self.is_data_file && length < plan::GUESS => {
                Some(self.tail(plan::TAIL, block))
            }
            RangeField::Suffix(length) => Some(self.tail(length, block)),
            RangeField::Interval { first, last } => Some(self.interval(first, last, block)),
        }
    }

    fn suffix(&self, length: u64, block: BlockSize) -> AskedRange {
        match self.size {
            Some(size) if size > 0 => {
                let interval = size.saturating_sub(length)..size;
                AskedRange::Interval(plan::first_fill(&interval, block, self.size))
            }
            _ => AskedRange::Suffix(plan::TAIL),
        }
    }

    /// The last bytes, in whole blocks.
    fn tail(&self, length: u64, block: BlockSize) -> AskedRange {
        match self.size {
            Some(size) if size > 0 => {
                let start = block.start_of(block.block_at(size.saturating_sub(length)));
                AskedRange::Interval(start..size)
            }
            // The block in which the tail begins is whole only with as much before it.
            _ => AskedRange::Suffix(length + block.bytes()),
        }
    }

    fn interval(&self, first: u64, last: Option<u64>, block: BlockSize) -> AskedRange {
        let end = last.map_or(u64::MAX, |last| last.saturating_add(1));
        // A range that the size known so far rules out is asked for as it is: the size may be old.
        let size = self.size.filter(|size| first < *size);
        let interval = first..end.min(size.unwrap_or(u64::MAX));
        match size {
            Some(size) if self.is_data_file && is_tail(&interval, size) => {
                self.tail(plan::TAIL, block)
            }
            _ => AskedRange::Interval(plan::first_fill(&interval, block, size)),
        }
    }
}

/// Whether an interval is the end of the object, and no more than a footer.
fn is_tail(interval: &Range<u64>, size: u64) -> bool {
    interval.end == size && size - interval.start <= plan::TAIL
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn unknown(range: RangeField) -> Situation {
        Situation {
            is_head: false,
            range,
            size: None,
            stale: None,
            is_data_file: true,
            needs_head: false,
        }
    }

    fn asked(situation: &Situation) -> Option<AskedRange> {
        let probe = situation.probe(BlockSize::DEFAULT);
        assert!(!probe.is_head);
        probe.range
    }

    #[test]
    fn the_head_of_a_data_file_brings_its_footer() {
        let head = Situation {
            is_head: true,
            ..unknown(RangeField::Absent)
        };
        assert_eq!(asked(&head), Some(AskedRange::Suffix(576 * KIB)));
        let listed = Situation {
            size: Some(MIB + 1),
            ..head.clone()
        };
        assert_eq!(
            asked(&listed),
            Some(AskedRange::Interval(512 * KIB..MIB + 1))
        );
        let text = Situation {
            is_data_file: false,
            ..head.clone()
        };
        assert!(text.probe(BlockSize::DEFAULT).is_head);
        let stale = Situation {
            stale: Some(Stale { missing: 0..0 }),
            ..head
        };
        let probe = stale.probe(BlockSize::DEFAULT);
        assert!(probe.is_head && probe.is_conditional);
    }

    #[test]
    fn ranges_are_rounded_to_blocks_and_bounded() {
        let interval = |first, last| unknown(RangeField::Interval { first, last });
        assert_eq!(
            asked(&interval(70_000, Some(70_001))),
            Some(AskedRange::Interval(64 * KIB..128 * KIB))
        );
        assert_eq!(
            asked(&interval(0, None)),
            Some(AskedRange::Interval(0..4 * MIB))
        );
        assert_eq!(
            asked(&interval(u64::MAX, Some(u64::MAX))),
            Some(AskedRange::Interval(u64::MAX - 64 * KIB + 1..u64::MAX))
        );
        assert_eq!(
            asked(&unknown(RangeField::Suffix(100))),
            Some(AskedRange::Suffix(576 * KIB))
        );
        // Who asks for as much has guessed already, and waits for what comes before it.
        assert_eq!(
            asked(&unknown(RangeField::Suffix(256 * KIB))),
            Some(AskedRange::Suffix(320 * KIB))
        );
        assert_eq!(
            asked(&unknown(RangeField::Suffix(100 * MIB))),
            Some(AskedRange::Suffix(512 * KIB))
        );
        assert_eq!(asked(&unknown(RangeField::Ignored)), None);
    }

    #[test]
    fn a_known_size_makes_the_tail_whole() {
        let listed = Situation {
            size: Some(10 * MIB + 5),
            ..unknown(RangeField::Interval {
                first: 10 * MIB,
                last: None,
            })
        };
        assert_eq!(
            asked(&listed),
            Some(AskedRange::Interval(9 * MIB + 512 * KIB..10 * MIB + 5))
        );
        let grown = Situation {
            size: Some(100),
            ..listed
        };
        assert_eq!(
            asked(&grown),
            Some(AskedRange::Interval(10 * MIB..14 * MIB))
        );
    }

    #[test]
    fn what_is_stored_is_only_confirmed() {
        let mut stale = Situation {
            stale: Some(Stale { missing: 0..0 }),
            size: Some(MIB),
            ..unknown(RangeField::Absent)
        };
        assert!(stale.probe(BlockSize::DEFAULT).is_conditional);
        let missing = 0..128 * KIB;
        stale.stale = Some(Stale {
            missing: missing.clone(),
        });
        assert_eq!(asked(&stale), Some(AskedRange::Interval(missing.clone())));
        let from = RangeField::Interval {
            first: 5,
            last: None,
        };
        let part = Situation {
            range: from,
            ..stale.clone()
        };
        assert_eq!(asked(&part), Some(AskedRange::Interval(missing)));
        assert!(!stale.probe(BlockSize::DEFAULT).is_conditional);
        stale.needs_head = true;
        let probe = stale.probe(BlockSize::DEFAULT);
        assert!(probe.is_head && !probe.is_conditional);
    }
}
