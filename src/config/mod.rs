//! The whole configuration, checked: command line, environment, YAML file.
//!
//! [`Config::load`] is the only way in. It returns structs that the stages own, every value of them
//! checked, or all that is wrong at once. No stage names this module.

mod args;
mod cache;
mod certificate;
mod changes;
mod clients;
mod conflict;
mod ctl_args;
pub mod document;
mod effective;
mod environment;
mod error;
mod files;
mod keys;
mod listen;
mod load;
mod origins;
mod overrides;
mod reload;
mod schema;
mod secret;
mod section;
mod server_keys;
mod summary;
mod traces;
mod values;
mod yaml;

pub use args::{Args, Command, DoctorArgs};
pub use cache::CacheConfig;
pub use certificate::{CertificateError, EXPIRES_SOON, expiry, read_certificate};
pub use ctl_args::{By as CtlBy, CtlArgs, CtlCommand, Mode as CtlMode, PurgeArgs, WarmArgs};
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use listen::{AdminListener, ListenConfig};
pub use reload::{Reloaded, Written};
pub use summary::Summary;
pub use traces::TracesConfig;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora::server::configuration::ServerConf;

use crate::auth::AuthConfig;
use crate::policy::Rules;
use crate::proxy::Limits;
use crate::s3::Principal;
use crate::telemetry::AccessLogConfig;
use crate::telemetry::Prices;
use crate::upstream::Endpoint;
use crate::upstream::OriginConfig;
use crate::upstream::OriginIdentity;

/// All that s3proxy is told, checked.
pub struct Config {
    /// Where clients connect to; at least one.
    pub listen: Vec<ListenConfig>,
    /// Where operators are served; `None` when switched off.
    pub admin: Option<AdminListener>,
    /// Pingora's own settings: threads, pid file, upgrade socket and the like.
    pub server: ServerConf,
    /// How long a successor may take until it serves.
    pub upgrade_timeout: Duration,
    /// Origins in the order in which a bucket is looked up; at least one.
    pub origins: Vec<OriginConfig>,
    /// Who may call.
    pub auth: AuthConfig,
    /// Where the clients' key pairs come from.
    pub client_source: ClientSource,
    /// What clients and anonymous may do. A principal that is not here may do nothing.
    pub rules: HashMap<Principal, Rules>,
    /// In whose name requests of these principals reach the origin; same keys as `rules`.
    pub origin_identity: HashMap<Principal, OriginIdentity>,
    /// What holders of web identity tokens may do, whatever their subject; absent when not
    /// configured.
    pub web_identity: Option<WebIdentityPolicy>,
    /// Domains below which the bucket is the host's first label; empty means path-style only.
    pub base_domains: Vec<String>,
    /// Bounds on clients.
    pub limits: Limits,
    /// The access log.
    pub access_log: AccessLogConfig,
    /// Where traces go; `None` when there are none.
    pub traces: Option<TracesConfig>,
    /// The read cache.
    pub cache: CacheConfig,
    /// What origins charge.
    pub prices: Prices,
    /// What is allowed but probably not meant, for the log.
    pub warnings: Vec<String>,
    /// All of it as it is written, for showing it and for the next one to be compared with.
    pub written: Written,
}

/// What asking the running process for an upgrade takes.
pub struct Handover {
    /// The socket over which listeners are handed over.
    pub upgrade_sock: String,
    /// How long the new process may take to serve.
    pub upgrade_timeout: Duration,
}

impl Handover {
    /// Reads what it needs and no secret: the process that asks may have no right to. Whether the
    /// whole file is good the running process finds out.
    pub fn load(args: &Args) -> Result<Self, ConfigErrors> {
        load::load_handover(args, &Environment::process())
    }
}

/// Where the clients' key pairs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSource {
    /// `AuthConfig::clients` is complete.
    Configured,
    /// Nobody is named: the one client is whoever holds the key pair of the only origin, which is
    /// resolved at start. `rules` already allow this client everything.
    SameAsOrigin {
        /// The client's name, as `rules` know it.
        name: Arc<str>,
    },
}

/// What holders of web identity tokens may do.
pub struct WebIdentityPolicy {
    /// Rules for every such principal.
    pub rules: Rules,
    /// In whose name their requests reach the origin.
    pub origin_identity: OriginIdentity,
    /// The security token service; `None` means the first origin's endpoint, with its TLS settings.
    pub sts_endpoint: Option<Endpoint>,
}

impl Config {
    /// Reads and checks everything. `args.conf` is read again at each call, so the same arguments
    /// reload the file.
    pub fn load(args: &Args) -> Result<Self, ConfigErrors> {
        Self::load_with(args, &Environment::process())
    }

    /// The same with other environment variables than the process's.
    pub fn load_with(args: &Args, environment: &Environment) -> Result<Self, ConfigErrors> {
        load::load(args, environment)
    }

    /// Reads everything again and checks it, while `running` is in force.
    pub fn reload(
        args: &Args,
        environment: &Environment,
        running: &Written,
    ) -> Result<Reloaded, ConfigErrors> {
        reload::reload(args, environment, running)
    }

    /// What the configuration amounts to, in a few lines without secrets.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }

    /// Makes the directories of the pid file and the upgrade socket, for us alone, when they are not
    /// there. Loading does not: a check changes nothing.
    pub fn create_runtime_directories(&self) -> io::Result<()> {
        [&self.server.pid_file, &self.server.upgrade_sock]
            .into_iter()
            .filter_map(|path| Path::new(path).parent())
            .try_for_each(files::create_private_directory)
    }

    /// Lets everyone do everything. Only for a start without credentials of any kind, and only
    /// where [`Config::is_local_only`].
    pub fn allow_anonymous_everything(&mut self) {
        self.auth.anonymous = true;
        self.rules
            .insert(Principal::Anonymous, clients::everything());
        self.origin_identity
            .insert(Principal::Anonymous, OriginIdentity::Origin);
    }

    /// Whether only this machine can reach the client listeners.
    pub fn is_local_only(&self) -> bool {
        self.listen.iter().all(ListenConfig::is_local)
    }
}
