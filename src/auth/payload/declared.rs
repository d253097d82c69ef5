//! What a request declares about its body in its head.

use std::sync::Arc;

use http::{Method, header};

use crate::auth::AuthError;
use crate::auth::payload::{Check, ChecksumAlgorithm, Framing, PayloadMode};
use crate::s3::RequestHead;
use crate::sigv4::{AMZ_CONTENT_SHA256, CanonicalQuery, ChunkSignatures, hex};

/// The value of `x-amz-content-sha256`, or of the parameter that stands for it in a presigned URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum DeclaredPayload {
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// The hash of the whole body.
    Sha256([u8; 32]),
    /// One of the `STREAMING-` values.
    Streaming {
        /// Whether each chunk has a signature.
        is_signed: bool,
        /// Whether fields follow the last chunk.
        has_trailer: bool,
    },
}

impl DeclaredPayload {
    /// Finds the declaration, if there is one, and its text: the payload hash of the canonical
    /// request.
    pub(in crate::auth) fn of(
        head: &RequestHead<'_>,
        query: &CanonicalQuery<'_>,
        is_presigned: bool,
    ) -> Result<Option<(Self, String)>, AuthError> {
        let in_field = match head.headers.get(&AMZ_CONTENT_SHA256) {
            Some(value) => Some(value.to_str().map_err(|_| AuthError::PayloadHashInvalid)?),
            None => None,
        };
        let in_query = is_presigned
            .then(|| query.value("X-Amz-Content-Sha256"))
            .flatten();
        let text = match (in_field, in_query.as_deref()) {
            (Some(field), Some(parameter)) if field != parameter => {
                return Err(AuthError::PayloadHashInvalid);
            }
            (field, parameter) => field.or(parameter),
        };
        let declared = text.map(|text| Ok((Self::parse(text)?, text.to_owned())));
        declared.transpose()
    }

    fn parse(text: &str) -> Result<Self, AuthError> {
        let streaming = |is_signed, has_trailer| Self::Streaming {
            is_signed,
            has_trailer,
        };
        Ok(match text {
            "UNSIGNED-PAYLOAD" => Self::Unsigned,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => streaming(false, true),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => streaming(true, false),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => streaming(true, true),
            _ if text.starts_with("STREAMING-AWS4-ECDSA-") => return Err(AuthError::PayloadV4a),
            _ => hex::decode(text.as_bytes())
                .map(Self::Sha256)
                .ok_or(AuthError::PayloadHashInvalid)?,
        })
    }

    /// Whether nothing signed covers the bytes of the body.
    pub(in crate::auth) fn is_unsigned(self) -> bool {
        match self {
            Self::Unsigned => true,
            Self::Streaming { is_signed, .. } => !is_signed,
            Self::Sha256(_) => false,
        }
    }

    /// How the body of a signed request is checked. `signatures` is where a chain of chunk
    /// signatures starts.
    pub(in crate::auth) fn mode(
        self,
        head: &RequestHead<'_>,
        signatures: impl FnOnce() -> ChunkSignatures,
    ) -> Result<PayloadMode, AuthError> {
        match self {
            Self::Sha256(hash) => plain(head, Check::Sha256(hash)),
            Self::Unsigned => unsigned(head),
            Self::Streaming {
                is_signed,
                has_trailer,
            } => chunked(head, is_signed.then(signatures), has_trailer),
        }
    }

    /// How the body of a request without a signature is checked: not at all, but the framing is taken
    /// off, and a trailing checksum must be right.
    pub(in crate::auth) fn mode_without_signature(
        head: &RequestHead<'_>,
    ) -> Result<PayloadMode, AuthError> {
        match head.field(&AMZ_CONTENT_SHA256).map(Self::parse) {
            Some(Ok(Self::Streaming { has_trailer, .. })) => chunked(head, None, has_trailer),
            _ => unsigned(head),
        }
    }
}

/// Whether a body may follow: its length says so, or nothing does and the method suggests one, as
/// HTTP/2 allows.
pub(in crate::auth) fn may_have_body(head: &RequestHead<'_>) -> bool {
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        return true;
    }
    match head.headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.as_bytes() != b"0",
        None => matches!(*head.method, Method::PUT | Method::POST | Method::PATCH),
    }
}

fn plain(head: &RequestHead<'_>, check: Check) -> Result<PayloadMode, AuthError> {
    let decoded_length = length(head, "content-length")?;
    Ok(PayloadMode {
        check,
        decoded_length,
    })
}

/// Clients that sign nothing still frame a body when they send a checksum after it.
fn unsigned(head: &RequestHead<'_>) -> Result<PayloadMode, AuthError> {
    let is_framed = head.headers.contains_key("x-amz-decoded-content-length")
        && head
            .headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case("aws-chunked"));
    if is_framed {
        chunked(head, None, true)
    } else {
        plain(head, Check::Unsigned)
    }
}

fn chunked(
    head: &RequestHead<'_>,
    signatures: Option<ChunkSignatures>,
    has_trailer: bool,
) -> Result<PayloadMode, AuthError> {
    let decoded_length =
        length(head, "x-amz-decoded-content-length")?.ok_or(AuthError::DecodedLengthMissing)?;
    let trailer = if has_trailer {
        announced(head)?
    } else {
        Vec::new()
    };
    let framing = Framing {
        is_trailer_signed: has_trailer && signatures.is_some(),
        signatures,
        trailer,
    };
    Ok(PayloadMode {
        check: Check::AwsChunked(Arc::new(framing)),
        decoded_length: Some(decoded_length),
    })
}

/// The checksums that `x-amz-trailer` announces, each once.
fn announced(head: &RequestHead<'_>) -> Result<Vec<ChecksumAlgorithm>, AuthError> {
    let Some(value) = head.headers.get("x-amz-trailer") else {
        return Ok(Vec::new());
    };
    let value = value.to_str().map_err(|_| AuthError::TrailerUnsupported)?;
    let mut trailer = Vec::new();
    for name in value.split(',') {
        let algorithm = ChecksumAlgorithm::from_field_name(name.trim_ascii())
            .filter(|algorithm| !trailer.contains(algorithm))
            .ok_or(AuthError::TrailerUnsupported)?;
        trailer.push(algorithm);
    }
    Ok(trailer)
}

fn length(head: &RequestHead<'_>, name: &str) -> Result<Option<u64>, AuthError> {
    let Some(value) = head.headers.get(name) else {
        return Ok(None);
    };
    let digits = value.to_str().unwrap_or_default();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number);
    number.map(Some).ok_or(AuthError::LengthInvalid)
}
