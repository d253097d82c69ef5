//! The relay between a scripted server and a plain client, byte for byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Records, accept};
use crate::distance::Distance;
use crate::origin::STATS_PATH;

const NEAR: Distance = Distance {
    first_byte_delay: Duration::ZERO,
    bytes_per_second: None,
};

/// One exchange: what the server has to receive, and what it says then.
type Exchange = (Vec<u8>, Vec<u8>);

/// A relay in front of a server that plays a script on each connection and then ends it.
struct Fixture {
    relay: SocketAddr,
    tasks: JoinSet<()>,
}

impl Fixture {
    async fn start(distance: Distance, script: Vec<Exchange>) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let addr = relay.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(relay, to, distance, Records::default()));
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                for (expected, answer) in &script {
                    let mut received = vec![0; expected.len()];
                    stream.read_exact(&mut received).await.unwrap();
                    assert_eq!(
                        received.escape_ascii().to_string(),
                        expected.escape_ascii().to_string()
                    );
                    stream.write_all(answer).await.unwrap();
                }
                // Closed with something unread, it would reset the connection under its answer.
                stream.shutdown().await.unwrap();
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
        Self { relay: addr, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.relay).await.unwrap()
    }

    /// Sends everything, and reads until the relay closes.
    async fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        tokio::select! {
            read = stream.read_to_end(&mut answer) => { read.unwrap(); }
            ended = self.tasks.join_next() => panic!("{ended:?}"),
        }
        answer
    }

    async fn stats(&mut self, method: &str) -> serde_json::Value {
        let request = format!("{method} {STATS_PATH} HTTP/1.1\r\nhost: relay\r\n\r\n");
        let answer = self.exchange(request.as_bytes()).await;
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_str(body).unwrap()
    }
}

fn exchange(request: &str, answer: &str) -> Exchange {
    (request.into(), answer.into())
}

fn wire(script: &[Exchange]) -> (Vec<u8>, Vec<u8>) {
    let requests = script.iter().flat_map(|(request, _)| request.clone());
    let answers = script.iter().flat_map(|(_, answer)| answer.clone());
    (requests.collect(), answers.collect())
}

#[tokio::test]
async fn every_byte_passes_on_one_kept_connection() {
    let script = vec![
        exchange(
            "HEAD /lake/a HTTP/1.1\r\nHOST:  odd\r\n\r\n",
            "HTTP/1.1 200 Fine\r\nContent-LENGTH: 999\r\n\r\n",
        ),
        exchange(
            "GET /lake/a HTTP/1.1\r\nRange: bytes=0-4\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\n\r\nhello",
        ),
        exchange(
            "GET /lake?list-type=2 HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n<a>\r\n0\r\nt: 1\r\n\r\n",
        ),
        exchange(
            "GET /lake/b HTTP/1.1\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        ),
        exchange(
            "DELETE /lake/b HTTP/1.1\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        exchange(
            "PUT /lake/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        exchange(
            "GET /lake/c HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        ),
    ];
    let (requests, answers) = wire(&script);
    let mut fixture = Fixture::start(NEAR, script).await;
    let received = fixture.exchange(&requests).await;
    assert_eq!(
        received.escape_ascii().to_string(),
        answers.escape_ascii().to_string()
    );

    let stats = fixture.stats("GET").await;
    let expected = serde_json::json!({
        "requests": 7, "bytes": 5 + 3 + 13, "head": 1, "ranged_get": 1, "get": 2, "list": 1,
        "service": 0, "other": 2, "uploaded_bytes": 2, "connections": 1,
    });
    assert_eq!(stats, expected);
    assert_eq!(fixture.stats("DELETE").await["requests"], 0);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let head = "PUT /lake/a HTTP/1.1\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    let script = vec![
        exchange(head, "HTTP/1.1 100 Continue\r\n\r\n"),
        exchange("body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ];
    let fixture = Fixture::start(NEAR, script).await;
    let mut stream = fixture.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_passed_on_as_such() {
    let script = vec![exchange(
        "GET /lake/a HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    )];
    let mut fixture = Fixture::start(NEAR, script).await;
    let received = fixture.exchange(b"GET /lake/a HTTP/1.1\r\n\r\n").await;
    assert!(received.ends_with(b"\r\n\r\nhalf"));
}

#[tokio::test]
async fn a_refused_upload_still_gets_its_answer() {
    let head = "PUT /lake/a HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n";
    let script = vec![exchange(
        head,
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\ndenied",
    )];
    let fixture = Fixture::start(NEAR, script).await;
    let mut stream = fixture.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(&vec![7; 1_000_000]).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("denied"), "{answer}");
}

#[tokio::test]
async fn each_answer_is_late_and_each_connection_slow() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 4_000_000, 7);
    let request = b"GET /lake/a HTTP/1.1\r\n\r\n";
    let far = Distance {
        first_byte_delay: Duration::from_millis(40),
        bytes_per_second: Some(20_000_000),
    };
    let fixture = Fixture::start(far, vec![(request.to_vec(), answer)]).await;
    let mut stream = fixture.connect().await;
    let start = Instant::now();
    stream.write_all(request).await.unwrap();
    stream.read_u8().await.unwrap();
    let first_byte = start.elapsed();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let total = start.elapsed();
    assert!(first_byte >= Duration::from_millis(40), "{first_byte:?}");
    assert!(total >= Duration::from_millis(40 + 190), "{total:?}");
    assert!(total < Duration::from_millis(700), "{total:?}");
}
