//! Streaming reads of objects: the origin side of fills, on connections of their own.
//!
//! A [`Download`] is an answer whose body is read as it arrives. What fails before the head of the
//! answer is tried again here; what fails later is the caller's to take up, who knows which bytes
//! it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use http::header;
use parking_lot::RwLock;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::Peer;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::config::Timeouts;
use super::error::UpstreamError;
use super::fetch::Answer;
use super::object::ObjectAsk;
use super::origin::Destination;
use super::origin::Origin;
use super::pool::ConnectionKey;
use super::pool::Pool;
use super::region::RegionHint;
use super::region::hint_of;
use super::retry::backoff;
use super::retry::is_transient;
use super::retry::jitter;
use super::rewrite::OriginBody;
use super::slots::Slot;
use super::slots::Slots;
use crate::telemetry::OriginMetrics;
use crate::telemetry::RetryReason;
use crate::telemetry::UpstreamErrorKind;

/// A rest of a body up to this length is read and dropped to keep the connection.
const DRAIN_BYTES: u64 = 64 << 10;

/// The longest that is waited for such a rest.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// Interim answers (1xx) before the answer, at most.
const MAX_INTERIM: usize = 8;

/// Bounds on all downloads from one origin.
#[derive(Debug, Clone, Copy)]
pub struct DownloadConfig {
    /// Connections to one origin, those that are idle included.
    pub max_connections: usize,
    /// Requests of each priority that wait for a connection to one origin.
    pub max_waiting: usize,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_waiting: 4096,
        }
    }
}

/// Makes connections to all origins and keeps them.
pub struct Downloads {
    transport: TransportConnector,
    config: DownloadConfig,
    lanes: RwLock<HashMap<Arc<str>, Arc<Lane>>>,
}

/// The way to one origin.
struct Lane {
    slots: Arc<Slots>,
    pool: Arc<Pool>,
}

impl Downloads {
    /// Connects with these options, of which the size of the pool means nothing here.
    pub fn new(config: DownloadConfig, options: Option<ConnectorOptions>) -> Self {
        Self {
            transport: TransportConnector::new(options),
            config,
            lanes: RwLock::default(),
        }
    }

    fn lane(&self, origin: &Origin) -> Arc<Lane> {
        let name = &origin.config.name;
        if let Some(lane) = self.lanes.read().get(name) {
            return Arc::clone(lane);
        }
        let DownloadConfig {
            max_connections,
            max_waiting,
        } = self.config;
        let mut lanes = self.lanes.write();
        let lane = lanes.entry(Arc::clone(name)).or_insert_with(|| {
            Arc::new(Lane {
                slots: Slots::new(max_connections, max_waiting),
                pool: Pool::new(max_connections, origin.config.idle_timeout),
            })
        });
        Arc::clone(lane)
    }
}

/// An answer whose body is still to be read. Dropping it closes its connection unless the body was
/// read to its end.
pub struct Download {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// How long the body will be. Absent when the answer does not say so (chunks, or up to the end
    /// of the connection): such a body may have been cut without a trace.
    pub length: Option<u64>,
    received: u64,
    body: Body,
    metrics: Option<OriginMetrics>,
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
}

/// What a connection needs to be put back.
struct Hold {
    key: ConnectionKey,
    pool: Arc<Pool>,
    _slot: Slot,
}

impl Origin {
    /// Asks for an object and gives the answer as soon as its head is there. A hint that the bucket
    /// lives elsewhere is followed once; connections that fail and answers that say the origin is
    /// ill are tried again, as often as the configuration and the retry budget allow.
    pub async fn download(
        &self,
        downloads: &Downloads,
        ask: &ObjectAsk<'_>,
    ) -> Result<Download, UpstreamError> {
        self.retry_budget.earn();
        let total = self.config.timeouts.total;
        let call = Call {
            origin: self,
            downloads,
            ask,
            lane: downloads.lane(self),
            deadline: Instant::now() + total,
        };
        match timeout_at(call.deadline, call.run()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                call.count(|metrics| {
                    metrics.failed(ask.operation(), UpstreamErrorKind::Timeout);
                });
                Err(UpstreamError::TimedOut(total))
            }
        }
    }
}

/// One download on its way to the head of its answer.
struct Call<'a> {
    origin: &'a Origin,
    downloads: &'a Downloads,
    ask: &'a ObjectAsk<'a>,
    lane: Arc<Lane>,
    deadline: Instant,
}

/// Why an attempt brought no head.
struct Failure {
    error: UpstreamError,
    reason: RetryReason,
}

impl Call<'_> {
    async fn run(&self) -> Result<Download, UpstreamError> {
        let mut retries = 0;
        let mut has_moved = false;
        loop {
            let destination = self.origin.destination(Some(self.ask.bucket));
            let (outcome, reason) = match self.attempt(&destination).await {
                Ok(download) => {
                    if self.moves(&download, &destination)? {
                        if std::mem::replace(&mut has_moved, true) {
                            return Err(UpstreamError::Redirected);
                        }
                        self.count(|metrics| metrics.retry(RetryReason::Region));
                        download.finish().await;
                        continue;
                    }
                    let is_ill = is_transient(download.status);
                    (Ok(download), is_ill.then_some(RetryReason::ServerError))
                }
                Err(Failure { error, reason }) => {
                    let again = error.is_interruption().then_some(reason);
                    (Err(error), again)
                }
            };
            let Some(reason) = reason else {
                return outcome;
            };
            if retries >= self.origin.config.max_retries || !self.origin.retry_budget.spend() {
                return outcome;
            }
            if let Ok(download) = outcome {
                download.finish().await;
            }
            retries += 1;
            self.count(|metrics| metrics.retry(reason));
            tokio::time::sleep(backoff(retries, jitter())).await;
        }
    }

    /// Whether the answer says that the bucket is elsewhere than was asked.
    fn moves(&self, download: &Download, destination: &Destination) -> Result<bool, UpstreamError> {
        let hint = hint_of(download.status, &download.headers, &destination.region);
        if hint == RegionHint::None {
            return Ok(false);
        }
        match self.origin.learn(Some(self.ask.bucket), &hint) {
            Ok(is_new) => Ok(is_new),
            // Another download may have learned it while this one was on its way.
            Err(error) if self.origin.destination(Some(self.ask.bucket)) == *destination => {
                Err(error)
            }
            Err(_) => Ok(true),
        }
    }

    /// One request on a kept connection, and on a new one if the kept one turns out to be closed.
    async fn attempt(&self, destination: &Destination) -> Result<Download, Failure> {
        let slot = self.lane.slots.take(self.ask.priority).await;
        let Some(slot) = slot else {
            return Err(self.failed(UpstreamError::TooManyWaiting));
        };
        let key = ConnectionKey {
            endpoint: destination.endpoint.clone(),
            server_name: if destination.endpoint.is_tls {
                destination.server_name.clone()
            } else {
                String::new()
            },
        };
        let mut hold = Hold {
            key,
            pool: Arc::clone(&self.lane.pool),
            _slot: slot,
        };
        if let Some(stream) = hold.pool.take(&hold.key) {
            self.count(|metrics| metrics.connection(true));
            match self.exchange(stream, hold, destination).await {
                Ok(download) => return Ok(download),
                Err((UpstreamError::Connection(error), kept)) => {
                    log::debug!("a kept connection was closed: {error}");
                    self.count(|metrics| metrics.retry(RetryReason::StaleConnection));
                    hold = kept;
                }
                Err((error, _)) => return Err(self.failed(error)),
            }
        }
        let stream = self.connect(destination).await?;
        self.exchange(stream, hold, destination)
            .await
            .map_err(|(error, _)| self.failed(error))
    }

    async fn connect(&self, destination: &Destination) -> Result<Stream, Failure> {
        let peer = self
            .origin
            .peer(destination)
            .await
            .map_err(|error| self.failed(error))?;
        match self.downloads.transport.new_stream(&peer).await {
            Ok(stream) => {
                self.count(|metrics| metrics.connection(false));
                Ok(stream)
            }
            Err(error) => {
                if let Some(address) = peer.address().as_inet() {
                    self.origin.connect_failed(*address);
                }
                Err(Failure {
                    reason: RetryReason::Connect,
                    ..self.failed(UpstreamError::Connection(error))
                })
            }
        }
    }

    /// Sends the request, signed now, and reads the head of the answer.
    async fn exchange(
        &self,
        stream: Stream,
        hold: Hold,
        destination: &Destination,
    ) -> Result<Download, (UpstreamError, Hold)> {
        let head = match self.signed(destination).await {
            Ok(head) => head,
            Err(error) => return Err((error, hold)),
        };
        let sent = Instant::now();
        let timeouts = self.origin.config.timeouts;
        let mut session = HttpSession::new(stream);
        if let Err(error) = converse(&mut session, head, &timeouts).await {
            return Err((error, hold));
        }
        let Some(head) = session.resp_header() else {
            return Err((UpstreamError::Silent(timeouts.read), hold));
        };
        let (status, headers) = (head.status, head.headers.clone());
        self.count(|metrics| metrics.answered(self.ask.operation(), status, sent.elapsed()));
        let arriving = Arriving {
            session,
            hold,
            deadline: self.deadline,
            timeouts,
        };
        let mut download = Download {
            length: if self.ask.is_head || matches!(status.as_u16(), 204 | 304) {
                Some(0)
            } else {
                promised(&headers)
            },
            status,
            headers,
            received: 0,
            body: Body::Arriving(Box::new(arriving)),
            metrics: self.origin.metrics().cloned(),
        };
        download.put_back_if_done().await;
        Ok(download)
    }

    async fn signed(&self, destination: &Destination) -> Result<RequestHeader, UpstreamError> {
        let signer = self.origin.signer(self.ask.own).await?;
        self.origin.request(
            &self.ask.request(),
            &self.ask.method(),
            &self.ask.fields(),
            &OriginBody::Absent,
            destination,
            signer.as_ref(),
        )
    }

    /// Counts an attempt that brought no head.
    fn failed(&self, error: UpstreamError) -> Failure {
        let kind = error.kind();
        self.count(|metrics| metrics.failed(self.ask.operation(), kind));
        let reason = match kind {
            UpstreamErrorKind::Timeout => RetryReason::Timeout,
            _ => RetryReason::Truncated,
        };
        Failure { error, reason }
    }

    fn count(&self, record: impl FnOnce(&OriginMetrics)) {
        if let Some(metrics) = self.origin.metrics() {
            record(metrics);
        }
    }
}

/// Sends a request without a body and reads the head of its answer.
async fn converse(
    session: &mut HttpSession,
    head: RequestHeader,
    timeouts: &Timeouts,
) -> Result<(), UpstreamError> {
    timeout(timeouts.write, session.write_request_header(Box::new(head)))
        .await
        .map_err(|_| UpstreamError::Silent(timeouts.write))?
        .map_err(UpstreamError::Connection)?;
    let heads = async {
        for _ in 0..=MAX_INTERIM {
            session.read_response().await?;
            if !session
                .get_status()
                .is_some_and(|status| status.is_informational())
            {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match timeout(timeouts.read, heads).await {
        Err(_) => Err(UpstreamError::Silent(timeouts.read)),
        Ok(Err(error)) => Err(UpstreamError::Connection(error)),
        Ok(Ok(false)) => Err(UpstreamError::AnswerTooLong(MAX_INTERIM)),
        Ok(Ok(true)) => Ok(()),
    }
}

/// The length that a head promises. The session has refused one that contradicts itself.
fn promised(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    text.split(',').next()?.trim().parse().ok()
}

impl Download {
    /// The next bytes of the body, as they come; `None` at its end. May be given up and called
    /// again without losing any. After an error there is only this error's like.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let arriving = match &mut self.body {
            Body::Arriving(arriving) => arriving,
            Body::Complete => return Ok(None),
            Body::Broken => return Err(self.short()),
        };
        let outcome = arriving.read().await;
        match outcome {
            Ok(Some(piece)) => {
                self.received += piece.len() as u64;
                self.put_back_if_done().await;
                Ok(Some(piece))
            }
            Ok(None) if self.length.is_none_or(|length| length == self.received) => {
                self.put_back_if_done().await;
                self.body = Body::Complete;
                Ok(None)
            }
            Ok(None) => {
                self.body = Body::Broken;
                Err(self.short())
            }
            Err(error) => {
                self.body = Body::Broken;
                Err(error)
            }
        }
    }

    /// How many bytes have come so far.
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
        let drained = async {
            let end = self.received + left;
            while self.received <= end && matches!(self.next().await, Ok(Some(_))) {}
        };
        let _ = timeout(DRAIN_TIME, drained).await;
    }

    /// The whole answer, of at most `max` bytes.
    pub async fn read_small(mut self, max: usize) -> Result<Answer, UpstreamError> {
        if self.length.is_some_and(|length| length > max as u64) {
            return Err(UpstreamError::AnswerTooLong(max));
        }
        let mut body = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if body.len() + piece.len() > max {
                return Err(UpstreamError::AnswerTooLong(max));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body: body.freeze(),
        })
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
            && let Body::Arriving(arriving) = std::mem::replace(&mut self.body, Body::Complete)
        {
            let Arriving {
                mut session, hold, ..
            } = *arriving;
            session.respect_keepalive();
            if session.will_keepalive()
                && let Some(stream) = session.reuse().await
            {
                hold.pool.put(hold.key, stream);
            }
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
}
