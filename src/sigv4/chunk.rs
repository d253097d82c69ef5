//! Chunk signatures: each chunk signs the one before it, the first one the request's own signature.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

use super::{AmzDate, Signature, SigningKey, hex};

/// SHA-256 of nothing.
pub const EMPTY_SHA256_HEX: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The chain of signatures of one body.
#[derive(Clone)]
pub struct ChunkSignatures {
    key: SigningKey,
    date: AmzDate,
    scope: String,
    previous: Signature,
}

impl ChunkSignatures {
    /// Starts a chain with the signature of the request.
    pub fn new(key: SigningKey, date: AmzDate, scope: String, seed: Signature) -> Self {
        Self {
            key,
            date,
            scope,
            previous: seed,
        }
    }

    /// Advances over a chunk whose data has this SHA-256 and answers its signature.
    pub fn chunk(&mut self, data_sha256: &[u8; 32]) -> Signature {
        self.advance(
            "AWS4-HMAC-SHA256-PAYLOAD",
            Some(EMPTY_SHA256_HEX),
            data_sha256,
        )
    }

    /// Advances over the trailer whose `name:value\n` lines have this SHA-256.
    pub fn trailer(&mut self, lines_sha256: &[u8; 32]) -> Signature {
        self.advance("AWS4-HMAC-SHA256-TRAILER", None, lines_sha256)
    }

    fn advance(&mut self, algorithm: &str, extra: Option<&str>, sha256: &[u8; 32]) -> Signature {
        let date = self.date.as_str();
        let previous = self.previous.to_hex();
        let mut text = format!("{algorithm}\n{date}\n{}\n{previous}\n", self.scope);
        if let Some(line) = extra {
            text.push_str(line);
            text.push('\n');
        }
        hex::push(&mut text, sha256);
        self.previous = self.key.sign(text.as_bytes());
        self.previous
    }
}
