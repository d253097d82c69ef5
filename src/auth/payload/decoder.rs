//! Checks a body while it streams, and never lets all of it go before everything is right.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::auth::payload::chunked::ChunkedDecoder;
use crate::auth::payload::{Check, ChecksumAlgorithm, PayloadError, PayloadMode};

/// Takes the body as it comes over the wire and answers what may be forwarded.
///
/// The last piece is always kept back until [`finish`](Self::finish) has verified the hash, the
/// signatures, the checksums and the length. A body that turns out wrong is therefore never
/// forwarded completely, and an origin that was promised its length discards it.
pub struct PayloadDecoder {
    body: Body,
    held: Option<Bytes>,
    decoded_length: Option<u64>,
    decoded: u64,
    failed: Option<PayloadError>,
}

/// A trailing field that has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailerField {
    /// What it is.
    pub algorithm: ChecksumAlgorithm,
    /// Its value, base64.
    pub value: String,
}

enum Body {
    Plain,
    Hashed { hasher: Sha256, expected: [u8; 32] },
    AwsChunked(Box<ChunkedDecoder>),
}

impl PayloadDecoder {
    pub(super) fn new(mode: &PayloadMode) -> Self {
        let body = match &mode.check {
            Check::Unsigned => Body::Plain,
            Check::Sha256(expected) => Body::Hashed {
                hasher: Sha256::new(),
                expected: *expected,
            },
            Check::AwsChunked(framing) => {
                let length = mode.decoded_length.unwrap_or(u64::MAX);
                Body::AwsChunked(Box::new(ChunkedDecoder::new(framing, length)))
            }
        };
        Self {
            body,
            held: None,
            decoded_length: mode.decoded_length,
            decoded: 0,
            failed: None,
        }
    }

    /// Takes a piece of the wire and answers the decoded bytes that may be forwarded now. Plain
    /// bodies are not copied. After an error every further call answers the same error.
    pub fn push(&mut self, piece: Bytes) -> Result<Option<Bytes>, PayloadError> {
        self.once(|decoder| decoder.advance(piece))
    }

    /// Ends the body: verifies what is left to verify, and answers the rest and the trailing fields.
    pub fn finish(&mut self) -> Result<(Option<Bytes>, Vec<TrailerField>), PayloadError> {
        self.once(Self::verify)
    }

    fn once<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, PayloadError>,
    ) -> Result<T, PayloadError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = step(self);
        if let Err(error) = &result {
            self.failed = Some(*error);
            self.held = None;
        }
        result
    }

    fn advance(&mut self, piece: Bytes) -> Result<Option<Bytes>, PayloadError> {
        let decoded = match &mut self.body {
            Body::Plain => piece,
            Body::Hashed { hasher, .. } => {
                hasher.update(&piece);
                piece
            }
            Body::AwsChunked(chunked) => chunked.decode(piece)?,
        };
        if decoded.is_empty() {
            return Ok(None);
        }
        self.decoded = self.decoded.saturating_add(decoded.len() as u64);
        if self
            .decoded_length
            .is_some_and(|length| self.decoded > length)
        {
            return Err(PayloadError::TooLong);
        }
        Ok(self.hold(decoded))
    }

    /// Keeps a piece back and answers what was kept before. Of the first piece all but the last
    /// byte goes out: SeaweedFS keeps an upload of which nothing arrived as an empty object, and
    /// discards one of which a part did.
    fn hold(&mut self, mut decoded: Bytes) -> Option<Bytes> {
        if self.held.is_none() {
            self.held = Some(decoded.split_off(decoded.len() - 1));
            return Some(decoded).filter(|front| !front.is_empty());
        }
        self.held.replace(decoded)
    }

    fn verify(&mut self) -> Result<(Option<Bytes>, Vec<TrailerField>), PayloadError> {
        let trailer = match &mut self.body {
            Body::Plain => Vec::new(),
            Body::Hashed { hasher, expected } => {
                let computed = hasher.clone().finalize();
                if self
                    .decoded_length
                    .is_some_and(|length| self.decoded < length)
                {
                    return Err(PayloadError::TooShort);
                }
                if !bool::from(computed.ct_eq(expected)) {
                    return Err(PayloadError::Sha256Mismatch);
                }
                Vec::new()
            }
            Body::AwsChunked(chunked) => chunked.finish()?,
        };
        if self
            .decoded_length
            .is_some_and(|length| self.decoded != length)
        {
            return Err(PayloadError::TooShort);
        }
        Ok((self.held.take(), trailer))
    }
}
