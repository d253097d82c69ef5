//! Bytes of objects that tell which object they are of and where they stand.

use std::ops::Range;

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Every word of eight bytes is a hash of the seed and of its place.
    Told { seed: u64, size: u64 },
    /// As a client wrote them.
    Given(Vec<u8>),
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Told { size, .. } => *size,
            Self::Given(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of an interval within the object.
    pub(super) fn bytes(&self, interval: Range<u64>) -> Vec<u8> {
        match self {
            Self::Given(bytes) => {
                let place = |offset| usize::try_from(offset).unwrap();
                bytes[place(interval.start)..place(interval.end)].to_vec()
            }
            Self::Told { seed, .. } => told(*seed, interval),
        }
    }

    /// Whether these bytes stand at this offset.
    pub(super) fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset + bytes.len() as u64;
        end <= self.size() && self.bytes(offset..end) == bytes
    }

    /// The first offset at which these bytes are not what stands there.
    pub(super) fn first_difference(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let end = (offset + bytes.len() as u64).min(self.size());
        let own = self.bytes(offset.min(end)..end);
        if own == bytes {
            // As a whole first: byte by byte is slow without optimization.
            return None;
        }
        let equal = own.iter().zip(bytes).take_while(|(own, byte)| own == byte);
        let place = equal.count();
        (place < bytes.len()).then_some(offset + place as u64)
    }
}

fn told(seed: u64, interval: Range<u64>) -> Vec<u8> {
    let length = usize::try_from(interval.end.saturating_sub(interval.start)).unwrap();
    let first = interval.start / 8;
    let skipped = usize::try_from(interval.start % 8).unwrap();
    let mut bytes = vec![0; (length + skipped).next_multiple_of(8)];
    for (index, place) in (first..).zip(bytes.chunks_exact_mut(8)) {
        place.copy_from_slice(&word(seed, index).to_le_bytes());
    }
    bytes.truncate(length + skipped);
    bytes.drain(..skipped);
    bytes
}

/// An odd factor and a shift: two seeds differ in every word, and two places under one seed as well.
fn word(seed: u64, index: u64) -> u64 {
    let mixed = seed.wrapping_add(index).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

#[test]
fn bytes_are_the_same_however_they_are_cut() {
    let content = Content::Told {
        seed: 7,
        size: 1000,
    };
    let whole = content.bytes(0..1000);
    for (start, end) in [(0, 0), (0, 1), (7, 9), (8, 16), (3, 1000), (999, 1000)] {
        let part = &whole[start..end];
        let (start, end) = (start as u64, end as u64);
        assert_eq!(content.bytes(start..end), part);
        assert!(content.matches(start, part));
    }
    let other = Content::Told {
        seed: 8,
        size: 1000,
    };
    assert!(!other.matches(0, &whole[..8]));
    assert_eq!(content.first_difference(0, &whole), None);
    let mut torn = whole[..504].to_vec();
    torn.extend_from_slice(&other.bytes(504..1000));
    assert_eq!(content.first_difference(0, &torn), Some(504));
}
