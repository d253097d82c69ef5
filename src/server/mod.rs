//! Builds the stages from the configuration and runs them as Pingora services.

mod certificate;
mod exchange;
mod identity;

use std::fmt;
use std::fs::DirBuilder;
use std::fs::Permissions;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::HttpProxy;
use pingora::server::Server;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::Opt;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use pingora::services::background::GenBackgroundService;
use pingora::services::listening::Service;

use crate::admin;
use crate::admin::Admin;
use crate::admin::AdminConfig;
use crate::auth::TokenExchange;
use crate::auth::Verifier;
use crate::config::Config;
use crate::config::ListenConfig;
use crate::policy::Policy;
use crate::proxy::Admission;
use crate::proxy::BoundedConnections;
use crate::proxy::Identities;
use crate::proxy::RequestIds;
use crate::proxy::S3Proxy;
use crate::proxy::ServedOrigin;
use crate::s3::BaseDomains;
use crate::s3::Principal;
use crate::telemetry::AccessLog;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::upstream::CaFileError;
use crate::upstream::CredentialsError;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Probes;
use crate::upstream::Resolver;
use certificate::CertificateError;
use certificate::ListenerCertificate;
use exchange::StsExchange;

/// An idle HTTP/2 connection is closed after this long; over HTTP/1.1 the limits say it.
const H2_IDLE: Duration = Duration::from_secs(60);

/// Why the server could not start.
#[derive(Debug)]
pub enum ServerError {
    /// The origin's credentials, which are also the clients', cannot be had.
    Credentials(CredentialsError),
    /// There are no credentials at all, and others could reach the listener.
    AnonymousInPublic,
    /// An origin's certificate authorities cannot be used.
    CaFile(CaFileError),
    /// A listener's certificate cannot be used.
    Certificate(CertificateError),
    /// The runtime that looks for credentials could not be started.
    Runtime(std::io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(error) => write!(f, "{error}"),
            Self::AnonymousInPublic => f.write_str(
                "there are no AWS credentials, so every request would be allowed unsigned: \
                 that is possible on a loopback address only; set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or write a configuration file with clients",
            ),
            Self::CaFile(error) => write!(f, "{error}"),
            Self::Certificate(error) => write!(f, "{error}"),
            Self::Runtime(error) => write!(f, "no runtime to look for credentials: {error}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Credentials(error) => Some(error),
            Self::AnonymousInPublic => None,
            Self::CaFile(error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::Runtime(error) => Some(error),
        }
    }
}

/// Serves until told to stop. Returns only when it could not start.
pub fn run(mut config: Config, opt: Opt) -> Result<(), ServerError> {
    identity::complete(&mut config)?;
    prepare_runtime_directory(&config.server);
    let mut server = Server::new_with_opt_and_conf(opt, std::mem::take(&mut config.server));
    server.bootstrap();
    let metrics = Metrics::new();
    let fetch = Arc::new(Fetch::new(Some(ConnectorOptions::from_server_conf(
        &config.server,
    ))));
    let origins = build_origins(&config, &metrics)?;
    let probes = Arc::new(Probes::new(
        origins
            .iter()
            .map(|served| (Arc::clone(&served.origin), served.metrics.clone()))
            .collect(),
        Arc::clone(&fetch),
    ));
    let lifecycle = Lifecycle::new();
    if let Some(address) = config.admin {
        let readiness = Arc::clone(&probes);
        let admin = Admin::new(
            AdminConfig::default(),
            Arc::clone(&metrics),
            lifecycle.clone(),
            readiness,
        );
        let mut service = admin::service(admin);
        service.add_tcp(&address.to_string());
        server.add_service(service);
    }
    let mut listeners = Vec::new();
    for listen in &config.listen {
        log::info!("listening on {listen}");
        listeners.push(listener(listen)?);
    }
    let proxy = build_proxy(&config, origins, fetch, &metrics)?;
    let mut app = HttpProxy::new(proxy, Arc::clone(&server.configuration));
    app.server_options = Some(h1_and_h2());
    app.handle_init_modules();
    let app = BoundedConnections::new(app, config.limits, metrics);
    let mut service = Service::new("s3".to_owned(), app);
    for listener in listeners {
        service.add_listener(listener);
    }
    server.add_service(service);
    server.add_service(GenBackgroundService::new("probes".to_owned(), probes));
    let watch = LifecycleWatch(lifecycle);
    server.add_service(GenBackgroundService::new(
        "lifecycle".to_owned(),
        Arc::new(watch),
    ));
    server.run_forever()
}

fn h1_and_h2() -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(H2_IDLE);
    options
}

/// The directory of the upgrade socket belongs to us alone: whoever binds that socket first is
/// given our listeners.
fn prepare_runtime_directory(conf: &ServerConf) {
    for path in [&conf.upgrade_sock, &conf.pid_file] {
        let Some(directory) = Path::new(path).parent() else {
            continue;
        };
        if directory.as_os_str().is_empty() || directory.exists() {
            continue;
        }
        if let Err(error) = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
        {
            log::warn!("{} cannot be created: {error}", directory.display());
        }
    }
}

fn build_origins(config: &Config, metrics: &Metrics) -> Result<Vec<ServedOrigin>, ServerError> {
    let resolver = Arc::new(Resolver::new());
    let mut origins = Vec::new();
    for (position, origin) in config.origins.iter().enumerate() {
        origins.push(ServedOrigin {
            metrics: metrics.origin(&origin.name),
            origin: Arc::new(build_origin(origin.clone(), &resolver, position as u64)?),
        });
    }
    Ok(origins)
}

fn build_origin(
    config: OriginConfig,
    resolver: &Arc<Resolver>,
    position: u64,
) -> Result<Origin, ServerError> {
    let credentials = OriginCredentials::new(&config.credentials, &config.region);
    Origin::new(config, credentials, Arc::clone(resolver), position).map_err(ServerError::CaFile)
}

fn build_proxy(
    config: &Config,
    origins: Vec<ServedOrigin>,
    fetch: Arc<Fetch>,
    metrics: &Arc<Metrics>,
) -> Result<S3Proxy, ServerError> {
    let exchange = build_exchange(config, &fetch, metrics)?;
    let limits = config.limits;
    Ok(S3Proxy {
        domains: BaseDomains::new(config.base_domains.iter().cloned()),
        verifier: Verifier::new(config.auth.clone(), exchange),
        policy: policy(config),
        identities: identities(config),
        origins,
        fetch,
        limits,
        admission: Arc::new(Admission::new(limits.requests, limits.requests_per_client)),
        request_ids: RequestIds::default(),
        metrics: Arc::clone(metrics),
        access_log: AccessLog::stdout(config.access_log, Arc::clone(metrics)),
    })
}

/// The security token service: the configured endpoint, or the first origin's own.
fn build_exchange(
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
        service: build_origin(service, &Arc::new(Resolver::new()), position)?,
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

fn listener(listen: &ListenConfig) -> Result<ListenerConfig, ServerError> {
    Ok(match listen {
        ListenConfig::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        ListenConfig::Tls { addr, cert, key } => {
            let certificate =
                ListenerCertificate::read(cert, key).map_err(ServerError::Certificate)?;
            let paths = (cert.to_string_lossy(), key.to_string_lossy());
            // Never fails: it only stores the paths, and the resolver stands in for them.
            let mut settings = TlsSettings::intermediate(&paths.0, &paths.1)
                .map_err(|error| ServerError::Runtime(std::io::Error::other(error.to_string())))?;
            settings.set_cert_resolver(Arc::new(certificate));
            settings.enable_h2();
            ListenerConfig::tcp(addr.to_string()).tls(settings)
        }
        ListenConfig::Unix { path, mode } => {
            ListenerConfig::uds(path.to_string_lossy()).permissions(Permissions::from_mode(*mode))
        }
    })
}

/// Notes where the process is in its life.
struct LifecycleWatch(Lifecycle);

#[async_trait]
impl BackgroundService for LifecycleWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        self.0.serving();
        // Errors when the sender is gone: the process is ending as well.
        let _ = shutdown.changed().await;
        self.0.stopping();
    }
}
