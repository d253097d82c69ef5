//! What can go wrong between us and an origin.

use std::fmt;
use std::time::Duration;

use pingora::ErrorType;

use super::credentials::CredentialsError;
use super::resolve::ResolveError;
use super::sign::SignError;
use crate::s3::ErrorCode;
use crate::telemetry::UpstreamErrorKind;

/// Why an origin could not be asked, or did not answer.
#[derive(Debug)]
pub enum UpstreamError {
    /// Its name has no usable address.
    Resolve(ResolveError),
    /// Its credentials cannot be had.
    Credentials(CredentialsError),
    /// The request cannot be signed.
    Sign(SignError),
    /// The connection failed.
    Connection(Box<pingora::Error>),
    /// The whole exchange took longer than allowed.
    TimedOut(Duration),
    /// The answer is longer than the operation's answers are.
    AnswerTooLong(usize),
    /// A redirect that leads out of the configured service.
    Redirected,
    /// Nothing came, or nothing could be sent, for so long.
    Silent(Duration),
    /// The body ended before all the bytes were there that its head had promised.
    Short {
        /// How many are missing.
        missing: u64,
    },
    /// More requests wait for a connection than may.
    TooManyWaiting,
}

impl UpstreamError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Resolve(_)
            | Self::Credentials(_)
            | Self::Connection(_)
            | Self::TimedOut(_)
            | Self::Silent(_)
            | Self::Short { .. }
            | Self::Redirected => ErrorCode::ServiceUnavailable,
            Self::TooManyWaiting => ErrorCode::SlowDown,
            Self::Sign(SignError::FieldNotText) => ErrorCode::InvalidArgument,
            Self::Sign(_) | Self::AnswerTooLong(_) => ErrorCode::InternalError,
        }
    }

    /// Whether the way to the origin failed, not the question: asking again may help, and a body
    /// may be taken up where it ended.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Connection(error) => connection_kind(error) != UpstreamErrorKind::Protocol,
            Self::Silent(_) | Self::Short { .. } => true,
            Self::Resolve(_)
            | Self::Credentials(_)
            | Self::Sign(_)
            | Self::TimedOut(_)
            | Self::AnswerTooLong(_)
            | Self::Redirected
            | Self::TooManyWaiting => false,
        }
    }

    /// What kind of failure it is, for metrics.
    pub fn kind(&self) -> UpstreamErrorKind {
        match self {
            Self::Resolve(_) => UpstreamErrorKind::Resolve,
            Self::Credentials(_) => UpstreamErrorKind::Credentials,
            Self::Sign(_) | Self::TooManyWaiting => UpstreamErrorKind::Other,
            Self::Connection(error) => connection_kind(error),
            Self::TimedOut(_) | Self::Silent(_) => UpstreamErrorKind::Timeout,
            Self::Short { .. } => UpstreamErrorKind::Closed,
            Self::AnswerTooLong(_) | Self::Redirected => UpstreamErrorKind::Protocol,
        }
    }
}

/// What kind of failure Pingora met on a connection to an origin.
pub fn connection_kind(error: &pingora::Error) -> UpstreamErrorKind {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout
        | ErrorType::TLSHandshakeTimedout => UpstreamErrorKind::Timeout,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError => UpstreamErrorKind::Connect,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            UpstreamErrorKind::Tls
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            UpstreamErrorKind::Closed
        }
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error => {
            UpstreamErrorKind::Protocol
        }
        _ => UpstreamErrorKind::Other,
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "{error}"),
            Self::Credentials(error) => write!(f, "{error}"),
            Self::Sign(error) => write!(f, "{error}"),
            Self::Connection(error) => write!(f, "{error}"),
            Self::TimedOut(limit) => write!(f, "no complete answer within {limit:?}"),
            Self::AnswerTooLong(limit) => write!(f, "the answer is longer than {limit} bytes"),
            Self::Redirected => f.write_str("the origin redirects to somewhere else"),
            Self::Silent(limit) => write!(f, "the origin was silent for {limit:?}"),
            Self::Short { missing } => write!(f, "the body is {missing} bytes short"),
            Self::TooManyWaiting => f.write_str("too many requests wait for a connection"),
        }
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::Sign(error) => Some(error),
            Self::Connection(error) => Some(error.as_ref()),
            Self::TimedOut(_)
            | Self::AnswerTooLong(_)
            | Self::Redirected
            | Self::Silent(_)
            | Self::Short { .. }
            | Self::TooManyWaiting => None,
        }
    }
}
