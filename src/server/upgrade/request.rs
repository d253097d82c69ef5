//! `s3proxy upgrade`: asks the running process to start its successor, and waits for what comes of
//! it.

use std::fmt;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::protocol::BUSY;
use super::protocol::DONE;
use super::protocol::FAILED;
use super::protocol::NOTE;
use super::protocol::UPGRADE;
use super::protocol::control_path;
use super::successor::TEST_TIME;

/// Why there was no upgrade.
#[derive(Debug)]
pub enum RequestError {
    /// Nobody listens there.
    Nobody(PathBuf, io::Error),
    /// An upgrade is under way already.
    Busy,
    /// The successor does not serve; the running process does, as before.
    Failed(String),
    /// The running process has gone away in between.
    Lost,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(path, error) => {
                write!(
                    f,
                    "there is no running process at {}: {error}",
                    path.display()
                )
            }
            Self::Busy => f.write_str("an upgrade is under way already"),
            Self::Failed(why) => write!(f, "{why}; the running process goes on as before"),
            Self::Lost => f.write_str("the running process does not say what came of it"),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Nobody(_, error) => Some(error),
            Self::Busy | Self::Failed(_) | Self::Lost => None,
        }
    }
}

/// Asks for an upgrade in which the successor may take this long; notes on the way go to `note`. Answers the successor's process id.
pub fn request(
    upgrade_sock: &str,
    upgrade_timeout: Duration,
    note: impl Fn(&str),
) -> Result<u32, RequestError> {
    let path = control_path(upgrade_sock);
    let nobody = |error| RequestError::Nobody(path.clone(), error);
    let mut stream = UnixStream::connect(&path).map_err(nobody)?;
    let patience = TEST_TIME + upgrade_timeout + Duration::from_secs(10);
    stream.set_read_timeout(Some(patience)).map_err(nobody)?;
    let asked = stream.write_all(format!("{UPGRADE}\n").as_bytes());
    asked.map_err(|_| RequestError::Lost)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|_| RequestError::Lost)?;
        if let Some(text) = line.strip_prefix(NOTE) {
            note(text);
        } else if let Some(process) = line.strip_prefix(DONE) {
            return process.parse().map_err(|_| RequestError::Lost);
        } else if let Some(why) = line.strip_prefix(FAILED) {
            return Err(RequestError::Failed(why.to_owned()));
        } else if line == BUSY {
            return Err(RequestError::Busy);
        }
    }
    Err(RequestError::Lost)
}
