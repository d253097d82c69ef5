//! Talks to the admin listener: one request at a time, over TCP or a Unix socket.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use super::error::CtlError;
use crate::s3::Secret;

/// No listener of ours takes longer to accept.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The longest silence: a purge of a large bucket says nothing until it is done.
const SILENCE: Duration = Duration::from_mins(10);

/// The longest answer that is read whole.
const MAX_ANSWER: usize = 64 << 20;

/// The longest line of a stream of events.
const MAX_LINE: usize = 1 << 20;

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Tcp(String),
    Unix(PathBuf),
}

/// The admin listener, as a command sees it.
pub(super) struct Client {
    target: Target,
    token: Option<Secret>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Target {
    /// `http://HOST:PORT`, `HOST:PORT` or `unix:/PATH`.
    pub(super) fn parse(text: &str) -> Result<Self, CtlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.trim_start_matches("//").into()));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let parsed: Option<http::uri::Authority> = authority.parse().ok();
        let is_plain = |parsed: &http::uri::Authority| {
            parsed.port_u16().is_some() && !parsed.as_str().contains('@')
        };
        match parsed.filter(is_plain) {
            Some(_) => Ok(Self::Tcp(authority.to_owned())),
            None => Err(CtlError::Usage(format!(
                "`{text}` is no admin listener; give http://HOST:PORT or unix:/PATH"
            ))),
        }
    }

    /// What `Host` says.
    fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Client {
    pub(super) fn new(target: Target, token_file: Option<&Path>) -> Result<Self, CtlError> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| CtlError::Token(path.to_owned(), error))?;
            Ok(Secret::new(text.trim()))
        };
        Ok(Self {
            target,
            token: token_file.map(read).transpose()?,
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Reads a page, whatever its status.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, CtlError> {
        let request = self.request("GET", path).body(Full::default());
        self.answer(request).await
    }

    /// Has something done that answers when it is done.
    pub(super) async fn post(&self, path: &str, body: &str) -> Result<Answer, CtlError> {
        self.answer(self.json(path, body)).await
    }

    /// Has something done that is told of line by line. An answer that is no success is given as
    /// it is.
    pub(super) async fn events(
        &self,
        path: &str,
        body: &str,
        mut line: impl FnMut(&str) -> Result<(), CtlError>,
    ) -> Result<Option<Answer>, CtlError> {
        let response = self.send(self.json(path, body)).await?;
        if response.status() != StatusCode::OK {
            return whole(response).await.map(Some);
        }
        let mut body = response.into_body();
        let mut pending = Vec::new();
        while let Some(piece) = next(&mut body).await? {
            pending.extend_from_slice(&piece);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                line(&String::from_utf8_lossy(&pending[..end]))?;
                pending.drain(..=end);
            }
            if pending.len() > MAX_LINE {
                return Err(CtlError::Exchange("a line is too long".to_owned()));
            }
        }
        Ok(None)
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.target.host())
            .header(header::USER_AGENT, "s3proxy-ctl");
        match &self.token {
            Some(token) => {
                let value = format!("Bearer {}", token.expose());
                request.header(header::AUTHORIZATION, value)
            }
            None => request,
        }
    }

    fn json(&self, path: &str, body: &str) -> http::Result<Request<Full<Bytes>>> {
        self.request("POST", path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_owned()))
    }

    async fn answer(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<Answer, CtlError> {
        whole(self.send(request).await?).await
    }

    async fn send(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<http::Response<Incoming>, CtlError> {
        let request = request.map_err(|error| CtlError::Usage(error.to_string()))?;
        let connecting = async {
            match &self.target {
                Target::Tcp(authority) => {
                    let stream = TcpStream::connect(authority.as_str()).await?;
                    Ok(Box::new(stream) as Box<dyn Stream>)
                }
                Target::Unix(path) => {
                    let stream = UnixStream::connect(path).await?;
                    Ok(Box::new(stream) as Box<dyn Stream>)
                }
            }
        };
        let connected = tokio::time::timeout(CONNECT_TIME, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream =
            connected.map_err(|error| CtlError::Connect(self.target.to_string(), error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        let answered = tokio::time::timeout(SILENCE, sender.send_request(request)).await;
        answered
            .map_err(|_| silent())?
            .map_err(|error| broken(&error))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn whole(response: http::Response<Incoming>) -> Result<Answer, CtlError> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(piece) = next(&mut incoming).await? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(CtlError::Exchange("the answer is too long".to_owned()));
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, body })
}

/// The next piece of a body.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, CtlError> {
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        match frame.map_err(|_| silent())? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(piece) = frame.map_err(|error| broken(&error))?.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

fn broken(error: &hyper::Error) -> CtlError {
    CtlError::Exchange(error.to_string())
}

fn silent() -> CtlError {
    CtlError::Exchange("it says nothing any more".to_owned())
}

impl Answer {
    /// The body, of an answer that is no refusal.
    pub(super) fn accepted(self) -> Result<String, CtlError> {
        match self.status {
            200..=299 => Ok(self.body),
            status => Err(self.refusal(status)),
        }
    }

    fn refusal(&self, status: u16) -> CtlError {
        let document: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let error = document
            .as_ref()
            .and_then(|document| document["error"].as_str());
        let why = error.unwrap_or_else(|| self.body.trim());
        CtlError::Refused(status, super::text::clean(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_listeners_are_written_in_three_ways() {
        let tcp = |text: &str| Target::Tcp(text.to_owned());
        for (text, expected) in [
            ("http://127.0.0.1:3001", tcp("127.0.0.1:3001")),
            ("http://localhost:3001/", tcp("localhost:3001")),
            ("[::1]:3001", tcp("[::1]:3001")),
            ("unix:/run/a.sock", Target::Unix("/run/a.sock".into())),
        ] {
            assert_eq!(Target::parse(text).unwrap(), expected);
        }
        for bad in ["", "https://a:1", "localhost", "a:b@c:1", "http://a:1/x"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
