//! Hits answered before Pingora sees them.
//!
//! Most requests are plain reads of bytes that lie in memory or in the page cache, and making
//! Pingora's session for one costs as much as all that has to be decided about it. So a connection's
//! requests are looked at first. What is a plain read is verified, authorized and looked up by the same
//! code as any other request; if it is a hit that takes no waiting, it is answered here. Everything
//! else, every refusal included, is put back as it came, and Pingora reads it as if nothing had
//! happened: nothing was written, counted or asked.

mod head;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use bytes::BytesMut;
use http::StatusCode;
use http::header;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncReadExt;

use super::S3Proxy;
use super::admission::Admission;
use super::check_head;
use super::client_stream::ClientStream;
use super::connection::Clock;
use super::ctx::RequestCtx;
use super::read;
use super::record;
use super::record::Books;
use super::record::Exchange;
use super::record::RequestIds;
use super::respond;
use super::settings::InForce;
use crate::auth::Verified;
use crate::auth::Verifier;
use crate::read::Reader;
use crate::s3::Request;
use crate::s3::RequestHead;
use crate::sigv4::AMZ_SECURITY_TOKEN;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use head::Head;

/// What is read of a head at once. Those of engines have 400 to 800 bytes; a longer one is for Pingora.
const HEAD_BYTES: usize = 4096;

/// All that a hit needs.
pub(super) struct FastPath {
    settings: InForce,
    reader: Reader,
    admission: Arc<Admission>,
    request_ids: Arc<RequestIds>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
}

/// How it goes on with a connection.
pub(super) enum Next {
    /// Pingora reads what was put back, or what comes next.
    Pingora,
    /// It has ended.
    Closed,
}

/// A hit, ready to be written.
struct Hit {
    status: StatusCode,
    head: BytesMut,
    /// Empty, or in a few pieces.
    body: VecDeque<Bytes>,
}

impl FastPath {
    /// The fast path beside a proxy; `None` where every request has more to go through than a hit.
    pub(super) fn beside(proxy: &S3Proxy) -> Option<Self> {
        if proxy.comparisons.is_some() || proxy.traces.is_some() {
            return None;
        }
        Some(Self {
            settings: proxy.settings.clone(),
            reader: proxy.reader.clone()?,
            admission: Arc::clone(&proxy.admission),
            request_ids: Arc::clone(&proxy.request_ids),
            metrics: Arc::clone(&proxy.metrics),
            access_log: Arc::clone(&proxy.access_log),
        })
    }

    /// Answers requests as long as they are hits.
    pub(super) async fn serve(
        &self,
        stream: &mut ClientStream,
        clock: &Clock,
        shutdown: &ShutdownWatch,
    ) -> Next {
        let mut shutdown = shutdown.clone();
        let mut buffer = BytesMut::new();
        loop {
            if *shutdown.borrow() {
                return Next::Pingora;
            }
            buffer.reserve(HEAD_BYTES);
            let read = tokio::select! {
                biased;
                read = stream.read_buf(&mut buffer) => read,
                // What becomes of idle connections then is Pingora's business.
                _ = shutdown.changed() => return Next::Pingora,
            };
            if read.is_ok_and(|length| length == 0) || buffer.is_empty() {
                return Next::Closed;
            }
            let bytes = buffer.split().freeze();
            let Some(head) = Head::parse(&bytes) else {
                clock.head_begins(&self.settings.now().limits);
                stream.put_back(bytes);
                return Next::Pingora;
            };
            match self.answer(stream, clock, &head).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Next::Closed,
                None => {
                    stream.put_back(bytes);
                    return Next::Pingora;
                }
            }
        }
    }

    /// Answers one request, if it is a hit.
    async fn answer(
        &self,
        stream: &mut ClientStream,
        clock: &Clock,
        head: &Head<'_>,
    ) -> Option<pingora::Result<()>> {
        clock.head_arrived();
        let mut ctx = RequestCtx::new(self.request_ids.next(), self.settings.now());
        ctx.started = Some((Instant::now(), SystemTime::now()));
        let hit = self.hit(head, &mut ctx)?;
        let status = hit.status;
        ctx.in_progress = Some(self.metrics.request());
        self.metrics.fast_path_request();
        let (written, sent) = write::hit(stream, &ctx.settings.limits, hit).await;
        clock.idles(&ctx.settings.limits);
        let exchange = Exchange {
            method: &head.method,
            headers: &head.headers,
            remote: stream.remote(),
            answered: Some(status),
            received: 0,
            sent,
        };
        let books = Books {
            metrics: &self.metrics,
            access_log: &self.access_log,
        };
        let error = written.as_ref().err().map(AsRef::as_ref);
        record::write(&books, &exchange, &ctx, error);
        Some(written)
    }

    /// Verifies, authorizes and looks up, in the order of [`S3Proxy::admit`]; `None` for whatever is not a hit.
    fn hit(&self, head: &Head<'_>, ctx: &mut RequestCtx) -> Option<Hit> {
        let settings = Arc::clone(&ctx.settings);
        let limits = &settings.limits;
        ctx.place = Some(self.admission.enter(limits.requests)?);
        check_head(&head.method, head.target.len(), &head.headers, limits).ok()?;
        let request_head = head.to_request_head()?;
        let request = Arc::new(Request::classify(&request_head, &settings.domains).ok()?);
        if !request.operation.reads_object() {
            return None;
        }
        ctx.request = Some(Arc::clone(&request));
        let now = ctx.started.map(|(_, wall)| wall)?;
        let verified = Arc::new(verified(&settings.verifier, &request_head, now)?);
        ctx.verified = Some(Arc::clone(&verified));
        let bound = limits.requests_per_client;
        let place = self.admission.enter_as(&verified.principal, bound)?;
        ctx.client_place = Some(place);
        let accesses = request.accesses();
        settings
            .policy
            .authorize(&verified.principal, &accesses)
            .ok()?;
        ctx.is_verified();
        let ask = read::ask(&head.headers, ctx, &request, &verified, now).ok()??;
        let begun = Instant::now();
        let mut reply = self.reader.answer_at_once(&ask)?;
        ctx.cache
            .read(&reply.trace, reply.status(), begun.elapsed());
        ctx.answer_begins();
        let status = reply.status();
        let head = write::head(status, reply.fields()?.chain(respond::own_fields(ctx)));
        let body = match &mut reply.body {
            Some(stream) => {
                let pieces = stream.take_whole()?;
                ctx.cache.sent(stream.served(), stream.fills_begun());
                pieces
            }
            None => VecDeque::new(),
        };
        Some(Hit { status, head, body })
    }
}

/// Who asks, if that is known without waiting for anybody: a web identity may have to be exchanged first.
fn verified(verifier: &Verifier, head: &RequestHead<'_>, now: SystemTime) -> Option<Verified> {
    let has_token = head.headers.contains_key(&AMZ_SECURITY_TOKEN)
        || head.raw_query.contains("X-Amz-Security-Token");
    let is_signed = head
        .headers
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value.as_bytes().starts_with(b"AWS4-"));
    if has_token || !is_signed {
        return None;
    }
    let verification = std::pin::pin!(verifier.verify(head, None, now));
    let mut context = Context::from_waker(Waker::noop());
    match verification.poll(&mut context) {
        Poll::Ready(outcome) => outcome.ok(),
        Poll::Pending => None,
    }
}
