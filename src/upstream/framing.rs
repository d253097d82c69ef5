//! aws-chunked towards the origin: unsigned chunks of one size, then one trailing checksum.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
//!
//! Chunks have a fixed size so that `Content-Length` is known before the first byte: S3 takes no
//! request of unknown length.

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

/// Bytes in every chunk but the last. S3 wants at least 8 KiB; a body that is too large to be checked
/// before it is sent fills at least one, so that the origin gets a part of it before it can turn out
/// wrong.
const CHUNK_BYTES: usize = 32 * 1024;

/// Trailing checksums, each with the length of its base64 value.
const CHECKSUMS: &[(&str, usize)] = &[
    ("x-amz-checksum-crc32", 8),
    ("x-amz-checksum-crc32c", 8),
    ("x-amz-checksum-crc64nvme", 12),
    ("x-amz-checksum-sha1", 28),
    ("x-amz-checksum-sha256", 44),
];

/// The known name of a trailing checksum; `None` for anything else.
pub fn checksum_name(name: &str) -> Option<&'static str> {
    CHECKSUMS
        .iter()
        .map(|(known, _)| *known)
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// Length of the framed body.
pub(super) fn encoded_length(decoded_length: u64, trailer: &str) -> u64 {
    let value_bytes = CHECKSUMS
        .iter()
        .find(|(name, _)| *name == trailer)
        .map_or(0, |(_, value_bytes)| *value_bytes);
    let chunk = CHUNK_BYTES as u64;
    let rest = decoded_length % chunk;
    let full_chunks = (decoded_length / chunk) * (chunk + overhead(chunk));
    let last_chunk = if rest == 0 { 0 } else { rest + overhead(rest) };
    let tail = "0\r\n".len() + trailer.len() + ":".len() + value_bytes + "\r\n\r\n".len();
    full_chunks + last_chunk + tail as u64
}

/// Bytes around a chunk: its size in hex and two line ends.
fn overhead(size: u64) -> u64 {
    let digits = u64::from(u64::BITS - size.leading_zeros()).div_ceil(4);
    digits + 4
}

/// Frames a body as it streams by. Holds less than one chunk.
#[derive(Debug, Default)]
pub struct TrailingFramer {
    pending: BytesMut,
}

impl TrailingFramer {
    /// Takes decoded bytes, gives the chunks that are complete.
    pub fn push(&mut self, piece: &[u8]) -> Bytes {
        self.pending.extend_from_slice(piece);
        let mut framed = BytesMut::new();
        while self.pending.len() >= CHUNK_BYTES {
            let chunk = self.pending.split_to(CHUNK_BYTES);
            put_chunk(&mut framed, &chunk);
        }
        framed.freeze()
    }

    /// Gives what is left, the last chunk and the trailer.
    pub fn finish(&mut self, trailer: &str, value: &str) -> Bytes {
        let mut framed = BytesMut::new();
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            put_chunk(&mut framed, &rest);
        }
        framed.put_slice(format!("0\r\n{trailer}:{value}\r\n\r\n").as_bytes());
        framed.freeze()
    }
}

fn put_chunk(framed: &mut BytesMut, chunk: &[u8]) {
    framed.reserve(chunk.len() + 16);
    framed.put_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
    framed.put_slice(chunk);
    framed.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_framing_is_what_s3_documents() {
        let mut framer = TrailingFramer::default();
        assert!(framer.push(b"hello").is_empty());
        let bytes = framer.finish("x-amz-checksum-crc32", "NhCmhg==");
        assert_eq!(
            &bytes[..],
            b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn the_length_is_known_before_the_first_byte(
            pieces in prop::collection::vec(0_usize..200_000, 0..6),
            algorithm in 0..CHECKSUMS.len(),
        ) {
            let (trailer, value_bytes) = CHECKSUMS[algorithm];
            let mut framer = TrailingFramer::default();
            let mut framed = 0;
            for piece in &pieces {
                framed += framer.push(&vec![7; *piece]).len();
                prop_assert!(framer.pending.len() < CHUNK_BYTES);
            }
            framed += framer.finish(trailer, &"v".repeat(value_bytes)).len();
            let decoded: usize = pieces.iter().sum();
            prop_assert_eq!(framed as u64, encoded_length(decoded as u64, trailer));
        }
    }
}
