//! Loading under a paused clock. The SDK's sources are in `source_tests`.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::*;
use crate::s3::Secret;

/// Hands out what the test says, numbered by the call.
#[derive(Clone)]
struct Script(Arc<ScriptState>);

struct ScriptState {
    /// How long what is handed out lives; none: forever.
    lifetime: Mutex<Option<Duration>>,
    fails: Mutex<Option<CredentialsError>>,
    takes: Mutex<Duration>,
    calls: AtomicUsize,
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

#[async_trait]
impl LoadCredentials for Script {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let takes = *self.0.takes.lock();
        tokio::time::sleep(takes).await;
        if let Some(error) = self.0.fails.lock().clone() {
            assert!(error != panics(), "the source panics");
            return Err(error);
        }
        let lifetime = *self.0.lifetime.lock();
        Ok(Credentials {
            access_key_id: format!("AKID{call}").into(),
            secret_access_key: Secret::new("secret"),
            session_token: Some(Secret::new("token")),
            expires_at: lifetime.map(|lifetime| (self.0.now)() + lifetime),
        })
    }
}

impl Script {
    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn fail(&self, error: Option<CredentialsError>) {
        *self.0.fails.lock() = error;
    }

    fn take(&self, duration: Duration) {
        *self.0.takes.lock() = duration;
    }
}

fn panics() -> CredentialsError {
    CredentialsError::Misconfigured("panics".into())
}

fn unavailable() -> CredentialsError {
    CredentialsError::Unavailable("503".into())
}

/// A wall clock that goes with the paused one.
fn wall_clock() -> impl Fn() -> SystemTime + Send + Sync + Clone + 'static {
    let start = Instant::now();
    move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + start.elapsed()
}

fn scripted(lifetime: Option<Duration>) -> (Script, OriginCredentials) {
    let now = wall_clock();
    let script = Script(Arc::new(ScriptState {
        lifetime: Mutex::new(lifetime),
        fails: Mutex::new(None),
        takes: Mutex::default(),
        calls: AtomicUsize::new(0),
        now: Box::new(now.clone()),
    }));
    (script.clone(), OriginCredentials::with_loader(script, now))
}

const HOUR: Option<Duration> = Some(Duration::from_hours(1));

async fn key(credentials: &OriginCredentials) -> Result<String, CredentialsError> {
    let current = credentials.current().await?;
    Ok(current.unwrap().access_key_id.to_string())
}

/// Lets time pass, and tasks beside the test run.
async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn fixed_and_anonymous_ones_are_not_loaded() {
    let pair = Credentials::fixed("AKID", Secret::new("secret"));
    let fixed = OriginCredentials::new(&CredentialSource::Static(pair.clone()), "us-east-1");
    assert!(fixed.current().await.is_ok_and(|c| c == Some(pair.clone())));
    assert!(!fixed.invalidate(&pair));
    let anonymous = OriginCredentials::new(&CredentialSource::Anonymous, "us-east-1");
    assert!(anonymous.current().await.is_ok_and(|c| c.is_none()));
}

#[tokio::test(start_paused = true)]
async fn one_load_serves_all_waiters_and_outlives_the_first() {
    let (script, credentials) = scripted(HOUR);
    script.take(Duration::from_secs(2));
    let mut waiters = Vec::new();
    for _ in 0..100 {
        let credentials = credentials.clone();
        waiters.push(tokio::spawn(async move { key(&credentials).await }));
    }
    pass(1).await;
    waiters.remove(0).abort();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), "AKID1");
    }
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_replaced_beside_the_requests_before_they_expire() {
    let (script, credentials) = scripted(HOUR);
    assert_eq!(key(&credentials).await.unwrap(), "AKID1");
    pass(3600 - 301).await;
    assert_eq!(key(&credentials).await.unwrap(), "AKID1");
    pass(1).await;
    assert_eq!(script.calls(), 1, "not before the last five minutes");
    script.take(Duration::from_secs(3));
    // One minute later the jitter is over.
    pass(61).await;
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(key(&credentials).await.unwrap(), "AKID1");
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits");
    }
    pass(4).await;
    assert_eq!(key(&credentials).await.unwrap(), "AKID2");
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_keeps_the_old_while_they_are_valid() {
    let (script, credentials) = scripted(HOUR);
    key(&credentials).await.unwrap();
    script.fail(Some(unavailable()));
    pass(3600 - 230).await;
    for _ in 0..220 {
        assert_eq!(key(&credentials).await.unwrap(), "AKID1");
        pass(1).await;
    }
    // 1, 2, 4, 8, 16, then every 30 seconds, each up to a quarter shorter.
    let calls = script.calls() - 1;
    assert!((10..=15).contains(&calls), "{calls} attempts");
    pass(11).await;
    assert_eq!(key(&credentials).await, Err(unavailable()));
    script.fail(None);
    pass(31).await;
    assert!(key(&credentials).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn failures_make_no_storm() {
    let (script, credentials) = scripted(HOUR);
    script.fail(Some(unavailable()));
    for _ in 0..100 {
        assert_eq!(key(&credentials).await, Err(unavailable()));
    }
    assert_eq!(script.calls(), 1);
    pass(1).await;
    assert_eq!(key(&credentials).await, Err(unavailable()));
    assert_eq!(script.calls(), 2);
    script.fail(None);
    pass(2).await;
    assert_eq!(key(&credentials).await.unwrap(), "AKID3");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_source_is_a_failed_load() {
    let (script, credentials) = scripted(HOUR);
    script.fail(Some(panics()));
    for _ in 0..10 {
        assert_eq!(key(&credentials).await, Err(CredentialsError::Interrupted));
    }
    assert_eq!(script.calls(), 1);
    script.fail(None);
    pass(1).await;
    assert_eq!(key(&credentials).await.unwrap(), "AKID2");
}

#[tokio::test(start_paused = true)]
async fn a_load_ends_after_five_seconds() {
    let (script, credentials) = scripted(HOUR);
    script.take(Duration::from_mins(1));
    let start = Instant::now();
    let error = key(&credentials).await.unwrap_err();
    assert_eq!(error, CredentialsError::TimedOut(LOAD));
    assert_eq!(start.elapsed(), LOAD);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_arrive_expired_are_refused() {
    let (script, credentials) = scripted(Some(Duration::ZERO));
    for _ in 0..10 {
        assert_eq!(
            key(&credentials).await,
            Err(CredentialsError::AlreadyExpired)
        );
    }
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_are_dropped_but_not_at_every_rejection() {
    let (script, credentials) = scripted(None);
    let first = credentials.current().await.ok().flatten().unwrap();
    assert!(!credentials.invalidate(&first), "they are new");
    pass(10).await;
    assert!(credentials.invalidate(&first));
    assert!(credentials.invalidate(&first), "others will be loaded");
    let second = credentials.current().await.ok().flatten().unwrap();
    assert_eq!(&*second.access_key_id, "AKID2");
    pass(10).await;
    assert!(
        credentials.invalidate(&first),
        "a late answer to the old ones"
    );
    assert_eq!(key(&credentials).await.unwrap(), "AKID2");
    for _ in 0..100 {
        let current = credentials.current().await.ok().flatten().unwrap();
        credentials.invalidate(&current);
    }
    assert_eq!(script.calls(), 3, "an origin that rejects everything");
}

/// A profile may hold others by now; what has an end is replaced in its own time.
#[tokio::test(start_paused = true)]
async fn what_has_no_end_is_asked_for_again_beside_the_requests() {
    let (script, credentials) = scripted(None);
    credentials.ask_again();
    assert_eq!(script.calls(), 0, "nobody needs any");
    assert_eq!(key(&credentials).await, Ok("AKID1".to_owned()));
    pass(1_000_000).await;
    assert_eq!(key(&credentials).await, Ok("AKID1".to_owned()));
    script.fail(Some(unavailable()));
    credentials.ask_again();
    for _ in 0..3 {
        assert_eq!(key(&credentials).await, Ok("AKID1".to_owned()));
        pass(60).await;
    }
    assert!(script.calls() > 1);
    script.fail(None);
    let _ = key(&credentials).await;
    pass(1).await;
    let replaced = key(&credentials).await;
    assert_eq!(replaced, Ok(format!("AKID{}", script.calls())));
    let (script, credentials) = scripted(HOUR);
    let _ = key(&credentials).await;
    credentials.ask_again();
    let _ = key(&credentials).await;
    pass(1).await;
    assert_eq!(script.calls(), 1, "its end is known");
}

#[test]
fn the_time_to_refresh_follows_the_lifetime() {
    let now = SystemTime::UNIX_EPOCH;
    let at = |lifetime, jitter| {
        let expires_at = now + Duration::from_secs(lifetime);
        let at = refresh_at(now, expires_at, jitter);
        at.duration_since(now).unwrap().as_secs()
    };
    assert_eq!(at(3600, 0.0), 3300);
    assert_eq!(at(3600, 1.0), 3360);
    assert_eq!(at(900, 0.0), 600);
    assert_eq!(at(200, 0.0), 100);
    assert_eq!(at(4, 0.0), 10);
    assert!((0.0..=1.0).contains(&jitter()));
}
