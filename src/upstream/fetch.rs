//! Small exchanges with an origin: a whole request, a whole answer, both bounded.
//!
//! For what the proxy asks on its own account: bucket lists, batch deletes, tokens, probes. Object
//! bytes never come this way.

use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::upstreams::peer::Peer;

use super::error::UpstreamError;

/// No small exchange takes longer, whatever the configuration allows to object transfers.
const LONGEST_EXCHANGE: Duration = Duration::from_mins(1);

/// An origin's whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Makes small exchanges, with a connection pool of its own.
pub struct Fetch {
    connector: Connector,
}

impl Fetch {
    /// Connects with these options.
    pub fn new(options: Option<ConnectorOptions>) -> Self {
        Self {
            connector: Connector::new(options),
        }
    }

    /// Sends one request and reads its answer, of at most `max_body` bytes.
    pub async fn exchange(
        &self,
        peer: &HttpPeer,
        head: RequestHeader,
        body: Bytes,
        max_body: usize,
        timeout: Duration,
    ) -> Result<Answer, UpstreamError> {
        let limit = timeout.min(LONGEST_EXCHANGE);
        match tokio::time::timeout(limit, self.exchange_unbounded(peer, head, body, max_body)).await
        {
            Ok(outcome) => outcome,
            Err(_) => Err(UpstreamError::TimedOut(limit)),
        }
    }

    async fn exchange_unbounded(
        &self,
        peer: &HttpPeer,
        head: RequestHeader,
        body: Bytes,
        max_body: usize,
    ) -> Result<Answer, UpstreamError> {
        let connection = UpstreamError::Connection;
        let (mut session, _reused) = self
            .connector
            .get_http_session(peer)
            .await
            .map_err(connection)?;
        if let Some(options) = peer.get_peer_options() {
            session.set_read_timeout(options.read_timeout);
            session.set_write_timeout(options.write_timeout);
        }
        session
            .write_request_header(Box::new(head))
            .await
            .map_err(connection)?;
        if !body.is_empty() {
            session
                .write_request_body(body, true)
                .await
                .map_err(connection)?;
        }
        session.finish_request_body().await.map_err(connection)?;
        let answer = read_answer(&mut session, max_body).await?;
        self.connector
            .release_http_session(session, peer, peer.idle_timeout())
            .await;
        Ok(answer)
    }
}

async fn read_answer(session: &mut HttpSession, max_body: usize) -> Result<Answer, UpstreamError> {
    session
        .read_response_header()
        .await
        .map_err(UpstreamError::Connection)?;
    let mut body = BytesMut::new();
    while let Some(piece) = session
        .read_response_body()
        .await
        .map_err(UpstreamError::Connection)?
    {
        if body.len() + piece.len() > max_body {
            return Err(UpstreamError::AnswerTooLong(max_body));
        }
        body.extend_from_slice(&piece);
    }
    let (status, headers) = match session.response_header() {
        Some(head) => (head.status, head.headers.clone()),
        None => (StatusCode::BAD_GATEWAY, HeaderMap::new()),
    };
    Ok(Answer {
        status,
        headers,
        body: body.freeze(),
    })
}
