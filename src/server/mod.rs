//! Builds the stages from the configuration and runs them as Pingora services.

mod cache;
mod caught;
mod certificate;
mod exchange;
mod explain;
mod identity;
mod life;
mod logs;
mod notify;
mod operators;
mod purge;
mod reload;
mod samples;
mod stages;
mod stop;
mod traces;
mod upgrade;
mod warm;

use crate::cache::store::disk::DiskError;
use crate::config::Args;
use crate::config::CertificateError;
use crate::config::Config;
use crate::config::ListenConfig;
use crate::config::read_certificate;
use crate::proxy::BoundedConnections;
use crate::proxy::InForce;
use crate::proxy::S3Proxy;
use crate::telemetry::CacheFigures;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::upstream::CaFileError;
use crate::upstream::CredentialsError;
use crate::upstream::Fetch;
use crate::upstream::Probes;
use cache::Cache;
use caught::HangupWatch;
use caught::RotationWatch;
pub use caught::Signals;
use certificate::ListenerCertificate;
use life::Life;
use logs::Logs;
use parking_lot::Mutex;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::Server;
use pingora::server::configuration::Opt;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use pingora::services::background::GenBackgroundService;
use pingora::services::listening::Service;
use reload::Certificates;
use reload::Parts;
use reload::Reloader;
use reload::State;
use samples::Samples;
use stages::Stages;
use upgrade::CommandLine;

use std::fmt;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
pub use upgrade::RequestError;
pub use upgrade::TakeError;
pub use upgrade::request as request_upgrade;

/// Heads and bodies are read into buffers of their own; Pingora's would cost each connection 64 KiB, and each
/// byte a copy.
const UNBUFFERED_READS: L4BufferSettings = L4BufferSettings {
    read: Some(0),
    write: None,
};

/// An idle HTTP/2 connection is closed after this long; over HTTP/1.1 the limits say it.
const H2_IDLE: Duration = Duration::from_mins(1);

/// Why the server could not start.
#[derive(Debug)]
pub enum ServerError {
    /// The origin's credentials, which are also the clients', cannot be had.
    Credentials(CredentialsError),
    /// There are no credentials at all, and others could reach the listener.
    AnonymousInPublic,
    /// An origin's certificate authorities cannot be used.
    CaFile(CaFileError),
    /// The directory of the cache cannot be used.
    CacheDirectory(DiskError),
    /// The directory of the cache would belong to the user that the process is at its start.
    CacheOfAnotherUser,
    /// A listener's certificate cannot be used.
    Certificate(CertificateError),
    /// The access log cannot be opened.
    AccessLog(std::io::Error),
    /// An address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The listeners cannot be taken over from the running process.
    TakeOver(TakeError),
    /// The command line of this process, which its successor is started with, cannot be had.
    CommandLine(std::io::Error),
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
            Self::CacheDirectory(error) => write!(f, "cache.dir: {error}"),
            Self::CacheOfAnotherUser => f.write_str(
                "cache.dir: the directory would belong to the user before `user`: start as that user",
            ),
            Self::CaFile(error) => write!(f, "{error}"),
            Self::Certificate(error) => write!(f, "{error}"),
            Self::AccessLog(error) => write!(f, "access_log.to: {error}"),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::TakeOver(error) => write!(f, "{error}"),
            Self::CommandLine(error) => write!(f, "no name of this program: {error}"),
            Self::Runtime(error) => write!(f, "no runtime to look for credentials: {error}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Credentials(error) => Some(error),
            Self::CacheDirectory(error) => Some(error),
            Self::AnonymousInPublic | Self::CacheOfAnotherUser => None,
            Self::CaFile(error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::TakeOver(error) => Some(error),
            Self::AccessLog(error)
            | Self::Listen(_, error)
            | Self::Runtime(error)
            | Self::CommandLine(error) => Some(error),
        }
    }
}

/// Whether what the configuration names could be taken into use, as far as that can be told without
/// changing anything.
pub fn check(config: &Config) -> Result<(), ServerError> {
    cache::check(config)
}

/// Serves until told to stop. `args` and the environment are what `config` was read from, and is
/// read from again.
pub fn run(mut config: Config, args: Args, signals: Signals, opt: Opt) -> Result<(), ServerError> {
    let loaded = SystemTime::now();
    let command = CommandLine::of_this_process(opt.upgrade).map_err(ServerError::CommandLine)?;
    let (upgrade_sock, is_successor) = (config.server.upgrade_sock.clone(), opt.upgrade);
    identity::complete(&mut config)?;
    check_addresses(&config, &opt)?;
    if let Err(error) = config.create_runtime_directories() {
        log::warn!("no directory for the upgrade socket: {error}");
    }
    let mut server = Server::new_with_opt_and_conf(opt, std::mem::take(&mut config.server));
    let metrics = Metrics::new();
    let cache = Cache::open(&config.cache, &server.configuration, &metrics)?;
    let connector = ConnectorOptions::from_server_conf(&server.configuration);
    let fetch = Arc::new(Fetch::new(Some(connector)));
    let stages = Stages::new(Arc::clone(&fetch), Arc::clone(&metrics));
    let built = stages.build(&config, None)?;
    let origins = built.settings.origins.iter();
    let origins = origins.map(|served| (Arc::clone(&served.origin), served.metrics.clone()));
    let probes = Arc::new(Probes::new(origins.collect(), Arc::clone(&fetch)));
    let (listeners, certificates) = listeners(&config, &metrics)?;
    let logs = Logs::open(&config, &metrics)?;
    let (admin, cache_mode, prices) = (config.admin.clone(), config.cache.mode, config.prices);
    let upgrade_timeout = config.upgrade_timeout;
    let state = Mutex::new(State::new(config, &built, loaded));
    let settings = InForce::new(built.settings);
    let lifecycle = Lifecycle::new();
    let reloader = Reloader::new(Parts {
        args: args.from_anywhere(),
        stages,
        settings: settings.clone(),
        probes: Arc::clone(&probes),
        certificates,
        metrics: Arc::clone(&metrics),
        lifecycle: lifecycle.clone(),
        state,
    });
    if let Some(at) = &admin {
        let parts = operators::Parts {
            metrics: &metrics,
            lifecycle: &lifecycle,
            probes: &probes,
            cache: cache.as_ref(),
            cache_mode,
            prices,
            settings: &settings,
            reloader: &reloader,
            fetch: &fetch,
        };
        server.add_service(operators::service(at, &parts)?);
    }
    let proxy = stages::proxy(
        cache_mode,
        settings.clone(),
        fetch,
        &metrics,
        &logs,
        cache.as_ref().map(|cache| cache.reader.clone()),
    );
    let conf = Arc::clone(&server.configuration);
    let clients = s3_service(listeners, proxy, settings, &conf, Arc::clone(&metrics));
    let s3 = server.add_service(clients);
    in_background(&mut server, "probes", probes);
    watch(&mut server, signals, reloader, &logs);
    let samples = Arc::new(Samples(Arc::clone(&metrics)));
    in_background(&mut server, "samples", samples);
    if let Some(cache) = &cache {
        metrics.show_cache(Arc::clone(cache) as Arc<dyn CacheFigures>);
        in_background(&mut server, "cache", Arc::clone(cache));
    }
    let life = Life {
        upgrade_sock,
        upgrade_timeout,
        command,
        is_successor,
        lifecycle,
        metrics,
        cache,
        logs,
    };
    life.live(server, &s3)
}

/// What answers signals, and what sends spans.
fn watch(server: &mut Server, signals: Signals, reloader: Reloader, logs: &Logs) {
    let Signals { hangup, rotation } = signals;
    let access_log = Arc::clone(&logs.access_log);
    let rotations = RotationWatch {
        rotation,
        access_log,
    };
    in_background(server, "reload", Arc::new(HangupWatch { hangup, reloader }));
    in_background(server, "rotation", Arc::new(rotations));
    if let Some(exporter) = &logs.exporter {
        in_background(server, "traces", Arc::clone(exporter));
    }
}

fn in_background<T>(server: &mut Server, name: &str, task: Arc<T>)
where
    T: BackgroundService + Send + Sync + 'static,
{
    server.add_service(GenBackgroundService::new(name.to_owned(), task));
}

/// Every listener for clients, and the certificates that can be replaced under them.
fn listeners(
    config: &Config,
    metrics: &Metrics,
) -> Result<(Vec<ListenerConfig>, Certificates), ServerError> {
    let mut certificates = Certificates::new();
    let mut listeners = Vec::new();
    for listen in &config.listen {
        log::info!("listening on {listen}");
        listeners.push(listener(listen, &mut certificates)?);
    }
    for (address, certificate) in &certificates {
        certificate.tell_expiry(*address, metrics);
    }
    Ok((listeners, certificates))
}

/// The service that clients talk to, on all its listeners.
fn s3_service(
    listeners: Vec<ListenerConfig>,
    proxy: S3Proxy,
    settings: InForce,
    conf: &Arc<ServerConf>,
    metrics: Arc<Metrics>,
) -> Service<BoundedConnections> {
    let conf = Arc::clone(conf);
    let app = BoundedConnections::new(proxy, conf, h1_and_h2(), settings, metrics);
    let mut service = Service::new("s3".to_owned(), app);
    for listener in listeners {
        service.add_listener(listener.l4_buffer(UNBUFFERED_READS));
    }
    service
}

fn h1_and_h2() -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(H2_IDLE);
    options
}

/// Pingora tries a busy address for half a minute and then panics: it is told at once instead. A
/// process that takes over is given the sockets of the running one.
fn check_addresses(config: &Config, opt: &Opt) -> Result<(), ServerError> {
    if opt.upgrade {
        return Ok(());
    }
    let listeners = config.listen.iter().filter_map(ListenConfig::address);
    let admin = config.admin.as_ref();
    let admin = admin.and_then(|admin| admin.listen.address());
    for address in listeners.chain(admin) {
        TcpListener::bind(address).map_err(|error| ServerError::Listen(address, error))?;
    }
    Ok(())
}

fn listener(
    listen: &ListenConfig,
    certificates: &mut Certificates,
) -> Result<ListenerConfig, ServerError> {
    Ok(match listen {
        ListenConfig::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        ListenConfig::Tls { addr, cert, key } => {
            let certificate = read_certificate(cert, key).map_err(ServerError::Certificate)?;
            let certificate = Arc::new(ListenerCertificate::new(certificate));
            certificates.push((*addr, Arc::clone(&certificate)));
            let paths = (cert.to_string_lossy(), key.to_string_lossy());
            // Never fails: it only stores the paths, and the resolver stands in for them.
            let mut settings = TlsSettings::intermediate(&paths.0, &paths.1)
                .map_err(|error| ServerError::Runtime(std::io::Error::other(error.to_string())))?;
            settings.set_cert_resolver(certificate);
            settings.enable_h2();
            ListenerConfig::tcp(addr.to_string()).tls(settings)
        }
        ListenConfig::Unix { path, mode } => {
            ListenerConfig::uds(path.to_string_lossy()).permissions(Permissions::from_mode(*mode))
        }
    })
}
