//! Client connections: how many there are, and how long one may keep us waiting for a head.
//!
//! Pingora bounds neither: a client that sends its head byte by byte is waited for without end.
//! A connection's task carries a clock that the request path sets; when it runs out, the
//! connection is dropped.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::apps::HttpPersistentSettings;
use pingora::apps::HttpServerApp;
use pingora::apps::HttpServerOptions;
use pingora::apps::ServerApp;
use pingora::protocols::ALPN;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::S3Proxy;
use super::client_stream::ClientStream;
use super::failure::Failure;
use super::fast_path::FastPath;
use super::fast_path::Next;
use super::limits::Limits;
use super::settings::InForce;
use crate::s3::ErrorCode;
use crate::telemetry::Metrics;

/// At the end of the process, how long an idle connection is kept for one more request.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// Seconds that Pingora waits for a first request, which here the clock bounds.
const FIRST_KEEPALIVE: u64 = 60;

/// How often it is looked whether all have gone.
const LOOK: Duration = Duration::from_millis(20);

tokio::task_local! {
    static CLOCK: Arc<Clock>;
}

/// Until when a head has to arrive; `None` while a request is served.
pub(super) struct Clock {
    deadline: Mutex<Option<Instant>>,
    /// How often to look while there is none: as long as it takes between two requests.
    pause: Duration,
}

/// A head has arrived on this connection. Over HTTP/2 streams have tasks of their own and their
/// connection is bounded by Pingora.
pub(super) fn head_arrived() {
    let _ = CLOCK.try_with(|clock| clock.head_arrived());
}

/// The request of this connection has ended; the next one has its time from now on.
pub(super) fn request_ended(limits: &Limits) {
    let _ = CLOCK.try_with(|clock| clock.request_ended(limits));
}

fn between_requests(limits: &Limits) -> Duration {
    limits.keepalive_timeout + limits.header_timeout
}

impl Clock {
    fn started(limits: &Limits) -> Self {
        Self {
            deadline: Mutex::new(Some(Instant::now() + limits.header_timeout)),
            pause: between_requests(limits),
        }
    }

    /// The first bytes of a head are there.
    pub(super) fn head_begins(&self, limits: &Limits) {
        *self.deadline.lock() = Some(Instant::now() + limits.header_timeout);
    }

    /// A whole head is there.
    pub(super) fn head_arrived(&self) {
        *self.deadline.lock() = None;
    }

    /// The next one has its time from now on.
    pub(super) fn request_ended(&self, limits: &Limits) {
        *self.deadline.lock() = Some(Instant::now() + between_requests(limits));
    }

    /// The next one may be waited for as long as a connection may idle.
    pub(super) fn idles(&self, limits: &Limits) {
        *self.deadline.lock() = Some(Instant::now() + limits.keepalive_timeout);
    }

    /// Returns when the time is over. Looks at the deadline again whenever an old one passes, and
    /// while there is none every so often.
    async fn run_out(&self) {
        loop {
            let deadline = *self.deadline.lock();
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => tokio::time::sleep(self.pause).await,
            }
        }
    }
}

/// The proxy, with connections that are bounded.
pub struct BoundedConnections {
    app: Arc<HttpProxy<S3Proxy>>,
    fast_path: Option<FastPath>,
    settings: InForce,
    open: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl BoundedConnections {
    /// Bounds the connections of a proxy as Pingora runs it.
    pub fn new(
        proxy: S3Proxy,
        conf: Arc<ServerConf>,
        options: HttpServerOptions,
        settings: InForce,
        metrics: Arc<Metrics>,
    ) -> Self {
        let fast_path = FastPath::beside(&proxy);
        let mut app = HttpProxy::new(proxy, conf);
        app.server_options = Some(options);
        app.handle_init_modules();
        Self {
            app: Arc::new(app),
            fast_path,
            settings,
            open: AtomicUsize::new(0),
            metrics,
        }
    }

    /// HTTP/1.1, request by request: hits by the fast path, everything else by Pingora.
    async fn serve(&self, stream: Stream, clock: &Clock, shutdown: &ShutdownWatch) {
        let mut stream = Box::new(ClientStream::over(stream));
        let mut settings = None;
        loop {
            if let Some(fast_path) = &self.fast_path
                && let Next::Closed = fast_path.serve(&mut stream, clock, shutdown).await
            {
                return;
            }
            let mut session = ServerSession::new_http1(stream);
            match settings.take() {
                None if *shutdown.borrow() => session.set_keepalive(None),
                None => session.set_keepalive(Some(FIRST_KEEPALIVE)),
                Some(settings) => HttpPersistentSettings::apply_to_session(settings, &mut session),
            }
            let Some(reused) = self.app.process_new_http(session, shutdown).await else {
                return;
            };
            let (reused, kept) = reused.consume();
            // It is what Pingora was given.
            let Ok(own) = reused.into_any().downcast::<ClientStream>() else {
                return;
            };
            (stream, settings) = (own, kept);
            if self.fast_path.is_some() {
                clock.idles(&self.settings.now().limits);
            }
        }
    }
}

#[async_trait]
impl ServerApp for BoundedConnections {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let limits = self.settings.now().limits;
        let place = Open::new(&self.open);
        if place.before >= limits.connections {
            self.metrics.connection_refused();
            turn_away(stream).await;
            return None;
        }
        let _connection = self.metrics.connection();
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            return self.app.process_new(stream, shutdown).await;
        }
        let clock = Arc::new(Clock::started(&limits));
        let served = self.serve(stream, &clock, shutdown);
        tokio::select! {
            biased;
            () = CLOCK.scope(Arc::clone(&clock), served) => {}
            () = clock.run_out() => log::debug!("a client sent no complete request head in time"),
        }
        None
    }

    /// New connections come no more. Those that are there get a while for a further request, which
    /// is answered with `Connection: close`; Pingora would close the idle ones at once, and with them those
    /// whose request is on its way.
    async fn cleanup(&self) {
        let end = Instant::now() + LAST_REQUEST;
        while self.metrics.open_connections() > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
        self.app.http_cleanup().await;
    }
}

/// Counts a connection for as long as it lives.
struct Open<'a> {
    count: &'a AtomicUsize,
    /// How many there were before it.
    before: usize,
}

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Ordering::Relaxed);
        Self { count, before }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells a client that there is no place, without reading anything of it.
async fn turn_away(mut stream: Stream) {
    let failure = Failure::new(ErrorCode::SlowDown);
    let document = failure.to_xml("/", "");
    let answer = format!(
        "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\
         cache-status: s3proxy; detail=SlowDown\r\nconnection: close\r\n\r\n{document}",
        document.len()
    );
    let patience = Duration::from_secs(1);
    let _ = tokio::time::timeout(patience, async {
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await
    })
    .await;
}
