//! Web identity: tokens that are exchanged for temporary credentials, and the sessions that result.
//!
//! A token is exchanged once for all who wait for it, its session is kept until it expires and
//! replaced in the background shortly before. Failures go to those who wait and are never kept.
//! Tokens are known by their SHA-256 only.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::auth::WebIdentityConfig;
use crate::s3::{Credentials, ErrorCode, Secret};

/// The longest token taken: twice what any identity provider is known to issue.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Exchanges under way at once; more would only queue at the security token service.
const MAX_EXCHANGES: usize = 32;
/// The shortest pause between two attempts to replace a session that still serves.
const MIN_REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// Exchanges a token for temporary credentials.
#[async_trait]
pub trait TokenExchange: Send + Sync {
    /// Asks the security token service. Bounded in time by the implementation.
    async fn exchange(&self, token: &Secret) -> Result<WebIdentitySession, ExchangeError>;
}

/// What a token was exchanged for.
#[derive(Clone)]
pub struct WebIdentitySession {
    /// Temporary credentials, with their session token and expiry.
    pub credentials: Credentials,
    /// The subject that the service reported for the token.
    pub subject: Arc<str>,
}

/// Why a token could not be exchanged. `Display` is the public message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeError {
    /// The service does not accept the token.
    Rejected,
    /// The token's own time is over.
    Expired,
    /// The service accepts the token but not for this role.
    Denied,
    /// The service cannot be reached or does not answer properly.
    Unavailable,
    /// Too many exchanges are under way here.
    Overloaded,
}

impl ExchangeError {
    /// The S3 code that the client is answered with.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Rejected => ErrorCode::InvalidToken,
            Self::Expired => ErrorCode::ExpiredToken,
            Self::Denied => ErrorCode::AccessDenied,
            Self::Unavailable => ErrorCode::ServiceUnavailable,
            Self::Overloaded => ErrorCode::SlowDown,
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code().message())
    }
}

impl std::error::Error for ExchangeError {}

/// The sessions of all tokens seen lately.
#[derive(Clone)]
pub(super) struct WebIdentities(Arc<Shared>);

type TokenHash = [u8; 32];
type Outcome = Result<WebIdentitySession, ExchangeError>;
type Waiter = watch::Receiver<Option<Outcome>>;

struct Shared {
    exchange: Arc<dyn TokenExchange>,
    refresh_before: Duration,
    max_entries: usize,
    permits: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<TokenHash, Kept>,
    /// At most [`MAX_EXCHANGES`].
    running: HashMap<TokenHash, Waiter>,
}

struct Kept {
    session: WebIdentitySession,
    /// No attempt to replace the session before this moment.
    refresh_at: SystemTime,
}

/// What the table says about a token.
enum Found {
    Session(WebIdentitySession),
    Running(Waiter),
}

impl WebIdentities {
    pub(super) fn new(config: &WebIdentityConfig, exchange: Arc<dyn TokenExchange>) -> Self {
        Self(Arc::new(Shared {
            exchange,
            refresh_before: config.refresh_before,
            max_entries: config.max_entries.max(1),
            permits: Arc::new(Semaphore::new(MAX_EXCHANGES)),
            table: Mutex::default(),
        }))
    }

    /// Whether others built from these would differ in nothing but what they remember.
    pub(super) fn would_be_same(
        &self,
        config: &WebIdentityConfig,
        exchange: &Arc<dyn TokenExchange>,
    ) -> bool {
        let shared = &self.0;
        std::ptr::addr_eq(Arc::as_ptr(&shared.exchange), Arc::as_ptr(exchange))
            && shared.refresh_before == config.refresh_before
            && shared.max_entries == config.max_entries.max(1)
    }

    /// The session of a token: the kept one, or that of an exchange which all callers share. It goes
    /// on when a caller leaves.
    pub(super) async fn session(&self, token: &str, now: SystemTime) -> Outcome {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(ExchangeError::Rejected);
        }
        let hash: TokenHash = Sha256::digest(token).into();
        let mut waiter = match self.find(hash, token, now)? {
            Found::Session(session) => return Ok(session),
            Found::Running(waiter) => waiter,
        };
        // A sender that is gone without an outcome belonged to an exchange that panicked.
        let outcome = waiter.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(ExchangeError::Unavailable))
    }

    fn find(&self, hash: TokenHash, token: &str, now: SystemTime) -> Result<Found, ExchangeError> {
        let mut table = self.0.table.lock();
        if let Some(kept) = table.sessions.get_mut(&hash) {
            if kept.is_good(now) {
                let session = kept.session.clone();
                if now >= kept.refresh_at {
                    kept.refresh_at = now + self.refresh_pause();
                    // The session still serves; being too busy to replace it is no failure.
                    let _ = self.join(&mut table, hash, token, now);
                }
                return Ok(Found::Session(session));
            }
            table.sessions.remove(&hash);
        }
        self.join(&mut table, hash, token, now).map(Found::Running)
    }

    /// Joins the exchange of a token, which is started unless it is running.
    fn join(
        &self,
        table: &mut Table,
        hash: TokenHash,
        token: &str,
        now: SystemTime,
    ) -> Result<Waiter, ExchangeError> {
        if let Some(waiter) = table.running.get(&hash) {
            return Ok(waiter.clone());
        }
        let permit = Arc::clone(&self.0.permits)
            .try_acquire_owned()
            .map_err(|_| ExchangeError::Overloaded)?;
        let (sender, waiter) = watch::channel(None);
        table.running.insert(hash, waiter.clone());
        let running = Running {
            shared: Arc::clone(&self.0),
            hash,
            sender,
            _permit: permit,
        };
        tokio::spawn(running.run(Secret::new(token), now));
        Ok(waiter)
    }

    fn refresh_pause(&self) -> Duration {
        (self.0.refresh_before / 10).max(MIN_REFRESH_PAUSE)
    }
}

impl Kept {
    fn is_good(&self, now: SystemTime) -> bool {
        self.session
            .credentials
            .expires_at
            .is_none_or(|expiry| now < expiry)
    }
}

/// One exchange. Dropping it, after its end or in a panic, makes room for the next one.
struct Running {
    shared: Arc<Shared>,
    hash: TokenHash,
    sender: watch::Sender<Option<Outcome>>,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    async fn run(self, token: Secret, now: SystemTime) {
        let outcome = self.shared.exchange.exchange(&token).await;
        if let Ok(session) = &outcome {
            self.shared.keep(self.hash, session.clone(), now);
        }
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.table.lock().running.remove(&self.hash);
    }
}

impl Shared {
    /// Keeps a session. A full table loses what has expired, or else what expires first.
    fn keep(&self, hash: TokenHash, session: WebIdentitySession, now: SystemTime) {
        let expiry = session.credentials.expires_at;
        let refresh_at = expiry.and_then(|expiry| expiry.checked_sub(self.refresh_before));
        let kept = Kept {
            session,
            refresh_at: refresh_at
                .map_or_else(|| now + NEVER, |at| at.max(now + MIN_REFRESH_PAUSE)),
        };
        let sessions = &mut self.table.lock().sessions;
        if sessions.len() >= self.max_entries && !sessions.contains_key(&hash) {
            sessions.retain(|_, kept| kept.is_good(now));
        }
        if sessions.len() >= self.max_entries && !sessions.contains_key(&hash) {
            let first = sessions
                .iter()
                .min_by_key(|(_, kept)| kept.refresh_at)
                .map(|(hash, _)| *hash);
            first.and_then(|first| sessions.remove(&first));
        }
        sessions.insert(hash, kept);
    }
}

/// Stands for the expiry of credentials without one.
const NEVER: Duration = Duration::from_hours(10 * 365 * 24);
