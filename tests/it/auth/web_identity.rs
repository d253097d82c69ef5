//! Web identity tokens: exchanged once, kept while they are good, never poisoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use s3proxy::auth::{
    AuthError, ExchangeError, TokenExchange, Verified, Verifier, WebIdentityConfig,
    WebIdentitySession,
};
use s3proxy::s3::{Credentials, ErrorCode, Principal, Secret};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::request::{ACCESS_KEY, DATE, Request, SECRET_KEY, at, config};

/// A security token service that answers when a test lets it.
struct Service {
    calls: AtomicUsize,
    gate: Semaphore,
    failure: Mutex<Option<ExchangeError>>,
    expires_at: Mutex<SystemTime>,
}

#[async_trait]
impl TokenExchange for Service {
    async fn exchange(&self, token: &Secret) -> Result<WebIdentitySession, ExchangeError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        assert!(!token.expose().contains("panic"), "the service falls over");
        if let Some(failure) = *self.failure.lock() {
            return Err(failure);
        }
        let mut credentials = Credentials::fixed(format!("ASIA{call}"), Secret::new("s"));
        credentials.expires_at = Some(*self.expires_at.lock());
        Ok(WebIdentitySession {
            credentials,
            subject: token.expose().into(),
        })
    }
}

/// A service that answers `permits` calls, sessions that live an hour, and a verifier over both.
fn service(permits: usize) -> (Arc<Service>, Arc<Verifier>) {
    let service = Arc::new(Service {
        calls: AtomicUsize::new(0),
        gate: Semaphore::new(permits),
        failure: Mutex::new(None),
        expires_at: Mutex::new(after(3_600)),
    });
    let mut config = config(Vec::new());
    config.web_identity = Some(WebIdentityConfig {
        role_arn: "arn:aws:iam::123456789012:role/reader".to_owned(),
        session_name: "s3proxy".to_owned(),
        duration: None,
        signing_credentials: Some(Credentials::fixed(ACCESS_KEY, Secret::new(SECRET_KEY))),
        refresh_before: Duration::from_mins(5),
        max_entries: 2,
    });
    let exchange: Arc<dyn TokenExchange> = Arc::clone(&service) as _;
    (service, Arc::new(Verifier::new(config, Some(exchange))))
}

impl Service {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn after(seconds: u64) -> SystemTime {
    at(DATE) + Duration::from_secs(seconds)
}

async fn bearer(verifier: &Verifier, token: &str, seconds: u64) -> Result<Verified, AuthError> {
    let request = Request::get("/lake/a").with("authorization", &format!("Bearer {token}"));
    verifier.verify(&request.head(), None, after(seconds)).await
}

async fn access_key(verifier: &Verifier, token: &str, seconds: u64) -> String {
    let verified = bearer(verifier, token, seconds).await;
    let credentials = verified.ok().unwrap().credentials.unwrap();
    credentials.access_key_id.to_string()
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn both_forms_name_the_subject_and_share_the_session() {
    let (service, verifier) = service(1);
    let verified = bearer(&verifier, "alice", 0).await.ok().unwrap();
    assert_eq!(verified.principal, Principal::WebIdentity("alice".into()));
    assert_eq!(verified.access_key_id, None);
    for request in [
        Request::get("/a")
            .with("x-amz-security-token", "alice")
            .signed(),
        Request::get("/a?X-Amz-Security-Token=alice").presigned("60", "host"),
    ] {
        let verified = verifier
            .verify(&request.head(), None, at(DATE))
            .await
            .ok()
            .unwrap();
        assert_eq!(verified.principal, Principal::WebIdentity("alice".into()));
        assert_eq!(&*verified.credentials.unwrap().access_key_id, "ASIA1");
        assert_eq!(verified.access_key_id.as_deref(), Some(ACCESS_KEY));
    }
    assert_eq!(service.calls(), 1);
    let without = Request::get("/a").signed();
    let result = verifier.verify(&without.head(), None, at(DATE)).await;
    assert_eq!(result.err(), Some(AuthError::TokenInvalid));
}

#[tokio::test]
async fn one_exchange_serves_all_who_wait() {
    let (service, verifier) = service(0);
    let mut waiters = JoinSet::new();
    for _ in 0..50 {
        let verifier = Arc::clone(&verifier);
        waiters.spawn(async move { access_key(&verifier, "alice", 0).await });
    }
    settle().await;
    assert_eq!(service.calls(), 1);
    service.gate.add_permits(1);
    for key in waiters.join_all().await {
        assert_eq!(key, "ASIA1");
    }
    assert_eq!(service.calls(), 1);
}

#[tokio::test]
async fn a_waiter_that_leaves_takes_nothing_with_it() {
    let (service, verifier) = service(0);
    let first = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { bearer(&verifier, "alice", 0).await.is_ok() }
    });
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    service.gate.add_permits(1);
    settle().await;
    assert_eq!(access_key(&verifier, "alice", 0).await, "ASIA1");
    assert_eq!(service.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let (service, verifier) = service(3);
    for failure in [ExchangeError::Rejected, ExchangeError::Unavailable] {
        *service.failure.lock() = Some(failure);
        let error = bearer(&verifier, "alice", 0).await.err();
        assert_eq!(error, Some(AuthError::Exchange(failure)));
        settle().await;
    }
    *service.failure.lock() = None;
    assert_eq!(access_key(&verifier, "alice", 0).await, "ASIA3");
}

#[tokio::test]
async fn a_panic_is_a_failure_and_frees_its_place() {
    let (service, verifier) = service(40);
    for call in 1..=33 {
        let error = bearer(&verifier, "panic", 0).await.err();
        assert_eq!(error, Some(AuthError::Exchange(ExchangeError::Unavailable)));
        settle().await;
        assert_eq!(service.calls(), call);
    }
    assert!(bearer(&verifier, "alice", 0).await.is_ok());
}

#[tokio::test]
async fn a_session_is_replaced_in_the_background_before_it_expires() {
    let (service, verifier) = service(1);
    assert_eq!(access_key(&verifier, "alice", 0).await, "ASIA1");
    assert_eq!(access_key(&verifier, "alice", 3_299).await, "ASIA1");
    settle().await;
    assert_eq!(service.calls(), 1);

    // The old one serves while the new one is on its way, and is asked for once.
    for _ in 0..3 {
        assert_eq!(access_key(&verifier, "alice", 3_300).await, "ASIA1");
        settle().await;
        assert_eq!(service.calls(), 2);
    }
    *service.expires_at.lock() = after(7_200);
    service.gate.add_permits(1);
    settle().await;
    assert_eq!(access_key(&verifier, "alice", 3_301).await, "ASIA2");
}

#[tokio::test]
async fn a_failed_replacement_leaves_the_session_until_it_expires() {
    let (service, verifier) = service(10);
    assert_eq!(access_key(&verifier, "alice", 0).await, "ASIA1");
    *service.failure.lock() = Some(ExchangeError::Unavailable);
    for _ in 0..5 {
        assert_eq!(access_key(&verifier, "alice", 3_400).await, "ASIA1");
        settle().await;
    }
    assert_eq!(service.calls(), 2, "one attempt a pause");
    assert_eq!(access_key(&verifier, "alice", 3_430).await, "ASIA1");
    settle().await;
    assert_eq!(service.calls(), 3);
    let error = bearer(&verifier, "alice", 3_600).await.err();
    assert_eq!(error, Some(AuthError::Exchange(ExchangeError::Unavailable)));
}

#[tokio::test]
async fn the_table_is_bounded_and_loses_what_expires_first() {
    let (service, verifier) = service(10);
    for (token, lifetime) in [("long", 9_000), ("short", 4_000), ("new", 8_000)] {
        *service.expires_at.lock() = after(lifetime);
        access_key(&verifier, token, 0).await;
    }
    assert_eq!(access_key(&verifier, "long", 0).await, "ASIA1");
    assert_eq!(access_key(&verifier, "new", 0).await, "ASIA3");
    assert_eq!(access_key(&verifier, "short", 0).await, "ASIA4");
}

#[tokio::test]
async fn too_many_exchanges_and_too_long_tokens_are_refused() {
    let (service, verifier) = service(0);
    let mut waiters = JoinSet::new();
    for token in 0..32 {
        let verifier = Arc::clone(&verifier);
        waiters.spawn(async move { bearer(&verifier, &format!("t{token}"), 0).await.is_ok() });
    }
    settle().await;
    let error = bearer(&verifier, "one more", 0).await.err().unwrap();
    assert_eq!(error.code(), ErrorCode::SlowDown);
    assert_eq!(service.calls(), 32);
    let long = "t".repeat(16 * 1024 + 1);
    let error = bearer(&verifier, &long, 0).await.err().unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidToken);
    service.gate.add_permits(32);
    assert!(waiters.join_all().await.into_iter().all(|is_ok| is_ok));
}
