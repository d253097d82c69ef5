//! The admin listener, with all that it shows and does.

use std::sync::Arc;

use pingora::services::listening::Service;

use super::ServerError;
use super::cache::Cache;
use super::explain::Explanations;
use super::listener;
use super::purge::Purges;
use super::reload::Certificates;
use super::reload::Reloader;
use super::warm::Warms;
use crate::admin;
use crate::admin::Admin;
use crate::admin::AdminCache;
use crate::admin::AdminConfig;
use crate::cache::CacheMode;
use crate::config::AdminListener;
use crate::proxy::InForce;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::telemetry::Prices;
use crate::upstream::Fetch;
use crate::upstream::Probes;

/// What the admin listener shows and works on.
pub(super) struct Parts<'a> {
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) probes: &'a Arc<Probes>,
    pub(super) cache: Option<&'a Arc<Cache>>,
    pub(super) cache_mode: CacheMode,
    pub(super) prices: Prices,
    pub(super) settings: &'a InForce,
    pub(super) reloader: &'a Reloader,
    pub(super) fetch: &'a Arc<Fetch>,
}

/// The service that operators talk to.
pub(super) fn service(
    at: &AdminListener,
    parts: &Parts<'_>,
) -> Result<Service<Admin>, ServerError> {
    let cache = parts.cache.map(|cache| AdminCache {
        figures: Arc::clone(cache) as _,
        purge: Arc::new(Purges {
            reader: cache.reader.clone(),
            settings: parts.settings.clone(),
        }),
        warm: Arc::new(Warms::new(
            cache.reader.clone(),
            parts.cache_mode,
            parts.settings.clone(),
            Arc::clone(parts.fetch),
        )),
    });
    let admin = Admin::new(
        AdminConfig {
            hosts: at.hosts.clone(),
            token: at.token.clone(),
            prices: parts.prices,
        },
        Arc::clone(parts.metrics),
        parts.lifecycle.clone(),
        Arc::clone(parts.probes) as _,
        cache,
    );
    let explanations = Explanations {
        mode: parts.cache_mode,
        reader: parts.cache.map(|cache| cache.reader.clone()),
        settings: parts.settings.clone(),
    };
    let admin = admin
        .explaining(Arc::new(explanations))
        .with_reload(Arc::new(parts.reloader.clone()));
    let mut service = admin::service(admin);
    service.add_listener(listener(&at.listen, &mut Certificates::new())?);
    Ok(service)
}
