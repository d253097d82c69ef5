//! The admin listener: health, readiness, metrics, statistics and the dashboard over them,
//! explanations, the configuration; reloading it; purging and warming the cache.
//!
//! Without a token it is for those who may see what is read: some pages name buckets and keys, none
//! shows a secret or a whole access key. Pages are decided from values alone; [`Admin`] is also the application that
//! Pingora serves.

mod dashboard;
mod explain;
mod host;
mod pages;
mod purge;
mod query;
mod reload;
mod route;
mod serve;
mod stats;
#[cfg(test)]
mod tests;
mod top;
mod warm;

use std::sync::Arc;

use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use pingora::services::listening::Service;

pub use explain::{Explain, Explained, ExplainedBlocks, ExplainedReader};
pub use explain::{ExplainedRule, ExplainedRuns, ExplainedVersion};
pub use purge::{Purge, PurgeError, PurgeOrder, PurgeReport, PurgeTarget};
pub use reload::{Reload, ReloadReport};
pub use warm::{Warm, WarmError, WarmEvent, WarmFigures, WarmMode, WarmOrder, WarmTarget};

use crate::s3::Secret;
use crate::telemetry::CacheFigures;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::telemetry::Prices;
use crate::telemetry::Readiness;
use pages::Page;
use route::Route;

/// Why a request is not answered.
type Refused = Box<Response<Vec<u8>>>;

/// What the admin listener is told.
#[derive(Clone, Default)]
pub struct AdminConfig {
    /// Names under which it may be called, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// What everyone has to bring who wants more than health and readiness; absent when everyone who
    /// reaches the listener may have all of it.
    pub token: Option<Secret>,
    /// What origins charge.
    pub prices: Prices,
}

/// The admin pages.
pub struct Admin {
    config: AdminConfig,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    readiness: Arc<dyn Readiness>,
    cache: Option<AdminCache>,
    explain: Option<Arc<dyn Explain>>,
    reload: Option<Arc<dyn Reload>>,
}

/// The cache, as far as the admin listener has to do with it.
pub struct AdminCache {
    /// What it holds.
    pub figures: Arc<dyn CacheFigures>,
    /// Deletes from it.
    pub purge: Arc<dyn Purge>,
    /// Fetches into it.
    pub warm: Arc<dyn Warm>,
}

/// The admin listener as a Pingora service. The caller adds the addresses.
pub fn service(admin: Admin) -> Service<Admin> {
    let mut service = Service::new("admin".to_owned(), admin);
    // One thread answers the few requests of probes and scrapers, and does the warming: it takes no
    // more of the machine than that.
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
            explain: None,
            reload: None,
        }
    }

    /// Explains objects, too.
    #[must_use]
    pub fn explaining(self, explain: Arc<dyn Explain>) -> Self {
        Self {
            explain: Some(explain),
            ..self
        }
    }

    /// Reads the configuration again, when asked to, and shows it.
    #[must_use]
    pub fn with_reload(self, reload: Arc<dyn Reload>) -> Self {
        let reload = Some(reload);
        Self { reload, ..self }
    }

    /// Decides the answer to everything that is known at once.
    pub fn answer(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        fields: &HeaderMap,
    ) -> Response<Vec<u8>> {
        match self.admit(method, path, fields) {
            Ok(route) => self.page(route, query),
            Err(refusal) => *refusal,
        }
    }

    /// What a request may have, or why it may not.
    fn admit(&self, method: &Method, path: &str, fields: &HeaderMap) -> Result<Route, Refused> {
        let refusal = |status, why| Err(Box::new(Page::text(status, why).into_response()));
        if !self.is_served(fields) {
            return refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "this host is not served here\n",
            );
        }
        let Some(route) = Route::of(path) else {
            return refusal(StatusCode::NOT_FOUND, "not found\n");
        };
        if !route.is_open() && !self.has_token(fields) {
            return Err(Box::new(unauthorized()));
        }
        if !route.allows(method) {
            return Err(Box::new(only(route.methods())));
        }
        // A person who opens the listener in a browser has no use for a list of paths.
        if route == Route::Index && dashboard::is_wanted(fields) {
            return Ok(Route::Dashboard);
        }
        Ok(route)
    }

    fn page(&self, route: Route, query: &str) -> Response<Vec<u8>> {
        let page = match route {
            Route::Index => return pages::index(),
            Route::Dashboard => return dashboard::page(),
            Route::Health => Page::text(StatusCode::OK, "ok\n"),
            Route::Ready => {
                let cache = self.cache.as_ref().map(|cache| cache.figures.figures());
                let origins = self.readiness.origins();
                pages::ready(self.lifecycle.phase(), &origins, cache)
            }
            Route::Metrics => pages::metrics(self.metrics.expose()),
            Route::Stats => stats::page(&self.metrics, &self.config.prices, query),
            Route::Top => top::page(&self.metrics, query),
            Route::Config => match &self.reload {
                Some(reload) => pages::config(reload.in_force()),
                None => Page::text(StatusCode::NOT_FOUND, "not found\n"),
            },
            // These take their time, and are answered elsewhere.
            Route::Explain | Route::Purge | Route::Warm | Route::Reload => {
                Page::text(StatusCode::NOT_FOUND, "not found\n")
            }
        };
        page.into_response()
    }

    /// Explains what is known of an object.
    async fn explain(&self, query: &str) -> Response<Vec<u8>> {
        match &self.explain {
            Some(explain) => explain::page(explain.as_ref(), query).await.into_response(),
            None => self.page(Route::Explain, query),
        }
    }

    /// Purges, if the request asks for it properly; answers when it is done.
    pub async fn purge(&self, query: &str, fields: &HeaderMap, body: &[u8]) -> Response<Vec<u8>> {
        if let Err(refusal) = self.admit(&Method::POST, "/-/purge", fields) {
            return *refusal;
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
        if let Err(refusal) = self.admit(&Method::POST, "/-/reload", fields) {
            return *refusal;
        }
        if let Some(refusal) = reload::refusal(query, fields, body) {
            return refusal;
        }
        match &self.reload {
            Some(reload) => reload::page(&reload.reload().await),
            None => self.page(Route::Reload, query),
        }
    }

    /// A web page that makes a browser resolve its own name to this address (DNS rebinding) is turned
    /// away by the host it names; without `Host` it is no browser.
    fn is_served(&self, fields: &HeaderMap) -> bool {
        let mut hosts = fields.get_all(header::HOST).iter();
        hosts.all(|host| host::is_allowed(host, &self.config.hosts))
    }

    /// Whether the request brings the token, where one is needed.
    fn has_token(&self, fields: &HeaderMap) -> bool {
        let Some(token) = &self.config.token else {
            return true;
        };
        let mut values = fields.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let given = value.to_str().ok().and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer") && Secret::new(given) == *token
        })
    }
}

fn unauthorized() -> Response<Vec<u8>> {
    let why = "this needs the admin token, as `authorization: Bearer ..`";
    let mut refusal = Page::refusal(StatusCode::UNAUTHORIZED, why).into_response();
    let challenge = header::HeaderValue::from_static("Bearer realm=\"s3proxy\"");
    let fields = refusal.headers_mut();
    fields.insert(header::WWW_AUTHENTICATE, challenge);
    refusal
}

fn only(methods: &'static str) -> Response<Vec<u8>> {
    let text = format!("only {}\n", methods.replace(", ", " and "));
    let mut refusal = Page::text(StatusCode::METHOD_NOT_ALLOWED, &text).into_response();
    let allowed = header::HeaderValue::from_static(methods);
    refusal.headers_mut().insert(header::ALLOW, allowed);
    refusal
}
