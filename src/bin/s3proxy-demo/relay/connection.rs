//! One client's connection and the one to the server that belongs to it: requests go up as they come, answers come
//! down late and slowly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Records;
use super::exchanges::Asked;
use super::framing::{Body, RequestHead, ResponseHead, head_length};
use crate::distance::Distance;
use crate::origin::STATS_PATH;
use crate::throttle::Throttled;

/// A read's worth of body, and the longest head.
const BUFFER_BYTES: usize = 256 * 1024;

/// How long a client that is answered before it has sent everything may go on sending: closing at once would reset the
/// connection under the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A connection to be served.
#[derive(Debug)]
pub(crate) struct Connection {
    to: SocketAddr,
    distance: Distance,
    records: Arc<Records>,
}

/// Which way ended a connection upwards.
enum Ended {
    /// The client sends no more, or the server takes no more: answers may still come.
    Quietly,
    /// The client is gone.
    ByClient,
}

impl Connection {
    pub(crate) fn new(to: SocketAddr, distance: Distance, records: Arc<Records>) -> Self {
        Self {
            to,
            distance,
            records,
        }
    }

    /// Serves until either side ends. A connection that breaks is the other side's affair.
    pub(crate) async fn serve(self, client: TcpStream) {
        let _ = self.relay(client).await;
    }

    async fn relay(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (client_read, mut client_write) = client.into_split();
        let mut requests = Input::new(client_read);
        let Some(first) = requests.head().await? else {
            return Ok(());
        };
        // Decided by the first request: whoever asks for the counters asks for nothing else.
        let first = RequestHead::parse(requests.peek(first))?;
        if first.target == STATS_PATH {
            return client_write.write_all(self.stats(&first).as_bytes()).await;
        }

        self.records.counters.connected();
        let server = TcpStream::connect(self.to).await?;
        server.set_nodelay(true)?;
        let (server_read, server_write) = server.into_split();
        let (asked, pending) = unbounded_channel();
        let mut answers = Answers {
            input: Input::new(server_read),
            output: Throttled::new(client_write, self.distance.bytes_per_second, Arc::default()),
            pending,
        };
        {
            let up = self.forward(&mut requests, server_write, asked);
            let down = self.answer(&mut answers);
            tokio::pin!(up, down);
            tokio::select! {
                result = &mut down => result?,
                ended = &mut up => match ended {
                    Ended::ByClient => return Ok(()),
                    Ended::Quietly => down.await?,
                }
            }
        }
        answers.output.shutdown().await?;
        let _ = tokio::time::timeout(LINGER, requests.drop_rest()).await;
        Ok(())
    }

    /// Passes requests on, one after the other.
    async fn forward(
        &self,
        requests: &mut Input<OwnedReadHalf>,
        mut server: impl AsyncWrite + Unpin,
        asked: UnboundedSender<Asked>,
    ) -> Ended {
        loop {
            let length = match requests.head().await {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(_) => return Ended::ByClient,
            };
            let Ok(head) = RequestHead::parse(requests.peek(length)) else {
                return Ended::ByClient;
            };
            self.records.counters.asked(head.kind);
            if asked.send(Asked::new(&head)).is_err() {
                return Ended::Quietly;
            }
            let count = |content| self.records.counters.uploaded(content);
            match requests.copy(length, head.body, &mut server, count).await {
                Ok(()) => {}
                Err(Broken::Input) => return Ended::ByClient,
                Err(Broken::Output) => return Ended::Quietly,
            }
        }
        let _ = server.shutdown().await;
        Ended::Quietly
    }

    /// Passes answers back, each after its delay. Ends with the server's end of the connection.
    async fn answer<R, W>(&self, answers: &mut Answers<R, W>) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut asked: Option<Asked> = None;
        while let Some(length) = answers.input.head().await? {
            // It was sent before the server could see the request that this answers.
            let answered = asked.take().or_else(|| answers.pending.try_recv().ok());
            let is_head = answered.as_ref().is_some_and(|asked| asked.is_head);
            let head = answers.input.peek(length);
            let head = ResponseHead::parse(head, is_head)?;
            tokio::time::sleep(self.distance.first_byte_delay).await;
            let first = Instant::now();
            let mut bytes = 0;
            let count = |content| {
                bytes += content;
                self.records.counters.downloaded(content);
            };
            let copied = answers
                .input
                .copy(length, head.body, &mut answers.output, count)
                .await;
            copied.map_err(|_| io::ErrorKind::BrokenPipe)?;
            if head.is_interim {
                asked = answered;
            } else if let (Some(exchanges), Some(asked)) = (&self.records.exchanges, &answered) {
                exchanges.ended(asked, first, bytes);
            }
        }
        Ok(())
    }

    fn stats(&self, head: &RequestHead) -> String {
        let (status, body) = match head.method.as_str() {
            "GET" => ("200 OK", self.records.counters.to_json()),
            "DELETE" => {
                self.records.counters.reset();
                ("200 OK", self.records.counters.to_json())
            }
            _ => ("405 Method Not Allowed", String::new()),
        };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What comes down: from the server, through the bottleneck, and which requests it answers.
struct Answers<R, W> {
    input: Input<R>,
    output: Throttled<W>,
    pending: UnboundedReceiver<Asked>,
}

/// Which side of a copy broke.
enum Broken {
    Input,
    Output,
}

/// One direction of a connection, with what was read and not passed on yet.
#[derive(Debug)]
struct Input<R> {
    stream: R,
    buffer: Box<[u8]>,
    /// What is not passed on lies at the beginning.
    filled: usize,
}

impl<R: AsyncRead + Unpin> Input<R> {
    fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into(),
            filled: 0,
        }
    }

    /// Waits for a whole head; `None` when the connection ends before it.
    async fn head(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(length) = head_length(&self.buffer[..self.filled]) {
                return Ok(Some(length));
            }
            if self.filled == self.buffer.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    fn peek(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// Passes a head of `length` bytes and its body on, and tells `count` of the content.
    async fn copy<W: AsyncWrite + Unpin>(
        &mut self,
        length: usize,
        mut body: Body,
        output: &mut W,
        mut count: impl FnMut(u64),
    ) -> Result<(), Broken> {
        let mut head = length;
        loop {
            let taken = body
                .take(&self.buffer[head..self.filled])
                .map_err(|_| Broken::Input)?;
            let end = head + taken.bytes;
            let written = output.write_all(&self.buffer[..end]).await;
            written.map_err(|_| Broken::Output)?;
            count(taken.content);
            self.buffer.copy_within(end..self.filled, 0);
            self.filled -= end;
            head = 0;
            if body.is_done() {
                return output.flush().await.map_err(|_| Broken::Output);
            }
            match self.fill().await {
                Ok(0) if body == Body::UntilClose => return Ok(()),
                Ok(0) | Err(_) => return Err(Broken::Input),
                Ok(_) => {}
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        Ok(read)
    }

    async fn drop_rest(&mut self) {
        while matches!(self.stream.read(&mut self.buffer).await, Ok(1..)) {}
    }
}
