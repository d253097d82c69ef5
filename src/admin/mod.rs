//! The admin listener: health, readiness, metrics, the configuration, and purging the cache.
//!
//! It shows nothing that belongs to a client but what the configuration says: no key, no access key,
//! no secret. Pages are decided by
//! [`Admin::answer`] from values alone; [`Admin`] is also the application that Pingora serves.

mod host;
mod pages;
mod purge;
mod reload;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;

pub use purge::{Purge, PurgeError, PurgeOrder, PurgeReport, PurgeTarget};
pub use reload::{Reload, ReloadReport};

use crate::telemetry::CacheFigures;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::telemetry::Readiness;
use pages::Page;

/// Where the cache is purged.
const PURGE: &str = "/-/purge";

/// Where the configuration is read again.
const RELOAD: &str = "/-/reload";

/// Where it is shown.
const CONFIG: &str = "/-/config";

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What the admin listener is told.
#[derive(Debug, Clone, Default)]
pub struct AdminConfig {
    /// Names under which it may be called, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// The admin pages.
pub struct Admin {
    config: AdminConfig,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    readiness: Arc<dyn Readiness>,
    cache: Option<AdminCache>,
    reload: Option<Arc<dyn Reload>>,
}

/// The cache, as far as the admin listener has to do with it.
pub struct AdminCache {
    /// What it holds.
    pub figures: Arc<dyn CacheFigures>,
    /// Deletes from it.
    pub purge: Arc<dyn Purge>,
}

/// The admin listener as a Pingora service. The caller adds the addresses.
pub fn service(admin: Admin) -> Service<Admin> {
    let mut service = Service::new("admin".to_owned(), admin);
    // One thread answers the few requests of probes and scrapers.
    service.threads = Some(1);
    service
}

impl Admin {
    /// Takes what the pages show.
    pub fn new(
        config: AdminConfig,
        metrics: Arc<Metrics>,
        lifecycle: Lifecycle,
        readiness: Arc<dyn Readiness>,
        cache: Option<AdminCache>,
    ) -> Self {
        Self {
            config,
            metrics,
            lifecycle,
            readiness,
            cache,
            reload: None,
        }
    }

    /// Reads the configuration again, when asked to, and shows it.
    #[must_use]
    pub fn with_reload(self, reload: Arc<dyn Reload>) -> Self {
        let reload = Some(reload);
        Self { reload, ..self }
    }

    /// Decides the answer to everything but a purge and a reload.
    pub fn answer(&self, method: &Method, path: &str, fields: &HeaderMap) -> Response<Vec<u8>> {
        if !self.is_served(fields) {
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Page::text(status, "this host is not served here\n").into_response();
        }
        let page: fn(&Self) -> Page = match path {
            "/" => |_| Page::text(StatusCode::OK, pages::INDEX),
            "/healthz" => |_| Page::text(StatusCode::OK, "ok\n"),
            "/readyz" => |admin| {
                let cache = admin.cache.as_ref().map(|cache| cache.figures.figures());
                let origins = admin.readiness.origins();
                pages::ready(admin.lifecycle.phase(), &origins, cache)
            },
            "/metrics" => |admin| pages::metrics(admin.metrics.expose()),
            CONFIG if self.reload.is_some() => |admin| {
                let shown = admin.reload.as_ref().map(|reload| reload.in_force());
                pages::config(shown.unwrap_or_default())
            },
            PURGE | RELOAD => return only("POST"),
            _ => return Page::text(StatusCode::NOT_FOUND, "not found\n").into_response(),
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return only("GET, HEAD");
        }
        page(self).into_response()
    }

    /// Purges, if the request asks for it properly; answers when it is done.
    pub async fn purge(&self, query: &str, fields: &HeaderMap, body: &[u8]) -> Response<Vec<u8>> {
        if !self.is_served(fields) {
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Page::text(status, "this host is not served here\n").into_response();
        }
        let order = match PurgeOrder::parse(query, fields, body) {
            Ok(order) => order,
            Err(refusal) => return refusal.into_response(),
        };
        let Some(cache) = &self.cache else {
            return purge::page(Err(PurgeError::Off));
        };
        let outcome = cache.purge.purge(&order).await;
        if let Ok(report) = &outcome {
            self.metrics.cache().purged(order.scope());
            log::info!("purged the cache by {}: {report:?}", order.scope().as_str());
        }
        purge::page(outcome)
    }

    /// Reads the configuration again, if the request asks for it properly; answers when that is done.
    pub async fn reload(&self, query: &str, fields: &HeaderMap, body: &[u8]) -> Response<Vec<u8>> {
        if !self.is_served(fields) {
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Page::text(status, "this host is not served here\n").into_response();
        }
        if let Some(refusal) = reload::refusal(query, fields, body) {
            return refusal;
        }
        match &self.reload {
            Some(reload) => reload::page(&reload.reload().await),
            None => Page::text(StatusCode::NOT_FOUND, "not found\n").into_response(),
        }
    }

    /// A web page that makes a browser resolve its own name to this address (DNS rebinding) is turned
    /// away by the host it names; without `Host` it is no browser.
    fn is_served(&self, fields: &HeaderMap) -> bool {
        let mut hosts = fields.get_all(header::HOST).iter();
        hosts.all(|host| host::is_allowed(host, &self.config.hosts))
    }
}

fn only(methods: &'static str) -> Response<Vec<u8>> {
    let text = format!("only {}\n", methods.replace(", ", " and "));
    let mut refusal = Page::text(StatusCode::METHOD_NOT_ALLOWED, &text).into_response();
    let allowed = header::HeaderValue::from_static(methods);
    refusal.headers_mut().insert(header::ALLOW, allowed);
    refusal
}

/// A body that is short and arrives in time.
async fn read_body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(piece) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&piece);
            if body.len() > purge::MAX_BODY {
                return None;
            }
        }
        Some(())
    };
    tokio::time::timeout(BODY_TIME, reading).await.ok()??;
    Some(body)
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if session.req_header().version < Version::HTTP_11 {
            // Pingora would keep the connection open, and such a client reads until it ends.
            session.set_keepalive(None);
        }
        let head = session.req_header();
        let is_reload = head.uri.path() == RELOAD;
        if head.method == Method::POST && (is_reload || head.uri.path() == PURGE) {
            let query = head.uri.query().unwrap_or_default().to_owned();
            let fields = head.headers.clone();
            let Some(body) = read_body(session).await else {
                session.set_keepalive(None);
                let why = "the body is too long or did not arrive";
                return purge::refuse(StatusCode::BAD_REQUEST, why);
            };
            return if is_reload {
                self.reload(&query, &fields, &body).await
            } else {
                self.purge(&query, &fields, &body).await
            };
        }
        let response = self.answer(&head.method, head.uri.path(), &head.headers);
        if !session.is_body_empty() {
            // A body is never read here, so the connection cannot carry another request.
            session.set_keepalive(None);
        }
        response
    }
}
