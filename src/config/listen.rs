//! Where clients connect to, checked.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use super::certificate;
use super::conflict::Conflict;
use super::conflict::FileFault;
use super::environment::Environment;
use super::error::Findings;
use super::error::Place;
use super::files;
use super::secret;
use super::section::Section;
use super::values;
use crate::s3::Secret;
use crate::upstream::Endpoint;

/// One listener for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenConfig {
    /// Plain HTTP.
    Tcp(SocketAddr),
    /// HTTPS.
    Tls {
        /// Address and port.
        addr: SocketAddr,
        /// Certificate chain (PEM), the server's own certificate first.
        cert: PathBuf,
        /// Its private key (PEM).
        key: PathBuf,
    },
    /// Plain HTTP over a Unix socket.
    Unix {
        /// Where the socket appears.
        path: PathBuf,
        /// Its permission bits, never for everyone.
        mode: u32,
    },
}

impl ListenConfig {
    /// The network address; a Unix socket has none.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) | Self::Tls { addr, .. } => Some(*addr),
            Self::Unix { .. } => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|addr| addr.ip().is_loopback())
    }
}

impl fmt::Display for ListenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "http://{addr}"),
            Self::Tls { addr, .. } => write!(f, "https://{addr}"),
            Self::Unix { path, mode } => write!(f, "unix:{} (mode {mode:04o})", path.display()),
        }
    }
}

/// Where operators are served.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminListener {
    /// An address or a Unix socket.
    pub listen: ListenConfig,
    /// What requests have to bring, where something is asked of them.
    pub token: Option<Secret>,
    /// Names under which it may be called.
    pub hosts: Vec<String>,
}

impl fmt::Debug for AdminListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminListener")
            .field("listen", &self.listen)
            .field("has_token", &self.token.is_some())
            .field("hosts", &self.hosts)
            .finish()
    }
}

/// The listeners of a file, for clients and for operators.
pub(super) struct Listeners {
    pub(super) clients: Vec<ListenConfig>,
    pub(super) admin: Option<AdminListener>,
}

/// Reads `listen` and `admin`.
pub(super) fn read(
    root: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Listeners {
    let mut clients: Vec<(ListenConfig, Place)> = Vec::new();
    for section in root.sections("listen") {
        let Some((listener, place)) = listener(&section, environment, findings) else {
            continue;
        };
        match clients.iter().find(|(other, _)| overlap(other, &listener)) {
            Some((_, first)) => {
                let value = listener.to_string();
                let first = first.clone();
                let what = "the address";
                findings.error(place, Conflict::Taken { value, what, first });
            }
            None => clients.push((listener, place)),
        }
    }
    if root.is_empty_list("listen") {
        findings.error(root.place("listen"), Conflict::NoListener);
    }
    let clients: Vec<_> = clients.into_iter().map(|(listener, _)| listener).collect();
    let admin = admin(root, &clients, environment, findings);
    Listeners { clients, admin }
}

/// Notes origins that are this proxy (a request would go round until every connection is taken) and
/// listeners that are more open than probably meant.
pub(super) fn check_reach(root: &Section<'_>, listeners: &[ListenConfig], findings: &mut Findings) {
    for section in root.sections("origins") {
        let Some(endpoint) = values::endpoint(&section.text("endpoint")) else {
            continue;
        };
        if let Some(own) = listeners.iter().find(|own| reaches(&endpoint, own)) {
            let listener = own.to_string();
            findings.error(
                section.place("endpoint"),
                Conflict::OwnListener { listener },
            );
        }
    }
    let is_open = listeners.iter().any(|listener| !listener.is_local());
    let is_plain = |listener: &ListenConfig| matches!(listener, ListenConfig::Tcp(addr) if !addr.ip().is_loopback());
    if root.has("web_identity") && listeners.iter().any(is_plain) {
        let text = "bearer tokens cross the network in the clear: a `tcp` listener is not loopback";
        findings.warn(&root.place("web_identity"), text);
    }
    if is_open && is_open_to_anyone(root) {
        let text = "anyone who reaches the listeners may use every bucket";
        findings.warn(&root.place("anonymous"), text);
    }
}

fn is_open_to_anyone(root: &Section<'_>) -> bool {
    root.maybe_section("anonymous").is_some_and(|anonymous| {
        let rules = anonymous.sections("allow");
        let every = |rule: &Section<'_>| {
            rule.texts("buckets")
                .iter()
                .any(|glob| glob == "*" || glob == "**")
                && !rule.has("prefixes")
        };
        rules.iter().any(every)
    })
}

fn listener(
    section: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<(ListenConfig, Place)> {
    if let Some(text) = section.maybe_text("tcp") {
        let addr = values::address(&text)?;
        return Some((ListenConfig::Tcp(addr), section.place("tcp")));
    }
    if let Some(tls) = section.maybe_section("tls") {
        let cert = tls.maybe_text("cert_file").map(PathBuf::from)?;
        let key = tls.maybe_text("key_file").map(PathBuf::from)?;
        check_certificate(&tls, (&cert, &key), environment, findings);
        let addr = values::address(&tls.text("addr"))?;
        return Some((ListenConfig::Tls { addr, cert, key }, tls.place("addr")));
    }
    let unix = section.maybe_section("unix")?;
    let path = unix.maybe_text("path").map(PathBuf::from)?;
    let mode = values::mode(&unix.text("mode"))?;
    check_socket(&path, unix.place("path"), findings);
    Some((ListenConfig::Unix { path, mode }, unix.place("path")))
}

/// Notes when chain and key cannot be used, or not together.
fn check_certificate(
    tls: &Section<'_>,
    (cert, key): (&Path, &Path),
    environment: &Environment,
    findings: &mut Findings,
) {
    let (cert_place, key_place) = (tls.place("cert_file"), tls.place("key_file"));
    let chain = files::check_pem(cert, "CERTIFICATE", &cert_place, findings);
    let private = files::check_private_key(key, &key_place, environment, findings);
    let (Some(chain), Some(private)) = (chain, private) else {
        return;
    };
    findings.contents(cert, &chain);
    findings.contents(key, &private);
    if let Err(error) = certificate::from_pem((cert, &chain), (key, &private)) {
        let place = if error.path == key {
            key_place
        } else {
            cert_place
        };
        let (path, why) = (error.path, FileFault::Unusable(error.reason));
        findings.error(place, Conflict::File { path, why });
    }
}

fn admin(
    root: &Section<'_>,
    clients: &[ListenConfig],
    environment: &Environment,
    findings: &mut Findings,
) -> Option<AdminListener> {
    let section = root.maybe_section("admin");
    let (text, place) = match &section {
        Some(section) => (section.text("listen"), section.place("listen")),
        None => (root.text("admin"), root.place("admin")),
    };
    // Without a section, its keys have their defaults.
    let section = section.unwrap_or_else(|| root.section("admin"));
    let listen = match values::admin_listener(&text)? {
        Ok(address) => ListenConfig::Tcp(address),
        Err(path) => {
            check_socket(&path, place.clone(), findings);
            let mode = values::mode(&section.text("mode"))?;
            ListenConfig::Unix { path, mode }
        }
    };
    if !listen.is_local() && !root.flag("admin_allow_remote") {
        findings.error(place.clone(), Conflict::RemoteAdmin);
    }
    if clients.iter().any(|client| overlap(client, &listen)) {
        findings.error(place, Conflict::AdminTaken);
    }
    Some(AdminListener {
        listen,
        token: secret::token(&section, environment, findings),
        hosts: section.texts("hosts"),
    })
}

/// Whoever may write to the directory of a socket can put another one in its place.
fn check_socket(path: &Path, place: Place, findings: &mut Findings) {
    if let Some(directory) = path
        .parent()
        .filter(|directory| files::is_shared(directory))
    {
        let directory = directory.to_owned();
        findings.error(place, Conflict::SharedDirectory { directory });
    }
}

fn overlap(a: &ListenConfig, b: &ListenConfig) -> bool {
    match (a, b) {
        (ListenConfig::Unix { path: a, .. }, ListenConfig::Unix { path: b, .. }) => a == b,
        _ => match (a.address(), b.address()) {
            (Some(a), Some(b)) => share(a, b),
            _ => false,
        },
    }
}

/// Whether the second of two sockets could not be bound: the unspecified address is all of them.
fn share(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Whether an endpoint is certainly this listener. Names are not resolved: an answer may change,
/// and a check must not need the network.
fn reaches(endpoint: &Endpoint, listener: &ListenConfig) -> bool {
    let Some(own) = listener.address() else {
        return false;
    };
    if endpoint.port != own.port() {
        return false;
    }
    let is_local = own.ip().is_loopback() || own.ip().is_unspecified();
    match endpoint.host.parse::<IpAddr>() {
        Ok(ip) => {
            ip == own.ip()
                || is_local
                    && (ip.is_unspecified() || own.ip().is_unspecified() && ip.is_loopback())
        }
        Err(_) => {
            is_local && (endpoint.host == "localhost" || endpoint.host.ends_with(".localhost"))
        }
    }
}
