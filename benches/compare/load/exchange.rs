//! One request and its answer.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::pattern::Pattern;
use crate::plan::Request;
use crate::wire::{Connection, content_length};

/// After this, an answer does not come any more.
const PATIENCE: Duration = Duration::from_mins(2);

/// How an exchange went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Every byte was right.
    Good { first: Duration, whole: Duration },
    /// Bytes that are not the object's: worse than none.
    Wrong(String),
    /// No answer, another status than success, or a body cut short.
    Failed(String),
}

/// A connection that is made again after a failure.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self {
            address,
            connection: Some(Connection::new(stream)),
        })
    }

    pub(crate) async fn exchange(&mut self, request: &Request, pattern: &Pattern) -> Outcome {
        let answered = timeout(PATIENCE, self.try_exchange(request, pattern)).await;
        let outcome = match answered {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("no answer".to_owned()),
        };
        if !matches!(outcome, Outcome::Good { .. }) {
            // What is left of the answer belongs to nobody.
            self.connection = None;
        }
        outcome
    }

    async fn try_exchange(&mut self, request: &Request, pattern: &Pattern) -> io::Result<Outcome> {
        let sent = Instant::now();
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address).await?;
            self.connection = Some(Connection::new(stream));
        }
        let Some(connection) = &mut self.connection else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        connection.write(&request.wire).await?;
        let head = connection.read_head().await?;
        let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        let first = sent.elapsed();
        let wanted = if request.is_ranged { "206" } else { "200" };
        if head.split(' ').nth(1) != Some(wanted) {
            let status = head.lines().next().unwrap_or_default();
            return Ok(Outcome::Failed(status.to_owned()));
        }
        let length = content_length(&head);
        if length != request.bytes {
            let told = format!("{length} bytes instead of {}", request.bytes);
            return Ok(Outcome::Wrong(told));
        }
        let (mut at, mut is_right) = (request.first, true);
        let compare = |piece: &[u8]| {
            is_right &= pattern.has(at, piece);
            at += piece.len() as u64;
        };
        connection.read_body(length, compare).await?;
        if !is_right {
            return Ok(Outcome::Wrong("other bytes".to_owned()));
        }
        let whole = sent.elapsed();
        Ok(Outcome::Good { first, whole })
    }
}
