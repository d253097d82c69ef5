//! Every stage, built from its part of the configuration.

use std::sync::Arc;

use super::ServerError;
use super::exchange::StsExchange;
use crate::auth::TokenExchange;
use crate::auth::Verifier;
use crate::cache::CacheMode;
use crate::config::Config;
use crate::policy::Policy;
use crate::proxy::Admission;
use crate::proxy::Comparisons;
use crate::proxy::Identities;
use crate::proxy::InForce;
use crate::proxy::RequestIds;
use crate::proxy::S3Proxy;
use crate::proxy::ServedOrigin;
use crate::proxy::Settings;
use crate::read::Reader;
use crate::s3::BaseDomains;
use crate::s3::Principal;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Resolver;

/// Every origin, in configured order.
pub(super) fn origins(
    config: &Config,
    metrics: &Metrics,
) -> Result<Vec<ServedOrigin>, ServerError> {
    let resolver = Arc::new(Resolver::new());
    let mut origins = Vec::new();
    for (position, config) in config.origins.iter().enumerate() {
        let metrics = metrics.origin(&config.name);
        let origin = origin(config.clone(), &resolver, position as u64)?;
        origin.report_to(metrics.clone());
        origins.push(ServedOrigin {
            origin: Arc::new(origin),
            metrics,
        });
    }
    Ok(origins)
}

fn origin(
    config: OriginConfig,
    resolver: &Arc<Resolver>,
    position: u64,
) -> Result<Origin, ServerError> {
    let credentials = OriginCredentials::new(&config.credentials, &config.region);
    Origin::new(config, credentials, Arc::clone(resolver), position).map_err(ServerError::CaFile)
}

/// What requests are judged and served by.
pub(super) fn settings(
    config: &Config,
    origins: Vec<ServedOrigin>,
    fetch: &Arc<Fetch>,
    metrics: &Arc<Metrics>,
) -> Result<Settings, ServerError> {
    let exchange = exchange(config, fetch, metrics)?;
    Ok(Settings {
        domains: BaseDomains::new(config.base_domains.iter().cloned()),
        verifier: Verifier::new(config.auth.clone(), exchange),
        policy: policy(config),
        identities: identities(config),
        origins,
        cache_rules: Arc::new(config.cache.rules.clone()),
        limits: config.limits,
    })
}

/// The proxy, with everything that its phases need.
pub(super) fn proxy(
    config: &Config,
    settings: InForce,
    fetch: Arc<Fetch>,
    metrics: &Arc<Metrics>,
    access_log: Arc<AccessLog>,
    reader: Option<Reader>,
) -> S3Proxy {
    S3Proxy {
        settings,
        reader,
        comparisons: (config.cache.mode == CacheMode::Verify)
            .then(|| Comparisons::new(metrics.cache())),
        fetch,
        admission: Arc::new(Admission::default()),
        request_ids: RequestIds::default(),
        metrics: Arc::clone(metrics),
        access_log,
    }
}

/// The security token service: the configured endpoint, or the first origin's own.
fn exchange(
    config: &Config,
    fetch: &Arc<Fetch>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<dyn TokenExchange>>, ServerError> {
    let (Some(identity), Some(policy), Some(first)) = (
        &config.auth.web_identity,
        &config.web_identity,
        config.origins.first(),
    ) else {
        return Ok(None);
    };
    let service = match &policy.sts_endpoint {
        Some(endpoint) => OriginConfig {
            endpoint: endpoint.clone(),
            server_name: None,
            ..first.clone()
        },
        None => first.clone(),
    };
    let position = config.origins.len() as u64;
    Ok(Some(Arc::new(StsExchange {
        service: origin(service, &Arc::new(Resolver::new()), position)?,
        config: identity.clone(),
        fetch: Arc::clone(fetch),
        metrics: Arc::clone(metrics),
    })))
}

fn policy(config: &Config) -> Policy {
    let mut policy = Policy::default();
    for (principal, rules) in &config.rules {
        match principal {
            Principal::Client(name) => {
                policy.clients.insert(Arc::clone(name), rules.clone());
            }
            Principal::Anonymous => policy.anonymous = rules.clone(),
            Principal::WebIdentity(_) => {}
        }
    }
    if let Some(web_identity) = &config.web_identity {
        policy.web_identity = web_identity.rules.clone();
    }
    policy
}

fn identities(config: &Config) -> Identities {
    let clients =
        config
            .origin_identity
            .iter()
            .filter_map(|(principal, identity)| match principal {
                Principal::Client(name) => Some((Arc::clone(name), *identity)),
                Principal::Anonymous | Principal::WebIdentity(_) => None,
            });
    Identities {
        clients: clients.collect(),
        web_identity: config
            .web_identity
            .as_ref()
            .map(|policy| policy.origin_identity),
    }
}
