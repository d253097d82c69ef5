//! An origin that answers at once, from memory: the floor that any proxy is measured against.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use tokio::net::TcpListener;

use crate::wire::{Connection, content_length, field};

/// Every object.
const OBJECT_BYTES: usize = 64 << 20;

/// But those whose path has `/small/`.
pub(crate) const SMALL_BYTES: usize = 4096;

/// Written at a time.
const PIECE_BYTES: usize = 1 << 20;

const FIELDS: &str = "content-type: binary/octet-stream\r\n\
    etag: \"d41d8cd98f00b204e9800998ecf8427e-8\"\r\n\
    last-modified: Wed, 01 Jan 2025 00:00:00 GMT\r\naccept-ranges: bytes\r\n\
    x-amz-request-id: 4442587FB7D0A2F9\r\nserver: origin\r\n";

/// A running origin; it ends with the process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Origin {
    /// What it was asked so far, probes of the proxies aside.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Starts the origin on a thread of its own.
pub(crate) fn start() -> Origin {
    let (sender, receiver) = mpsc::channel();
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let piece: Arc<[u8]> = vec![42; PIECE_BYTES].into();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A connection that breaks is the other side's affair.
                tokio::spawn(serve(
                    Connection::new(stream),
                    Arc::clone(&piece),
                    Arc::clone(&counter),
                ));
            }
        });
    });
    Origin {
        address: receiver.recv().unwrap(),
        requests,
    }
}

async fn serve(
    mut connection: Connection,
    piece: Arc<[u8]>,
    requests: Arc<AtomicU64>,
) -> std::io::Result<()> {
    while let Some(head) = connection.read_head().await? {
        if !head.starts_with("GET / ") {
            requests.fetch_add(1, Ordering::Relaxed);
        }
        connection.drain(content_length(&head)).await?;
        let (answer, length) = answer(&head);
        let with = length.min(PIECE_BYTES);
        // One write for head and body, as far as one piece goes.
        let mut first = answer.into_bytes();
        first.extend_from_slice(&piece[..with]);
        connection.write(&first).await?;
        let mut left = length - with;
        while left > 0 {
            let next = left.min(PIECE_BYTES);
            connection.write(&piece[..next]).await?;
            left -= next;
        }
    }
    Ok(())
}

/// The head of the answer, and how many bytes follow it.
fn answer(head: &str) -> (String, usize) {
    let is_small = head
        .lines()
        .next()
        .is_some_and(|line| line.contains("/small/"));
    let size = if is_small { SMALL_BYTES } else { OBJECT_BYTES };
    let range = field(head, "range").map(|range| {
        let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
        match first.parse() {
            Ok(first) => (
                first,
                last.parse()
                    .map_or(size - 1, |last: usize| last.min(size - 1)),
            ),
            Err(_) => (size - last.parse::<usize>().unwrap(), size - 1),
        }
    });
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\n{FIELDS}content-length: {length}\r\n\r\n");
    match (head.split(' ').next(), range) {
        (Some("GET"), Some((first, last))) => {
            let length = last + 1 - first;
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\n{FIELDS}content-length: {length}\r\n\
                 content-range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            (head, length)
        }
        (Some("GET"), None) => (ok(size), size),
        (Some("HEAD"), _) => (ok(size), 0),
        _ => (ok(0), 0),
    }
}
