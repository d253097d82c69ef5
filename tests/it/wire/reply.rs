//! What the scripted origin answers.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::content::Content;
use super::pattern;

/// A point at which the origin waits until a test lets it go on.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(super) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything pass, now and later.
    pub(super) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The connection stays open.
    Keep,
    /// The connection is closed afterwards, without saying so before.
    Close,
    /// The connection is closed after so many bytes of the body.
    CutAfter(u64),
    /// The connection is closed when the other side has closed it; what comes till then is dropped.
    Linger,
    /// Nothing is answered, the connection is closed.
    Vanish,
    /// Nothing is answered, the connection stays open.
    Stall,
    /// Nothing follows what was sent, the connection stays open.
    StallAfter,
    /// The connection is reset after so many bytes of the body.
    ResetAfter(u64),
}

/// A body.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// These bytes, with their length.
    Bytes(Vec<u8>),
    /// So many bytes of the pattern.
    Pattern(u64),
    /// These bytes as they are; the framing is the test's.
    Raw(Vec<u8>),
    /// An interval of an object's bytes.
    Object(Arc<Content>, Range<u64>),
}

impl Payload {
    /// How many bytes there are; those of a test's own framing go without a length.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Pattern(length) => Some(*length),
            Self::Raw(_) => None,
            Self::Object(_, interval) => Some(interval.end - interval.start),
        }
    }

    /// Bytes from an offset on, at most so many; none at the end.
    pub(super) fn piece(&self, offset: u64, most: usize) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) | Self::Raw(bytes) => {
                let start = usize::try_from(offset).unwrap().min(bytes.len());
                bytes[start..][..most.min(bytes.len() - start)].to_vec()
            }
            Self::Pattern(length) => {
                pattern::piece(offset, (length - offset).min(most as u64)).to_vec()
            }
            Self::Object(content, interval) => {
                let start = interval.start + offset;
                content.bytes(start..interval.end.min(start + most as u64))
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Payload,
    /// Pause before the head.
    pub(super) before: Duration,
    /// Waits there before the head.
    pub(super) gate: Option<Gate>,
    /// Waits there when so many bytes of the body are sent, and more are to come.
    pub(super) gate_at: Option<(u64, Gate)>,
    /// Interim answers, verbatim.
    pub(super) interim: String,
    /// Bytes between two pauses.
    pub(super) piece_bytes: usize,
    /// Pause after each piece.
    pub(super) pause: Duration,
    /// Whether it is sent without waiting for the request's body.
    pub(super) early: bool,
    pub(super) end: End,
}

impl Reply {
    pub(super) fn new(status: u16, body: Payload) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            before: Duration::ZERO,
            gate: None,
            gate_at: None,
            interim: String::new(),
            piece_bytes: usize::MAX,
            pause: Duration::ZERO,
            early: false,
            end: End::Keep,
        }
    }

    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Payload::Bytes(body.into()))
    }

    /// Without a body.
    pub(super) fn status(status: u16) -> Self {
        Self::new(status, Payload::Bytes(Vec::new()))
    }

    /// An S3 error document.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>from the origin</Message></Error>");
        Self::new(status, Payload::Bytes(body.into())).header("Content-Type", "application/xml")
    }

    pub(super) fn vanish() -> Self {
        Self::status(200).ending(End::Vanish)
    }

    pub(super) fn stall() -> Self {
        Self::status(200).ending(End::Stall)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    pub(super) fn after(self, before: Duration) -> Self {
        Self { before, ..self }
    }

    /// Waits at a gate before the head.
    pub(super) fn held(self, gate: &Gate) -> Self {
        Self {
            gate: Some(gate.clone()),
            ..self
        }
    }

    /// Waits at a gate after so many bytes of the body.
    pub(super) fn held_at(self, bytes: u64, gate: &Gate) -> Self {
        Self {
            gate_at: Some((bytes, gate.clone())),
            ..self
        }
    }

    /// Stops for ever after so many bytes of the body, with the connection open.
    pub(super) fn stalled_at(self, bytes: u64) -> Self {
        self.held_at(bytes, &Gate::closed())
    }

    /// Replaces a field, or adds it.
    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub(super) fn in_pieces(self, piece_bytes: usize, pause: Duration) -> Self {
        Self {
            piece_bytes,
            pause,
            ..self
        }
    }

    pub(super) fn early(self) -> Self {
        Self {
            early: true,
            ..self
        }
    }

    pub(super) fn interim(self, text: &str) -> Self {
        Self {
            interim: text.to_owned(),
            ..self
        }
    }

    /// Interim answers and the head, as they go on the wire.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("{}HTTP/1.1 {} Reason\r\n", self.interim, self.status);
        if let Some(length) = self.body.length() {
            let is_given = self
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if !is_given && !matches!(self.status, 204 | 304) {
                write!(head, "Content-Length: {length}\r\n").unwrap();
            }
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}
