//! Where an HTTP/1.1 message ends: heads are read as far as that needs, bodies are measured, and no byte is changed.
//! Pure: bytes in, lengths out.

use std::io;

use super::counters::Kind;

/// What the relay has to know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) kind: Kind,
    pub(crate) method: String,
    pub(crate) target: String,
    /// The field `Range`.
    pub(crate) range: Option<String>,
    pub(crate) body: Body,
}

/// What the relay has to know of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// Another head follows, for the same request.
    pub(crate) is_interim: bool,
    pub(crate) body: Body,
}

/// What is still to come of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked(Chunk),
    /// As long as the connection.
    UntilClose,
}

/// Where in a chunked body the next byte is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size(u64),
    /// After the size, until the end of its line.
    Extension(u64),
    Data(u64),
    /// The line end after the data.
    DataEnd,
    /// A line of the trailer section; whether anything stands on it yet.
    Trailer {
        is_empty: bool,
    },
    Done,
}

/// How much of some bytes belongs to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    /// Of these, how many are content and not framing.
    pub(crate) content: u64,
}

/// Length of the first whole head in `bytes`, its empty line included. Empty lines before it are part of it.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    let begin = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let end = bytes[begin..]
        .windows(4)
        .position(|end| end == b"\r\n\r\n")?;
    Some(begin + end + 4)
}

impl RequestHead {
    pub(crate) fn parse(head: &[u8]) -> io::Result<Self> {
        let head = Head::parse(head)?;
        let mut words = head.first_line.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(malformed("a request line without a target"));
        };
        let range = head.field("range").map(str::to_owned);
        Ok(Self {
            kind: Kind::of(method, target, range.is_some()),
            method: method.to_owned(),
            target: target.to_owned(),
            range,
            body: head.body()?.unwrap_or(Body::Length(0)),
        })
    }
}

impl ResponseHead {
    /// `is_head`: the request was a HEAD, whose answer names a length and has no body.
    pub(crate) fn parse(head: &[u8], is_head: bool) -> io::Result<Self> {
        let head = Head::parse(head)?;
        let status = head
            .first_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok())
            .ok_or_else(|| malformed("a status line without a status"))?;
        let is_interim = (100..200).contains(&status) && status != 101;
        let body = if status == 101 {
            Body::UntilClose
        } else if is_head || is_interim || status == 204 || status == 304 {
            Body::Length(0)
        } else {
            head.body()?.unwrap_or(Body::UntilClose)
        };
        Ok(Self { is_interim, body })
    }
}

impl Body {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Tells how many of `bytes`, the next of the connection, belong to this body.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<Taken> {
        match self {
            Self::Length(left) => Ok(take_content(left, bytes)),
            Self::Chunked(chunk) => chunk.take(bytes),
            Self::UntilClose => Ok(Taken {
                bytes: bytes.len(),
                content: bytes.len() as u64,
            }),
        }
    }
}

impl Chunk {
    fn take(&mut self, bytes: &[u8]) -> io::Result<Taken> {
        let mut all = Taken::default();
        while all.bytes < bytes.len() && *self != Self::Done {
            let rest = &bytes[all.bytes..];
            let taken = if let Self::Data(left) = self {
                let taken = take_content(left, rest);
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                taken
            } else {
                *self = self.clone().after(rest[0])?;
                Taken {
                    bytes: 1,
                    content: 0,
                }
            };
            all.bytes += taken.bytes;
            all.content += taken.content;
        }
        Ok(all)
    }

    /// Where a byte that is not content leads.
    fn after(self, byte: u8) -> io::Result<Self> {
        Ok(match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { is_empty: true },
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Size(size), byte) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(
                    size.checked_mul(16)
                        .ok_or_else(|| malformed("a chunk size that is too large"))?
                        + u64::from(digit),
                ),
                None => Self::Extension(size),
            },
            (Self::DataEnd, b'\n') => Self::Size(0),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, _) => return Err(malformed("a chunk longer than its size")),
            (Self::Trailer { is_empty: true }, b'\n') => Self::Done,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { is_empty: true },
            (Self::Trailer { is_empty }, b'\r') => Self::Trailer { is_empty },
            (Self::Trailer { .. }, _) => Self::Trailer { is_empty: false },
            (rest @ (Self::Extension(_) | Self::Data(_) | Self::Done), _) => rest,
        })
    }
}

fn take_content(left: &mut u64, bytes: &[u8]) -> Taken {
    let content = (bytes.len() as u64).min(*left);
    *left -= content;
    Taken {
        bytes: usize::try_from(content).unwrap_or(bytes.len()),
        content,
    }
}

/// A head as text; what is not UTF-8 in it decides nothing here.
struct Head {
    first_line: String,
    /// The lines after the first.
    fields: String,
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches(['\r', '\n']);
        let (first_line, fields) = text
            .split_once("\r\n")
            .ok_or_else(|| malformed("a head without a first line"))?;
        Ok(Self {
            first_line: first_line.to_owned(),
            fields: fields.to_owned(),
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }

    /// The body that its fields announce, by RFC 9112 section 6.3.
    fn body(&self) -> io::Result<Option<Body>> {
        if let Some(coding) = self.field("transfer-encoding") {
            return if coding.to_ascii_lowercase().ends_with("chunked") {
                Ok(Some(Body::Chunked(Chunk::Size(0))))
            } else {
                Err(malformed("a transfer coding that is not chunked"))
            };
        }
        let length = self.field("content-length").map(str::parse);
        let length = length
            .transpose()
            .map_err(|_| malformed("a length that is no number"))?;
        Ok(length.map(Body::Length))
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(head: &str, is_head: bool) -> ResponseHead {
        ResponseHead::parse(head.as_bytes(), is_head).unwrap()
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(
            head_length(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody"),
            Some(27)
        );
        assert_eq!(head_length(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Some(22));
        assert_eq!(head_length(b"GET / HTTP/1.1\r\nhost: a\r\n"), None);
        assert_eq!(head_length(b"\r\n\r\n"), None);
    }

    #[test]
    fn a_request_without_a_length_has_no_body() {
        let head = RequestHead::parse(b"GET /lake/a HTTP/1.1\r\nRANGE: bytes=0-1\r\n\r\n").unwrap();
        assert_eq!((head.kind, head.body), (Kind::RangedGet, Body::Length(0)));
    }

    #[test]
    fn an_answer_without_a_length_lasts_as_long_as_the_connection() {
        let head = response("HTTP/1.1 200 OK\r\n\r\n", false);
        assert_eq!(head.body, Body::UntilClose);
    }

    #[test]
    fn answers_that_have_no_body_need_no_length() {
        for head in ["204 No Content", "304 Not Modified", "100 Continue"] {
            let text = format!("HTTP/1.1 {head}\r\ncontent-length: 5\r\n\r\n");
            assert!(response(&text, false).body.is_done(), "{head}");
        }
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(response(text, true).body.is_done());
        assert_eq!(response(text, false).body, Body::Length(5));
        assert!(response("HTTP/1.1 100 Continue\r\n\r\n", false).is_interim);
        assert!(!response(text, false).is_interim);
    }

    #[test]
    fn a_length_is_counted_down_over_any_pieces() {
        let mut body = Body::Length(5);
        assert_eq!(body.take(b"abc").unwrap().bytes, 3);
        assert!(!body.is_done());
        assert_eq!(body.take(b"deNEXT").unwrap().bytes, 2);
        assert!(body.is_done());
    }

    #[test]
    fn a_chunked_body_ends_after_its_trailer_wherever_it_is_cut() {
        let framed = b"5;name=value\r\nhello\r\n0a\r\n0123456789\r\n0\r\nx-amz-checksum: a\r\n\r\n";
        let wire = [&framed[..], b"HTTP/1.1 200 OK"].concat();
        for cut in 0..wire.len() {
            let mut body = Body::Chunked(Chunk::Size(0));
            let first = body.take(&wire[..cut]).unwrap();
            let second = body.take(&wire[first.bytes..]).unwrap();
            assert_eq!(first.bytes + second.bytes, framed.len(), "cut at {cut}");
            assert_eq!(first.content + second.content, 15, "cut at {cut}");
            assert!(body.is_done());
        }
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        let overlong = b"1\r\nab\r\n0\r\n\r\n";
        assert!(Body::Chunked(Chunk::Size(0)).take(overlong).is_err());
        let huge = b"fffffffffffffffff\r\n";
        assert!(Body::Chunked(Chunk::Size(0)).take(huge).is_err());
        let gzip = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n";
        assert!(ResponseHead::parse(gzip, false).is_err());
    }
}
