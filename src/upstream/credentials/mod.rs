//! Whose name requests to an origin are signed in, now.
//!
//! Credentials that are loaded (profile, default chain, web identity) are held until shortly before
//! they expire and then loaded again beside the requests that use the old ones. Where they come
//! from is in `source`; nothing here reads a file or the network.

mod error;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::CredentialSource;
use super::retry::jitter;
use crate::s3::Credentials;
use crate::telemetry::OriginMetrics;
use crate::telemetry::Outcome;

pub use error::CredentialsError;

/// The longest load.
const LOAD: Duration = Duration::from_secs(5);
/// How long before their end credentials are loaded again. Instance metadata has new ones five
/// minutes before: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.
const REFRESH_BEFORE: Duration = Duration::from_mins(5);
/// The part of it that varies, so that the machines of a fleet do not ask together.
const REFRESH_JITTER: f64 = 0.2;
/// The shortest pause between two loads: a source that repeats itself, or an origin that rejects
/// whatever it is sent, does not make every request load.
const MIN_HOLD: Duration = Duration::from_secs(10);
/// The pause after the first failed load; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause after a failed load.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The credentials of one origin.
#[derive(Clone)]
pub struct OriginCredentials(Kind);

#[derive(Clone)]
enum Kind {
    Anonymous,
    Fixed(Credentials),
    Loaded(Arc<Loaded>),
}

/// A source that has to be asked.
#[async_trait]
pub trait LoadCredentials: Send + Sync + 'static {
    /// Asks once. The caller bounds the time and sees to it that calls do not overlap.
    async fn load(&self) -> Result<Credentials, CredentialsError>;
}

/// The wall clock, which credentials expire by.
type WallClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

impl OriginCredentials {
    /// Prepares the source; it is asked when the first request needs credentials.
    pub fn new(source: &CredentialSource, region: &str) -> Self {
        Self(match source {
            CredentialSource::Anonymous => Kind::Anonymous,
            CredentialSource::Static(credentials) => Kind::Fixed(credentials.clone()),
            CredentialSource::Profile(name) => Kind::loaded(source::profile(name, region)),
            CredentialSource::DefaultChain => Kind::loaded(source::default_chain(region)),
            CredentialSource::WebIdentity {
                role_arn,
                token_file,
                session_name,
            } => Kind::loaded(source::web_identity(
                role_arn,
                token_file,
                session_name,
                region,
            )),
        })
    }

    /// Asks this source, and reads the wall clock here.
    pub fn with_loader(
        loader: impl LoadCredentials,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Loaded(Arc::new(Loaded::new(
            Box::new(loader),
            Box::new(now),
        ))))
    }

    /// Counts loads in these metrics from now on.
    pub fn report_to(&self, metrics: OriginMetrics) {
        if let Kind::Loaded(loaded) = &self.0 {
            // Set once, when the origin is built.
            let _ = loaded.metrics.set(metrics);
        }
    }

    /// Asks the source again beside the next request, where nothing else would ever: credentials
    /// without an end may have been replaced in a file. The old ones serve until then.
    pub fn ask_again(&self) {
        if let Kind::Loaded(loaded) = &self.0 {
            loaded.ask_again();
        }
    }

    /// What to sign with; `None`: the request goes out unsigned. Waits only while there are no
    /// valid credentials.
    pub async fn current(&self) -> Result<Option<Credentials>, CredentialsError> {
        match &self.0 {
            Kind::Anonymous => Ok(None),
            Kind::Fixed(credentials) => Ok(Some(credentials.clone())),
            Kind::Loaded(loaded) => loaded.current().await.map(Some),
        }
    }

    /// Drops credentials that the origin rejects as such (`ExpiredToken`, `InvalidAccessKeyId`).
    /// Returns whether another attempt would be signed with others.
    pub fn invalidate(&self, rejected: &Credentials) -> bool {
        match &self.0 {
            Kind::Anonymous | Kind::Fixed(_) => false,
            Kind::Loaded(loaded) => loaded.invalidate(rejected),
        }
    }
}

impl Kind {
    fn loaded(loader: impl LoadCredentials) -> Self {
        let clock = Box::new(SystemTime::now);
        Self::Loaded(Arc::new(Loaded::new(Box::new(loader), clock)))
    }
}

/// Credentials with the time they are to be replaced at.
struct Held {
    credentials: Credentials,
    loaded_at: Instant,
    refresh_at: Option<SystemTime>,
}

impl Held {
    fn new(credentials: Credentials, now: SystemTime, jitter: f64) -> Self {
        let refresh_at = credentials
            .expires_at
            .map(|expires_at| refresh_at(now, expires_at, jitter));
        Self {
            credentials,
            loaded_at: Instant::now(),
            refresh_at,
        }
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expires_at.is_none_or(|at| now < at)
    }

    fn wants_refresh(&self, now: SystemTime) -> bool {
        self.refresh_at.is_some_and(|at| at <= now)
    }
}

/// When to ask again: up to five minutes before the end, or halfway there when that is later, as
/// with credentials that were handed out shortly before their end.
fn refresh_at(now: SystemTime, expires_at: SystemTime, jitter: f64) -> SystemTime {
    let lifetime = expires_at.duration_since(now).unwrap_or_default();
    let margin = REFRESH_BEFORE.mul_f64(1.0 - REFRESH_JITTER * jitter);
    let hold = lifetime.saturating_sub(margin.min(lifetime / 2));
    now + hold.max(MIN_HOLD)
}

/// How failed loads space out the next ones.
#[derive(Default)]
struct Attempts {
    failures: u32,
    failed: Option<(CredentialsError, Instant)>,
}

impl Attempts {
    fn fail(&mut self, error: CredentialsError, now: Instant, jitter: f64) {
        let pause = BACKOFF.saturating_mul(1 << self.failures.saturating_sub(1).min(8));
        let pause = pause.min(MAX_BACKOFF).mul_f64(1.0 - jitter / 4.0);
        self.failed = Some((error, now + pause));
    }

    /// The failure that still forbids another load.
    fn pause(&self, now: Instant) -> Option<CredentialsError> {
        let (error, until) = self.failed.as_ref()?;
        (now < *until).then(|| error.clone())
    }
}

/// A source, and what it gave.
struct Loaded {
    loader: Box<dyn LoadCredentials>,
    now: WallClock,
    held: ArcSwapOption<Held>,
    /// Held while loading.
    gate: Arc<tokio::sync::Mutex<()>>,
    attempts: Mutex<Attempts>,
    metrics: OnceLock<OriginMetrics>,
}

impl Loaded {
    fn new(loader: Box<dyn LoadCredentials>, now: WallClock) -> Self {
        Self {
            loader,
            now,
            held: ArcSwapOption::empty(),
            gate: Arc::default(),
            attempts: Mutex::default(),
            metrics: OnceLock::new(),
        }
    }

    fn count(&self, outcome: Outcome) {
        if let Some(metrics) = self.metrics.get() {
            metrics.credentials_refresh(outcome);
        }
    }

    async fn current(self: &Arc<Self>) -> Result<Credentials, CredentialsError> {
        if let Some(held) = self.valid() {
            if held.wants_refresh((self.now)()) {
                self.refresh();
            }
            return Ok(held.credentials.clone());
        }
        // In a task of its own: a client that goes away ends nothing that others wait for.
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _gate = this.gate.lock().await;
            if let Some(held) = this.valid() {
                return Ok(held.credentials.clone());
            }
            let pause = this.attempts.lock().pause(Instant::now());
            match pause {
                Some(error) => Err(error),
                None => this.load().await,
            }
        });
        task.await.unwrap_or(Err(CredentialsError::Interrupted))
    }

    /// Loads beside the request, unless that is being done, or has just failed.
    fn refresh(self: &Arc<Self>) {
        if self.attempts.lock().pause(Instant::now()).is_some() {
            return;
        }
        let Ok(gate) = Arc::clone(&self.gate).try_lock_owned() else {
            return;
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _gate = gate;
            let replaced = this
                .valid()
                .filter(|held| !held.wants_refresh((this.now)()));
            if replaced.is_some() {
                return;
            }
            if let Err(error) = this.load().await {
                log::warn!("origin credentials cannot be refreshed, the old are kept: {error}");
            }
        });
    }

    fn valid(&self) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        held.is_valid((self.now)()).then_some(held)
    }

    /// Asks the source once. The caller holds the gate.
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        {
            // A failure until it is none, so that a panic of the source is one too.
            let mut attempts = self.attempts.lock();
            attempts.failures = attempts.failures.saturating_add(1);
            attempts.fail(CredentialsError::Interrupted, Instant::now(), jitter());
        }
        let loaded = tokio::time::timeout(LOAD, self.loader.load()).await;
        let loaded = loaded.unwrap_or(Err(CredentialsError::TimedOut(LOAD)));
        let now = (self.now)();
        let loaded = loaded.and_then(|credentials| {
            let held = Held::new(credentials, now, jitter());
            if held.is_valid(now) {
                Ok(held)
            } else {
                Err(CredentialsError::AlreadyExpired)
            }
        });
        let mut attempts = self.attempts.lock();
        match loaded {
            Ok(held) => {
                *attempts = Attempts::default();
                let credentials = held.credentials.clone();
                self.held.store(Some(Arc::new(held)));
                self.count(Outcome::Success);
                Ok(credentials)
            }
            Err(error) => {
                attempts.fail(error.clone(), Instant::now(), jitter());
                self.count(match error {
                    CredentialsError::NoCredentials(_) | CredentialsError::Misconfigured(_) => {
                        Outcome::Refused
                    }
                    _ => Outcome::Failed,
                });
                Err(error)
            }
        }
    }

    fn ask_again(&self) {
        let Some(held) = self.held.load_full() else {
            return;
        };
        if held.refresh_at.is_none() {
            let due = Held {
                credentials: held.credentials.clone(),
                loaded_at: held.loaded_at,
                refresh_at: Some((self.now)()),
            };
            self.held.compare_and_swap(&held, Some(Arc::new(due)));
        }
    }

    fn invalidate(&self, rejected: &Credentials) -> bool {
        let Some(held) = self.held.load_full() else {
            return true;
        };
        let is_held = held.credentials.access_key_id == rejected.access_key_id
            && held.credentials.session_token == rejected.session_token
            && held.credentials.secret_access_key == rejected.secret_access_key;
        if !is_held {
            return true;
        }
        if held.loaded_at.elapsed() < MIN_HOLD {
            return false;
        }
        // Only this one: a refresh may have replaced it by now.
        self.held.compare_and_swap(&held, None);
        true
    }
}
