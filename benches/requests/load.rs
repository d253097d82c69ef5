//! A client that does nothing but send and count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::request::Request;
use crate::wire::{Connection, content_length};

/// Where requests are sent to, and whether over TLS.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsConnector>,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Door {
    /// A new connection.
    async fn open(&self) -> Connection<Box<dyn Io>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Io> = match &self.tls {
            Some(connector) => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(connector.connect(name, stream).await.unwrap())
            }
            None => Box::new(stream),
        };
        Connection::over(stream)
    }
}

/// What one round of one way brought.
pub(crate) struct Sample {
    /// Of each request, ascending.
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Sample {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn median(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }

    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends the request over so many connections, one after the other on each, for so long.
pub(crate) async fn run(
    door: &Door,
    request: &Request,
    connections: usize,
    duration: Duration,
) -> Sample {
    let mut warm = Vec::new();
    for _ in 0..connections {
        let mut connection = door.open().await;
        exchange(&mut connection, request).await;
        warm.push(connection);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in warm {
        let (door, request) = (door.clone(), request.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 14);
            while latencies.is_empty() || begun.elapsed() < duration {
                let sent = Instant::now();
                if request.is_first {
                    connection = door.open().await;
                }
                exchange(&mut connection, &request).await;
                latencies.push(sent.elapsed());
            }
            latencies
        });
    }
    let mut latencies = tasks.join_all().await.concat();
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Sample { latencies, elapsed }
}

/// Sends the request once, on a connection of its own.
pub(crate) async fn once(door: &Door, request: &Request) {
    exchange(&mut door.open().await, request).await;
}

pub(crate) async fn exchange<S: Io>(connection: &mut Connection<S>, request: &Request) {
    connection.write(&request.wire).await.unwrap();
    let head = connection.read_head().await.unwrap().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
    if !request.is_head {
        let length = content_length(&head);
        let is_whole = length == request.object_bytes || length == 0;
        assert!(is_whole, "{head}");
        connection.drain(length).await.unwrap();
    }
}
