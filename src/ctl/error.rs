//! What can go wrong, with the exit code that a script sees.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum CtlError {
    /// The words of the command line mean nothing.
    Usage(String),
    /// The token cannot be read.
    Token(PathBuf, io::Error),
    /// No connection.
    Connect(String, io::Error),
    /// The connection broke, or what came over it was no answer.
    Exchange(String),
    /// The admin listener refuses, in its own words.
    Refused(u16, String),
    /// Nothing can be printed any more.
    Output(io::Error),
    /// It was done in part.
    Incomplete(String),
}

impl CtlError {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Incomplete(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Connect(..) | Self::Exchange(_) => 3,
            Self::Token(..) | Self::Refused(..) => 4,
        })
    }
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Incomplete(why) => f.write_str(why),
            Self::Token(path, error) => {
                write!(f, "the token in {} cannot be read: {error}", path.display())
            }
            Self::Connect(target, error) => write!(
                f,
                "no connection to {target}: {error}; is s3proxy running, and is this its admin \
                 listener (--admin)?"
            ),
            Self::Exchange(why) => write!(f, "the admin listener did not answer properly: {why}"),
            Self::Refused(401, _) => {
                f.write_str("the admin listener wants its token: give --token-file FILE")
            }
            Self::Refused(status, why) => write!(f, "{why} ({status})"),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for CtlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Token(_, error) | Self::Connect(_, error) | Self::Output(error) => Some(error),
            _ => None,
        }
    }
}
