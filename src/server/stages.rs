//! Every stage, built from its part of the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::ServerError;
use super::exchange::StsExchange;
use super::logs::Logs;
use crate::auth::TokenExchange;
use crate::auth::Verifier;
use crate::auth::WebIdentityConfig;
use crate::cache::CacheMode;
use crate::config::Config;
use crate::policy::Policy;
use crate::proxy::Admission;
use crate::proxy::Comparisons;
use crate::proxy::Identities;
use crate::proxy::InForce;
use crate::proxy::S3Proxy;
use crate::proxy::ServedOrigin;
use crate::proxy::Settings;
use crate::read::Reader;
use crate::s3::BaseDomains;
use crate::s3::Principal;
use crate::telemetry::Metrics;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Resolver;

/// Builds what a reload replaces, and keeps what did not change.
pub(super) struct Stages {
    resolver: Arc<Resolver>,
    fetch: Arc<Fetch>,
    metrics: Arc<Metrics>,
    /// Origins built so far: connections to two of them are never mixed up.
    origins: AtomicU64,
}

/// What requests are judged and served by.
pub(super) struct Built {
    pub(super) settings: Settings,
    /// Behind the verifier, for the next one to be compared with.
    pub(super) exchange: Option<Arc<StsExchange>>,
}

/// What is in force while something else is built.
type Before<'a> = (&'a Settings, Option<&'a Arc<StsExchange>>);

impl Stages {
    pub(super) fn new(fetch: Arc<Fetch>, metrics: Arc<Metrics>) -> Self {
        Self {
            resolver: Arc::new(Resolver::new()),
            fetch,
            metrics,
            origins: AtomicU64::new(0),
        }
    }

    /// Builds everything; with `before`, what it has in common with it is the very same.
    pub(super) fn build(
        &self,
        config: &Config,
        before: Option<Before<'_>>,
    ) -> Result<Built, ServerError> {
        let exchange = self.exchange(config, before.and_then(|(_, exchange)| exchange))?;
        let before = before.map(|(settings, _)| settings);
        let asked = exchange.clone().map(|it| it as Arc<dyn TokenExchange>);
        let auth = config.auth.clone();
        let settings = Settings {
            domains: BaseDomains::new(config.base_domains.iter().cloned()),
            verifier: match before {
                Some(before) => before.verifier.followed_by(auth, asked),
                None => Verifier::new(auth, asked),
            },
            policy: policy(config),
            identities: identities(config),
            origins: self.origins(config, before)?,
            cache_rules: Arc::new(config.cache.rules.clone()),
            limits: config.limits,
        };
        Ok(Built { settings, exchange })
    }

    /// Every origin, in configured order.
    fn origins(
        &self,
        config: &Config,
        before: Option<&Settings>,
    ) -> Result<Vec<ServedOrigin>, ServerError> {
        let before = before.map_or(&[][..], |before| &before.origins);
        let origins = config.origins.iter().map(|config| {
            let of_name = |served: &&ServedOrigin| served.origin.config.name == config.name;
            let before = before.iter().find(of_name);
            let origin = self.origin(config.clone(), before.map(|it| &*it.origin))?;
            if let Some(before) = before.filter(|before| before.origin.is_as(&origin)) {
                return Ok(before.clone());
            }
            let known = before.map(|before| before.metrics.clone());
            let metrics = known.unwrap_or_else(|| self.metrics.origin(&config.name));
            origin.report_to(metrics.clone());
            Ok(ServedOrigin {
                origin: Arc::new(origin),
                metrics,
            })
        });
        origins.collect()
    }

    fn origin(&self, config: OriginConfig, before: Option<&Origin>) -> Result<Origin, ServerError> {
        let has_same_credentials = |before: &&Origin| {
            before.config.credentials == config.credentials && before.config.region == config.region
        };
        let credentials = match before.filter(has_same_credentials) {
            Some(before) => before.credentials.clone(),
            None => OriginCredentials::new(&config.credentials, &config.region),
        };
        let number = self.origins.fetch_add(1, Ordering::Relaxed);
        let resolver = Arc::clone(&self.resolver);
        Origin::new(config, credentials, resolver, number).map_err(ServerError::CaFile)
    }

    /// The security token service: the configured endpoint, or the first origin's own.
    fn exchange(
        &self,
        config: &Config,
        before: Option<&Arc<StsExchange>>,
    ) -> Result<Option<Arc<StsExchange>>, ServerError> {
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
        let exchange = StsExchange {
            service: self.origin(service, before.map(|before| &before.service))?,
            config: WebIdentityConfig {
                // The clients' side of it: the service is never told.
                signing_credentials: None,
                ..identity.clone()
            },
            fetch: Arc::clone(&self.fetch),
            metrics: Arc::clone(&self.metrics),
        };
        let is_same = |before: &&Arc<StsExchange>| {
            before.config == exchange.config && before.service.is_as(&exchange.service)
        };
        let kept = before.filter(is_same).cloned();
        Ok(Some(kept.unwrap_or_else(|| Arc::new(exchange))))
    }
}

/// The proxy, with everything that its phases need.
pub(super) fn proxy(
    mode: CacheMode,
    settings: InForce,
    fetch: Arc<Fetch>,
    metrics: &Arc<Metrics>,
    logs: &Logs,
    reader: Option<Reader>,
) -> S3Proxy {
    S3Proxy {
        settings,
        reader,
        comparisons: (mode == CacheMode::Verify).then(|| Comparisons::new(metrics.cache())),
        fetch,
        admission: Arc::new(Admission::default()),
        request_ids: Arc::default(),
        metrics: Arc::clone(metrics),
        access_log: Arc::clone(&logs.access_log),
        traces: logs.traces(),
    }
}

/// What clients may do.
pub(super) fn policy(config: &Config) -> Policy {
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

/// In whose name their requests reach origins.
pub(super) fn identities(config: &Config) -> Identities {
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
