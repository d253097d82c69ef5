//! How the body of a request is checked: what the request declares, and the decoder that follows from it.

mod checksum;
mod chunked;
mod declared;
mod decoder;
mod error;

use std::sync::Arc;

use crate::sigv4::{ChunkSignatures, hex};

pub use checksum::ChecksumAlgorithm;
pub(super) use declared::{DeclaredPayload, may_have_body};
pub use decoder::{PayloadDecoder, TrailerField};
pub use error::PayloadError;

/// How a body is checked while it streams. Cheap to clone; each attempt gets a decoder of its own.
#[derive(Clone)]
pub struct PayloadMode {
    check: Check,
    decoded_length: Option<u64>,
}

#[derive(Clone)]
enum Check {
    /// The bytes are what they are.
    Unsigned,
    /// The whole body has this hash.
    Sha256([u8; 32]),
    /// The body is framed as aws-chunked.
    AwsChunked(Arc<Framing>),
}

/// What is known of an aws-chunked body before it begins.
struct Framing {
    /// Where the chain of chunk signatures starts; `None` when chunks are not signed.
    signatures: Option<ChunkSignatures>,
    /// Whether trailing fields end with a signature of their own.
    is_trailer_signed: bool,
    /// Announced by `x-amz-trailer`.
    trailer: Vec<ChecksumAlgorithm>,
}

impl PayloadMode {
    /// A decoder at the beginning of the body.
    pub fn decoder(&self) -> PayloadDecoder {
        PayloadDecoder::new(self)
    }

    /// Whether the body on the wire is framed, so that the origin must not get it as it is.
    pub fn is_aws_chunked(&self) -> bool {
        matches!(self.check, Check::AwsChunked(_))
    }

    /// Bytes of the body without framing, if the request says so.
    pub fn decoded_length(&self) -> Option<u64> {
        self.decoded_length
    }

    /// The checksums that follow the body, in the order in which they were announced.
    pub fn trailer(&self) -> &[ChecksumAlgorithm] {
        match &self.check {
            Check::AwsChunked(framing) => &framing.trailer,
            Check::Unsigned | Check::Sha256(_) => &[],
        }
    }

    /// The names of the fields that follow the body.
    pub fn trailer_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.trailer()
            .iter()
            .map(|algorithm| algorithm.field_name())
    }

    /// The signed hash of the whole body, if there is one.
    pub fn sha256_hex(&self) -> Option<String> {
        match &self.check {
            Check::Sha256(hash) => Some(hex::encode(hash)),
            Check::Unsigned | Check::AwsChunked(_) => None,
        }
    }
}
