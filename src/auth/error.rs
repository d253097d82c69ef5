//! Why a request is refused: one variant a reason, each with its S3 code and its public message.

use std::fmt;
use std::sync::Arc;

use crate::auth::web_identity::ExchangeError;
use crate::s3::ErrorCode;

/// Why a request could not be verified. `Display` is the public message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// No credentials, and anonymous requests are not configured.
    Anonymous,
    /// Signature version 2, in the header or in the query.
    SignatureV2,
    /// SigV4A, the asymmetric variant.
    SignatureV4a,
    /// An `Authorization` scheme or `X-Amz-Algorithm` that is none of ours.
    UnsupportedScheme,
    /// Credentials both in `Authorization` and in the query.
    SeveralMechanisms,
    /// A field that may stand once stands more often, or is not text.
    AmbiguousField(&'static str),
    /// `Authorization` is not well formed; the fact says where.
    HeaderMalformed(Malformed),
    /// A query-string authentication parameter is missing or wrong.
    QueryMalformed(Malformed),
    /// Neither `x-amz-date` nor `Date` is there and readable.
    DateMissing,
    /// The region of the credential scope is not one of the configured ones.
    WrongRegion {
        /// What the client signed for.
        found: String,
        /// The first configured region; AWS's clients read it and sign again.
        expected: String,
    },
    /// A field that has to be signed is not.
    NotSigned(String),
    /// A signed field is not in the request.
    SignedFieldAbsent(String),
    /// The request's date is too far from this machine's clock.
    TimeTooSkewed,
    /// A presigned URL from the future.
    NotYetValid,
    /// A presigned URL whose time is over.
    Expired,
    /// No client has this access key id.
    UnknownAccessKey,
    /// The signature is another one; what was computed is attached, without secrets.
    SignatureMismatch(Box<SignatureMismatch>),
    /// `x-amz-content-sha256` is absent and the request has a body: the caller collects it (up to a
    /// small limit) and verifies again with its hash.
    BodyHashNeeded,
    /// `x-amz-content-sha256` has a value that means nothing.
    PayloadHashInvalid,
    /// An asymmetric payload signature.
    PayloadV4a,
    /// An unsigned payload where the configuration refuses them.
    PayloadUnsigned,
    /// aws-chunked without `x-amz-decoded-content-length`.
    DecodedLengthMissing,
    /// `Content-Length` or `x-amz-decoded-content-length` is not a number.
    LengthInvalid,
    /// `x-amz-trailer` announces something that cannot be verified.
    TrailerUnsupported,
    /// The session token does not belong to the key, is missing, or was sent without need.
    TokenInvalid,
    /// Bearer tokens are not configured.
    BearerUnsupported,
    /// A web identity token could not be exchanged.
    Exchange(ExchangeError),
}

/// What is wrong with an authentication header or query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A part is missing, repeated, or not known.
    Parts,
    /// The credential is not `AK/yyyymmdd/region/service/aws4_request`.
    Credential,
    /// The service of the scope is not `s3`.
    Service,
    /// The day of the scope is not the day of the date.
    ScopeDay,
    /// The signed headers are not lower-case names in ascending order.
    SignedHeaders,
    /// The signature is not 64 lower-case hexadecimal digits.
    Signature,
    /// `X-Amz-Date` is not `yyyymmddThhmmssZ`.
    Date,
    /// `X-Amz-Expires` is not a number from 1 to 604800.
    Expires,
}

/// What was compared when a signature did not match, as S3 shows it in its error document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureMismatch {
    /// Whose key.
    pub access_key_id: Arc<str>,
    /// What was signed here.
    pub string_to_sign: String,
    /// What the client sent.
    pub signature_provided: String,
    /// What was hashed into the string to sign; values of tokens and customer keys are redacted.
    pub canonical_request: String,
}

impl AuthError {
    /// The S3 code that the client is answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Anonymous
            | Self::NotSigned(_)
            | Self::NotYetValid
            | Self::Expired
            | Self::BearerUnsupported
            | Self::DateMissing => ErrorCode::AccessDenied,
            Self::SignatureV2
            | Self::AmbiguousField(_)
            | Self::PayloadUnsigned
            | Self::TrailerUnsupported => ErrorCode::InvalidRequest,
            Self::SignatureV4a | Self::PayloadV4a => ErrorCode::NotImplemented,
            Self::UnsupportedScheme
            | Self::SeveralMechanisms
            | Self::PayloadHashInvalid
            | Self::LengthInvalid => ErrorCode::InvalidArgument,
            Self::HeaderMalformed(_) | Self::WrongRegion { .. } => {
                ErrorCode::AuthorizationHeaderMalformed
            }
            Self::QueryMalformed(_) => ErrorCode::AuthorizationQueryParametersError,
            Self::SignedFieldAbsent(_) | Self::SignatureMismatch(_) => {
                ErrorCode::SignatureDoesNotMatch
            }
            Self::TimeTooSkewed => ErrorCode::RequestTimeTooSkewed,
            Self::UnknownAccessKey => ErrorCode::InvalidAccessKeyId,
            Self::BodyHashNeeded => ErrorCode::MissingSecurityHeader,
            Self::DecodedLengthMissing => ErrorCode::MissingContentLength,
            Self::TokenInvalid => ErrorCode::InvalidToken,
            Self::Exchange(error) => error.code(),
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::SignatureV2 => {
                "Signature version 2 is not supported. Please use AWS4-HMAC-SHA256, with boto3 \
                 Config(signature_version='s3v4')."
            }
            Self::SignatureV4a | Self::PayloadV4a => {
                "AWS4-ECDSA-P256-SHA256 (SigV4A) is not supported. Please use AWS4-HMAC-SHA256."
            }
            Self::UnsupportedScheme => "Unsupported Authorization Type",
            Self::SeveralMechanisms => {
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
                 Signature query string parameter or the Authorization header should be specified"
            }
            Self::AmbiguousField(name) => {
                return write!(f, "The {name} header may be given once, as plain text.");
            }
            Self::HeaderMalformed(malformed) => {
                return write!(f, "The authorization header is malformed; {malformed}.");
            }
            Self::QueryMalformed(malformed) => {
                return write!(
                    f,
                    "Error parsing the query-string authentication; {malformed}."
                );
            }
            Self::DateMissing => "AWS authentication requires a valid Date or x-amz-date header",
            Self::WrongRegion { found, expected } => {
                return write!(
                    f,
                    "The authorization header is malformed; the region '{found}' is wrong; \
                     expecting '{expected}'"
                );
            }
            Self::NotSigned(_) => "There were headers present in the request which were not signed",
            Self::SignedFieldAbsent(name) => {
                return write!(f, "The signed header {name} is not present in the request.");
            }
            Self::NotYetValid => "Request is not valid yet",
            Self::Expired => "Request has expired",
            Self::BodyHashNeeded => {
                "Missing required header for this request: x-amz-content-sha256"
            }
            Self::PayloadHashInvalid => {
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, \
                 or a valid sha256 value."
            }
            Self::PayloadUnsigned => "This service requires signed payloads.",
            Self::DecodedLengthMissing => {
                "You must provide the x-amz-decoded-content-length HTTP header."
            }
            Self::LengthInvalid => "The length of the body is not a number.",
            Self::TrailerUnsupported => {
                "The value specified in the x-amz-trailer header is not supported"
            }
            Self::Exchange(error) => return error.fmt(f),
            Self::Anonymous
            | Self::TimeTooSkewed
            | Self::UnknownAccessKey
            | Self::SignatureMismatch(_)
            | Self::TokenInvalid
            | Self::BearerUnsupported => self.code().message(),
        };
        f.write_str(message)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parts => {
                "exactly one algorithm, credential, list of signed headers and signature is \
                 required, and with query parameters a date and an expiry"
            }
            Self::Credential => {
                "the credential is mal-formed; expecting \
                 \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\""
            }
            Self::Service => "incorrect service; this endpoint belongs to \"s3\"",
            Self::ScopeDay => "the date in the credential scope is not the date of the request",
            Self::SignedHeaders => "the signed headers must be lower-case names in ascending order",
            Self::Signature => "the signature must be 64 lower-case hexadecimal digits",
            Self::Date => "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            Self::Expires => "X-Amz-Expires must be a number from 1 to 604800",
        })
    }
}

impl std::error::Error for AuthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Exchange(error) = self {
            Some(error)
        } else {
            None
        }
    }
}
