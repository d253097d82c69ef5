//! Purging: what an operator deletes is gone, from memory and from the disk's files.

use std::path::Path;
use std::sync::Arc;

use super::cached::{CacheSetup, Cached, KIB, comes_true};
use super::client::Answer;
use super::objects::Version;
use super::segment_files;

const KEYS: &[&str] = &["hive/a=1/x", "hive/a=1/y", "hive/a=10/z", "hivf", "other"];

struct Filled {
    cached: Cached,
    dir: tempfile::TempDir,
    versions: Vec<(String, Arc<Version>)>,
}

impl Filled {
    /// Every key in both buckets, in memory and on disk.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cached = CacheSetup::disk(&dir.path().join("cache"))
            .rule("{freshness: 1h, negative: 1h}")
            .start()
            .await;
        let mut versions = Vec::new();
        for bucket in ["lake", "pond"] {
            for key in KEYS {
                let path = format!("{bucket}/{key}");
                let version = cached.put(&path, 300 * KIB);
                cached.get(&format!("/{path}")).await.expect_whole(&version);
                versions.push((path, version));
            }
        }
        let bytes = versions.len() as u64 * 300 * KIB;
        segment_files::settle(dir.path(), bytes).await;
        cached.asks();
        Self {
            cached,
            dir,
            versions,
        }
    }

    async fn purge(&self, order: &str) -> Answer {
        self.cached.proxy.post_json("/-/purge", order).await
    }

    /// Whether some file holds bytes of this version.
    fn is_on_disk(&self, version: &Version) -> bool {
        let sample = version.content.bytes(100_000..100_064);
        let holds = |path: &Path| {
            let body = std::fs::read(path).unwrap_or_default();
            body.windows(sample.len()).any(|window| window == sample)
        };
        let files = segment_files::files(self.dir.path());
        files.iter().any(|path| holds(path))
    }

    /// These and no others are gone.
    async fn expect_gone(&self, gone: impl Fn(&str) -> bool, what: &str) {
        for (path, version) in &self.versions {
            let is_gone = gone(path);
            assert_eq!(!self.is_on_disk(version), is_gone, "{what}: {path} on disk");
            self.cached.asks();
            let answer = self.cached.get(&format!("/{path}")).await;
            answer.expect_whole(version);
            // The others of the bucket may be asked about, but are not fetched.
            let fetched: u64 = self.cached.asks().iter().map(|ask| ask.sent_bytes).sum();
            let expected = if is_gone { version.size() } else { 0 };
            assert_eq!(fetched, expected, "{what}: {path}");
        }
    }
}

#[tokio::test]
async fn a_purge_deletes_what_it_names_and_nothing_else() {
    for (order, gone) in [
        (
            r#"{"bucket": "lake", "key": "hive/a=1/x"}"#,
            &["lake/hive/a=1/x"][..],
        ),
        (
            r#"{"bucket": "lake", "prefix": "hive/a=1"}"#,
            &["lake/hive/a=1/x", "lake/hive/a=1/y", "lake/hive/a=10/z"],
        ),
        (r#"{"bucket": "lake", "prefix": "none/"}"#, &[]),
        (r#"{"bucket": "lake", "key": "hive"}"#, &[]),
        (
            r#"{"bucket": "pond", "prefix": "", "origin": "main"}"#,
            &["pond/"],
        ),
    ] {
        let filled = Filled::start().await;
        let is_gone = |path: &str| match gone {
            ["pond/"] => path.starts_with("pond/"),
            gone => gone.contains(&path),
        };
        let count = filled.versions.iter().filter(|(path, _)| is_gone(path));
        let count = count.count() as u64;
        let answer = filled.purge(order).await;
        assert_eq!(answer.status, 200, "{order}: {}", answer.text());
        let report: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(report["objects"], count, "{order} {report}");
        assert_eq!(report["segments"], count, "{order} {report}");
        assert_eq!(report["failures"], 0);
        assert!(report["bytes"].as_u64().unwrap() >= count * 300 * KIB);
        filled.expect_gone(is_gone, order).await;
    }
}

/// Every version of an object, and not only the one that is current.
#[tokio::test]
async fn a_purge_deletes_old_versions_too() {
    let filled = Filled::start().await;
    let (path, old) = filled.versions[0].clone();
    let new = filled.cached.put(&path, 300 * KIB);
    // Seen by a page of a listing, so that both versions are stored.
    let list = super::cached::get("/lake?list-type=2");
    filled.cached.call(&list).await.expect(200, "");
    filled
        .cached
        .get(&format!("/{path}"))
        .await
        .expect_whole(&new);
    assert!(comes_true(|| filled.is_on_disk(&new)).await);
    assert!(filled.is_on_disk(&old));
    let order = r#"{"bucket": "lake", "key": "hive/a=1/x"}"#;
    assert_eq!(filled.purge(order).await.status, 200);
    assert!(!filled.is_on_disk(&old) && !filled.is_on_disk(&new));
}

/// What is remembered of absences and of permissions goes with it.
#[tokio::test]
async fn a_purge_ends_a_remembered_absence() {
    let filled = Filled::start().await;
    filled
        .cached
        .get("/lake/late")
        .await
        .expect(404, "NoSuchKey");
    let version = filled.cached.put("lake/late", 1000);
    filled
        .cached
        .get("/lake/late")
        .await
        .expect(404, "NoSuchKey");
    let order = r#"{"bucket": "lake", "prefix": "la"}"#;
    assert_eq!(filled.purge(order).await.status, 200);
    filled.cached.get("/lake/late").await.expect_whole(&version);
}

#[tokio::test]
async fn an_order_that_is_not_clear_is_told_why() {
    let filled = Filled::start().await;
    for (order, status, why) in [
        ("", 400, "the body"),
        ("{}", 400, "`bucket` is missing"),
        (r#"{"bucket": "lake"}"#, 400, "one of `key` and `prefix`"),
        (
            r#"{"bucket": "lake", "key": "a", "prefix": "b"}"#,
            400,
            "one of `key` and `prefix`",
        ),
        (
            r#"{"bucket": "lake", "keys": ["a"]}"#,
            400,
            "unknown field `keys`",
        ),
        (
            r#"{"bucket": "../lake", "key": "a"}"#,
            400,
            "`bucket` is no bucket name",
        ),
        (r#"{"bucket": "lake", "key": ""}"#, 400, "`key` is no key"),
    ] {
        let answer = filled.purge(order).await;
        assert_eq!(answer.status, status, "{order}");
        assert!(answer.text().contains(why), "{order}: {}", answer.text());
    }
    let simple = filled.cached.proxy.page("/-/purge").await.unwrap();
    assert_eq!(simple.status, 405);
    filled.expect_gone(|_| false, "refused orders").await;
    let off = CacheSetup::memory().line("mode: off").start().await;
    let order = r#"{"bucket": "lake", "key": "a"}"#;
    let answer = off.proxy.post_json("/-/purge", order).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("the cache is off"),
        "{}",
        answer.text()
    );
}
