//! One exchange on the admin listener, as Pingora serves it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header;
use pingora::apps::HttpPersistentSettings;
use pingora::apps::HttpServerApp;
use pingora::apps::ReusedHttpStream;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::sync::mpsc;

use super::Admin;
use super::Refused;
use super::purge;
use super::route::Route;
use super::warm;
use super::warm::WarmEvent;
use super::warm::WarmOrder;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Whoever reads no line for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds that a connection may idle.
const KEEPALIVE: u64 = 60;

/// What a request is answered with.
enum Reply {
    Page(Response<Vec<u8>>),
    Events(mpsc::Receiver<WarmEvent>),
}

/// A request without its body.
struct Head {
    method: Method,
    path: String,
    query: String,
    fields: HeaderMap,
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                log::debug!("no request on the admin listener: {error}");
                return None;
            }
        }
        // Pingora would keep the connection of such an old client open, and it reads until the end.
        let is_old = session.req_header().version < Version::HTTP_11;
        let is_kept = !is_old && !*shutdown.borrow();
        session.set_keepalive(is_kept.then_some(KEEPALIVE));
        let written = match self.reply(&mut session).await {
            Reply::Page(page) => write(&mut session, page).await,
            Reply::Events(events) => stream(&mut session, events, is_old).await,
        };
        if let Err(error) = written {
            log::debug!("an answer of the admin listener was not read: {error}");
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

impl Admin {
    async fn reply(&self, session: &mut ServerSession) -> Reply {
        let head = session.req_header();
        let head = Head {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            fields: head.headers.clone(),
        };
        let admitted = self.admit(&head.method, &head.path, &head.fields);
        let body = match &admitted {
            Ok(route) if route.max_body() > 0 => {
                let Some(body) = read_body(session, route.max_body()).await else {
                    session.set_keepalive(None);
                    let why = "the body is too long or did not arrive";
                    return Reply::Page(purge::refuse(StatusCode::BAD_REQUEST, why));
                };
                body
            }
            _ => {
                if !session.is_body_empty() {
                    // It is not read, so the connection cannot carry another request.
                    session.set_keepalive(None);
                }
                Vec::new()
            }
        };
        match admitted {
            Err(refusal) => Reply::Page(*refusal),
            Ok(route) => self.carry_out(route, &head, &body).await,
        }
    }

    async fn carry_out(&self, route: Route, head: &Head, body: &[u8]) -> Reply {
        match route {
            Route::Explain => Reply::Page(self.explain(&head.query).await),
            Route::Purge => Reply::Page(self.purge(&head.query, &head.fields, body).await),
            Route::Warm => match self.warm(&head.query, &head.fields, body) {
                Ok(events) => Reply::Events(events),
                Err(refusal) => Reply::Page(*refusal),
            },
            Route::Reload => Reply::Page(self.reload(&head.query, &head.fields, body).await),
            _ => Reply::Page(self.page(route, &head.query)),
        }
    }

    /// Begins a warm, if the request asks for it properly.
    fn warm(
        &self,
        query: &str,
        fields: &HeaderMap,
        body: &[u8],
    ) -> Result<mpsc::Receiver<WarmEvent>, Refused> {
        if !query.is_empty() {
            let why = "a warm takes a JSON body and no query";
            return Err(Box::new(purge::refuse(StatusCode::BAD_REQUEST, why)));
        }
        let order = WarmOrder::parse(fields, body)?;
        let off = warm::WarmError::Off;
        let cache = self
            .cache
            .as_ref()
            .ok_or_else(|| Box::new(off.into_response()))?;
        let begun = cache.warm.begin(order);
        begun.map_err(|error| Box::new(error.into_response()))
    }
}

/// A body that is short and arrives in time.
async fn read_body(session: &mut ServerSession, at_most: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(piece) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&piece);
            if body.len() > at_most {
                return None;
            }
        }
        Some(())
    };
    tokio::time::timeout(BODY_TIME, reading).await.ok()??;
    Some(body)
}

async fn write(session: &mut ServerSession, page: Response<Vec<u8>>) -> pingora::Result<()> {
    let (head, body) = page.into_parts();
    let head: ResponseHeader = head.into();
    session.write_response_header(Box::new(head)).await?;
    if !body.is_empty() {
        session.write_response_body(body.into(), true).await?;
    }
    Ok(())
}

/// Writes what happens as it happens, as long as somebody reads it.
async fn stream(
    session: &mut ServerSession,
    mut events: mpsc::Receiver<WarmEvent>,
    is_old: bool,
) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, "application/x-ndjson")?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    if !is_old {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    session.set_write_timeout(Some(PATIENCE));
    session.write_response_header(Box::new(head)).await?;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => {
                    let line = Bytes::from(warm::line(&event));
                    session.write_response_body(line, false).await?;
                }
                None => return session.write_response_body(Bytes::new(), true).await,
            },
            gone = session.read_body_or_idle(true) => {
                gone?;
                return pingora::Error::e_explain(
                    pingora::ErrorType::ConnectionClosed,
                    "the client sent more than its request",
                );
            }
        }
    }
}
