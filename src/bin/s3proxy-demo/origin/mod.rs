//! The embedded origin: an S3 store over a directory that answers as late and as slowly as a distant one,
//! and counts what it is asked. It owns the listener; what the objects are is `objects`' business.

mod objects;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::distance::Distance;
use crate::throttle::Throttled;
use objects::Objects;

/// Where the counters can be read without a signature. No bucket can have this name.
pub(crate) const STATS_PATH: &str = "/-/stats";

/// An access key pair.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What the origin was asked about buckets and objects since it started.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    sent_bytes: Arc<AtomicU64>,
}

/// A running origin; dropping it closes its connections.
#[derive(Debug)]
pub(crate) struct Origin {
    addr: SocketAddr,
    _task: JoinSet<()>,
}

impl Origin {
    /// Serves the folders of `root` as buckets to the holder of `key`.
    pub(crate) fn start(
        root: &Path,
        listener: TcpListener,
        key: Key,
        distance: Distance,
    ) -> io::Result<Self> {
        let mut builder = S3ServiceBuilder::new(Objects::new(root)?);
        builder.set_auth(SimpleAuth::from_single(key.id, key.secret));
        let addr = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(accept(listener, builder.build(), distance));
        Ok(Self { addr, _task: task })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn accept(listener: TcpListener, service: S3Service, distance: Distance) {
    let counters = Arc::new(Counters::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, service.clone(), Arc::clone(&counters), distance));
                }
                // Out of file descriptors, most likely: wait for connections to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, service: S3Service, counters: Arc<Counters>, distance: Distance) {
    // A store far away is slow because of the distance, not because of Nagle's algorithm.
    let _ = stream.set_nodelay(true);
    let stream = Throttled::new(
        stream,
        distance.bytes_per_second,
        Arc::clone(&counters.sent_bytes),
    );
    let respond = service_fn(move |req| {
        respond(
            req,
            service.clone(),
            Arc::clone(&counters),
            distance.first_byte_delay,
        )
    });
    // An error here is a client that went away.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), respond)
        .await;
}

async fn respond(
    req: Request<Incoming>,
    service: S3Service,
    counters: Arc<Counters>,
    delay: Duration,
) -> Result<Response<Body>, Infallible> {
    if req.uri().path() == STATS_PATH {
        return Ok(stats(&counters));
    }
    // Whether the store is there at all, as the proxy asks now and then, is no client's question.
    if req.uri().path() != "/" {
        counters.requests.fetch_add(1, Ordering::Relaxed);
    }
    tokio::time::sleep(delay).await;
    let is_head = req.method() == Method::HEAD;
    let Ok(mut response) = service.call(req.map(Body::from)).await else {
        return Ok(with_status(StatusCode::INTERNAL_SERVER_ERROR));
    };
    if is_head && response.headers().contains_key(header::CONTENT_RANGE) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT; // s3s says it for GET only
    }
    Ok(response)
}

fn stats(counters: &Counters) -> Response<Body> {
    let requests = counters.requests.load(Ordering::Relaxed);
    let bytes = counters.sent_bytes.load(Ordering::Relaxed);
    let mut response = Response::new(Body::from(format!(
        "{{\"requests\":{requests},\"bytes\":{bytes}}}\n"
    )));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
