//! The way of one download to the head of its answer: attempts, and whether there is another.

use http::HeaderMap;
use http::StatusCode;
use http::header;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::Peer;
use std::sync::Arc;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::Downloads;
use super::Lane;
use super::body::Download;
use super::body::Hold;
use super::object::ObjectAsk;
use super::object::Priority;
use super::pool::ConnectionKey;
use super::slots::Slot;
use crate::s3::Credentials;
use crate::s3::Request;
use crate::telemetry::Attempt;
use crate::telemetry::HedgeEvent;
use crate::telemetry::OriginMetrics;
use crate::telemetry::RetryReason;
use crate::telemetry::UpstreamErrorKind;
use crate::telemetry::trace::Span;
use crate::upstream::error::UpstreamError;
use crate::upstream::origin::Destination;
use crate::upstream::origin::Origin;
use crate::upstream::origin::tell_trace;
use crate::upstream::region::hint_of;
use crate::upstream::rejection::may_reject;
use crate::upstream::retry::backoff;
use crate::upstream::retry::is_transient;
use crate::upstream::retry::jitter;
use crate::upstream::rewrite::OriginBody;

/// Interim answers (1xx) before the answer, at most.
const MAX_INTERIM: usize = 8;

/// A longer head is no answer of S3, whose metadata ends at 8 KB. Pingora stops reading at 1 MiB.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// One download without its answer.
pub(super) struct Attempts<'a> {
    origin: &'a Origin,
    downloads: &'a Downloads,
    ask: &'a ObjectAsk<'a>,
    request: Request,
    fields: HeaderMap,
    lane: &'a Lane,
    deadline: Instant,
}

/// Why an attempt brought no head.
struct Failure {
    error: UpstreamError,
    reason: RetryReason,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        origin: &'a Origin,
        downloads: &'a Downloads,
        ask: &'a ObjectAsk<'a>,
    ) -> Self {
        Self {
            origin,
            downloads,
            ask,
            request: ask.request(),
            fields: ask.fields(),
            lane: downloads.lane(origin),
            deadline: Instant::now() + origin.config.timeouts.total,
        }
    }

    pub(super) async fn run(&self) -> Result<Download, UpstreamError> {
        if let Ok(outcome) = timeout_at(self.deadline, self.run_unbounded()).await {
            outcome
        } else {
            self.count(|metrics| metrics.error(UpstreamErrorKind::Timeout));
            Err(self.timed_out())
        }
    }

    async fn run_unbounded(&self) -> Result<Download, UpstreamError> {
        let mut retries = 0;
        let mut has_moved = false;
        loop {
            let destination = self.origin.destination(Some(self.ask.bucket));
            let outcome = self.attempt_hedged(&destination).await;
            if let Ok(download) = &outcome {
                let hint = hint_of(download.status, &download.headers, &destination.region);
                let bucket = Some(self.ask.bucket);
                if self.origin.learn(bucket, &hint, &destination)? {
                    if std::mem::replace(&mut has_moved, true) {
                        return Err(UpstreamError::Redirected);
                    }
                    self.next_attempt(outcome, RetryReason::Region).await;
                    continue;
                }
            }
            let reason = match &outcome {
                Ok(download) if is_transient(download.status) => RetryReason::ServerError,
                Err(failure) if failure.error.is_interruption() => failure.reason,
                _ => return outcome.map_err(|failure| failure.error),
            };
            if retries == self.origin.config.max_retries || !self.origin.retry_budget.spend() {
                return outcome.map_err(|failure| failure.error);
            }
            retries += 1;
            self.next_attempt(outcome, reason).await;
            tokio::time::sleep(backoff(retries, jitter())).await;
        }
    }

    async fn next_attempt(&self, given_up: Result<Download, Failure>, reason: RetryReason) {
        match given_up {
            Ok(download) => download.finish().await,
            Err(failure) => log::debug!(
                "origin {}: trying again after: {}",
                self.origin.config.name,
                failure.error
            ),
        }
        self.count(|metrics| metrics.retry(reason));
    }

    /// One attempt, and a second one beside it when its answer is late: what comes first of the two is
    /// used, and the other given up. Only a success beats the one that still runs; whatever else is
    /// said about the object is the first one's to say.
    async fn attempt_hedged(&self, destination: &Destination) -> Result<Download, Failure> {
        let begun = Instant::now();
        let mut first = Box::pin(self.attempt(destination));
        let is_awaited = self.ask.priority == Priority::Demand;
        if self.ask.is_head || !is_awaited || !self.downloads.config.hedges {
            return first.await;
        }
        let hedging = &self.lane.hedging;
        let Some(late) = hedging.begin(begun) else {
            return self.note(first.await, begun);
        };
        if let Ok(outcome) = timeout(late, first.as_mut()).await {
            return self.note(outcome, begun);
        }
        if !self.lane.is_quiet() || !hedging.spend(Instant::now()) {
            return self.note(first.await, begun);
        }
        self.count(|metrics| metrics.hedge(HedgeEvent::Sent));
        let hedged = Instant::now();
        let mut second = Box::pin(self.attempt(destination));
        tokio::select! {
            outcome = &mut first => {
                let outcome = self.note(outcome, begun);
                if is_success(&outcome) {
                    return outcome;
                }
                let other = self.note(second.await, hedged);
                if is_success(&other) { other } else { outcome }
            }
            outcome = &mut second => {
                let outcome = self.note(outcome, hedged);
                if !is_success(&outcome) {
                    return self.note(first.await, begun);
                }
                // It would have taken longer still.
                hedging.waited(begun.elapsed());
                self.count(|metrics| metrics.hedge(HedgeEvent::Won));
                outcome
            }
        }
    }

    /// Remembers what the origin's answers are like.
    fn note(
        &self,
        outcome: Result<Download, Failure>,
        begun: Instant,
    ) -> Result<Download, Failure> {
        let hedging = &self.lane.hedging;
        if is_success(&outcome) {
            hedging.waited(begun.elapsed());
        } else if is_trouble(&outcome) {
            hedging.trouble(Instant::now());
        }
        outcome
    }

    /// One request on a kept connection, and on a new one if the kept one turns out to be closed.
    async fn attempt(&self, destination: &Destination) -> Result<Download, Failure> {
        let Some(slot) = self.slot().await else {
            self.count(|metrics| metrics.error(UpstreamErrorKind::Other));
            return Err(Failure {
                error: UpstreamError::TooManyWaiting,
                reason: RetryReason::Throttled,
            });
        };
        let mut hold = Hold {
            key: ConnectionKey::of(destination),
            pool: Arc::clone(&self.lane.pool),
            slot,
        };
        if let Some(stream) = hold.pool.take(&hold.key) {
            self.count(|metrics| metrics.connection(true));
            match self.exchange(stream, hold, destination).await {
                Ok(download) => return Ok(download),
                Err((failure, kept)) => {
                    if !matches!(failure.error, UpstreamError::Connection(_)) {
                        return Err(failure);
                    }
                    log::debug!("a kept connection failed: {}", failure.error);
                    self.count(|metrics| metrics.retry(RetryReason::StaleConnection));
                    hold = kept;
                }
            }
        }
        let stream = self.connect(destination).await?;
        self.exchange(stream, hold, destination)
            .await
            .map_err(|(failure, _)| failure)
    }

    /// A place among the connections. A prefetch that a client comes to wait for stands in line with
    /// what clients wait for, wherever it stood before.
    async fn slot(&self) -> Option<Slot> {
        let slots = &self.lane.slots;
        match (self.ask.priority, self.ask.awaited) {
            (Priority::Prefetch, Some(awaited)) => tokio::select! {
                biased;
                () = awaited.said() => slots.take(Priority::Demand).await,
                slot = slots.take(Priority::Prefetch) => slot,
            },
            (priority, _) => slots.take(priority).await,
        }
    }

    async fn connect(&self, destination: &Destination) -> Result<Stream, Failure> {
        let peer = self.origin.peer(destination).await;
        let peer = peer.map_err(|error| failed(self.counted(), error))?;
        self.lane.make_room();
        match self.downloads.source.connect(&peer).await {
            Ok(stream) => {
                self.count(|metrics| metrics.connection(false));
                Ok(stream)
            }
            Err(error) => {
                if let Some(address) = peer.address().as_inet() {
                    self.origin.connect_failed(*address);
                }
                let failure = failed(self.counted(), UpstreamError::Connection(error));
                Err(Failure {
                    reason: RetryReason::Connect,
                    ..failure
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
    ) -> Result<Download, (Failure, Hold)> {
        let mut session = HttpSession::new(stream);
        let counted = self.counted();
        let sent = Instant::now();
        let mut span = self.origin.current_span(destination);
        let conversation = self.converse(&mut session, destination, span.as_ref());
        let (head, signer) = match conversation.await {
            Ok(answered) => answered,
            Err(error) => return Err((failed(counted, error), hold)),
        };
        let (status, headers) = head;
        if let Some(span) = &mut span {
            span.answered(status);
        }
        drop(span);
        if let Some(counted) = counted {
            counted.answered(status, sent.elapsed());
        }
        let is_bare =
            self.ask.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = if is_bare { Some(0) } else { promised(&headers) };
        let signer = signer.filter(|_| self.ask.own.is_none() && may_reject(status));
        let download = Download::new(status, headers, length)
            .signed_with(signer.map(|used| self.origin.signed_with(used)))
            .reading(session, hold, self.deadline, self.origin)
            .await;
        Ok(download)
    }

    async fn converse(
        &self,
        session: &mut HttpSession,
        destination: &Destination,
        span: Option<&Span>,
    ) -> Result<((StatusCode, HeaderMap), Option<Credentials>), UpstreamError> {
        let signer = self.origin.signer(self.ask.own).await?;
        let mut head = Box::new(self.signed(destination, signer.as_ref())?);
        tell_trace(&mut head, span).map_err(UpstreamError::Connection)?;
        let timeouts = &self.origin.config.timeouts;
        let written = session.write_request_header(head);
        self.within(timeouts.write, written).await?;
        let answered = self.within(timeouts.read, final_head(session)).await?;
        if !answered {
            return Err(UpstreamError::AnswerTooLong(MAX_HEAD_BYTES));
        }
        let head = session.resp_header();
        let head = head.ok_or(UpstreamError::AnswerTooLong(MAX_HEAD_BYTES))?;
        Ok(((head.status, head.headers.clone()), signer))
    }

    async fn within<T>(
        &self,
        limit: std::time::Duration,
        step: impl Future<Output = pingora::Result<T>>,
    ) -> Result<T, UpstreamError> {
        let until = self.deadline.min(Instant::now() + limit);
        match timeout_at(until, step).await {
            Ok(outcome) => outcome.map_err(UpstreamError::Connection),
            Err(_) if until == self.deadline => Err(self.timed_out()),
            Err(_) => Err(UpstreamError::Silent(limit)),
        }
    }

    fn signed(
        &self,
        destination: &Destination,
        signer: Option<&Credentials>,
    ) -> Result<RequestHeader, UpstreamError> {
        let (method, body) = (self.ask.method(), OriginBody::Absent);
        let (request, fields) = (&self.request, &self.fields);
        self.origin
            .request(request, &method, fields, &body, destination, signer)
    }

    /// Counts the request that begins now.
    fn counted(&self) -> Option<Attempt> {
        let metrics = self.origin.metrics()?;
        Some(metrics.attempt(self.ask.operation()))
    }

    fn timed_out(&self) -> UpstreamError {
        UpstreamError::TimedOut(self.origin.config.timeouts.total)
    }

    fn count(&self, record: impl FnOnce(&OriginMetrics)) {
        if let Some(metrics) = self.origin.metrics() {
            record(metrics);
        }
    }
}

/// An attempt brought no head.
fn failed(counted: Option<Attempt>, error: UpstreamError) -> Failure {
    let kind = error.kind();
    if let Some(counted) = counted {
        counted.failed(kind);
    }
    let reason = match kind {
        UpstreamErrorKind::Timeout => RetryReason::Timeout,
        _ => RetryReason::Truncated,
    };
    Failure { error, reason }
}

/// Whether the origin gives what was asked for.
fn is_success(outcome: &Result<Download, Failure>) -> bool {
    outcome.as_ref().is_ok_and(|download| {
        download.status.is_success() || download.status == StatusCode::NOT_MODIFIED
    })
}

/// Whether the origin cannot be reached, is ill, or wants fewer requests.
fn is_trouble(outcome: &Result<Download, Failure>) -> bool {
    outcome.as_ref().map_or(true, |download| {
        download.status.is_server_error() || download.status == StatusCode::TOO_MANY_REQUESTS
    })
}

/// Reads heads up to the one that is no interim answer; false: that is not among the first few, or
/// is too long.
async fn final_head(session: &mut HttpSession) -> pingora::Result<bool> {
    for _ in 0..=MAX_INTERIM {
        let length = session.read_response().await?;
        if length > MAX_HEAD_BYTES {
            return Ok(false);
        }
        let status = session.get_status();
        if !status.is_some_and(|status| status.is_informational()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The length that a head promises. The session has refused one that contradicts itself.
fn promised(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    text.split(',').next()?.trim().parse().ok()
}
