//! Why a read failed. A failure of the cache is none: it is a miss.

use std::fmt;
use std::sync::Arc;

use crate::upstream::Answer;
use crate::upstream::UpstreamError;

/// Why a fill brought no more bytes. Shared by everyone who followed it.
#[derive(Debug, Clone)]
pub enum FillError {
    /// The object is another one now: `412 Precondition Failed`, or another ETag.
    Changed,
    /// The origin refused, in its own words.
    Refused(Arc<Answer>),
    /// The origin could not be asked, or broke off too often.
    Upstream(Arc<UpstreamError>),
    /// The answer is not what was asked for: what does not fit.
    Unexpected(&'static str),
    /// Everyone who followed it had left.
    Abandoned,
}

/// Why a client cannot be given an answer, or no more of it.
#[derive(Debug, Clone)]
pub enum ReadError {
    /// The origin could not be asked, or broke off too often.
    Upstream(Arc<UpstreamError>),
    /// The object was replaced while it was being read; bytes of two versions are never mixed.
    Changed,
    /// The origin refused to give more, or gave something else.
    Refused(&'static str),
}

impl From<FillError> for ReadError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Changed => Self::Changed,
            FillError::Upstream(error) => Self::Upstream(error),
            FillError::Refused(_) => Self::Refused("the origin refuses to give more of it"),
            FillError::Unexpected(what) => Self::Refused(what),
            FillError::Abandoned => Self::Refused("the fill was abandoned"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(error) => write!(f, "{error}"),
            Self::Changed => f.write_str("the object was replaced while it was being read"),
            Self::Refused(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Upstream(error) => Some(error.as_ref()),
            Self::Changed | Self::Refused(_) => None,
        }
    }
}
