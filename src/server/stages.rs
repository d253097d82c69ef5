//! Every stage, built from its part of the configuration.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;

use pingora::connectors::ConnectorOptions;

use super::ServerError;
use super::exchange::StsExchange;
use crate::auth::TokenExchange;
use crate::auth::Verifier;
use crate::cache::CacheMode;
use crate::cache::Generations;
use crate::cache::Metas;
use crate::cache::Store;
use crate::cache::Verdicts;
use crate::config::CacheConfig;
use crate::config::Config;
use crate::policy::Policy;
use crate::proxy::Admission;
use crate::proxy::Identities;
use crate::proxy::RequestIds;
use crate::proxy::S3Proxy;
use crate::proxy::ServedOrigin;
use crate::read::ReadConfig;
use crate::read::ReadParts;
use crate::read::Reader;
use crate::s3::BaseDomains;
use crate::s3::Principal;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::upstream::DownloadConfig;
use crate::upstream::Downloads;
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

/// The proxy, with everything that its phases need.
pub(super) fn proxy(
    config: &Config,
    origins: Vec<ServedOrigin>,
    fetch: Arc<Fetch>,
    metrics: &Arc<Metrics>,
    access_log: Arc<AccessLog>,
    options: &ConnectorOptions,
    store: Option<Arc<Store>>,
) -> Result<S3Proxy, ServerError> {
    let exchange = exchange(config, &fetch, metrics)?;
    let limits = config.limits;
    Ok(S3Proxy {
        domains: BaseDomains::new(config.base_domains.iter().cloned()),
        verifier: Verifier::new(config.auth.clone(), exchange),
        policy: policy(config),
        identities: identities(config),
        origins,
        reader: store.map(|store| reader(config, store, metrics, options)),
        fetch,
        limits,
        admission: Arc::new(Admission::new(limits.requests, limits.requests_per_client)),
        request_ids: RequestIds::default(),
        metrics: Arc::clone(metrics),
        access_log,
    })
}

/// Where blocks are kept; nowhere when the cache is off.
pub(super) fn store(config: &CacheConfig) -> Result<Option<Arc<Store>>, ServerError> {
    if config.mode == CacheMode::Off {
        return Ok(None);
    }
    let mut tiers = config.store.clone();
    if tiers.dir.is_some() {
        // What is fetched lies in memory until slow clients have read it.
        tiers.memory = tiers.memory.max(config.fill_memory);
    }
    let store = Store::open(&tiers).map_err(ServerError::CacheDirectory)?;
    Ok((!store.is_off()).then(|| Arc::new(store)))
}

/// Reads of objects.
fn reader(
    config: &Config,
    store: Arc<Store>,
    metrics: &Metrics,
    options: &ConnectorOptions,
) -> Reader {
    let cache = &config.cache;
    let generations = Arc::new(Generations::new(RandomState::new().hash_one(0_u8)));
    let downloads = DownloadConfig {
        max_connections: cache.fill_connections,
        ..DownloadConfig::default()
    };
    let parts = ReadParts {
        store,
        metas: Arc::new(Metas::new(cache.metas, Arc::clone(&generations))),
        generations,
        verdicts: Arc::new(Verdicts::new(cache.own_verdict)),
        rules: Arc::new(cache.rules.clone()),
        downloads: Arc::new(Downloads::new(downloads, Some(options.clone()))),
        metrics: metrics.cache(),
    };
    let config = ReadConfig {
        block_size: cache.store.block_size,
        fill_memory: cache.fill_memory,
    };
    Reader::new(config, parts)
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
