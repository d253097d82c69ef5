//! Traces: what a request did and when, as OpenTelemetry spans.
//!
//! A span is in the queue as soon as it ends; a thread of the server's sends them to a collector. Which
//! trace is at work is known to the task, so that nothing below has to be told.

mod context;
mod export;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

pub use context::{TRACEPARENT, TRACESTATE};

use super::metrics::Metrics;
use super::record::RequestRecord;
use context::Parent;
use queue::Queue;

/// Begins traces, and keeps what is to be sent.
pub struct Traces {
    /// The share that is recorded of the traces that begin here.
    ratio: f64,
    queue: Queue,
    metrics: Arc<Metrics>,
}

/// A request's trace, at one of its spans.
#[derive(Clone)]
pub struct Trace {
    request: Arc<Shared>,
    span_id: u64,
}

struct Shared {
    traces: Arc<Traces>,
    trace_id: u128,
    parent: Option<u64>,
    is_sampled: bool,
    state: Option<Arc<str>>,
    /// Both clocks at the request's head: spans are measured by the one that never jumps.
    started: (Instant, SystemTime),
}

/// Something that takes time, until it is dropped.
pub struct Span {
    trace: Trace,
    parent: u64,
    name: &'static str,
    kind: SpanKind,
    start: Instant,
    attributes: Vec<(&'static str, Value)>,
    is_error: bool,
}

/// Whose doing a span is, by the numbers of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanKind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// A span that has ended.
pub(super) struct FinishedSpan {
    trace_id: u128,
    span_id: u64,
    parent: Option<u64>,
    state: Option<Arc<str>>,
    name: &'static str,
    kind: SpanKind,
    start: SystemTime,
    end: SystemTime,
    first_byte: Option<SystemTime>,
    attributes: Vec<(&'static str, Value)>,
    is_error: bool,
}

/// Where a task is: without a trace, most of the time.
struct Place {
    trace: Option<Trace>,
    /// Ends when the task leaves.
    _span: Option<Span>,
}

tokio::task_local! {
    static CURRENT: Place;
}

/// The trace of the request that this task works for.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(|place| place.trace.clone()).ok().flatten()
}

/// Runs as a span of the trace at work, if there is one.
pub fn in_span<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
    let span = current().map(|trace| trace.span(name));
    let trace = span.as_ref().map(|span| span.trace.clone());
    CURRENT.scope(Place { trace, _span: span }, work)
}

/// For a task of its own: takes along the trace at work.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current(), work)
}

/// Runs with this trace at work.
pub fn within<F: Future>(trace: Option<Trace>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Place { trace, _span: None }, work)
}

impl Traces {
    /// Records this share of the traces that begin here, from 0 to 1.
    pub fn new(ratio: f64, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            ratio,
            queue: Queue::default(),
            metrics,
        })
    }

    /// A request's trace: the one that its fields name, or a new one. Whether it is recorded its
    /// parent says, and chance where there is none.
    pub fn begin(self: &Arc<Self>, headers: &HeaderMap, started: (Instant, SystemTime)) -> Trace {
        let parent = Parent::of(headers);
        let trace_id = parent.as_ref().map_or_else(
            || u128::from(random()) << 64 | u128::from(random()),
            |parent| parent.trace_id,
        );
        let is_sampled = parent.as_ref().map_or_else(
            || is_chosen(trace_id, self.ratio),
            |parent| parent.is_sampled,
        );
        Trace {
            request: Arc::new(Shared {
                traces: Arc::clone(self),
                trace_id,
                parent: parent.as_ref().map(|parent| parent.span_id),
                is_sampled,
                state: parent.and_then(|parent| parent.state),
                started,
            }),
            span_id: random(),
        }
    }

    /// Waits for spans to send, and answers the body of a request to a collector, and how many they
    /// are. Before that, it ends the batch before.
    pub fn next_batch(&self) -> (Vec<u8>, u64) {
        let spans = self.queue.next();
        (export::encode(&spans), spans.len() as u64)
    }

    /// So many spans did not get to the collector.
    pub fn dropped(&self, spans: u64) {
        self.metrics.spans_dropped(spans);
    }

    /// Waits until everything so far is sent, but no longer than `limit`; the answer tells whether
    /// it is. For the end of the process.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("ratio", &self.ratio)
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// Something that is done for it from now on.
    pub fn span(&self, name: &'static str) -> Span {
        Span {
            trace: Self {
                request: Arc::clone(&self.request),
                span_id: random(),
            },
            parent: self.span_id,
            name,
            kind: SpanKind::Internal,
            start: Instant::now(),
            attributes: Vec::new(),
            is_error: false,
        }
    }

    /// The same, of which another process has its part: a request to `origin` at `host`.
    pub fn origin_request(&self, origin: &str, host: &str) -> Span {
        let mut span = self.span("origin request");
        span.kind = SpanKind::Client;
        span.set("s3proxy.origin", origin);
        span.set("server.address", host);
        span
    }

    /// The request has ended.
    pub fn end(&self, record: &RequestRecord<'_>) {
        let request = &self.request;
        if !request.is_sampled {
            return;
        }
        let (_, start) = request.started;
        request.finish(FinishedSpan {
            trace_id: request.trace_id,
            span_id: self.span_id,
            parent: request.parent,
            state: request.state.clone(),
            name: record.operation.name(),
            kind: SpanKind::Server,
            start,
            end: request.time(Instant::now()),
            first_byte: record.first_byte.map(|after| start + after),
            attributes: attributes(record),
            is_error: record.status.is_none_or(|status| status.is_server_error()),
        });
    }
}

impl Shared {
    fn time(&self, instant: Instant) -> SystemTime {
        let (from, wall) = self.started;
        wall + instant.saturating_duration_since(from)
    }

    fn finish(&self, span: FinishedSpan) {
        if !self.traces.queue.push(span) {
            self.traces.dropped(1);
        }
    }
}

impl Span {
    /// Says something of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.trace.request.is_sampled {
            self.attributes.push((name, value.into()));
        }
    }

    /// How the origin answered.
    pub fn answered(&mut self, status: http::StatusCode) {
        self.set("http.response.status_code", i64::from(status.as_u16()));
        self.is_error = status.is_server_error();
    }

    /// The fields that tell another process about it.
    pub fn fields(&self) -> Vec<(HeaderName, HeaderValue)> {
        let request = &self.trace.request;
        let flags = u8::from(request.is_sampled);
        let parent = format!(
            "00-{:032x}-{:016x}-{flags:02x}",
            request.trace_id, self.trace.span_id
        );
        let state = request.state.as_deref();
        [(TRACEPARENT, Some(parent.as_str())), (TRACESTATE, state)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?)))
            .collect()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let request = &self.trace.request;
        if !request.is_sampled {
            return;
        }
        request.finish(FinishedSpan {
            trace_id: request.trace_id,
            span_id: self.trace.span_id,
            parent: Some(self.parent),
            state: request.state.clone(),
            name: self.name,
            kind: self.kind,
            start: request.time(self.start),
            end: request.time(Instant::now()),
            first_byte: None,
            attributes: std::mem::take(&mut self.attributes),
            is_error: self.is_error,
        });
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Names after OpenTelemetry's semantic conventions where they have one. Like the log's line, it has
/// no place for a query or a secret.
fn attributes(record: &RequestRecord<'_>) -> Vec<(&'static str, Value)> {
    let number = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let text = |text: &str| Value::Text(text.to_owned());
    let cache = record.cache.as_ref();
    let bytes = cache.and_then(|cache| cache.bytes_from);
    let all = [
        ("http.request.method", Some(text(record.method.as_str()))),
        (
            "http.response.status_code",
            record.status.map(|status| number(status.as_u16().into())),
        ),
        (
            "client.address",
            record
                .remote
                .map(|remote| Value::Text(remote.ip().to_string())),
        ),
        (
            "aws.s3.bucket",
            record.bucket.map(|bucket| text(bucket.as_str())),
        ),
        ("aws.s3.key", record.key.map(|key| text(key.as_str()))),
        ("error.type", record.code.map(|code| text(code.as_str()))),
        ("s3proxy.request_id", Some(text(record.request_id))),
        (
            "s3proxy.client",
            record
                .principal
                .map(|principal| Value::Text(principal.to_string())),
        ),
        ("s3proxy.bytes_in", Some(number(record.request_bytes))),
        ("s3proxy.bytes_out", Some(number(record.response_bytes))),
        (
            "s3proxy.cache",
            cache.map(|cache| text(cache.result.as_str())),
        ),
        (
            "s3proxy.origin_requests",
            cache.map(|cache| number(cache.origin_requests.into())),
        ),
        (
            "s3proxy.bytes_memory",
            bytes.map(|bytes| number(bytes.memory)),
        ),
        ("s3proxy.bytes_disk", bytes.map(|bytes| number(bytes.disk))),
        (
            "s3proxy.bytes_origin",
            bytes.map(|bytes| number(bytes.origin)),
        ),
    ];
    let known = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    known.collect()
}

/// Whether chance, which is in the id, takes a trace.
fn is_chosen(trace_id: u128, ratio: f64) -> bool {
    // Its upper 32 bits: exact in a double.
    let chance = u32::try_from(trace_id >> 96).unwrap_or_default();
    f64::from(chance) < ratio * f64::from(u32::MAX) || ratio >= 1.0
}

/// Never zero, which means none. The keys of a hash are chosen anew each time.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8).max(1)
}
