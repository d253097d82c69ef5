//! A client that speaks HTTP/1.1 over a bare socket, so that it can say anything.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Io;
use super::call::Call;
use super::pattern;

/// No test waits longer for the proxy.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Bodies longer than this are compared with the pattern and not kept, unless a test says otherwise.
const KEPT_BYTES: usize = 2 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Statuses of interim answers before it.
    pub(super) interim: Vec<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) body_bytes: u64,
    /// Whether everything that was announced arrived.
    pub(super) is_complete: bool,
    pub(super) is_pattern: bool,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The S3 code in its document.
    pub(super) fn code(&self) -> String {
        self.element("Code")
    }

    pub(super) fn element(&self, name: &str) -> String {
        let text = self.text();
        let inside = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        let inside = inside.and_then(|rest| rest.split_once('<'));
        inside.map_or_else(String::new, |(inside, _)| inside.to_owned())
    }

    #[track_caller]
    pub(super) fn expect(self, status: u16, code: &str) -> Self {
        let found = (self.status, self.code());
        assert_eq!(found, (status, code.to_owned()), "{}", self.text());
        if !code.is_empty() {
            assert_eq!(self.field("content-type"), Some("application/xml"));
            assert!(self.field("x-amz-request-id").is_some());
        }
        self
    }
}

/// A connection to the proxy.
pub(super) struct Client {
    stream: BufReader<Box<dyn Io>>,
    kept_bytes: usize,
}

impl Client {
    pub(super) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = stream.expect("connecting takes too long").unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream))
    }

    pub(super) fn over(stream: Box<dyn Io>) -> Self {
        Self {
            stream: BufReader::new(stream),
            kept_bytes: KEPT_BYTES,
        }
    }

    /// Keeps this much of every body.
    pub(super) fn keep(mut self, bytes: usize) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Waits for the next byte of an answer, without taking it.
    pub(super) async fn wait_for_byte(&mut self) {
        let read = timeout(PATIENCE, self.stream.fill_buf()).await;
        assert!(
            !read.expect("no byte in time").unwrap().is_empty(),
            "closed"
        );
    }

    /// So many bytes as they come, or fewer at the end of the connection.
    pub(super) async fn read_raw(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        let mut limited = (&mut self.stream).take(length as u64);
        let reading = limited.read_to_end(&mut bytes);
        let _ = timeout(PATIENCE, reading).await.expect("bytes in time");
        bytes
    }

    /// Sends bytes; an error is the proxy's good right.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        sent.await.expect("sending takes too long").is_ok()
    }

    /// Sends a request and reads its answer.
    pub(super) async fn call(&mut self, call: &Call) -> Answer {
        self.send(&call.bytes()).await;
        self.answer_to(&call.method).await.expect("an answer")
    }

    /// The next answer; `None` when the connection ends before one begins.
    pub(super) async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let reading = self.read_answer(method == "HEAD");
        timeout(PATIENCE, reading).await.expect("no answer in time")
    }

    /// The next answer, however long it takes.
    pub(super) async fn answer_unbounded(&mut self, method: &str) -> Option<Answer> {
        self.read_answer(method == "HEAD").await
    }

    /// Whether the proxy has closed the connection, or does so soon.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        match timeout(Duration::from_secs(5), reading).await {
            Ok(outcome) => {
                assert!(rest.is_empty(), "after the answer came {rest:?}");
                outcome.is_ok() || outcome.is_err()
            }
            Err(_) => false,
        }
    }

    async fn read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8(line).unwrap().trim_end().to_owned()),
        }
    }

    /// The status and fields of one head.
    pub(super) async fn read_head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let line = self.read_line().await?;
        let status = line.split(' ').nth(1).expect("a status").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().await?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':').expect("a field");
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn read_answer(&mut self, is_head: bool) -> Option<Answer> {
        let mut interim = Vec::new();
        let (status, headers) = loop {
            let (status, headers) = self.read_head().await?;
            if status >= 200 {
                break (status, headers);
            }
            interim.push(status);
        };
        let mut answer = Answer {
            status,
            interim,
            headers,
            body: Vec::new(),
            body_bytes: 0,
            is_complete: false,
            is_pattern: true,
        };
        if is_head || matches!(status, 204 | 304) {
            answer.is_complete = true;
        } else if answer.field("transfer-encoding").is_some() {
            answer.is_complete = self.read_chunks(&mut answer).await.is_some();
        } else {
            let length = answer
                .field("content-length")
                .map(|text| text.parse().unwrap());
            let read = self
                .read_bytes(&mut answer, length.unwrap_or(u64::MAX))
                .await;
            answer.is_complete = read && length.is_some();
        }
        Some(answer)
    }

    async fn read_chunks(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            let line = self.read_line().await?;
            let size = u64::from_str_radix(&line, 16).ok()?;
            if size > 0 && !self.read_bytes(answer, size).await {
                return None;
            }
            self.read_line().await?;
            if size == 0 {
                return Some(());
            }
        }
    }

    async fn read_bytes(&mut self, answer: &mut Answer, length: u64) -> bool {
        let mut buffer = vec![0; 64 << 10];
        let mut left = length;
        while left > 0 {
            let wanted = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let Ok(read @ 1..) = self.stream.read(&mut buffer[..wanted]).await else {
                return false;
            };
            let piece = &buffer[..read];
            answer.is_pattern &= pattern::matches(answer.body_bytes, piece);
            let room = self.kept_bytes.saturating_sub(answer.body.len());
            answer.body.extend_from_slice(&piece[..read.min(room)]);
            answer.body_bytes += read as u64;
            left -= read as u64;
        }
        true
    }
}
