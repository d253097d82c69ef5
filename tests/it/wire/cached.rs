//! A proxy with a cache before an object store, and what a test asks of the two.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::client::Answer;
use super::object_origin::ObjectOrigin;
use super::objects::Version;
use super::origin::Seen;
use super::proxy::{Proxy, Setup, everything};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

/// What is kept of an answer's body; no test of a single answer reads more.
const KEPT_BYTES: usize = 80 << 20;

/// A cache in the making.
pub(super) struct CacheSetup {
    memory: String,
    disk: Option<(PathBuf, String)>,
    lines: Vec<String>,
    rules: Vec<String>,
    origin_keys: Vec<String>,
    changes: Vec<Change>,
}

type Change = Box<dyn FnOnce(Setup) -> Setup + Send>;

impl CacheSetup {
    /// 64 MiB of memory and no disk.
    pub(super) fn memory() -> Self {
        Self {
            memory: "64MiB".to_owned(),
            disk: None,
            lines: Vec::new(),
            rules: Vec::new(),
            origin_keys: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// 64 MiB of memory and 256 MiB of disk, however full the file system is already.
    pub(super) fn disk(dir: &Path) -> Self {
        Self {
            disk: Some((dir.to_owned(), "256MiB".to_owned())),
            ..Self::memory()
        }
    }

    pub(super) fn with_memory(self, size: &str) -> Self {
        Self {
            memory: size.to_owned(),
            ..self
        }
    }

    pub(super) fn with_disk(self, size: &str) -> Self {
        let disk = self.disk.map(|(dir, _)| (dir, size.to_owned()));
        Self { disk, ..self }
    }

    /// A further key of `cache`.
    pub(super) fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// A further item of `cache.rules`, behind those there are.
    pub(super) fn rule(mut self, item: &str) -> Self {
        self.rules.push(item.to_owned());
        self
    }

    /// A further key of the origin.
    pub(super) fn origin_key(mut self, line: &str) -> Self {
        self.origin_keys.push(line.to_owned());
        self
    }

    /// Any other part of the configuration.
    pub(super) fn with(mut self, change: impl FnOnce(Setup) -> Setup + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    fn yaml(&self) -> String {
        let mut yaml = format!("cache:\n  memory: {}\n", self.memory);
        if let Some((dir, size)) = &self.disk {
            yaml += &format!("  dir: {}\n  disk: {size}\n  min_free: 0\n", dir.display());
        }
        for line in &self.lines {
            yaml += &format!("  {line}\n");
        }
        if !self.rules.is_empty() {
            yaml += "  rules:\n";
            for rule in &self.rules {
                yaml += &format!("    - {rule}\n");
            }
        }
        yaml
    }

    /// A proxy before this store.
    pub(super) async fn before(self, store: &ObjectOrigin) -> Proxy {
        self.setup(store).start().await
    }

    /// A proxy before this store, or what it said when it did not start.
    pub(super) async fn before_or_refused(self, store: &ObjectOrigin) -> Result<Proxy, String> {
        self.setup(store).start_or_refused().await
    }

    fn setup(self, store: &ObjectOrigin) -> Setup {
        let yaml = self.yaml();
        let keys: Vec<&str> = self.origin_keys.iter().map(String::as_str).collect();
        let mut setup = Setup::at(&format!("http://{}", store.origin.address), &keys).top(&yaml);
        for change in self.changes {
            setup = change(setup);
        }
        setup
    }

    /// A store and a proxy before it.
    pub(super) async fn start(self) -> Cached {
        let store = ObjectOrigin::start().await;
        let proxy = self.before(&store).await;
        Cached { store, proxy }
    }
}

/// A store and a proxy before it.
pub(super) struct Cached {
    pub(super) store: ObjectOrigin,
    pub(super) proxy: Proxy,
}

impl Cached {
    /// With 64 MiB of memory and everything else as it is without a word.
    pub(super) async fn start() -> Self {
        CacheSetup::memory().start().await
    }

    pub(super) fn put(&self, path: &str, size: u64) -> Arc<Version> {
        self.store.objects.put(path, size)
    }

    /// One request over a connection of its own, and what it leaves to be done after its answer.
    pub(super) async fn call(&self, call: &Call) -> Answer {
        let answer = call_keeping(&self.proxy, call).await;
        self.settle().await;
        answer
    }

    /// Waits a moment for what is in flight: an answer can be complete before the fill that it comes
    /// from is stored, and before it is counted.
    pub(super) async fn settle(&self) {
        let mut pause = Duration::from_millis(1);
        while pause < Duration::from_secs(1) {
            let page = self.proxy.page("/metrics").await;
            let page = page.expect("metrics").text();
            let is_idle = [
                "s3proxy_requests_in_flight 0",
                "s3proxy_cache_fills_in_flight 0",
            ]
            .iter()
            .all(|idle| page.lines().any(|line| line == *idle));
            if is_idle {
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Reads all of it.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(&get(path)).await
    }

    pub(super) async fn head(&self, path: &str) -> Answer {
        self.call(&head(path)).await
    }

    pub(super) async fn range(&self, path: &str, range: &str) -> Answer {
        self.call(&ranged(path, range)).await
    }

    /// What reached the origin since the last time this was asked.
    pub(super) fn asks(&self) -> Vec<Ask> {
        asks(&self.store)
    }

    /// What it is worth that nothing reached the origin.
    #[track_caller]
    pub(super) fn expect_no_asks(&self, what: &str) {
        let asks = self.asks();
        assert!(asks.is_empty(), "{what}: the origin saw {asks:?}");
    }

    /// The metrics know of every request that ever reached the origin, those among them that were given
    /// up before their answer.
    pub(super) async fn expect_all_asks_counted(&self) {
        let reached = self.store.origin.requests() as u64;
        let counted = self.proxy.metric("s3proxy_upstream_requests_total", "");
        assert_eq!(counted.await, reached);
    }

    #[track_caller]
    pub(super) fn expect_one_ask(&self, what: &str) -> Ask {
        let mut asks = self.asks();
        assert_eq!(asks.len(), 1, "{what}: the origin saw {asks:?}");
        asks.remove(0)
    }
}

/// One request over a connection of its own; long bodies are kept.
pub(super) async fn call_keeping(proxy: &Proxy, call: &Call) -> Answer {
    let mut client = proxy.connect().await.keep(KEPT_BYTES);
    client.call(call).await
}

pub(super) fn get(path: &str) -> Call {
    Call::get(path).sign(&everything())
}

pub(super) fn head(path: &str) -> Call {
    Call::new("HEAD", path).sign(&everything())
}

pub(super) fn ranged(path: &str, range: &str) -> Call {
    Call::get(path).header("range", range).sign(&everything())
}

pub(super) fn put(path: &str, body: &[u8]) -> Call {
    Call::put(path, body).sign(&everything())
}

pub(super) fn delete(path: &str) -> Call {
    Call::new("DELETE", path).sign(&everything())
}

/// A request as the origin saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) range: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    pub(super) answered: Option<u16>,
    pub(super) sent_bytes: u64,
}

impl Ask {
    fn of(seen: &Seen) -> Self {
        let field = |name| seen.field(name).map(str::to_owned);
        Self {
            method: seen.method.clone(),
            target: seen.target.clone(),
            range: field("range"),
            if_match: field("if-match"),
            if_none_match: field("if-none-match"),
            answered: seen.answered,
            sent_bytes: seen.sent_bytes,
        }
    }

    pub(super) fn is(&self, method: &str) -> bool {
        self.method == method
    }

    /// First and last position of its range.
    pub(super) fn interval(&self) -> Option<(u64, u64)> {
        let (first, last) = self
            .range
            .as_ref()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

/// What reached the origin since the last time this was asked. Every request has to be signed right.
pub(super) fn asks(store: &ObjectOrigin) -> Vec<Ask> {
    let seen = store.origin.take();
    for seen in &seen {
        assert!(
            seen.signer.is_ok(),
            "{} {}: {:?}",
            seen.method,
            seen.target,
            seen.signer
        );
    }
    seen.iter().map(Ask::of).collect()
}

/// What the proxy's member of `Cache-Status` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CacheStatus {
    pub(super) is_hit: bool,
    pub(super) fwd: Option<String>,
    pub(super) stored: bool,
    pub(super) collapsed: bool,
    pub(super) parameters: Vec<String>,
}

impl Answer {
    /// Of the cache's own member, which is the last one: <https://www.rfc-editor.org/rfc/rfc9211>.
    #[track_caller]
    pub(super) fn cache_status(&self) -> CacheStatus {
        let field = self.field("cache-status");
        let field = field.unwrap_or_else(|| panic!("no Cache-Status in {:?}", self.headers));
        let member = field.rsplit(',').next().unwrap();
        let mut words = member.split(';').map(str::trim);
        assert_eq!(words.next(), Some("s3proxy"), "{field}");
        let mut status = CacheStatus::default();
        for word in words {
            match word {
                "hit" => status.is_hit = true,
                "stored" => status.stored = true,
                "collapsed" => status.collapsed = true,
                _ if word.starts_with("fwd=") => status.fwd = Some(word["fwd=".len()..].to_owned()),
                _ => {}
            }
            status.parameters.push(word.to_owned());
        }
        assert!(
            status.is_hit != status.fwd.is_some(),
            "{field}: a hit or not"
        );
        status
    }

    #[track_caller]
    pub(super) fn expect_hit(self) -> Self {
        let status = self.cache_status();
        assert!(status.is_hit, "{:?}", self.field("cache-status"));
        self
    }

    #[track_caller]
    pub(super) fn expect_forwarded(self, why: &str) -> Self {
        let status = self.cache_status();
        assert_eq!(
            status.fwd.as_deref(),
            Some(why),
            "{:?}",
            self.field("cache-status")
        );
        self
    }

    /// The whole of this version.
    #[track_caller]
    pub(super) fn expect_whole(self, version: &Version) -> Self {
        assert_eq!(self.status, 200, "{}", self.text_of_error());
        let length = version.size().to_string();
        assert_eq!(self.field("content-length"), Some(length.as_str()));
        assert_eq!(self.field("content-range"), None);
        self.expect_bytes(version, 0, version.size())
    }

    /// A part of this version.
    #[track_caller]
    pub(super) fn expect_part(self, version: &Version, first: u64, last: u64) -> Self {
        assert_eq!(self.status, 206, "{}", self.text_of_error());
        let told = format!("bytes {first}-{last}/{}", version.size());
        assert_eq!(self.field("content-range"), Some(told.as_str()));
        let length = (last + 1 - first).to_string();
        assert_eq!(self.field("content-length"), Some(length.as_str()));
        self.expect_bytes(version, first, last + 1)
    }

    #[track_caller]
    fn expect_bytes(self, version: &Version, first: u64, end: u64) -> Self {
        assert_eq!(self.field("etag"), Some(version.etag.as_str()));
        assert!(self.is_complete, "cut after {} bytes", self.body_bytes);
        assert_eq!(self.body_bytes, end - first);
        let difference = version.content.first_difference(first, &self.body);
        assert_eq!(difference, None, "bytes of something else");
        assert_eq!(self.body.len() as u64, end - first, "not all was kept");
        self
    }

    /// An answer to HEAD about this version.
    #[track_caller]
    pub(super) fn expect_head(self, version: &Version) -> Self {
        assert_eq!(self.status, 200);
        assert_eq!(self.field("etag"), Some(version.etag.as_str()));
        let length = version.size().to_string();
        assert_eq!(self.field("content-length"), Some(length.as_str()));
        assert_eq!(self.body_bytes, 0);
        self
    }

    fn text_of_error(&self) -> String {
        if self.status < 300 {
            return format!("status {}", self.status);
        }
        self.text()
    }

    /// Every field but those of one exchange and those of this proxy, in lower case and order.
    pub(super) fn described(&self) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| !EXCHANGE_FIELDS.contains(&name.as_str()))
            .collect();
        fields.sort();
        fields
    }
}

/// What may differ between two answers about one object: the moment, ids, whose answer it is.
const EXCHANGE_FIELDS: &[&str] = &[
    "age",
    "cache-status",
    "connection",
    "date",
    "keep-alive",
    "server",
    "server-timing",
    "via",
    "x-amz-id-2",
    "x-amz-request-id",
];

/// Asks the origin without the proxy, signed with the proxy's key.
pub(super) async fn ask_directly(store: &ObjectOrigin, call: Call) -> Answer {
    let mut client = super::client::Client::connect(store.origin.address)
        .await
        .keep(KEPT_BYTES);
    let call = call
        .without("authorization")
        .without("x-amz-date")
        .without("x-amz-content-sha256");
    let answer = client.call(&call.sign(&super::origin::Origin::key())).await;
    store.origin.take();
    answer
}

/// Waits until it holds, at most ten seconds; false when it does not.
pub(super) async fn comes_true(holds: impl Fn() -> bool) -> bool {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
