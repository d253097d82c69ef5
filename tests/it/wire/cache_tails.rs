//! The ends of files that a client has just listed, where a rule says that they are fetched.

use std::time::Duration;

use super::cached::{CacheSetup, Cached, KIB, get};
use super::call::Call;
use super::proxy::reader;

const TAILS: &str = "{freshness: 1h, tail_on_list: true}";

/// One that may list more than it may read.
const CLIENTS: &str = "\
clients:
  - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,
     allow: [{buckets: ['*'], actions: ['*']}]}
  - {name: reader, access_key_id: READERKEY, secret_access_key_env: READER_SECRET,
     allow: [{buckets: [lake], actions: [list]}, {buckets: [lake], prefixes: [public/], actions: [read]}]}
";

/// The tails that the origin was asked for, once it is not asked for others any more.
async fn tails(cached: &Cached) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut quiet = 0;
    while quiet < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cached.settle().await;
        let asks = cached.asks().into_iter();
        let tails: Vec<_> = asks.filter(|ask| ask.range.is_some()).collect();
        quiet = if tails.is_empty() { quiet + 1 } else { 0 };
        seen.extend(tails.into_iter().map(|ask| ask.target));
    }
    seen.sort();
    seen
}

#[tokio::test]
async fn the_ends_of_listed_files_are_there_when_they_are_opened() {
    let cached = CacheSetup::memory()
        .with_memory("1GiB")
        .rule(TAILS)
        .start()
        .await;
    let mut versions = Vec::new();
    for index in 0..20 {
        let path = format!("lake/t/{index:02}.parquet");
        versions.push((format!("/{path}"), cached.put(&path, 600 * KIB)));
    }
    cached.put("lake/t/_SUCCESS", 10);
    cached.put("lake/t/empty.parquet", 0);
    let list = get("/lake?list-type=2&prefix=t/");
    cached.call(&list).await.expect(200, "");
    assert_eq!(tails(&cached).await.len(), 20);
    for (path, version) in &versions {
        cached.head(path).await.expect_hit().expect_head(version);
        let (first, last) = (600 * KIB - 1000, 600 * KIB - 1);
        let end = cached.range(path, "bytes=-1000").await;
        end.expect_hit().expect_part(version, first, last);
    }
    cached.expect_no_asks("all is there");
    // Nothing is new on the second page.
    cached.call(&list).await.expect(200, "");
    assert_eq!(tails(&cached).await, [""; 0]);
}

#[tokio::test]
async fn without_a_rule_nothing_is_fetched() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['n/*'], tail_on_list: true, tail_on_head: false}")
        .rule("{keys: ['b/*'], tail_on_list: true, freshness: bypass}")
        .start()
        .await;
    for path in ["lake/a.parquet", "lake/n/a.parquet", "lake/b/a.parquet"] {
        cached.put(path, 600 * KIB);
    }
    cached.get("/lake?list-type=2").await.expect(200, "");
    assert_eq!(tails(&cached).await, [""; 0]);
}

/// A list shows names; what is fetched because of it is what its reader could fetch.
#[tokio::test]
async fn what_a_client_may_not_read_is_not_fetched_for_it() {
    let cached = CacheSetup::memory()
        .rule(TAILS)
        .with(|setup| setup.clients(CLIENTS))
        .start()
        .await;
    cached.put("lake/public/a.parquet", 600 * KIB);
    cached.put("lake/secret/a.parquet", 600 * KIB);
    cached.put("lake/public/../secret/b.parquet", 600 * KIB);
    let list = Call::get("/lake?list-type=2").sign(&reader());
    cached.call(&list).await.expect(200, "");
    assert_eq!(tails(&cached).await, ["/lake/public/a.parquet"]);
}

/// Whoever lists and does not read costs no more than a hundred tails.
#[tokio::test]
async fn lists_that_nobody_reads_on_from_are_bounded() {
    let cached = CacheSetup::memory()
        .with_memory("4GiB")
        .rule(TAILS)
        .start()
        .await;
    for index in 0..400 {
        cached.put(&format!("lake/t/{index:03}.parquet"), 2048 * KIB);
    }
    cached
        .get("/lake?list-type=2&prefix=t/")
        .await
        .expect(200, "");
    let first = tails(&cached).await.len();
    assert!((100..=128).contains(&first), "{first} tails");
    // Its reader goes on, and so does this.
    for index in 0..100 {
        let path = format!("/lake/t/{index:03}.parquet");
        cached.head(&path).await.expect(200, "");
    }
    let then = tails(&cached).await.len();
    assert!((100..=140).contains(&then), "{then} tails");
}
