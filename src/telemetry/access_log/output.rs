//! Where lines go, as the writing thread sees it.

use std::fmt;
use std::io;

/// Takes whole lines, each ended by a line feed, and does not buffer.
pub(super) trait Output: Send + fmt::Display {
    /// Writes the lines, or tells how many of them are lost.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost>;

    /// Opens anew what may have been moved away.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

/// Lines in these bytes.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// A pipe, a terminal, or whatever standard output is.
pub(super) struct Stream(pub(super) Box<dyn io::Write + Send>);

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output")
    }
}

impl Output for Stream {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut rest = lines;
        let result = loop {
            if rest.is_empty() {
                break self.0.flush();
            }
            match self.0.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        result.map_err(|error| Lost {
            lines: count(rest),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes.
    struct Small(usize);

    impl io::Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0).min(2);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_did_not_go_out_whole_are_lost() {
        let mut stream = Stream(Box::new(Small(7)));
        let lost = stream.write(b"one\ntwo\nsix\n").unwrap_err();
        assert_eq!(lost.lines, 2);
        let mut stream = Stream(Box::new(Small(12)));
        stream.write(b"one\ntwo\nsix\n").unwrap();
    }
}
