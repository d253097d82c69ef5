//! Conditional reads: what S3 says, with and without a cache.

use std::time::{Duration, SystemTime};

use super::cached::{Cached, ask_directly, get};
use super::call::Call;
use super::objects::Version;
use super::proxy::everything;

fn conditional(method: &str, path: &str, fields: &[(&str, String)]) -> Call {
    let mut call = Call::new(method, path);
    for (name, value) in fields {
        call = call.header(name, value);
    }
    call.sign(&everything())
}

fn date(version: &Version, seconds: i64) -> String {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 {
        version.modified - by
    } else {
        version.modified + by
    };
    httpdate::fmt_http_date(moved)
}

/// Fields, and what comes of them without a range.
type Case = (Vec<(&'static str, String)>, u16);

fn cases(version: &Version) -> Vec<Case> {
    let etag = version.etag.clone();
    let other = "\"0123456789abcdef0123456789abcdef\"".to_owned();
    let weak = format!("W/{etag}");
    let list = format!("{other}, {etag}");
    let (before, same, after) = (date(version, -10), date(version, 0), date(version, 10));
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(24));
    vec![
        (vec![("if-match", etag.clone())], 200),
        (vec![("if-match", other.clone())], 412),
        (vec![("if-match", list.clone())], 200),
        (vec![("if-match", "*".to_owned())], 200),
        (vec![("if-none-match", etag.clone())], 304),
        (vec![("if-none-match", other.clone())], 200),
        (vec![("if-none-match", weak)], 304),
        (vec![("if-none-match", list)], 304),
        (vec![("if-none-match", "*".to_owned())], 304),
        (vec![("if-modified-since", before.clone())], 200),
        (vec![("if-modified-since", same.clone())], 304),
        (vec![("if-modified-since", far)], 304),
        (vec![("if-modified-since", "yesterday".to_owned())], 200),
        (vec![("if-unmodified-since", before.clone())], 412),
        (vec![("if-unmodified-since", same.clone())], 200),
        (vec![("if-unmodified-since", after)], 200),
        // The ETag decides before the date does.
        (
            vec![
                ("if-match", etag.clone()),
                ("if-unmodified-since", before.clone()),
            ],
            200,
        ),
        (
            vec![
                ("if-none-match", other.clone()),
                ("if-modified-since", same.clone()),
            ],
            200,
        ),
        (
            vec![
                ("if-none-match", etag.clone()),
                ("if-modified-since", before.clone()),
            ],
            304,
        ),
        (
            vec![("if-match", etag.clone()), ("if-none-match", etag.clone())],
            304,
        ),
        (vec![("if-match", other), ("if-none-match", etag)], 412),
        (
            vec![
                ("if-unmodified-since", same.clone()),
                ("if-modified-since", same),
            ],
            304,
        ),
    ]
}

#[tokio::test]
async fn preconditions_are_evaluated_as_s3_does() {
    let cached = Cached::start().await;
    let mut fresh = 0;
    let warm = cached.put("lake/warm", 100_000);
    cached.get("/lake/warm").await.expect_whole(&warm);
    for is_warm in [false, true] {
        let count = cases(&warm).len();
        for index in 0..count {
            for (method, range) in [("GET", None), ("HEAD", None), ("GET", Some("bytes=5-9"))] {
                let (path, version) = if is_warm {
                    ("lake/warm".to_owned(), warm.clone())
                } else {
                    fresh += 1;
                    let path = format!("lake/cold-{fresh}");
                    let version = cached.put(&path, 100_000);
                    (path, version)
                };
                let (mut fields, status) = cases(&version).swap_remove(index);
                if let Some(range) = range {
                    fields.push(("range", range.to_owned()));
                }
                let call = conditional(method, &format!("/{path}"), &fields);
                let direct = ask_directly(&cached.store, call.clone()).await;
                let what = format!("{method} {fields:?}, warm: {is_warm}");
                let expected = if range.is_some() && status == 200 {
                    206
                } else {
                    status
                };
                assert_eq!(direct.status, expected, "the origin itself: {what}");
                let answer = cached.call(&call).await;
                assert_eq!(answer.status, direct.status, "{what}");
                assert_eq!(answer.code(), direct.code(), "{what}");
                assert!(answer.is_complete, "{what}");
                if status == 304 {
                    assert_eq!(answer.body_bytes, 0, "{what}");
                }
                if status != 412 {
                    assert_eq!(answer.field("etag"), direct.field("etag"), "{what}");
                    assert_eq!(
                        answer.field("last-modified"),
                        direct.field("last-modified"),
                        "{what}"
                    );
                }
                if status == 200 && method == "GET" {
                    assert!(answer.body == direct.body, "{what}");
                }
                let asks = cached.asks();
                // Before a read is refused because of what is known, the origin may be asked.
                let most = usize::from(status == 412);
                assert!(!is_warm || asks.len() <= most, "{what}: {asks:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_range_counts_only_if_the_object_is_still_the_one_that_is_meant() {
    let cached = Cached::start().await;
    for path in ["/lake/cold", "/lake/warm"] {
        let version = cached.put(path, 100_000);
        if path == "/lake/warm" {
            cached.get(path).await;
        }
        for (validator, counts) in [
            (version.etag.clone(), true),
            ("\"other\"".to_owned(), false),
            (format!("W/{}", version.etag), false),
            (date(&version, 0), true),
            (date(&version, -10), false),
        ] {
            let fields = [
                ("range", "bytes=10-19".to_owned()),
                ("if-range", validator.clone()),
            ];
            let answer = cached.call(&conditional("GET", path, &fields)).await;
            if counts {
                answer.expect_part(&version, 10, 19);
            } else {
                answer.expect_whole(&version);
            }
        }
        // Without a range it means nothing.
        let fields = [("if-range", "\"other\"".to_owned())];
        cached
            .call(&conditional("GET", path, &fields))
            .await
            .expect_whole(&version);
    }
}

#[tokio::test]
async fn preconditions_come_before_the_range() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 1000);
    for turn in ["cold", "warm"] {
        let other = [
            ("if-match", "\"other\"".to_owned()),
            ("range", "bytes=5000-".to_owned()),
        ];
        let answer = cached.call(&conditional("GET", "/lake/a", &other)).await;
        answer.expect(412, "PreconditionFailed");
        let same = [
            ("if-none-match", version.etag.clone()),
            ("range", "bytes=5000-".to_owned()),
        ];
        let answer = cached.call(&conditional("GET", "/lake/a", &same)).await;
        assert_eq!(answer.status, 304, "{turn}");
        let same = [
            ("if-match", version.etag.clone()),
            ("range", "bytes=5000-".to_owned()),
        ];
        let answer = cached.call(&conditional("GET", "/lake/a", &same)).await;
        answer.expect(416, "InvalidRange");
        cached.get("/lake/a").await.expect_whole(&version);
    }
}

/// ClickHouse, s3fs and boto3 send the ETag of a listing or a HEAD with every range.
#[tokio::test]
async fn a_client_that_names_the_version_pays_nothing_for_it() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 1 << 20);
    cached.get("/lake/a").await;
    cached.asks();
    for first in [0, 70_000, 900_000] {
        let range = format!("bytes={first}-{}", first + 999);
        let fields = [("range", range), ("if-match", version.etag.clone())];
        let answer = cached.call(&conditional("GET", "/lake/a", &fields)).await;
        answer
            .expect_hit()
            .expect_part(&version, first, first + 999);
    }
    cached.expect_no_asks("the ETag is known");
}

/// A client that names a version which the cache does not know yet is not told 412 out of an old
/// meta: the object may just have been replaced.
#[tokio::test]
async fn a_precondition_on_a_newer_version_asks_the_origin() {
    let cached = Cached::start().await;
    cached.put("lake/a", 1000);
    cached.get("/lake/a").await;
    let newer = cached.put("lake/a", 2000);
    let fields = [
        ("range", "bytes=0-9".to_owned()),
        ("if-match", newer.etag.clone()),
    ];
    let answer = cached.call(&conditional("GET", "/lake/a", &fields)).await;
    answer.expect_part(&newer, 0, 9);
    cached.call(&get("/lake/a")).await.expect_whole(&newer);
}

/// Nor does such a question, which fetches what is missing of the old version, cost the answer the
/// checksums of the new one.
#[tokio::test]
async fn a_precondition_on_a_newer_version_loses_no_checksums() {
    let cached = Cached::start().await;
    cached.put("lake/a", 300_000);
    cached.range("/lake/a", "bytes=200000-200009").await;
    let newer = cached.put("lake/a", 400_000);
    let fields = [
        ("if-match", newer.etag.clone()),
        ("x-amz-checksum-mode", "ENABLED".to_owned()),
    ];
    let answer = cached.call(&conditional("GET", "/lake/a", &fields)).await;
    let answer = answer.expect_whole(&newer);
    assert_eq!(answer.field("x-amz-checksum-crc32"), newer.crc32.as_deref());
}
