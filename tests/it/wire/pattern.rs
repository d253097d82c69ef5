//! Bytes that can be checked at any offset without being kept: comparing them is stronger than
//! comparing hashes, and costs next to nothing.

use std::sync::LazyLock;

/// A prime, so that nothing aligned to powers of two can go unnoticed.
const PERIOD: usize = 65_521;

static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state: u32 = 0x9E37_79B9;
    let once: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect();
    once.repeat(2)
});

/// At most `length` bytes at an offset; at least one unless `length` is zero.
pub(super) fn piece(offset: u64, length: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).unwrap();
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(PERIOD);
    &TWICE[start..start + length]
}

/// All bytes from the beginning.
pub(super) fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = piece(bytes.len() as u64, (length - bytes.len()) as u64);
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Whether these bytes stand at this offset.
pub(super) fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = piece(offset, bytes.len() as u64);
        let (head, tail) = bytes.split_at(expected.len());
        if head != expected {
            return false;
        }
        offset += head.len() as u64;
        bytes = tail;
    }
    true
}
