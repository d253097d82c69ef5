//! What is answered without the origin, and that nobody can tell.

use super::cached::{Ask, CacheSetup, Cached, KIB, MIB, ask_directly, get, head, ranged};
use super::call::Call;
use super::proxy::everything;

/// Everything that S3 keeps with an object.
const DESCRIBING: &[(&str, &str)] = &[
    ("Content-Type", "application/vnd.apache.parquet"),
    ("Cache-Control", "max-age=60, public"),
    ("Content-Disposition", "attachment; filename=\"a b.txt\""),
    ("Content-Encoding", "identity"),
    ("Content-Language", "en, de"),
    ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
    ("x-amz-meta-plain", "value"),
    ("x-amz-meta-two", "a  b"),
    ("x-amz-meta-empty", ""),
    ("x-amz-storage-class", "STANDARD_IA"),
    (
        "x-amz-expiration",
        "expiry-date=\"Fri, 21 Dec 2033 00:00:00 GMT\", rule-id=\"r\"",
    ),
    ("x-amz-replication-status", "COMPLETED"),
    ("x-amz-tagging-count", "2"),
    ("x-amz-object-lock-mode", "GOVERNANCE"),
];

#[tokio::test]
async fn warm_reads_ask_the_origin_nothing() {
    let cached = Cached::start().await;
    let size = 3 * MIB + 123;
    let version = cached.put("lake/a.bin", size);
    let cold = cached.get("/lake/a.bin").await.expect_whole(&version);
    cold.expect_forwarded("uri-miss");
    assert!(!cached.asks().is_empty());
    cached
        .get("/lake/a.bin")
        .await
        .expect_hit()
        .expect_whole(&version);
    cached
        .head("/lake/a.bin")
        .await
        .expect_hit()
        .expect_head(&version);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=65535-65536", 65_535, 65_536),
        ("bytes=1048576-", MIB, size - 1),
        ("bytes=-1", size - 1, size - 1),
        ("bytes=-99999999", 0, size - 1),
        ("bytes=3000000-99999999", 3_000_000, size - 1),
        ("bytes=0-", 0, size - 1),
    ] {
        let answer = cached.range("/lake/a.bin", range).await.expect_hit();
        answer.expect_part(&version, first, last);
    }
    cached.expect_no_asks("warm");
}

/// Field by field: directly, cold, and warm.
#[tokio::test]
async fn a_hit_is_the_miss_is_the_origins_answer() {
    type Make = Box<dyn Fn(&str) -> Call>;
    let cached = Cached::start().await;
    cached.store.objects.keep_versions("pond");
    let calls: Vec<(&str, Make)> = vec![
        ("whole", Box::new(get)),
        ("head", Box::new(head)),
        ("part", Box::new(|path| ranged(path, "bytes=100-70000"))),
        ("suffix", Box::new(|path| ranged(path, "bytes=-5"))),
        (
            "beyond",
            Box::new(|path| ranged(path, "bytes=150000-999999999")),
        ),
        ("many", Box::new(|path| ranged(path, "bytes=0-1,5-6"))),
        ("no range", Box::new(|path| ranged(path, "bytes=5-2"))),
        (
            "head of a part",
            Box::new(|path| head(path).header("range", "bytes=7-9")),
        ),
        (
            "with checksums",
            Box::new(|path| {
                let call = Call::get(path).header("x-amz-checksum-mode", "ENABLED");
                call.sign(&everything())
            }),
        ),
        (
            "head with checksums",
            Box::new(|path| {
                let call = Call::new("HEAD", path).header("x-amz-checksum-mode", "enabled");
                call.sign(&everything())
            }),
        ),
        (
            "part with checksums",
            Box::new(|path| {
                let call = Call::get(path).header("x-amz-checksum-mode", "ENABLED");
                call.header("range", "bytes=0-9").sign(&everything())
            }),
        ),
    ];
    for ending in ["bin", "parquet"] {
        for (name, call) in &calls {
            let path = format!("pond/{}.{ending}", name.replace(' ', "-"));
            cached.store.objects.put_with(&path, 200_001, DESCRIBING);
            let call = call(&format!("/{path}"));
            let direct = ask_directly(&cached.store, call.clone()).await;
            assert!(direct.status < 300, "{name}");
            for turn in ["cold", "warm"] {
                let answer = cached.call(&call).await;
                assert_eq!(answer.status, direct.status, "{name} {turn}");
                assert_eq!(answer.described(), direct.described(), "{name} {turn}");
                assert!(answer.body == direct.body, "{name} {turn}: other bytes");
                if turn == "cold" {
                    assert!(!cached.asks().is_empty(), "{name}");
                } else {
                    answer.expect_hit();
                    cached.expect_no_asks(name);
                }
            }
        }
    }
}

/// SeaweedFS does not say of a directory that it takes ranges.
#[tokio::test]
async fn whether_ranges_are_taken_is_the_origins_word() {
    let cached = Cached::start().await;
    cached.store.bend(|_, reply| reply.without("Accept-Ranges"));
    for (path, size, calls) in [
        ("lake/folder/", 0, vec![get, head]),
        ("lake/object", 1000, vec![head]),
    ] {
        cached.put(path, size);
        for call in calls {
            let call = call(&format!("/{path}"));
            let direct = ask_directly(&cached.store, call.clone()).await;
            assert_eq!(direct.field("accept-ranges"), None);
            for turn in ["first", "second"] {
                let answer = cached.call(&call).await;
                assert_eq!(answer.described(), direct.described(), "{path} {turn}");
            }
        }
        cached.asks();
        cached.head(&format!("/{path}")).await.expect_hit();
        cached.expect_no_asks(path);
    }
    // Whoever answers with a part takes ranges, said or not.
    cached.put("lake/other", 1000);
    let part = cached.range("/lake/other", "bytes=-10").await;
    let told = Some("bytes");
    assert_eq!((part.status, part.field("accept-ranges")), (206, told));
    let known = cached.head("/lake/other").await.expect_hit();
    assert_eq!(known.field("accept-ranges"), told);
}

/// The other way round: what was learned for one kind of request serves the others.
#[tokio::test]
async fn what_one_request_learned_answers_the_others() {
    let cached = Cached::start().await;
    let version = cached.store.objects.put_with("lake/x", 2 * MIB, DESCRIBING);
    let direct = ask_directly(&cached.store, head("/lake/x")).await;
    cached
        .range("/lake/x", "bytes=10-20")
        .await
        .expect_part(&version, 10, 20);
    assert_eq!(cached.asks().len(), 1);
    let answer = cached
        .head("/lake/x")
        .await
        .expect_hit()
        .expect_head(&version);
    assert_eq!(answer.described(), direct.described());
    // The rest of its block came along.
    cached
        .range("/lake/x", "bytes=5-60000")
        .await
        .expect_hit()
        .expect_part(&version, 5, 60_000);
    cached.expect_no_asks("known");
    // Only what is missing is asked for, and of this version only.
    let answer = cached
        .range("/lake/x", "bytes=0-131071")
        .await
        .expect_part(&version, 0, 131_071);
    assert!(!answer.cache_status().is_hit);
    let ask = cached.expect_one_ask("the second block");
    assert_eq!(ask.interval(), Some((65_536, 131_071)));
    assert_eq!(ask.if_match.as_deref(), Some(version.etag.as_str()));
}

#[tokio::test]
async fn a_suffix_of_an_unknown_object_takes_one_request() {
    let cached = Cached::start().await;
    for size in [5 * MIB + 1, 512 * KIB, 1000] {
        let path = format!("lake/{size}.parquet");
        let version = cached.put(&path, size);
        let length = size.min(256 * KIB);
        let answer = cached.range(&format!("/{path}"), "bytes=-262144").await;
        answer.expect_part(&version, size - length, size - 1);
        let ask = cached.expect_one_ask("a suffix");
        assert!(ask.is("GET"), "{ask:?}");
        assert!(ask.range.unwrap().starts_with("bytes=-"));
        // Other engines read other tails.
        for wanted in [8, 64 * KIB, 128 * KIB, 256 * KIB] {
            let length = size.min(wanted);
            let range = format!("bytes=-{wanted}");
            let answer = cached.range(&format!("/{path}"), &range).await.expect_hit();
            answer.expect_part(&version, size - length, size - 1);
        }
        cached
            .head(&format!("/{path}"))
            .await
            .expect_hit()
            .expect_head(&version);
        cached.expect_no_asks("the tail is known");
    }
}

#[tokio::test]
async fn a_head_of_a_data_file_brings_its_footer() {
    let cached = Cached::start().await;
    for size in [7 * MIB + 13, 700 * KIB, 300] {
        let path = format!("/lake/{size}.parquet");
        let version = cached.store.objects.put_with(&path, size, DESCRIBING);
        let direct = ask_directly(&cached.store, head(&path)).await;
        let answer = cached.head(&path).await.expect_head(&version);
        assert_eq!(answer.described(), direct.described());
        let ask = cached.expect_one_ask("a HEAD");
        assert!(ask.is("GET") && ask.range.is_some(), "{ask:?}");
        assert!(ask.sent_bytes <= 512 * KIB + 64 * KIB, "{ask:?}");
        let length = size.min(256 * KIB);
        let footer = format!("bytes={}-{}", size - length, size - 1);
        let answer = cached.range(&path, &footer).await;
        // Stored, or on its way still.
        let status = answer.cache_status();
        assert!(status.is_hit || status.collapsed, "{status:?}");
        answer.expect_part(&version, size - length, size - 1);
        cached.expect_no_asks("the footer came with the head");
    }
    // Not a data file: a HEAD is a HEAD, and the next one is none.
    let version = cached.put("lake/b.csv", MIB);
    cached.head("/lake/b.csv").await.expect_head(&version);
    assert!(cached.expect_one_ask("a HEAD").is("HEAD"));
    cached
        .head("/lake/b.csv")
        .await
        .expect_hit()
        .expect_head(&version);
    cached.expect_no_asks("a HEAD is kept");
}

#[tokio::test]
async fn a_head_of_a_data_file_that_has_no_bytes_or_is_not_there() {
    let cached = Cached::start().await;
    let version = cached.put("lake/empty.parquet", 0);
    for _ in 0..2 {
        cached
            .head("/lake/empty.parquet")
            .await
            .expect_head(&version);
    }
    assert!(cached.asks().len() <= 2, "an empty file may take one more");
    let answer = cached.head("/lake/none.parquet").await;
    assert_eq!((answer.status, answer.body_bytes), (404, 0));
    assert!(answer.is_complete);
    let answer = cached.get("/lake/none.parquet").await;
    answer.expect(404, "NoSuchKey");
    let answer = cached.get("/no-such/none.parquet").await;
    answer.expect(404, "NoSuchBucket");
}

#[tokio::test]
async fn empty_objects_are_objects() {
    let cached = Cached::start().await;
    let version = cached.put("lake/empty", 0);
    for turn in 0..2 {
        cached.get("/lake/empty").await.expect_whole(&version);
        cached.head("/lake/empty").await.expect_head(&version);
        let direct = ask_directly(&cached.store, ranged("/lake/empty", "bytes=-9")).await;
        let answer = cached.range("/lake/empty", "bytes=-9").await;
        assert_eq!(answer.status, direct.status);
        if turn > 0 {
            cached.expect_no_asks("all is known of an empty object");
        }
        for range in ["bytes=0-9", "bytes=-0", "bytes=1-"] {
            cached
                .range("/lake/empty", range)
                .await
                .expect(416, "InvalidRange");
        }
        cached.asks();
    }
}

#[tokio::test]
async fn ranges_without_a_byte_are_416_with_a_document() {
    let cached = Cached::start().await;
    cached.put("lake/a", 1000);
    for turn in ["cold", "warm"] {
        for range in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            let answer = cached
                .range("/lake/a", range)
                .await
                .expect(416, "InvalidRange");
            assert_eq!(answer.element("ActualObjectSize"), "1000", "{range} {turn}");
            assert_eq!(answer.element("RangeRequested"), range, "{turn}");
            assert_eq!(answer.field("content-range"), Some("bytes */1000"));
            let answer = cached.call(&head("/lake/a").header("range", range)).await;
            assert_eq!(
                (answer.status, answer.body_bytes),
                (416, 0),
                "{range} {turn}"
            );
        }
        cached.get("/lake/a").await;
    }
    // The object may have grown since it was learned: before such a refusal the origin may be asked,
    // but for no bytes.
    cached.asks();
    cached
        .range("/lake/a", "bytes=1000-")
        .await
        .expect(416, "InvalidRange");
    let asks = cached.asks();
    let sent: u64 = asks.iter().map(|ask| ask.sent_bytes).sum();
    assert!(asks.len() <= 1 && sent == 0, "{asks:?}");
    let grown = cached.put("lake/a", 2000);
    cached
        .range("/lake/a", "bytes=1000-")
        .await
        .expect_part(&grown, 1000, 1999);
}

#[tokio::test]
async fn ranges_that_s3_ignores_are_ignored() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 300_000);
    cached.get("/lake/a").await.expect_whole(&version);
    cached.asks();
    for range in [
        "bytes=0-1,5-6",
        "bytes=5-2",
        "items=0-1",
        "bytes=a-b",
        "bytes=",
        "Bytes=0-9",
    ] {
        cached
            .range("/lake/a", range)
            .await
            .expect_hit()
            .expect_whole(&version);
    }
    cached.expect_no_asks("a whole object is known");
}

#[tokio::test]
async fn a_head_with_a_range_tells_of_the_part() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 1000);
    for _ in 0..2 {
        for (range, told, length) in [
            ("bytes=7-9", "bytes 7-9/1000", "3"),
            ("bytes=-4", "bytes 996-999/1000", "4"),
            ("bytes=990-", "bytes 990-999/1000", "10"),
        ] {
            let answer = cached.call(&head("/lake/a").header("range", range)).await;
            assert_eq!((answer.status, answer.body_bytes), (206, 0));
            assert_eq!(answer.field("content-range"), Some(told));
            assert_eq!(answer.field("content-length"), Some(length));
            assert_eq!(answer.field("etag"), Some(version.etag.as_str()));
        }
    }
}

#[tokio::test]
async fn the_name_of_the_operation_in_the_query_changes_nothing() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a b+c", 100_000);
    cached
        .get("/lake/a%20b%2Bc?x-id=GetObject")
        .await
        .expect_whole(&version);
    cached.asks();
    cached
        .get("/lake/a%20b%2Bc")
        .await
        .expect_hit()
        .expect_whole(&version);
    // Another spelling of the same key.
    cached
        .get("/lake/a%20b+c?x-id=GetObject")
        .await
        .expect_hit()
        .expect_whole(&version);
    cached
        .head("/lake/%61%20b%2bc?x-id=HeadObject")
        .await
        .expect_hit()
        .expect_head(&version);
    cached.expect_no_asks("one key");
}

/// The same key in another bucket, and keys that only differ where a parser could err.
#[tokio::test]
async fn no_two_objects_are_taken_for_each_other() {
    let cached = Cached::start().await;
    let paths = [
        "lake/a",
        "pond/a",
        "lake/a/",
        "lake/a/b",
        "lake//a",
        "lake/a//b",
        "lake/A",
        "lake/a%00",
        "lake/a%20",
        "lake/a%2Fb%3F",
        "lake/a%3Fx-id=GetObject",
        "lake/lake/a",
        "lake/%C3%A9",
        "lake/e%CC%81",
    ];
    let decoded = |path: &str| {
        percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    let versions: Vec<_> = paths
        .iter()
        .map(|path| cached.put(&decoded(path), 1000))
        .collect();
    for turn in 0..2 {
        for (path, version) in paths.iter().zip(&versions) {
            let answer = cached.get(&format!("/{path}")).await;
            if path.contains("%00") && answer.status == 400 {
                continue; // a key that is taken from nobody
            }
            let answer = answer.expect_whole(version);
            if turn > 0 && !path.contains("//") {
                // A store may clean paths with empty parts: those are never kept.
                answer.expect_hit();
            }
        }
        let asks = cached.asks();
        let again = |ask: &Ask| !ask.target.contains("//") && !ask.target.contains("%00");
        assert!(turn == 0 || !asks.iter().any(again), "{asks:?}");
    }
}

#[tokio::test]
async fn pages_of_a_listing_answer_heads_where_a_rule_says_so() {
    let cached = CacheSetup::memory()
        .rule("{buckets: [lake], keys: ['told/*'], list_metas: true}")
        .start()
        .await;
    let told = cached.put("lake/told/a b.csv", 12_345);
    let other = cached.put("lake/other.csv", 12_345);
    let listed = cached.get("/lake?list-type=2&encoding-type=url").await;
    assert_eq!(listed.status, 200);
    cached.asks();
    let answer = cached
        .head("/lake/told/a%20b.csv")
        .await
        .expect_hit()
        .expect_head(&told);
    assert_eq!(
        answer.field("last-modified"),
        Some(told.last_modified().as_str())
    );
    cached.expect_no_asks("the page told it");
    // A page does not know everything that a HEAD tells.
    cached.head("/lake/other.csv").await.expect_head(&other);
    cached.expect_one_ask("no rule");
    cached
        .range("/lake/told/a%20b.csv", "bytes=0-99")
        .await
        .expect_part(&told, 0, 99);
    cached.expect_one_ask("a page has no bytes");
}

/// ClickHouse begins to read without a range and gives up after some megabytes.
#[tokio::test]
async fn a_whole_read_that_is_given_up_does_not_fetch_the_object() {
    let cached = Cached::start().await;
    let size = 256 * MIB;
    cached.put("lake/large", size);
    let mut client = cached.proxy.connect().await;
    client.send(&get("/lake/large").bytes()).await;
    assert_eq!(client.read_raw(1 << 20).await.len(), 1 << 20);
    drop(client);
    let quiet = super::cached::comes_true(|| cached.store.origin.in_flight() == 0).await;
    assert!(quiet, "fills go on for nobody");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(cached.store.origin.in_flight(), 0);
    let sent: u64 = cached.asks().iter().map(|ask| ask.sent_bytes).sum();
    assert!(sent < 64 * MIB, "{} MiB for one that was read", sent / MIB);
}
