//! systemd's journal, by its own protocol: a datagram an entry, a line a field
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! The protocol's other form, for values with line feeds, is never needed: a value is printable ASCII.
//! Nor is the way round datagrams that are too large, a sealed memory file: every value has a bound.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;

use rustix::io::Errno;

use super::output::Lost;
use super::output::Output;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Ends an entry in the buffer: the end of its last field, and an empty line.
const END: &[u8] = b"\n\n";

/// Bytes of an entry. A line has a few thousand, and datagrams may have 200 KiB where nobody changed
/// it.
const MAX_BYTES: usize = 64 << 10;

/// Bytes of an entry where somebody did.
const FEW_BYTES: usize = 4 << 10;

/// Stands at the end of an entry of which there was more.
const TRUNCATED: &[u8] = b"\nS3PROXY_TRUNCATED=1\n";

#[derive(Debug)]
pub(super) struct Journal {
    /// Without a connection: a journal that begins again is found at the next entry.
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        Ok(Self { socket, path })
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        let sent = self.socket.send_to(&cut(entry, MAX_BYTES), &self.path);
        match sent {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                self.socket.send_to(&cut(entry, FEW_BYTES), &self.path)?;
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal")
    }
}

impl Output for Journal {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut rest = lines;
        let mut lost: Option<Lost> = None;
        while let Some(end) = rest.windows(END.len()).position(|bytes| bytes == END) {
            let (entry, after) = rest.split_at(end + END.len());
            rest = after;
            if let Err(error) = self.send(&entry[..=end]) {
                let lines = lost.map_or(0, |lost| lost.lines) + 1;
                lost = Some(Lost { lines, error });
            }
        }
        lost.map_or(Ok(()), Err)
    }
}

/// Whether the journal is there.
pub(super) fn check(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.file_type().is_socket() {
        Ok(())
    } else {
        Err(io::Error::other("not a socket"))
    }
}

/// The fields that fit, and a word that there were more. The first one, the message, is cut itself.
fn cut(entry: &[u8], limit: usize) -> Cow<'_, [u8]> {
    if entry.len() <= limit {
        return Cow::Borrowed(entry);
    }
    let fits = &entry[..limit - TRUNCATED.len()];
    let end = fits.iter().rposition(|byte| *byte == b'\n');
    Cow::Owned([&fits[..end.unwrap_or(fits.len())], TRUNCATED].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(check(&path).is_err());
        let mut journal = Journal::open(path.clone()).unwrap();
        let lost = journal.write(b"MESSAGE=a\n\nMESSAGE=b\n\n").unwrap_err();
        assert_eq!(lost.lines, 2, "nobody listens");
        let listening = UnixDatagram::bind(&path).unwrap();
        check(&path).unwrap();
        let long = [b"MESSAGE=", &vec![b'x'; MAX_BYTES][..], b"\n\n"].concat();
        journal.write(b"MESSAGE=a\nB=c d\n\n").unwrap();
        journal.write(&long).unwrap();
        let mut datagram = vec![0; 2 * MAX_BYTES];
        let length = listening.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..length], b"MESSAGE=a\nB=c d\n");
        let length = listening.recv(&mut datagram).unwrap();
        assert_eq!(length, MAX_BYTES);
        assert!(datagram[..length].ends_with(b"x\nS3PROXY_TRUNCATED=1\n"));
    }

    #[test]
    fn no_field_is_cut_but_the_message() {
        let entry = b"MESSAGE=short\nS3PROXY_A=0123456789012345678901234567890\n";
        assert_eq!(*cut(entry, entry.len()), *entry);
        let left = cut(entry, 40);
        assert_eq!(*left, *b"MESSAGE=short\nS3PROXY_TRUNCATED=1\n");
        let left = cut(b"MESSAGE=a long message that is cut where it has to\n", 40);
        assert_eq!(*left, *b"MESSAGE=a long mess\nS3PROXY_TRUNCATED=1\n");
    }
}
