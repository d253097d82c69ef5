//! Why a body is refused.

use std::fmt;

use crate::s3::ErrorCode;

/// Why a body is refused. `Display` is the public message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadError {
    /// The framing is not aws-chunked.
    Framing,
    /// More bytes than the request promised.
    TooLong,
    /// Fewer bytes than the request promised, or the framing does not end.
    TooShort,
    /// The SHA-256 of the body is not the signed one.
    Sha256Mismatch,
    /// A chunk or the trailer has another signature.
    SignatureMismatch,
    /// The trailing fields are not the announced ones, or not well formed.
    Trailer,
    /// A trailing checksum is not a base64 value of the right size.
    ChecksumInvalid,
    /// A trailing checksum is not that of the body.
    ChecksumMismatch,
}

impl PayloadError {
    /// The S3 code that the client is answered with.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Framing | Self::ChecksumInvalid => ErrorCode::InvalidRequest,
            Self::TooLong | Self::TooShort => ErrorCode::IncompleteBody,
            Self::Sha256Mismatch => ErrorCode::XAmzContentSHA256Mismatch,
            Self::SignatureMismatch => ErrorCode::SignatureDoesNotMatch,
            Self::Trailer => ErrorCode::MalformedTrailerError,
            Self::ChecksumMismatch => ErrorCode::BadDigest,
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Framing => "The body is not well-formed aws-chunked content.",
            Self::TooLong => "The request body is longer than its declared length.",
            Self::TooShort => "The request body terminated unexpectedly",
            Self::ChecksumInvalid => "Value for the trailing checksum header is invalid.",
            Self::Sha256Mismatch
            | Self::SignatureMismatch
            | Self::Trailer
            | Self::ChecksumMismatch => self.code().message(),
        })
    }
}

impl std::error::Error for PayloadError {}
