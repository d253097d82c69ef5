//! The admin listener: health, readiness, metrics.
//!
//! It shows nothing that belongs to a client: no bucket, no key, no access key. Pages are decided by
//! [`Admin::answer`] from values alone; [`Admin`] is also the application that Pingora serves.

mod host;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;

use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::telemetry::Readiness;
use pages::Page;

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
    ) -> Self {
        Self {
            config,
            metrics,
            lifecycle,
            readiness,
        }
    }

    /// Decides the answer. A web page that makes a browser resolve its own name to this address
    /// (DNS rebinding) is turned away by the host it names; without `Host` it is no browser.
    pub fn answer(&self, method: &Method, path: &str, fields: &HeaderMap) -> Response<Vec<u8>> {
        let hosts = fields.get_all(header::HOST);
        if !hosts
            .iter()
            .all(|host| host::is_allowed(host, &self.config.hosts))
        {
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Page::text(status, "this host is not served here\n").into_response();
        }
        let page: fn(&Self) -> Page = match path {
            "/" => |_| Page::text(StatusCode::OK, pages::INDEX),
            "/healthz" => |_| Page::text(StatusCode::OK, "ok\n"),
            "/readyz" => |admin| pages::ready(admin.lifecycle.phase(), &admin.readiness.origins()),
            "/metrics" => |admin| pages::metrics(admin.metrics.expose()),
            _ => return Page::text(StatusCode::NOT_FOUND, "not found\n").into_response(),
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut refusal = Page::text(status, "only GET and HEAD\n").into_response();
            let allowed = header::HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(header::ALLOW, allowed);
            return refusal;
        }
        page(self).into_response()
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let response = self.answer(&head.method, head.uri.path(), &head.headers);
        if !session.is_body_empty() {
            // A body is never read here, so the connection cannot carry another request.
            session.set_keepalive(None);
        }
        response
    }
}
