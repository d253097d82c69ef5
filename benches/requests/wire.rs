//! Heads of HTTP/1.1 messages, read with as little work as they can be.

#![allow(dead_code, reason = "not every program that measures needs all of it")]

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Large enough that a body costs few reads.
const BUFFER_BYTES: usize = 256 << 10;

/// A connection that reads one message after the other.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
    /// Bytes in the buffer that are not consumed.
    filled: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Whoever cannot have it is slower, and says so by the figures.
        let _ = stream.set_nodelay(true);
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that is set up already.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        // What TLS has taken may not have been sent.
        self.stream.flush().await
    }

    /// The next head, whole; `None` when the other side has gone.
    pub(crate) async fn read_head(&mut self) -> std::io::Result<Option<String>> {
        loop {
            let found = self.buffer[..self.filled]
                .windows(4)
                .position(|end| end == b"\r\n\r\n");
            if let Some(end) = found {
                let head = String::from_utf8_lossy(&self.buffer[..end + 2]).into_owned();
                self.consume(end + 4);
                return Ok(Some(head));
            }
            if self.filled == BUFFER_BYTES {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            match self.stream.read(&mut self.buffer[self.filled..]).await? {
                0 => return Ok(None),
                read => self.filled += read,
            }
        }
    }

    /// Reads a body and drops it.
    pub(crate) async fn drain(&mut self, length: usize) -> std::io::Result<()> {
        self.read_body(length, |_| ()).await
    }

    /// Reads a body and shows its pieces.
    pub(crate) async fn read_body(
        &mut self,
        length: usize,
        mut show: impl FnMut(&[u8]),
    ) -> std::io::Result<()> {
        let early = length.min(self.filled);
        show(&self.buffer[..early]);
        self.consume(early);
        let mut left = length - early;
        while left > 0 {
            let wanted = left.min(BUFFER_BYTES);
            match self.stream.read(&mut self.buffer[..wanted]).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => {
                    show(&self.buffer[..read]);
                    left -= read;
                }
            }
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

/// The value of a field, in whatever case its name is written.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next()
}

/// Bytes of the body, by its announcement; none without one that can be read.
pub(crate) fn content_length(head: &str) -> usize {
    field(head, "content-length").map_or(0, |length| length.parse().unwrap_or(0))
}
