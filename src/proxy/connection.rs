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
use pingora::apps::ServerApp;
use pingora::protocols::ALPN;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::failure::Failure;
use super::gathered::Gathered;
use super::limits::Limits;
use super::settings::InForce;
use crate::s3::ErrorCode;
use crate::telemetry::Metrics;

/// At the end of the process, how long an idle connection is kept for one more request.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// How often it is looked whether all have gone.
const LOOK: Duration = Duration::from_millis(20);

tokio::task_local! {
    static CLOCK: Arc<Clock>;
}

/// Until when a head has to arrive; `None` while a request is served.
struct Clock {
    deadline: Mutex<Option<Instant>>,
    /// How often to look while there is none: as long as it takes between two requests.
    pause: Duration,
}

/// A head has arrived on this connection. Over HTTP/2 streams have tasks of their own and their
/// connection is bounded by Pingora.
pub(super) fn head_arrived() {
    let _ = CLOCK.try_with(|clock| *clock.deadline.lock() = None);
}

/// The request of this connection has ended; the next one has its time from now on.
pub(super) fn request_ended(limits: &Limits) {
    let _ = CLOCK.try_with(|clock| {
        *clock.deadline.lock() = Some(Instant::now() + between_requests(limits));
    });
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

/// An application whose connections are bounded.
pub struct BoundedConnections<A> {
    app: Arc<A>,
    settings: InForce,
    open: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl<A> BoundedConnections<A> {
    /// Bounds the connections of `app`.
    pub fn new(app: A, settings: InForce, metrics: Arc<Metrics>) -> Self {
        Self {
            app: Arc::new(app),
            settings,
            open: AtomicUsize::new(0),
            metrics,
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for BoundedConnections<A> {
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
        let stream = Gathered::over(stream);
        let clock = Arc::new(Clock::started(&limits));
        let served = CLOCK.scope(Arc::clone(&clock), self.app.process_new(stream, shutdown));
        tokio::select! {
            stream = served => stream,
            () = clock.run_out() => {
                log::debug!("a client sent no complete request head in time");
                None
            }
        }
    }

    /// New connections come no more. Those that are there get a while for a further request, which
    /// is answered with `Connection: close`; Pingora would close the idle ones at once, and with them those
    /// whose request is on its way.
    async fn cleanup(&self) {
        let end = Instant::now() + LAST_REQUEST;
        while self.metrics.open_connections() > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
        self.app.cleanup().await;
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
