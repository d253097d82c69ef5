//! What can go wrong between us and an origin.

use std::fmt;
use std::time::Duration;

use super::credentials::CredentialsError;
use super::resolve::ResolveError;
use super::sign::SignError;
use crate::s3::ErrorCode;

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
}

impl UpstreamError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Resolve(_)
            | Self::Credentials(_)
            | Self::Connection(_)
            | Self::TimedOut(_)
            | Self::Redirected => ErrorCode::ServiceUnavailable,
            Self::Sign(SignError::FieldNotText) => ErrorCode::InvalidArgument,
            Self::Sign(_) | Self::AnswerTooLong(_) => ErrorCode::InternalError,
        }
    }

    /// A short fixed word for metrics and the access log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Credentials(_) => "credentials",
            Self::Sign(_) => "sign",
            Self::Connection(_) => "connection",
            Self::TimedOut(_) => "timeout",
            Self::AnswerTooLong(_) => "answer",
            Self::Redirected => "redirect",
        }
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
            Self::TimedOut(_) | Self::AnswerTooLong(_) | Self::Redirected => None,
        }
    }
}
