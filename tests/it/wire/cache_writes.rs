//! Writes through the proxy: the next read sees them, whatever was under way.

use std::time::Duration;

use super::cached::{CacheSetup, Cached, MIB, comes_true, delete, get, head, put, ranged};
use super::call::{Call, Framed};
use super::client::Client;
use super::content::Content;
use super::objects::{Given, Version};
use super::proxy::everything;
use super::reply::{Gate, Payload, Reply};

fn told(seed: u64, size: u64) -> Vec<u8> {
    Content::Told { seed, size }.bytes(0..size)
}

/// Cached as far as can be: bytes, meta, and everything derived from it.
async fn warm(cached: &Cached, path: &str) -> std::sync::Arc<Version> {
    // Through the proxy, or what is known of the one before would be fresh.
    cached.call(&delete(&format!("/{path}"))).await;
    let version = cached.put(path, 300_000);
    cached.get(&format!("/{path}")).await.expect_whole(&version);
    cached
        .head(&format!("/{path}"))
        .await
        .expect_hit()
        .expect_head(&version);
    version
}

/// Every kind of read sees this version.
async fn expect_everywhere(cached: &Cached, path: &str, what: &str) {
    let current = cached.store.objects.current(path);
    let path = format!("/{path}");
    let answers = [
        cached.range(&path, "bytes=-9").await,
        cached.get(&path).await,
        cached.head(&path).await,
        cached.range(&path, "bytes=0-9").await,
    ];
    for answer in answers {
        match &current {
            None => assert_eq!(answer.status, 404, "{what}"),
            // No suffix of nothing.
            Some(version) if version.size() == 0 && answer.status == 416 => {}
            Some(version) => {
                assert!(answer.status < 300, "{what}: {}", answer.status);
                assert_eq!(answer.field("etag"), Some(version.etag.as_str()), "{what}");
            }
        }
    }
    if let Some(version) = current {
        cached.get(&path).await.expect_whole(&version);
    }
}

/// Every request that makes `lake/a` another object, or none; `ETAG` stands for its ETag.
fn kinds_of_write(new: &[u8]) -> Vec<(&'static str, Vec<Call>)> {
    let key = everything();
    let many = |keys: &[&str]| {
        let objects: Vec<String> = keys
            .iter()
            .map(|key| format!("<Object><Key>{key}</Key></Object>"))
            .collect();
        format!("<Delete>{}</Delete>", objects.concat())
    };
    vec![
        ("PUT", vec![put("/lake/a", new)]),
        ("shorter PUT", vec![put("/lake/a", b"short")]),
        ("empty PUT", vec![put("/lake/a", b"")]),
        (
            "unsigned PUT",
            vec![Call::put("/lake/a", new.to_vec()).sign_unsigned(&key)],
        ),
        (
            "framed PUT",
            vec![Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(new))],
        ),
        (
            "signed chunks",
            vec![Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(new))],
        ),
        (
            "copy",
            vec![
                Call::new("PUT", "/lake/a")
                    .header("x-amz-copy-source", "/lake/source")
                    .sign(&key),
            ],
        ),
        ("DELETE", vec![delete("/lake/a")]),
        (
            "DELETE and PUT",
            vec![delete("/lake/a"), put("/lake/a", new)],
        ),
        (
            "DeleteObjects",
            vec![
                Call::new("POST", "/lake?delete")
                    .body(many(&["x", "a", "y"]))
                    .sign(&key),
            ],
        ),
        (
            "PUT under a condition",
            vec![
                Call::put("/lake/a", new.to_vec())
                    .header("if-match", "ETAG")
                    .sign(&key),
            ],
        ),
        (
            "a presigned PUT",
            vec![Call::put("/lake/a", new.to_vec()).presign(&key, "600")],
        ),
        (
            "another spelling",
            vec![put("/lake/%61?x-id=PutObject", new)],
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_write_is_seen_by_the_next_read() {
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h, negative: 1h}")
        .start()
        .await;
    let key = everything();
    let new = told(77, 200_000);
    let source = cached.put("lake/source", 5000);
    for (name, calls) in kinds_of_write(&new) {
        let version = warm(&cached, "lake/a").await;
        for mut call in calls {
            if call.field("if-match").is_some() {
                call = call
                    .without("authorization")
                    .set("if-match", &version.etag)
                    .sign(&key);
            }
            let answer = cached.call(&call).await;
            assert!(
                answer.status < 300,
                "{name}: {} {}",
                answer.status,
                answer.text()
            );
        }
        assert_ne!(
            cached
                .store
                .objects
                .current("lake/a")
                .map(|v| v.etag.clone()),
            Some(version.etag.clone()),
            "{name}"
        );
        expect_everywhere(&cached, "lake/a", name).await;
    }
    // What was only read from stays as it is.
    cached.get("/lake/source").await.expect_whole(&source);
}

#[tokio::test]
async fn a_completed_upload_is_seen_and_its_parts_are_not() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let key = everything();
    let version = warm(&cached, "lake/a").await;
    let begun = cached
        .call(&Call::new("POST", "/lake/a?uploads").sign(&key))
        .await
        .expect(200, "");
    let id = begun.element("UploadId");
    let mut etags = Vec::new();
    for number in 1..=2 {
        let target = format!("/lake/a?partNumber={number}&uploadId={id}");
        let answer = cached
            .call(&put(&target, &told(number, 100_000)))
            .await
            .expect(200, "");
        etags.push(answer.field("etag").unwrap().to_owned());
    }
    cached.get("/lake/a").await.expect_whole(&version);
    let parts: Vec<String> = etags
        .iter()
        .enumerate()
        .map(|(index, etag)| {
            format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>",
                index + 1
            )
        })
        .collect();
    let document = format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        parts.concat()
    );
    let complete = Call::new("POST", &format!("/lake/a?uploadId={id}"))
        .body(document)
        .sign(&key);
    cached.call(&complete).await.expect(200, "");
    let current = cached.store.objects.current("lake/a").unwrap();
    assert!(current.etag.ends_with("-2\""));
    expect_everywhere(&cached, "lake/a", "complete").await;
}

#[tokio::test]
async fn a_batch_ends_every_object_it_names() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let mut document = String::from("<Delete><Quiet>true</Quiet>");
    for index in 0..30 {
        warm(&cached, &format!("lake/many/{index} <&>")).await;
        if index % 2 == 0 {
            document += &format!("<Object><Key>many/{index} &lt;&amp;&gt;</Key></Object>");
        }
    }
    document += "</Delete>";
    let call = Call::new("POST", "/lake?delete")
        .body(document)
        .sign(&everything());
    cached.call(&call).await.expect(200, "");
    for index in 0..30 {
        let answer = cached.get(&format!("/lake/many/{index}%20%3C%26%3E")).await;
        assert_eq!(
            answer.status,
            if index % 2 == 0 { 404 } else { 200 },
            "{index}"
        );
    }
}

/// The fill began before the write: what it brings is not let in.
#[tokio::test]
async fn a_write_fences_off_a_fill_that_is_under_way() {
    for operation in ["PUT", "DELETE"] {
        for held_at in [0, 100_000, 900_000] {
            let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
            let old = cached.put("lake/a", MIB);
            let gate = Gate::closed();
            let held = gate.clone();
            cached.store.bend(move |seen, reply| {
                if seen.method == "GET" {
                    reply.held_at(held_at, &held)
                } else {
                    reply
                }
            });
            let mut reader = cached.proxy.connect().await.keep(2 << 20);
            reader.send(&get("/lake/a").bytes()).await;
            assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let write = if operation == "PUT" {
                put("/lake/a", &told(5, MIB))
            } else {
                delete("/lake/a")
            };
            assert!(cached.call(&write).await.status < 300);
            gate.open();
            // It began before the write: the old version whole, the new one, or cut short.
            if let Some(answer) = reader.answer_to("GET").await {
                let etag = answer.field("etag").unwrap_or_default().to_owned();
                if etag == old.etag {
                    assert_eq!(old.content.first_difference(0, &answer.body), None);
                } else if answer.is_complete && answer.status == 200 {
                    answer.expect_whole(&cached.store.objects.by_etag("lake/a", &etag).unwrap());
                }
            }
            let what = format!("{operation}, held at {held_at}");
            cached.settle().await;
            let refused = "s3proxy_cache_admissions_refused_total";
            let refused = cached.proxy.metric(refused, "generation").await;
            assert!(refused > 0, "{what}: it was let in");
            expect_everywhere(&cached, "lake/a", &what).await;
        }
    }
}

/// A HEAD, or the head of a GET, that was answered before the write and arrives after it.
#[tokio::test]
async fn a_write_fences_off_a_meta_that_is_on_its_way() {
    for call in [
        head("/lake/a"),
        get("/lake/a"),
        ranged("/lake/a", "bytes=-10"),
        head("/lake/a.parquet"),
    ] {
        let path = call.target.trim_start_matches('/').to_owned();
        for write in [put(&call.target, &told(6, 1000)), delete(&call.target)] {
            let cached = CacheSetup::memory()
                .rule("{freshness: 1h, negative: 1h}")
                .start()
                .await;
            cached.put(&path, 300_000);
            let gate = Gate::closed();
            let held = gate.clone();
            cached.store.bend(move |seen, reply| {
                if matches!(seen.method.as_str(), "GET" | "HEAD") {
                    reply.held(&held)
                } else {
                    reply
                }
            });
            let mut reader = cached.proxy.connect().await;
            reader.send(&call.bytes()).await;
            assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(cached.call(&write).await.status < 300);
            gate.open();
            reader.answer_to(&call.method).await;
            let what = format!("{} {} then {}", call.method, call.target, write.method);
            expect_everywhere(&cached, &path, &what).await;
        }
    }
}

/// Nothing was there, a reader is on its way to learn it, and a writer is faster.
#[tokio::test]
async fn a_write_fences_off_an_absence_that_is_on_its_way() {
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h, negative: 1h}")
        .start()
        .await;
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        if seen.method == "GET" {
            reply.held(&held)
        } else {
            reply
        }
    });
    let mut reader = cached.proxy.connect().await;
    reader.send(&get("/lake/a").bytes()).await;
    assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
    cached.call(&put("/lake/a", b"here")).await.expect(200, "");
    gate.open();
    reader.answer_to("GET").await;
    expect_everywhere(&cached, "lake/a", "absence").await;
}

/// A page of a listing was written before the write and arrives after it.
#[tokio::test]
async fn a_write_fences_off_a_listing_that_is_on_its_way() {
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h, list_metas: true}")
        .start()
        .await;
    cached.put("lake/a", 300_000);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        if seen.target.contains("list-type") {
            reply.held_at(40, &held)
        } else {
            reply
        }
    });
    let mut lister = cached.proxy.connect().await;
    lister.send(&get("/lake?list-type=2").bytes()).await;
    assert!(comes_true(|| cached.store.origin.in_flight() > 0).await);
    cached.call(&put("/lake/a", b"new")).await.expect(200, "");
    gate.open();
    lister.answer_to("GET").await.unwrap().expect(200, "");
    expect_everywhere(&cached, "lake/a", "listing").await;
}

/// A reader who comes between the write's head and its end may keep the old version; the answer to
/// the write ends that.
#[tokio::test]
async fn what_is_read_while_a_write_is_under_way_ends_with_it() {
    for ending in ["answered", "vanished", "client gone"] {
        let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
        let old = cached.put("lake/a", 300_000);
        let write = put("/lake/a", &told(8, 200_000));
        let mut writer = cached.proxy.connect().await;
        begin(&mut writer, &write).await;
        // While half of the new version is on its way, the old one is read and kept.
        cached.get("/lake/a").await.expect_whole(&old);
        cached.get("/lake/a").await.expect_whole(&old);
        let gate = Gate::closed();
        let held = gate.clone();
        cached
            .store
            .bend(move |seen, reply| match (seen.method.as_str(), ending) {
                ("PUT", "vanished") => Reply::vanish(),
                ("PUT", "client gone") => reply.held(&held),
                _ => reply,
            });
        writer.send(&write.body[write.body.len() / 2..]).await;
        let store = &cached.store;
        let is_written = || store.objects.current("lake/a").unwrap().etag != old.etag;
        assert!(comes_true(is_written).await, "{ending}");
        match ending {
            "answered" => drop(writer.answer_to("PUT").await.unwrap().expect(200, "")),
            "vanished" => drop(
                writer
                    .answer_to("PUT")
                    .await
                    .unwrap()
                    .expect(503, "ServiceUnavailable"),
            ),
            _ => {
                drop(writer);
                tokio::time::sleep(Duration::from_millis(300)).await;
                gate.open();
                cached.proxy.wait_until_idle().await;
            }
        }
        expect_everywhere(&cached, "lake/a", ending).await;
    }
}

/// Once a write is forwarded, the origin may answer with what it brings: what was known before is
/// asked about anew.
#[tokio::test]
async fn what_was_known_is_asked_about_while_a_write_is_under_way() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let old = warm(&cached, "lake/a").await;
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        if seen.method == "PUT" {
            reply.held(&held)
        } else {
            reply
        }
    });
    let mut writer = cached.proxy.connect().await;
    writer
        .send(&put("/lake/a", &told(8, 200_000)).bytes())
        .await;
    let store = &cached.store;
    let is_written = || store.objects.current("lake/a").unwrap().etag != old.etag;
    assert!(comes_true(is_written).await);
    let new = store.objects.current("lake/a").unwrap();
    cached.get("/lake/a").await.expect_whole(&new);
    gate.open();
    writer.answer_to("PUT").await.unwrap().expect(200, "");
    expect_everywhere(&cached, "lake/a", "afterwards").await;
}

/// A store that cleans paths takes these for the same object.
#[tokio::test]
async fn a_write_to_what_may_be_the_same_object_is_seen() {
    for alias in ["/lake/x/../a", "/lake//a", "/lake/./a", "/pond/../lake/a"] {
        let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
        warm(&cached, "lake/a").await;
        let answer = cached.call(&put(alias, b"new")).await;
        assert_eq!(answer.status, 200, "{alias}");
        // What a store would do that cleans paths.
        let new = cached.put("lake/a", 200_000);
        cached.get("/lake/a").await.expect_whole(&new);
    }
}

#[tokio::test]
async fn a_change_of_the_bucket_ends_what_is_known_of_its_objects() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    warm(&cached, "lake/a").await;
    let other = warm(&cached, "pond/a").await;
    cached.store.objects.remove("lake/a");
    let deletion = Call::new("DELETE", "/lake").sign(&everything());
    cached.call(&deletion).await;
    expect_everywhere(&cached, "lake/a", "gone with its bucket").await;
    cached
        .get("/pond/a")
        .await
        .expect_hit()
        .expect_whole(&other);
}

/// Sends the head and the first half of the body, and waits until the origin has begun to take it.
async fn begin(writer: &mut Client, write: &Call) {
    writer.send(&write.head()).await;
    writer.send(&write.body[..write.body.len() / 2]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// With the head of its answer a PUT is done, and what is read from then on stays. The 200 of a copy
/// may come before the copying: only its end tells.
#[tokio::test]
async fn what_is_read_after_a_write_stays() {
    for is_copy in [false, true] {
        let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
        warm(&cached, "lake/a").await;
        cached.put("lake/source", 200_000);
        let gate = Gate::closed();
        let held = gate.clone();
        cached.store.bend(move |seen, mut reply| {
            if seen.method == "PUT" {
                // Long enough for what comes before the gate to reach the client.
                reply.body = Payload::Bytes(vec![b' '; 200_000]);
                return reply.held_at(150_000, &held);
            }
            reply
        });
        let write = if is_copy {
            let call = Call::new("PUT", "/lake/a").header("x-amz-copy-source", "/lake/source");
            call.sign(&everything())
        } else {
            put("/lake/a", &told(9, 200_000))
        };
        let mut writer = cached.proxy.connect().await;
        writer.send(&write.bytes()).await;
        writer.wait_for_byte().await;
        let new = cached.store.objects.current("lake/a").unwrap();
        cached.get("/lake/a").await.expect_whole(&new);
        gate.open();
        writer.answer_to("PUT").await.unwrap().expect(200, "");
        cached.proxy.wait_until_idle().await;
        let answer = cached.get("/lake/a").await.expect_whole(&new);
        assert_eq!(answer.cache_status().is_hit, !is_copy);
    }
}

/// A write that the origin refused changes nothing, and costs no more than a request.
#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let version = warm(&cached, "lake/a").await;
    let refused = Call::put("/lake/a", "x")
        .header("if-none-match", "*")
        .sign(&everything());
    cached
        .call(&refused)
        .await
        .expect(412, "PreconditionFailed");
    cached.get("/lake/a").await.expect_whole(&version);
    let mut forged = put("/lake/a", b"forged");
    forged.body = b"FORGED".to_vec();
    cached
        .call(&forged)
        .await
        .expect(400, "XAmzContentSHA256Mismatch");
    cached.get("/lake/a").await.expect_whole(&version);
}

/// Whoever may not write cannot empty the cache either.
#[tokio::test]
async fn a_denied_write_does_not_touch_the_cache() {
    let cached = Cached::start().await;
    let version = warm(&cached, "lake/public/a").await;
    cached.asks();
    let reader = super::proxy::reader();
    for call in [
        Call::put("/lake/public/a", "x").sign(&reader),
        Call::new("DELETE", "/lake/public/a").sign(&reader),
        Call::new("POST", "/lake?delete")
            .body("<Delete><Object><Key>public/a</Key></Object></Delete>")
            .sign(&reader),
        Call::put("/lake/public/a", "x"),
    ] {
        cached.call(&call).await.expect(403, "AccessDenied");
    }
    cached
        .get("/lake/public/a")
        .await
        .expect_hit()
        .expect_whole(&version);
    cached.expect_no_asks("denied writes");
}

/// Tags are no bytes, but the number of them is told with the object.
#[tokio::test]
async fn a_change_of_tags_is_seen() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let content = Content::Told {
        seed: 3,
        size: 1000,
    };
    let write = |count: &str| {
        let given = Given {
            fields: vec![("x-amz-tagging-count".to_owned(), count.to_owned())],
            ..Given::default()
        };
        cached.store.objects.write("lake/a", content.clone(), given)
    };
    write("1");
    cached.head("/lake/a").await;
    // The same bytes, the same ETag: only the count is another.
    write("2");
    let call =
        Call::put("/lake/a?tagging", "<Tagging><TagSet></TagSet></Tagging>").sign(&everything());
    cached.call(&call).await.expect(200, "");
    let answer = cached.head("/lake/a").await;
    assert_eq!(answer.field("x-amz-tagging-count"), Some("2"));
}
