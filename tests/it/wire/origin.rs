//! An origin that follows a script: it records what reaches it, checks the proxy's signature, and
//! answers well or badly, as a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use s3proxy::auth::{AuthConfig, ClientConfig, Verified, Verifier};
use s3proxy::s3::{Credentials, RequestHead, Secret};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::pattern;
use super::reply::{End, Reply};
use super::sigv4::Key;
use super::{Io, poll_until};

/// Bytes of a body that are kept; longer ones are only counted and compared with the pattern.
const KEPT_BYTES: usize = 2 << 20;

/// What is written at once.
const PIECE_BYTES: usize = 64 << 10;

/// One request as it arrived. Probes (unsigned `GET /`) are answered and not recorded.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one request"
)]
pub(super) struct Seen {
    pub(super) number: usize,
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) body_bytes: u64,
    /// Whether everything that was announced arrived.
    pub(super) is_complete: bool,
    /// Whether nothing more of it will come.
    pub(super) has_ended: bool,
    /// Whether the body is the pattern.
    pub(super) is_pattern: bool,
    /// Who signed it, or why the signature is not right.
    pub(super) signer: Result<String, String>,
    /// The body without its framing, checked as S3 would.
    pub(super) decoded: Result<Vec<u8>, String>,
    /// What it was answered, once it is.
    pub(super) answered: Option<u16>,
    /// Bytes of the answer's body that were handed to the socket.
    pub(super) sent_bytes: u64,
    /// When the answer's last byte was handed to the socket, or the connection was found broken.
    pub(super) ended_at: Option<Instant>,
    /// Whether all of the answer went out.
    pub(super) is_sent: bool,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

type Responder = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// Who answers, and whether it wants to see the request's body before.
#[derive(Clone)]
struct Answering {
    responder: Responder,
    after_body: bool,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    numbers: AtomicUsize,
    answering: Mutex<Answering>,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    /// Those open now, and the most that were at once.
    open: AtomicUsize,
    most_open: AtomicUsize,
    verifier: Mutex<Arc<Verifier>>,
    /// How far its clock is ahead.
    ahead: Mutex<Duration>,
}

impl Shared {
    fn now(&self) -> SystemTime {
        SystemTime::now() + *self.ahead.lock()
    }
}

/// A request between its head and the end of its answer.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let count = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_flight.fetch_max(count, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The origin. It ends when dropped.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// The key that the proxy signs with unless a test says otherwise.
    pub(super) fn key() -> Key {
        Key::new("ORIGINKEY", "origin-secret-4711")
    }

    /// Answers `200 ok` to everything.
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(super) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::start_with(Some(acceptor)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            numbers: AtomicUsize::new(0),
            answering: Mutex::new(Answering {
                responder: Arc::new(|_| Reply::ok("ok")),
                after_body: false,
            }),
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            verifier: Mutex::new(Arc::new(verifier(&[Self::key()]))),
            ahead: Mutex::default(),
        });
        let accepting = accept(listener, tls, Arc::clone(&shared));
        Self {
            address,
            shared,
            task: tokio::spawn(accepting),
        }
    }

    /// Sets its clock ahead of this machine's.
    pub(super) fn set_clock_ahead(&self, by: Duration) {
        *self.shared.ahead.lock() = by;
    }

    /// Accepts these keys from now on.
    pub(super) fn trust(&self, keys: &[Key]) {
        *self.shared.verifier.lock() = Arc::new(verifier(keys));
    }

    /// Answers like this from now on. Asked when the head has arrived, before the body.
    pub(super) fn respond(&self, responder: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.shared.answering.lock() = Answering {
            responder: Arc::new(responder),
            after_body: false,
        };
    }

    /// Answers like this from now on. Asked when the whole request has arrived.
    pub(super) fn respond_to_whole(
        &self,
        responder: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) {
        *self.shared.answering.lock() = Answering {
            responder: Arc::new(responder),
            after_body: true,
        };
    }

    /// Requests that have begun and are not answered to the end.
    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// The most there ever were.
    pub(super) fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    /// Answers these in turn, and `200 ok` afterwards.
    pub(super) fn script(&self, replies: Vec<Reply>) {
        let left = Mutex::new(std::collections::VecDeque::from(replies));
        self.respond(move |_| left.lock().pop_front().unwrap_or_else(|| Reply::ok("ok")));
    }

    /// Everything that was recorded so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many requests there ever were, those among them that were forgotten.
    pub(super) fn requests(&self) -> usize {
        self.shared.numbers.load(Ordering::SeqCst)
    }

    /// The only request that was recorded, and forgets it.
    pub(super) fn take_one(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "requests at the origin");
        seen.remove(0)
    }

    /// What was recorded, and forgets it.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock())
    }

    /// Connections that are open now.
    pub(super) fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The most connections that were open at once.
    pub(super) fn most_connections(&self) -> usize {
        self.shared.most_open.load(Ordering::Relaxed)
    }

    /// Panics when anything but probes has reached the origin.
    pub(super) fn assert_untouched(&self, what: &str) {
        let seen: Vec<String> = self
            .seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.target))
            .collect();
        assert!(seen.is_empty(), "{what}: the origin saw {seen:?}");
    }

    pub(super) async fn wait_for(&self, count: usize) {
        poll_until("requests at the origin", || self.seen().len() >= count).await;
    }
}

fn verifier(keys: &[Key]) -> Verifier {
    let clients = keys.iter().map(|key| {
        let mut credentials = Credentials::fixed(key.id.as_str(), Secret::new(key.secret.as_str()));
        credentials.session_token = key.token.as_deref().map(Secret::new);
        ClientConfig {
            name: key.id.as_str().into(),
            credentials,
        }
    });
    let config = AuthConfig {
        clients: clients.collect(),
        regions: None,
        unsigned_payload: true,
        max_skew: Duration::from_mins(15),
        anonymous: true,
        web_identity: None,
    };
    Verifier::new(config, None)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let tls = tls.clone();
        let _ = stream.set_nodelay(true);
        tasks.spawn(async move {
            let Ok((stream, socket)) = with_handle(stream) else {
                return;
            };
            let stream: Box<dyn Io> = match tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
            };
            let number = shared.connections.fetch_add(1, Ordering::Relaxed);
            let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
            shared.most_open.fetch_max(open, Ordering::Relaxed);
            let outcome = serve(BufReader::new(stream), number, &shared).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
            if let Ok(Ending::Reset) = outcome {
                let _ = socket.set_zero_linger();
            }
        });
    }
}

/// A second handle of a socket, to reset it whatever lies over the first.
fn with_handle(stream: TcpStream) -> std::io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(handle)?))
}

/// What becomes of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Kept,
    Closed,
    Reset,
}

async fn serve(
    mut stream: BufReader<Box<dyn Io>>,
    connection: usize,
    shared: &Shared,
) -> std::io::Result<Ending> {
    loop {
        let Some(mut seen) = read_head(&mut stream).await? else {
            return Ok(Ending::Closed);
        };
        if seen.target == "/" && !seen.headers.contains_key("authorization") && seen.method == "GET"
        {
            let date = httpdate::fmt_http_date(shared.now());
            let refusal = Reply::status(403).header("Date", &date);
            write(&mut stream, &refusal, &mut seen).await?;
            continue;
        }
        let _in_flight = InFlight::begin(shared);
        seen.connection = connection;
        let verified = verify(shared, &seen).await;
        seen.signer = verified
            .as_ref()
            .map(|verified| verified.principal.to_string())
            .map_err(Clone::clone);
        seen.number = shared.numbers.fetch_add(1, Ordering::SeqCst);
        shared.seen.lock().push(seen.clone());
        let answering = shared.answering.lock().clone();
        let early = (!answering.after_body).then(|| (answering.responder)(&seen));
        if !early.as_ref().is_some_and(|reply| reply.early) {
            let outcome = read_body(&mut stream, &mut seen).await;
            seen.has_ended = true;
            seen.decoded = decode(&verified, &seen);
            note(shared, &seen);
            outcome?;
        }
        let reply = early.unwrap_or_else(|| (answering.responder)(&seen));
        let outcome = write(&mut stream, &reply, &mut seen).await;
        seen.ended_at = Some(Instant::now());
        note(shared, &seen);
        match outcome? {
            Ending::Kept => {}
            ending => return Ok(ending),
        }
    }
}

fn note(shared: &Shared, seen: &Seen) {
    let mut all = shared.seen.lock();
    if let Some(known) = all.iter_mut().rfind(|known| known.number == seen.number) {
        *known = seen.clone();
    }
}

async fn read_head(stream: &mut BufReader<Box<dyn Io>>) -> std::io::Result<Option<Seen>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
        if line.is_empty() {
            break;
        }
        lines.push(line.to_vec());
    }
    let mut lines = lines.into_iter();
    let first = String::from_utf8(lines.next().unwrap_or_default()).unwrap();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(words.next(), Some("HTTP/1.1"), "{first}");
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let value = line[colon + 1..].trim_ascii();
        headers.append(
            HeaderName::from_bytes(&line[..colon]).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    Ok(Some(Seen {
        number: 0,
        connection: 0,
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
        body_bytes: 0,
        is_complete: false,
        has_ended: false,
        is_pattern: true,
        signer: Err("not verified".to_owned()),
        decoded: Err("not read".to_owned()),
        answered: None,
        sent_bytes: 0,
        ended_at: None,
        is_sent: false,
    }))
}

async fn verify(shared: &Shared, seen: &Seen) -> Result<Verified, String> {
    let method = Method::from_bytes(seen.method.as_bytes()).unwrap();
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let head = RequestHead {
        method: &method,
        raw_path: path,
        raw_query: query,
        host: seen.field("host").unwrap_or_default(),
        headers: &seen.headers,
    };
    let verifier = Arc::clone(&*shared.verifier.lock());
    let verified = verifier.verify(&head, None, shared.now()).await;
    verified.map_err(|error| format!("{error:?}"))
}

/// Reads the body as its framing announces it. An error means that it did not come whole.
async fn read_body(stream: &mut BufReader<Box<dyn Io>>, seen: &mut Seen) -> std::io::Result<()> {
    assert!(
        !seen.headers.contains_key("transfer-encoding"),
        "S3 takes no body of unknown length"
    );
    let length: u64 = seen
        .field("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut buffer = vec![0; 64 << 10];
    while seen.body_bytes < length {
        let wanted = usize::try_from(length - seen.body_bytes)
            .unwrap()
            .min(buffer.len());
        let read = stream.read(&mut buffer[..wanted]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let piece = &buffer[..read];
        seen.is_pattern &= pattern::matches(seen.body_bytes, piece);
        let room = KEPT_BYTES.saturating_sub(seen.body.len());
        seen.body.extend_from_slice(&piece[..read.min(room)]);
        seen.body_bytes += read as u64;
    }
    seen.is_complete = true;
    Ok(())
}

fn decode(verified: &Result<Verified, String>, seen: &Seen) -> Result<Vec<u8>, String> {
    let verified = verified.as_ref().map_err(Clone::clone)?;
    if !seen.is_complete || seen.body.len() as u64 != seen.body_bytes {
        return Err("not here".to_owned());
    }
    let mut decoder = verified.payload.decoder();
    let mut whole = Vec::new();
    let said = |error| format!("{error:?}");
    let first = decoder.push(Bytes::from(seen.body.clone())).map_err(said)?;
    whole.extend_from_slice(&first.unwrap_or_default());
    let (rest, _) = decoder.finish().map_err(said)?;
    whole.extend_from_slice(&rest.unwrap_or_default());
    Ok(whole)
}

/// Writes a reply and notes how far it came.
async fn write(
    stream: &mut BufReader<Box<dyn Io>>,
    reply: &Reply,
    seen: &mut Seen,
) -> std::io::Result<Ending> {
    if !reply.before.is_zero() {
        wait(stream, tokio::time::sleep(reply.before)).await?;
    }
    if let Some(gate) = &reply.gate {
        wait(stream, gate.pass()).await?;
    }
    match reply.end {
        End::Vanish => return Ok(Ending::Closed),
        End::Stall => wait(stream, std::future::pending()).await?,
        _ => {}
    }
    seen.answered = Some(reply.status);
    stream.write_all(&reply.head()).await?;
    stream.flush().await?;
    if seen.method != "HEAD" && !matches!(reply.status, 204 | 304) {
        write_body(stream, reply, seen).await?;
    }
    stream.flush().await?;
    seen.is_sent = true;
    match reply.end {
        End::Keep => Ok(Ending::Kept),
        End::ResetAfter(_) => Ok(Ending::Reset),
        End::StallAfter => {
            wait(stream, std::future::pending()).await?;
            Ok(Ending::Closed)
        }
        End::Linger => {
            tokio::io::copy(stream, &mut tokio::io::sink()).await?;
            Ok(Ending::Closed)
        }
        End::Close | End::CutAfter(_) | End::Vanish | End::Stall => Ok(Ending::Closed),
    }
}

async fn write_body(
    stream: &mut BufReader<Box<dyn Io>>,
    reply: &Reply,
    seen: &mut Seen,
) -> std::io::Result<()> {
    let end = match reply.end {
        End::CutAfter(end) | End::ResetAfter(end) => end,
        _ => u64::MAX,
    };
    loop {
        let mut most = usize::try_from(end - seen.sent_bytes).unwrap_or(usize::MAX);
        // Who has sent everything has answered, whatever it waits for: no gate is at the end.
        let is_whole = Some(seen.sent_bytes) == reply.body.length();
        if let Some((at, gate)) = &reply.gate_at {
            if seen.sent_bytes == *at && !is_whole {
                wait(stream, gate.pass()).await?;
            } else if seen.sent_bytes < *at {
                most = most.min(usize::try_from(at - seen.sent_bytes).unwrap());
            }
        }
        let most = most.min(reply.piece_bytes.clamp(1, PIECE_BYTES));
        let piece = reply.body.piece(seen.sent_bytes, most);
        if piece.is_empty() {
            return Ok(());
        }
        stream.write_all(&piece).await?;
        stream.flush().await?;
        seen.sent_bytes += piece.len() as u64;
        if !reply.pause.is_zero() {
            wait(stream, tokio::time::sleep(reply.pause)).await?;
        }
    }
}

/// Waits for something, or fails when the other side closes the connection.
async fn wait(
    stream: &mut BufReader<Box<dyn Io>>,
    until: impl Future<Output = ()>,
) -> std::io::Result<()> {
    tokio::pin!(until);
    tokio::select! {
        () = &mut until => return Ok(()),
        read = stream.fill_buf() => {
            if read?.is_empty() {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
    until.await;
    Ok(())
}
