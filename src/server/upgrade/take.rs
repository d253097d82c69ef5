//! The successor's side: asks the running process for its listeners, and tells it when they are
//! served.

use std::fmt;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::protocol::BUSY;
use super::protocol::BYE;
use super::protocol::HERE;
use super::protocol::SERVING;
use super::protocol::TAKE;
use super::protocol::control_path;

/// How long the running process may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// No answer is longer.
const MAX_LINE: u64 = 256;

/// Why nothing can be taken over.
#[derive(Debug)]
pub enum TakeError {
    /// Nobody listens there.
    Nobody(PathBuf, io::Error),
    /// The running process hands over to another one, or is ending.
    Busy,
    /// It said something else, or nothing.
    Silent,
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(path, error) => write!(
                f,
                "there is no running process to take over from at {}: {error}; \
                 start without --upgrade",
                path.display()
            ),
            Self::Busy => f.write_str("the running process is ending, or hands over to another"),
            Self::Silent => f.write_str("the running process does not answer"),
        }
    }
}

impl std::error::Error for TakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Nobody(_, error) => Some(error),
            Self::Busy | Self::Silent => None,
        }
    }
}

/// A hand-over under way. When it is dropped before its end, the running process goes on as before.
#[derive(Debug)]
pub(in crate::server) struct Taking(UnixStream);

impl Taking {
    /// Asks for the listeners. They come over the upgrade socket next.
    pub(in crate::server) fn begin(upgrade_sock: &str) -> Result<Self, TakeError> {
        let path = control_path(upgrade_sock);
        let nobody = |error| TakeError::Nobody(path.clone(), error);
        let stream = UnixStream::connect(&path).map_err(nobody)?;
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).map_err(nobody)?;
        }
        let mut taking = Self(stream);
        match taking.ask(TAKE).as_deref() {
            Some(HERE) => Ok(taking),
            Some(BUSY) => Err(TakeError::Busy),
            _ => Err(TakeError::Silent),
        }
    }

    /// Says that the listeners are served. Answers whether the other process drains now; if it does
    /// not, it has ended already, or it has lost patience and goes on serving as well.
    pub(in crate::server) fn end(mut self) -> bool {
        self.ask(SERVING).as_deref() == Some(BYE)
    }

    fn ask(&mut self, word: &str) -> Option<String> {
        self.0.write_all(format!("{word}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        let mut reader = BufReader::new((&self.0).take(MAX_LINE));
        reader.read_line(&mut answer).ok()?;
        Some(answer.strip_suffix('\n')?.to_owned())
    }
}
