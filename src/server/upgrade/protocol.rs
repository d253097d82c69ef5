//! The words of the control socket: a line each way, over a Unix socket that only its owner can reach.
//!
//! ```text
//! successor            running process
//! take              -> here            then the listeners, over the upgrade socket
//! serving           -> bye             then the running process drains
//!
//! anyone            running process
//! upgrade           -> note: ...       any number of times
//!                      done: PID       or "failed: ..."
//! ```

use std::io;
use std::path::Path;
use std::path::PathBuf;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::net::unix::OwnedReadHalf;

/// The successor wants the listeners.
pub(super) const TAKE: &str = "take";
/// They are on their way.
pub(super) const HERE: &str = "here";
/// The successor has them and serves.
pub(super) const SERVING: &str = "serving";
/// The running process drains from now on.
pub(super) const BYE: &str = "bye";
/// Somebody asks for an upgrade.
pub(super) const UPGRADE: &str = "upgrade";
/// Another upgrade is under way, or the process is ending.
pub(super) const BUSY: &str = "busy";
/// What is being done at the moment.
pub(super) const NOTE: &str = "note: ";
/// The successor serves; its process id.
pub(super) const DONE: &str = "done: ";
/// Nothing has changed, and why.
pub(super) const FAILED: &str = "failed: ";

/// No line is longer.
const MAX_LINE: u64 = 4096;

/// Where a process with this upgrade socket is spoken to.
pub(super) fn control_path(upgrade_sock: &str) -> PathBuf {
    Path::new(upgrade_sock).with_extension("control")
}

/// The next line without its end; `None` when the other side has gone.
pub(super) async fn line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.take(MAX_LINE).read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some(line.to_owned())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
