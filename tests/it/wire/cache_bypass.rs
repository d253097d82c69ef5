//! Reads that have nothing to do with the cache: they neither use it nor leave a trace in it.

use super::cached::{Cached, ask_directly, get};
use super::call::Call;
use super::objects::Given;
use super::proxy::everything;
use super::reply::Reply;

const CUSTOMER_KEY: &[(&str, &str)] = &[
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    (
        "x-amz-server-side-encryption-customer-key",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    ),
    (
        "x-amz-server-side-encryption-customer-key-md5",
        "0k/wpmcS4tZYCSQDJTqsRw==",
    ),
];

fn read(method: &str, path: &str, fields: &[(&str, &str)]) -> Call {
    let mut call = Call::new(method, path);
    for (name, value) in fields {
        call = call.header(name, value);
    }
    call.sign(&everything())
}

#[tokio::test]
async fn parameters_and_fields_that_change_the_answer_pass_the_cache_by() {
    let cached = Cached::start().await;
    cached.store.objects.keep_versions("lake");
    let old = cached.put("lake/a", 3000);
    let version = cached.put("lake/a", 1000);
    let owner = cached.store.objects.owner().to_owned();
    let id = |version: &super::objects::Version| version.version_id.clone().unwrap();
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (format!("versionId={}", id(&old)), vec![]),
        (format!("versionId={}", id(&version)), vec![]),
        ("versionId=none".to_owned(), vec![]),
        ("partNumber=1".to_owned(), vec![]),
        ("response-content-type=text%2Fx-other".to_owned(), vec![]),
        (
            "response-content-disposition=attachment%3B%20filename%3D%22x%22".to_owned(),
            vec![],
        ),
        (
            "response-cache-control=no-store&response-expires=0".to_owned(),
            vec![],
        ),
        (
            "x-id=GetObject&response-content-language=fr".to_owned(),
            vec![],
        ),
        ("made-up=1".to_owned(), vec![]),
        (
            String::new(),
            vec![("x-amz-expected-bucket-owner", owner.as_str())],
        ),
        (
            String::new(),
            vec![("x-amz-expected-bucket-owner", "999999999999")],
        ),
        (String::new(), vec![("x-amz-request-payer", "requester")]),
        ("tagging".to_owned(), vec![]),
        ("acl".to_owned(), vec![]),
    ];
    for method in ["GET", "HEAD"] {
        for (query, fields) in &cases {
            if method == "HEAD" && ["tagging", "acl"].contains(&query.as_str()) {
                continue;
            }
            let what = format!("{method} ?{query} {fields:?}");
            // Whatever the cache knows of the object, before and after.
            let plain = cached.get("/lake/a").await.expect_whole(&version);
            cached.asks();
            let mark = if query.is_empty() { "" } else { "?" };
            let call = read(method, &format!("/lake/a{mark}{query}"), fields);
            let direct = ask_directly(&cached.store, call.clone()).await;
            for _ in 0..2 {
                let answer = cached.call(&call).await;
                assert_eq!(answer.status, direct.status, "{what}");
                if answer.status < 300 {
                    let without_charge = |answer: &super::client::Answer| {
                        let mut fields = answer.described();
                        fields.retain(|(name, _)| name != "x-amz-request-charged");
                        fields
                    };
                    assert_eq!(without_charge(&answer), without_charge(&direct), "{what}");
                    assert!(answer.body == direct.body, "{what}");
                }
                let status = answer.cache_status();
                assert_eq!(status.fwd.as_deref(), Some("bypass"), "{what}");
                assert!(!status.stored, "{what}");
                assert_eq!(cached.asks().len(), 1, "{what}");
            }
            let again = cached
                .get("/lake/a")
                .await
                .expect_hit()
                .expect_whole(&version);
            assert_eq!(again.described(), plain.described(), "{what}");
            cached.expect_no_asks(&what);
        }
    }
}

/// A presigned URL has fields in its query.
#[tokio::test]
async fn fields_in_a_presigned_url_count_too() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 1000);
    cached.get("/lake/a").await.expect_whole(&version);
    for field in [
        "X-Amz-Expected-Bucket-Owner=999999999999",
        "X-Amz-Request-Payer=requester",
    ] {
        let call = Call::get(&format!("/lake/a?{field}")).presign(&everything(), "300");
        cached.asks();
        cached.call(&call).await.expect_forwarded("bypass");
        cached.expect_one_ask(field);
    }
    let plain = Call::get("/lake/a").presign(&everything(), "300");
    cached
        .call(&plain)
        .await
        .expect_hit()
        .expect_whole(&version);
}

/// Not the other way round either: what passes by is not what the next plain read finds.
#[tokio::test]
async fn what_passed_the_cache_by_is_not_in_it() {
    let cached = Cached::start().await;
    for (index, query) in [
        "partNumber=1",
        "response-content-type=text%2Fx",
        "made-up=1",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/lake/a{index}");
        let version = cached.put(&path, 1000);
        for method in ["GET", "HEAD"] {
            cached
                .call(&read(method, &format!("{path}?{query}"), &[]))
                .await;
        }
        assert_eq!(cached.asks().len(), 2);
        let answer = cached.get(&path).await.expect_whole(&version);
        assert_eq!(answer.field("content-type"), Some("binary/octet-stream"));
        assert!(!cached.asks().is_empty(), "{query}");
    }
}

#[tokio::test]
async fn objects_under_a_clients_own_key_are_never_kept() {
    let cached = Cached::start().await;
    let content = super::content::Content::Told {
        seed: 9,
        size: 1000,
    };
    let given = Given {
        customer_key_md5: Some(CUSTOMER_KEY[2].1.to_owned()),
        ..Given::default()
    };
    let version = cached.store.objects.write("lake/secret", content, given);
    for _ in 0..2 {
        for (method, range) in [
            ("HEAD", None),
            ("GET", None),
            ("GET", Some(("range", "bytes=5-9"))),
        ] {
            let mut fields = CUSTOMER_KEY.to_vec();
            fields.extend(range);
            let answer = cached.call(&read(method, "/lake/secret", &fields)).await;
            let answer = answer.expect_forwarded("bypass");
            match (method, range) {
                ("HEAD", _) => answer.expect_head(&version),
                (_, None) => answer.expect_whole(&version),
                _ => answer.expect_part(&version, 5, 9),
            };
            assert_eq!(cached.asks().len(), 1);
        }
        // Who does not know the key does not get a byte.
        let answer = cached.get("/lake/secret").await;
        answer.expect(400, "InvalidRequest");
        assert_eq!(cached.head("/lake/secret").await.status, 400);
        assert!(!cached.asks().is_empty());
    }
}

/// Without a strong validator nothing says that two answers are about the same bytes.
#[tokio::test]
async fn without_a_strong_etag_nothing_is_kept() {
    let bends: [fn(Reply) -> Reply; 3] = [
        |reply| reply.without("etag"),
        |reply| {
            let etag = reply
                .headers
                .iter()
                .find(|(name, _)| name == "ETag")
                .cloned();
            match etag {
                Some((_, etag)) => reply.set("ETag", &format!("W/{etag}")),
                None => reply,
            }
        },
        |reply| reply.set("ETag", "without-quotes"),
    ];
    for (index, bend) in bends.into_iter().enumerate() {
        let cached = Cached::start().await;
        let version = cached.put("lake/a", 200_000);
        cached.store.bend(move |_, reply| {
            if reply.status < 300 {
                bend(reply)
            } else {
                reply
            }
        });
        for turn in 0..3 {
            for call in [
                get("/lake/a"),
                read("GET", "/lake/a", &[("range", "bytes=100-200")]),
                read("GET", "/lake/a", &[("range", "bytes=-300")]),
                read("HEAD", "/lake/a", &[]),
            ] {
                let direct = ask_directly(&cached.store, call.clone()).await;
                let answer = cached.call(&call).await;
                let what = format!("{index} {turn} {} {:?}", call.method, call.field("range"));
                assert_eq!(answer.status, direct.status, "{what}");
                assert_eq!(answer.field("etag"), direct.field("etag"), "{what}");
                assert_eq!(
                    answer.field("content-range"),
                    direct.field("content-range"),
                    "{what}"
                );
                assert!(answer.body == direct.body, "{what}");
                assert!(!cached.asks().is_empty(), "{what}: answered from the cache");
                assert!(!answer.cache_status().stored, "{what}");
            }
        }
        // It is tried again a minute later, or once it was written to.
        cached.store.straighten();
        let answer = cached.get("/lake/a").await.expect_whole(&version);
        answer.expect_forwarded("bypass");
        cached
            .call(&super::cached::put("/lake/a", b"written"))
            .await;
        let version = cached.store.objects.current("lake/a").unwrap();
        cached.get("/lake/a").await.expect_whole(&version);
        cached
            .get("/lake/a")
            .await
            .expect_hit()
            .expect_whole(&version);
    }
}

#[tokio::test]
async fn other_operations_say_why_they_are_forwarded() {
    let cached = Cached::start().await;
    cached.put("lake/a", 10);
    for (call, why) in [
        (super::cached::put("/lake/b", b"x"), "method"),
        (super::cached::delete("/lake/b"), "method"),
        (get("/lake?list-type=2"), "bypass"),
        (get("/lake/a?tagging"), "bypass"),
    ] {
        let answer = cached.call(&call).await;
        assert!(answer.status < 300, "{}", call.target);
        answer.expect_forwarded(why);
    }
}
