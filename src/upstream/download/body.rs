//! An answer whose body is read as it arrives, and what becomes of its connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use pingora::protocols::http::v1::client::HttpSession;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::pool::ConnectionKey;
use super::pool::Pool;
use super::slots::Slot;
use crate::telemetry::OriginMetrics;
use crate::upstream::config::Timeouts;
use crate::upstream::error::UpstreamError;
use crate::upstream::fetch::Answer;
use crate::upstream::origin::Origin;
use crate::upstream::rejection::SignedWith;

/// A rest of a body up to this length is read and dropped to keep the connection.
const DRAIN_BYTES: u64 = 64 << 10;

/// The longest that is waited for such a rest.
pub(super) const DRAIN_TIME: Duration = Duration::from_millis(500);

/// An answer whose body is still to be read. Dropping it closes its connection, unless the body was
/// read to its end.
pub struct Download {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// How long the body is. Absent when the answer does not say so (it comes in chunks, or ends
    /// with the connection): in the latter case it may have been cut without a trace.
    pub length: Option<u64>,
    received: u64,
    body: Body,
    /// What may be rejected by it.
    signed_with: Option<Box<SignedWith>>,
}

enum Body {
    Arriving(Box<Arriving>),
    Complete,
    Broken,
}

struct Arriving {
    session: HttpSession,
    hold: Hold,
    deadline: Instant,
    timeouts: Timeouts,
    metrics: Option<OriginMetrics>,
}

/// The right to a connection, and what is needed to put it back.
pub(super) struct Hold {
    pub(super) key: ConnectionKey,
    pub(super) pool: Arc<Pool>,
    /// Given up after the connection was put back, so that the next one finds it.
    pub(super) slot: Slot,
}

impl Download {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, length: Option<u64>) -> Self {
        Self {
            status,
            headers,
            length,
            received: 0,
            body: Body::Complete,
            signed_with: None,
        }
    }

    pub(super) fn signed_with(mut self, signed_with: Option<SignedWith>) -> Self {
        self.signed_with = signed_with.map(Box::new);
        self
    }

    pub(super) async fn reading(
        mut self,
        session: HttpSession,
        hold: Hold,
        deadline: Instant,
        origin: &Origin,
    ) -> Self {
        self.body = Body::Arriving(Box::new(Arriving {
            session,
            hold,
            deadline,
            timeouts: origin.config.timeouts,
            metrics: origin.metrics().cloned(),
        }));
        self.put_back_if_done().await;
        self
    }

    /// The next bytes of the body, as they come; `None` at its end. May be given up and called
    /// again without losing any. After an error there are only errors.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let arriving = match &mut self.body {
            Body::Arriving(arriving) => arriving,
            Body::Complete => return Ok(None),
            Body::Broken => return Err(self.short()),
        };
        let error = match arriving.read().await {
            Ok(Some(piece)) => {
                arriving.count(|metrics| metrics.received(piece.len()));
                self.received += piece.len() as u64;
                self.put_back_if_done().await;
                return Ok(Some(piece));
            }
            Ok(None) if self.length.is_none_or(|length| length == self.received) => {
                self.put_back_if_done().await;
                return Ok(None);
            }
            Ok(None) => self.short(),
            Err(error) => error,
        };
        if let Body::Arriving(arriving) = std::mem::replace(&mut self.body, Body::Broken) {
            arriving.count(|metrics| metrics.error(error.kind()));
        }
        Err(error)
    }

    /// How many bytes of the body have come so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Puts the connection back. What is left of the body is read and dropped when it is little;
    /// otherwise the connection is closed.
    pub async fn finish(mut self) {
        let left = match self.length {
            Some(length) => length.saturating_sub(self.received),
            None => DRAIN_BYTES,
        };
        if left > DRAIN_BYTES {
            return;
        }
        let end = self.received + left;
        let drained =
            async { while self.received <= end && matches!(self.next().await, Ok(Some(_))) {} };
        let _ = timeout(DRAIN_TIME, drained).await;
    }

    /// The whole answer, of at most `max` bytes. Credentials that it rejects are given up.
    pub async fn read_small(mut self, max: usize) -> Result<Answer, UpstreamError> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if body.len() + piece.len() > max {
                return Err(UpstreamError::AnswerTooLong(max));
            }
            body.extend_from_slice(&piece);
        }
        let answer = Answer {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body: body.freeze(),
        };
        if let Some(signed_with) = &self.signed_with {
            signed_with.check(&answer);
        }
        Ok(answer)
    }

    fn short(&self) -> UpstreamError {
        let length = self.length.unwrap_or(self.received);
        UpstreamError::Short {
            missing: length.saturating_sub(self.received),
        }
    }

    /// The connection is free for the next request as soon as the last byte is here.
    async fn put_back_if_done(&mut self) {
        if let Body::Arriving(arriving) = &mut self.body
            && arriving.session.is_body_done()
            && self.length.is_none_or(|length| length == self.received)
            && let Body::Arriving(arriving) = std::mem::replace(&mut self.body, Body::Complete)
        {
            arriving.put_back().await;
        }
    }
}

impl Arriving {
    async fn read(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let silent = self.timeouts.read;
        let until = self.deadline.min(Instant::now() + silent);
        match timeout_at(until, self.session.read_body_ref()).await {
            Ok(Ok(piece)) => Ok(piece.map(Bytes::copy_from_slice)),
            Ok(Err(error)) => Err(UpstreamError::Connection(error)),
            Err(_) if until == self.deadline => Err(UpstreamError::TimedOut(self.timeouts.total)),
            Err(_) => Err(UpstreamError::Silent(silent)),
        }
    }

    /// Keeps the connection if both sides want that and nothing unasked-for came.
    async fn put_back(self) {
        let Self {
            mut session, hold, ..
        } = self;
        let Hold { key, pool, slot } = hold;
        session.respect_keepalive();
        // Otherwise dropping it closes it, without waiting for the other side's consent.
        if session.will_keepalive()
            && let Some(stream) = session.reuse().await
        {
            pool.put(key, stream);
        }
        drop(slot);
    }

    fn count(&self, record: impl FnOnce(&OriginMetrics)) {
        if let Some(metrics) = &self.metrics {
            record(metrics);
        }
    }
}
