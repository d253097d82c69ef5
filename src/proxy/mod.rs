//! The request path: Pingora's phases in the order they happen.
//!
//! A phase is a handful of named calls. What is decided from values stands in the stage that owns
//! it; here it is only put in order.

mod admission;
mod body;
mod cache_use;
mod client_stream;
mod comparison;
mod connection;
mod ctx;
mod delete_objects;
mod failure;
mod fast_path;
mod forward;
mod harvest;
mod invalidation;
mod limits;
mod list_buckets;
mod read;
mod record;
mod rejection;
mod respond;
mod retry;
mod settings;
mod verify;

use std::sync::Arc;
use std::time::Instant;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::http::ResponseHeader;
use pingora::modules::http::HttpModules;
use pingora::proxy::FailToProxy;
use pingora::proxy::ProxyHttp;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;

pub use admission::Admission;
pub use comparison::Comparisons;
pub use connection::BoundedConnections;
pub use ctx::RequestCtx;
pub use failure::Failure;
pub use limits::Limits;
pub use record::RequestIds;
pub use settings::{Identities, InForce, ServedOrigin, Settings};

use crate::auth::Verified;
use crate::read::Reader;
use crate::read::Reply;
use crate::s3::ErrorCode;
use crate::s3::Operation;
use crate::s3::Request;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::trace;
use crate::telemetry::trace::Traces;
use crate::upstream::Fetch;
use forward::Forward;
use invalidation::Invalidation;
use record::Books;
use record::Exchange;

/// The proxy, and all that its phases need.
pub struct S3Proxy {
    /// What may change between two requests.
    pub settings: InForce,
    /// Reads of objects; absent when nothing is cached.
    pub reader: Option<Reader>,
    /// What they would have brought is compared with what the origin says; absent when they are
    /// answered.
    pub comparisons: Option<Comparisons>,
    /// The proxy's own small exchanges.
    pub fetch: Arc<Fetch>,
    /// Requests in flight.
    pub admission: Arc<Admission>,
    /// Ids of requests.
    pub request_ids: Arc<RequestIds>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// One line a request.
    pub access_log: Arc<AccessLog>,
    /// Spans of requests; absent when they are not configured.
    pub traces: Option<Arc<Traces>>,
}

/// What becomes of a request that was let in.
enum Next {
    Forward,
    Document(String),
    Answer(crate::upstream::Answer),
    Read(Reply),
}

impl S3Proxy {
    /// Classifies, verifies and authorizes; then decides who answers.
    async fn admit(&self, session: &mut Session, ctx: &mut RequestCtx) -> Result<Next, Failure> {
        let settings = Arc::clone(&ctx.settings);
        let limits = &settings.limits;
        let place = self.admission.enter(limits.requests);
        ctx.place = Some(place.ok_or(ErrorCode::SlowDown)?);
        let head = session.req_header();
        check_head(&head.method, head.raw_path().len(), &head.headers, limits)?;
        let head = verify::head_of(session.req_header())?;
        let request = Arc::new(Request::classify(&head, &settings.domains)?);
        ctx.request = Some(Arc::clone(&request));
        let now = ctx.started.map_or_else(SystemTime::now, |(_, wall)| wall);
        let verified = verify::verify(&settings.verifier, limits, session, ctx, now);
        let verified = Arc::new(trace::in_span("verify", verified).await?);
        ctx.verified = Some(Arc::clone(&verified));
        let bound = limits.requests_per_client;
        let place = self.admission.enter_as(&verified.principal, bound);
        ctx.client_place = Some(place.ok_or(ErrorCode::SlowDown)?);
        if request.operation == Operation::Unknown && request.param("session").is_some() {
            return Err(ErrorCode::NotImplemented.into());
        }
        if request.operation == Operation::DeleteObjects {
            verify::continue_if_expected(session, ctx).await?;
            let answer = delete_objects::answer(self, session, ctx, &request, &verified).await?;
            return Ok(Next::Answer(answer));
        }
        let span = ctx.trace.as_ref().map(|trace| trace.span("authorize"));
        settings
            .policy
            .authorize(&verified.principal, &request.accesses())?;
        drop(span);
        ctx.is_verified();
        if request.operation == Operation::ListBuckets {
            settings.check_is_known(&verified.principal)?;
            ctx.cache
                .forwarded(&request, &Method::GET, self.reader.is_some());
            return list_buckets::answer(self, &settings, &request, &verified)
                .await
                .map(Next::Document);
        }
        if let Some(reply) = read::answer(self, session, ctx, &request, &verified, now).await? {
            ctx.is_own = settings.is_own(&verified.principal);
            return Ok(Next::Read(reply));
        }
        prepare_forward(&settings, session, ctx, &request, &verified)?;
        verify::check_small_body(limits, session, ctx, &verified.payload).await?;
        verify::continue_if_expected(session, ctx).await?;
        self.begin_forward(session, ctx, &request);
        Ok(Next::Forward)
    }

    async fn serve(&self, session: &mut Session, ctx: &mut RequestCtx) -> pingora::Result<bool> {
        let next = self.admit(session, ctx).await;
        self.write(session, ctx, next).await
    }

    /// The cache hears of it before the origin does.
    fn begin_forward(&self, session: &Session, ctx: &mut RequestCtx, request: &Request) {
        let method = &session.req_header().method;
        ctx.cache.forwarded(request, method, self.reader.is_some());
        if let Some(origin) = ctx.origin_name() {
            ctx.invalidation = Invalidation::begin(self, request, method, &origin);
        }
        harvest::begin(self, ctx, request);
    }

    async fn write(
        &self,
        session: &mut Session,
        ctx: &mut RequestCtx,
        next: Result<Next, Failure>,
    ) -> pingora::Result<bool> {
        match next {
            Ok(Next::Forward) => return Ok(false),
            Ok(Next::Document(xml)) => {
                ctx.answer_begins();
                respond::document_with(session, ctx, StatusCode::OK, xml).await?;
            }
            Ok(Next::Read(reply)) => {
                ctx.answer_begins();
                read::write(session, ctx, reply).await?;
            }
            Ok(Next::Answer(answer)) => {
                ctx.answer_begins();
                respond::answer(session, ctx, answer).await?;
            }
            Err(failure) => {
                ctx.answer_begins();
                ctx.cache
                    .verified_after
                    .get_or_insert(ctx.first_byte.unwrap_or_default());
                respond::failure(session, ctx, failure).await?;
            }
        }
        Ok(true)
    }
}

fn prepare_forward(
    settings: &Settings,
    session: &Session,
    ctx: &mut RequestCtx,
    request: &Request,
    verified: &Verified,
) -> Result<(), Failure> {
    let bucket = request.bucket.as_ref().ok_or(ErrorCode::MethodNotAllowed)?;
    let serving = settings.serving(bucket).ok_or(ErrorCode::NoSuchBucket)?;
    if let Some(source) = &request.copy_source {
        let from = settings
            .serving(&source.bucket)
            .ok_or(ErrorCode::NoSuchBucket)?;
        if !Arc::ptr_eq(&from.origin, &serving.origin) {
            return Err(Failure::because(
                ErrorCode::NotImplemented,
                "A copy between buckets of different origins is not implemented.",
            ));
        }
    }
    let head = session.req_header();
    let forwards_trailers = serving.origin.config.trailing_checksums;
    let plan = body::plan(&verified.payload, &head.headers, forwards_trailers)?;
    ctx.body = Some(body::RequestBody::new(verified.payload.clone(), plan));
    ctx.forward = Some(Forward::new(
        Arc::clone(&serving.origin),
        serving.metrics.clone(),
        settings.is_own(&verified.principal),
        request.operation.is_safe(&head.method) && !body::has_body(&head.headers),
    ));
    Ok(())
}

/// What is refused before anything is read of it.
fn check_head(
    method: &Method,
    target_bytes: usize,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<(), Failure> {
    let fields = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    if fields.sum::<usize>() + target_bytes > limits.header_bytes {
        return Err(ErrorCode::MetadataTooLarge.into());
    }
    match *method {
        Method::GET | Method::HEAD if body::has_body(headers) => Err(Failure::because(
            ErrorCode::InvalidRequest,
            "A GET or HEAD request takes no body.",
        )),
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(()),
        _ => Err(ErrorCode::MethodNotAllowed.into()),
    }
}

#[async_trait]
impl ProxyHttp for S3Proxy {
    type CTX = RequestCtx;

    fn new_ctx(&self) -> RequestCtx {
        RequestCtx::new(self.request_ids.next(), self.settings.now())
    }

    /// None: Pingora's compression would cost every request and change signed fields.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        connection::head_arrived();
        let started = (Instant::now(), SystemTime::now());
        ctx.started = Some(started);
        let fields = &session.req_header().headers;
        ctx.trace = self
            .traces
            .as_ref()
            .map(|traces| traces.begin(fields, started));
        ctx.body_deadline = Instant::now().checked_add(ctx.settings.limits.body_timeout);
        ctx.in_progress = Some(self.metrics.request());
        ctx.settings.limits.apply(session);
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<bool> {
        trace::within(ctx.trace.clone(), self.serve(session, ctx)).await
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<Box<HttpPeer>> {
        retry::next_peer(ctx).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestCtx,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        retry::after_connect_error(ctx, error)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&pingora::protocols::Digest>,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        if let Some(forward) = &ctx.forward {
            forward.metrics.connection(reused);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        *upstream_request = retry::signed_request(session, ctx).await?;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        data: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        if ctx.body_time_left().is_zero() && !end {
            return Err(retry::refuse(ctx, ErrorCode::RequestTimeout.into()));
        }
        let Some(body) = &mut ctx.body else {
            return Ok(());
        };
        match body.pass(data, end) {
            Ok(()) => Ok(()),
            Err(error) => {
                // What was released before is on its way to the origin, which has to get it: see
                // `PayloadDecoder` for the reason.
                tokio::time::sleep(body::LAST_WORDS).await;
                Err(retry::refuse(ctx, error.into()))
            }
        }
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<pingora::Error>,
        ctx: &mut RequestCtx,
        client_reused: bool,
    ) -> Box<pingora::Error> {
        retry::after_error(session, ctx, error, client_reused)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        retry::judge_answer(
            session,
            ctx,
            upstream_response.status,
            &upstream_response.headers,
        )
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<()> {
        ctx.answer_begins();
        if let Some(invalidation) = &mut ctx.invalidation {
            invalidation.answered(response.status);
        }
        harvest::answered(ctx, response.status, &response.headers);
        if let Some(comparison) = &mut ctx.comparison {
            comparison.answered(response.status, &response.headers);
        }
        rejection::watch(ctx, &session.req_header().method, response);
        respond::clean(response, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestCtx,
    ) -> pingora::Result<Option<std::time::Duration>> {
        retry::check_total(ctx)?;
        if let (Some(forward), Some(body)) = (&ctx.forward, &body) {
            forward.metrics.received(body.len());
        }
        harvest::pass(self, ctx, body.as_ref(), end);
        if let (Some(comparison), Some(body)) = (&mut ctx.comparison, &body) {
            comparison.take(body);
        }
        rejection::pass(ctx, body, end);
        if end {
            // An upload of parts may be answered before it is completed.
            ctx.invalidate_again();
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        ctx: &mut RequestCtx,
    ) -> FailToProxy {
        let error_code = respond::proxy_error(session, ctx, error).await;
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    /// Nothing: `logging` writes the one line that there is to write.
    fn suppress_error_log(
        &self,
        _session: &Session,
        _ctx: &RequestCtx,
        _error: &pingora::Error,
    ) -> bool {
        true
    }

    /// The id alone: Pingora's own summary has the query, and with it presigned URLs.
    fn request_summary(&self, _session: &Session, ctx: &RequestCtx) -> String {
        format!("request {}", ctx.request_id)
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&pingora::Error>,
        ctx: &mut RequestCtx,
    ) {
        connection::request_ended(&ctx.settings.limits);
        // However it ended: the origin may have done what was asked.
        ctx.invalidation = None;
        let is_whole = error.is_none() && ctx.failure.is_none();
        if let Some(comparison) = ctx.comparison.take().filter(|_| is_whole) {
            comparison.end();
        }
        let books = Books {
            metrics: &self.metrics,
            access_log: &self.access_log,
        };
        record::write(&books, &Exchange::of(session), ctx, error);
    }
}
