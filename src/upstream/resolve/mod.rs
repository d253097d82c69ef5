//! From an origin's host name to the address to connect to.
//!
//! Pingora's `HttpPeer::new` resolves names itself, blocking its thread, and panics when that
//! fails; it is given addresses only. Answers are held for a while, outlive a failing name server,
//! and never lead to an address that no origin can have ([`is_refused`]).

mod address;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use parking_lot::RwLock;
use tokio::time::Instant;

pub use address::is_refused;

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// How long an answer is used at most, while asking again fails.
const STALE: Duration = Duration::from_mins(5);
/// The longest lookup; the system's own gives up far later.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long a request that could use a stale answer waits for a fresh one.
const REFRESH_WAIT: Duration = Duration::from_millis(250);
/// The pause after a failed lookup.
const RETRY: Duration = Duration::from_secs(1);
/// How long an address that failed comes last.
const FAILED: Duration = Duration::from_secs(10);
/// Hosts held at most. With virtual-hosted buckets every bucket is one, and clients name buckets.
const MAX_HOSTS: usize = 1024;
/// Addresses held of one host; S3 gives eight.
const MAX_ADDRESSES: usize = 32;
/// Failed addresses held at most.
const MAX_FAILED: usize = 1024;

/// Why a host has no address to connect to.
#[derive(Debug, Clone)]
pub enum ResolveError {
    /// Every address is one that no origin can have: link-local, metadata, multicast.
    Refused {
        /// The host asked for.
        host: Arc<str>,
        /// One of its addresses.
        address: IpAddr,
    },
    /// The name has no address.
    NoAddress(Arc<str>),
    /// The lookup failed.
    Lookup(Arc<str>, Arc<io::Error>),
    /// The lookup took too long, or was interrupted.
    TimedOut(Arc<str>),
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { host, address } => write!(
                f,
                "{host} resolves to {address}, which is refused: link-local, metadata or multicast"
            ),
            Self::NoAddress(host) => write!(f, "{host} has no address"),
            Self::Lookup(host, _) => write!(f, "{host} cannot be resolved"),
            Self::TimedOut(host) => write!(f, "resolving {host} took too long"),
        }
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup(_, source) => Some(source.as_ref()),
            Self::Refused { .. } | Self::NoAddress(_) | Self::TimedOut(_) => None,
        }
    }
}

/// Where names are looked up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a host, in order of preference.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver: `/etc/hosts`, DNS and what else it is told to ask.
struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// Resolves host names, for all origins together.
pub struct Resolver {
    lookup: Arc<dyn Lookup>,
    hosts: RwLock<HashMap<Arc<str>, Arc<Host>>>,
    /// Until when an address comes last.
    failed: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// Asks the system.
    pub fn new() -> Self {
        Self::with_lookup(SystemLookup)
    }

    /// Asks something else.
    pub fn with_lookup(lookup: impl Lookup) -> Self {
        Self {
            lookup: Arc::new(lookup),
            hosts: RwLock::default(),
            failed: Mutex::default(),
        }
    }

    /// The address to connect to next. Calls rotate through the addresses of the family that the
    /// system prefers; the other family's are used while all of those have failed.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, ResolveError> {
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() {
            if is_refused(address) {
                let host = host.into();
                return Err(ResolveError::Refused { host, address });
            }
            return Ok(SocketAddr::new(address, port));
        }
        let host = self.host(host);
        let addresses = match host.held(Instant::now()) {
            (Held::Fresh, addresses) => addresses,
            (Held::Stale, addresses) => self.refresh(&host).await.unwrap_or(addresses),
            (Held::Nothing, _) => self.look_up(&host).await?,
        };
        let turn = host.turn.fetch_add(1, Ordering::Relaxed);
        Ok(self.pick(&addresses, turn, port))
    }

    /// Moves an address to the end for ten seconds, so that the next attempt tries another one.
    pub fn mark_failed(&self, address: SocketAddr) {
        let now = Instant::now();
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_FAILED {
            failed.retain(|_, until| *until > now);
        }
        if failed.len() < MAX_FAILED {
            failed.insert(address, now + FAILED);
        }
    }

    /// The entry of a host; the one unused for longest makes room for a new one.
    fn host(&self, name: &str) -> Arc<Host> {
        let now = Instant::now();
        if let Some(host) = self.hosts.read().get(name) {
            *host.used_at.lock() = now;
            return Arc::clone(host);
        }
        let mut hosts = self.hosts.write();
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(name) {
            let oldest = hosts.values().min_by_key(|host| *host.used_at.lock());
            if let Some(name) = oldest.map(|host| Arc::clone(&host.name)) {
                hosts.remove(&name);
            }
        }
        let host = hosts
            .entry(name.into())
            .or_insert_with_key(|name| Arc::new(Host::new(Arc::clone(name), now)));
        Arc::clone(host)
    }

    /// One caller asks again and waits for a moment; the others, and it afterwards, use what is
    /// held. `None` when that is still the old answer.
    async fn refresh(&self, host: &Arc<Host>) -> Option<Arc<[IpAddr]>> {
        if Instant::now() < host.state.lock().retry_at {
            return None;
        }
        let gate = Arc::clone(&host.gate).try_lock_owned().ok()?;
        let (lookup, host) = (Arc::clone(&self.lookup), Arc::clone(host));
        let task = tokio::spawn(async move {
            let _gate = gate;
            host.ask(lookup.as_ref()).await
        });
        let answer = tokio::time::timeout(REFRESH_WAIT, task).await;
        answer.ok()?.ok()?.ok()
    }

    /// Everyone waits, one asks. In a task of its own: a client that goes away ends nothing.
    async fn look_up(&self, host: &Arc<Host>) -> Result<Arc<[IpAddr]>, ResolveError> {
        let name = Arc::clone(&host.name);
        let (lookup, host) = (Arc::clone(&self.lookup), Arc::clone(host));
        let task = tokio::spawn(async move {
            let _gate = host.gate.lock().await;
            match host.answered_meanwhile(Instant::now()) {
                Some(answer) => answer,
                None => host.ask(lookup.as_ref()).await,
            }
        });
        task.await.unwrap_or(Err(ResolveError::TimedOut(name)))
    }

    fn pick(&self, addresses: &[IpAddr], turn: usize, port: u16) -> SocketAddr {
        let now = Instant::now();
        let preferred = addresses
            .iter()
            .take_while(|address| address.is_ipv4() == addresses[0].is_ipv4())
            .count();
        let (first, second) = addresses.split_at(preferred);
        let rotated = |group: &[IpAddr]| -> Vec<SocketAddr> {
            let start = turn % group.len().max(1);
            let (before, after) = group.split_at(start);
            let order = after.iter().chain(before);
            order.map(|ip| SocketAddr::new(*ip, port)).collect()
        };
        let mut failed = self.failed.lock();
        failed.retain(|_, until| *until > now);
        if failed.is_empty() {
            return SocketAddr::new(first[turn % preferred], port);
        }
        let order = [rotated(first), rotated(second)].concat();
        // The first of those that never failed (`None` sorts first), else the one that failed
        // longest ago.
        let next = order.iter().min_by_key(|address| failed.get(address));
        *next.unwrap_or(&order[0])
    }
}

/// What is known of one host.
struct Host {
    name: Arc<str>,
    /// Held while asking.
    gate: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    turn: AtomicUsize,
    used_at: Mutex<Instant>,
}

struct State {
    /// Never empty once `asked_at` is set.
    addresses: Arc<[IpAddr]>,
    asked_at: Option<Instant>,
    failure: Option<ResolveError>,
    retry_at: Instant,
}

enum Held {
    Fresh,
    Stale,
    Nothing,
}

impl Host {
    fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            gate: Arc::default(),
            state: Mutex::new(State {
                addresses: Arc::default(),
                asked_at: None,
                failure: None,
                retry_at: now,
            }),
            turn: AtomicUsize::new(0),
            used_at: Mutex::new(now),
        }
    }

    fn held(&self, now: Instant) -> (Held, Arc<[IpAddr]>) {
        let state = self.state.lock();
        let held = match state.asked_at {
            Some(at) if now < at + FRESH => Held::Fresh,
            Some(at) if now < at + STALE => Held::Stale,
            _ => Held::Nothing,
        };
        (held, Arc::clone(&state.addresses))
    }

    /// The answer, when the caller before us got one while we waited.
    fn answered_meanwhile(&self, now: Instant) -> Option<Result<Arc<[IpAddr]>, ResolveError>> {
        if let (Held::Fresh, addresses) = self.held(now) {
            return Some(Ok(addresses));
        }
        let state = self.state.lock();
        let failure = state.failure.clone().filter(|_| now < state.retry_at);
        failure.map(Err)
    }

    /// Asks once and keeps the answer. The caller holds the gate.
    async fn ask(&self, lookup: &dyn Lookup) -> Result<Arc<[IpAddr]>, ResolveError> {
        let answer = match tokio::time::timeout(LOOKUP, lookup.lookup(&self.name)).await {
            Ok(Ok(addresses)) => self.check(addresses),
            Ok(Err(error)) => Err(ResolveError::Lookup(
                Arc::clone(&self.name),
                Arc::new(error),
            )),
            Err(_) => Err(ResolveError::TimedOut(Arc::clone(&self.name))),
        };
        let now = Instant::now();
        let mut state = self.state.lock();
        match &answer {
            Ok(addresses) => {
                state.addresses = Arc::clone(addresses);
                state.asked_at = Some(now);
                state.failure = None;
            }
            Err(failure) => {
                log::debug!("{failure}");
                state.failure = Some(failure.clone());
                state.retry_at = now + RETRY;
            }
        }
        answer
    }

    /// Keeps the addresses that an origin can have, those of the preferred family first.
    fn check(&self, answer: Vec<IpAddr>) -> Result<Arc<[IpAddr]>, ResolveError> {
        let mut addresses = Vec::with_capacity(answer.len().min(MAX_ADDRESSES));
        let mut refused = None;
        for address in answer {
            if is_refused(address) {
                refused = Some(address);
            } else if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        match (addresses.first().copied(), refused) {
            (Some(first), _) => {
                addresses.sort_by_key(|address| address.is_ipv4() != first.is_ipv4());
                Ok(addresses.into())
            }
            (None, Some(address)) => Err(ResolveError::Refused {
                host: Arc::clone(&self.name),
                address,
            }),
            (None, None) => Err(ResolveError::NoAddress(Arc::clone(&self.name))),
        }
    }
}
