//! Who may read what is in the cache: whoever might read it without one.

use std::time::Duration;

use super::cached::{CacheSetup, Cached, call_keeping, get, head, ranged};
use super::call::Call;
use super::origin::Origin;
use super::proxy::{everything, reader};
use super::reply::Reply;
use super::sigv4::{Key, date_in};

/// Every form of a read.
fn reads(path: &str) -> Vec<Call> {
    vec![
        Call::get(path),
        Call::new("HEAD", path),
        Call::get(path).header("range", "bytes=0-9"),
        Call::get(path).header("range", "bytes=-9"),
        Call::get(path).header("if-none-match", "*"),
        Call::get(path).header("if-match", "\"none\""),
        Call::get(path).header("range", "bytes=99999999-"),
        Call::get(&format!("{path}?x-id=GetObject")),
    ]
}

/// A refusal tells nothing of the object: not its bytes, not its size, not that it is there.
#[track_caller]
fn expect_refused(answer: &super::client::Answer, code: &str, what: &str) {
    assert_eq!(answer.status, 403, "{what}");
    if answer.body_bytes > 0 {
        assert_eq!(answer.code(), code, "{what}");
    }
    for name in [
        "etag",
        "last-modified",
        "content-range",
        "x-amz-meta-secret",
    ] {
        assert_eq!(answer.field(name), None, "{what}: {name}");
    }
    let told = answer.field("cache-status").unwrap_or_default();
    assert!(
        !told.contains("hit") && !told.contains("fwd="),
        "{what}: {told}"
    );
}

#[tokio::test]
async fn a_hot_object_is_refused_to_whoever_may_not_read_it() {
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h, negative: 1h}")
        .start()
        .await;
    let secret = [("x-amz-meta-secret", "1")];
    cached
        .store
        .objects
        .put_with("lake/private/a", 5000, &secret);
    cached
        .store
        .objects
        .put_with("pond/public/a", 5000, &secret);
    let public = cached.put("lake/public/a", 5000);
    for path in ["/lake/private/a", "/pond/public/a", "/lake/public/a"] {
        cached.get(path).await;
        cached.get(path).await.expect_hit();
    }
    cached.asks();
    let unknown = Key::new("NOBODYKEY", "nobody-secret-9");
    let guessed = Key::new(&everything().id, "not-the-secret");
    for path in ["/lake/private/a", "/pond/public/a"] {
        for call in reads(path) {
            let what = format!("{} {path}", call.method);
            let denied = cached.call(&call.clone().sign(&reader())).await;
            expect_refused(&denied, "AccessDenied", &what);
            let denied = cached.call(&call.clone().presign(&reader(), "60")).await;
            expect_refused(&denied, "AccessDenied", &what);
            let anonymous = cached.call(&call.clone()).await;
            expect_refused(&anonymous, "AccessDenied", &what);
            let forged = cached.call(&call.clone().sign(&guessed)).await;
            expect_refused(&forged, "SignatureDoesNotMatch", &what);
            let unknown = cached.call(&call.clone().sign(&unknown)).await;
            expect_refused(&unknown, "InvalidAccessKeyId", &what);
        }
    }
    // Its own object is as hot for the reader as for anybody.
    let call = Call::get("/lake/public/a").sign(&reader());
    cached.call(&call).await.expect_hit().expect_whole(&public);
    cached.expect_no_asks("refusals");
}

#[tokio::test]
async fn a_link_that_is_over_or_tampered_with_opens_nothing() {
    let cached = Cached::start().await;
    cached.put("lake/public/a", 5000);
    let other = cached.put("lake/public/b", 5000);
    for path in ["/lake/public/a", "/lake/public/b"] {
        cached.get(path).await;
    }
    cached.asks();
    let link =
        |age: i64| Call::get("/lake/public/a").presign_at(&everything(), "60", &date_in(-age));
    let good = cached.call(&link(10)).await;
    assert_eq!(good.status, 200);
    good.expect_hit();
    for (what, call) in [
        ("over", link(70)),
        ("long over", link(100_000)),
        ("not yet", link(-3600)),
    ] {
        let answer = cached.call(&call).await;
        expect_refused(&answer, &answer.code(), what);
    }
    let mut tampered = link(10);
    tampered.target = tampered.target.replace("public/a", "public/b");
    expect_refused(
        &cached.call(&tampered).await,
        "SignatureDoesNotMatch",
        "another key",
    );
    let mut longer = link(70);
    longer.target = longer
        .target
        .replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    expect_refused(
        &cached.call(&longer).await,
        "SignatureDoesNotMatch",
        "more time",
    );
    // A good link with a range that nobody signed is a good link.
    let part = link(10).header("range", "bytes=5-9");
    assert_eq!(cached.call(&part).await.status, 206);
    cached.expect_no_asks("links");
    cached
        .get("/lake/public/b")
        .await
        .expect_hit()
        .expect_whole(&other);
}

#[tokio::test]
async fn a_signature_over_another_range_or_method_opens_nothing() {
    let cached = Cached::start().await;
    cached.put("lake/a", 5000);
    cached.get("/lake/a").await;
    let signed = Call::get("/lake/a")
        .header("range", "bytes=0-9")
        .sign_fields(
            &everything(),
            &["host", "range", "x-amz-date", "x-amz-content-sha256"],
        );
    assert_eq!(cached.call(&signed).await.status, 206);
    let other_range = signed.clone().set("range", "bytes=0-99");
    expect_refused(
        &cached.call(&other_range).await,
        "SignatureDoesNotMatch",
        "range",
    );
    let mut other_method = get("/lake/a");
    other_method.method = "HEAD".to_owned();
    expect_refused(&cached.call(&other_method).await, "", "method");
}

fn own(number: usize) -> Key {
    Key::new(&format!("OWNKEY{number}"), &format!("own-secret-{number}"))
}

/// Two clients whose requests reach the origin in their own names, and one that uses the origin's.
async fn with_own_identities(verdict: &str) -> Cached {
    own_identities(verdict, "{freshness: 1h}").await
}

async fn own_identities(verdict: &str, rule: &str) -> Cached {
    let clients = "clients:
  - {name: own1, access_key_id: OWNKEY1, secret_access_key_env: OWN_SECRET1, origin_identity: own,
     allow: [{buckets: [lake], actions: [read, write]}]}
  - {name: own2, access_key_id: OWNKEY2, secret_access_key_env: OWN_SECRET2, origin_identity: own,
     allow: [{buckets: [lake], actions: [read, write]}]}
  - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,
     allow: [{buckets: ['*'], actions: ['*']}]}
";
    let cached = CacheSetup::memory()
        .line(&format!("own_verdict: {verdict}"))
        .rule(rule)
        .with(move |setup| {
            let setup = setup.clients(clients);
            let setup = setup.env("OWN_SECRET1", &own(1).secret);
            setup.env("OWN_SECRET2", &own(2).secret)
        })
        .start()
        .await;
    cached.store.origin.trust(&[Origin::key(), own(1), own(2)]);
    cached
}

#[tokio::test]
async fn who_signs_as_itself_is_judged_by_the_origin_on_hits_too() {
    let cached = with_own_identities("1s").await;
    let version = cached.put("lake/a", 300_000);
    cached.store.objects.deny("OWNKEY2", "lake/a");
    let by = |number: usize, call: &Call| call.clone().sign(&own(number));
    // Hot, by the proxy's own name.
    cached.get("/lake/a").await.expect_whole(&version);
    cached.asks();
    // The origin is asked once for each identity, and sends the bytes no second time.
    cached
        .call(&by(1, &Call::get("/lake/a")))
        .await
        .expect_whole(&version);
    let ask = cached.expect_one_ask("a verdict");
    assert!(ask.sent_bytes == 0, "{ask:?}");
    for call in reads("/lake/a") {
        let answer = cached.call(&by(1, &call)).await;
        assert_ne!(answer.status, 403);
    }
    cached
        .call(&by(1, &Call::get("/lake/a")))
        .await
        .expect_hit()
        .expect_whole(&version);
    cached.asks();
    for call in reads("/lake/a") {
        let answer = cached.call(&by(2, &call)).await;
        assert_eq!(answer.status, 403, "{} {:?}", call.method, call.headers);
        assert_eq!(answer.field("etag"), None);
    }
    assert!(!cached.asks().is_empty());
    // One object does not open another.
    let other = cached.put("lake/b", 1000);
    cached.store.objects.deny("OWNKEY1", "lake/b");
    cached.get("/lake/b").await.expect_whole(&other);
    cached
        .call(&by(1, &Call::get("/lake/b")))
        .await
        .expect(403, "AccessDenied");
    cached.asks();
    // A verdict has an end.
    cached.store.objects.deny("OWNKEY1", "lake/a");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    cached
        .call(&by(1, &Call::get("/lake/a")))
        .await
        .expect(403, "AccessDenied");
    // And a refusal is none for others, nor for the bytes.
    cached.asks();
    cached
        .get("/lake/a")
        .await
        .expect_hit()
        .expect_whole(&version);
    cached.expect_no_asks("the origin's own name");
    cached.store.objects.allow_all();
    cached
        .call(&by(2, &Call::get("/lake/a")))
        .await
        .expect_whole(&version);
}

/// What one identity fetched is fetched in its name, and shows nothing to another.
#[tokio::test]
async fn fills_are_made_in_the_name_of_who_asks() {
    let cached = with_own_identities("1h").await;
    let version = cached.put("lake/a", 5_000_000);
    cached.store.objects.deny("OWNKEY2", "lake/a");
    let call = Call::get("/lake/a")
        .header("range", "bytes=0-999999")
        .sign(&own(1));
    cached.call(&call).await.expect_part(&version, 0, 999_999);
    let signers: Vec<_> = cached
        .store
        .origin
        .seen()
        .into_iter()
        .map(|seen| seen.signer.unwrap())
        .collect();
    assert!(
        signers.iter().all(|signer| signer.contains("OWNKEY1")),
        "{signers:?}"
    );
    cached.asks();
    for call in reads("/lake/a") {
        let answer = cached.call(&call.sign(&own(2))).await;
        assert_eq!(answer.status, 403);
    }
    // Missing bytes of a known object, in the name of one whose verdict still holds.
    let call = Call::get("/lake/a")
        .header("range", "bytes=4000000-4000099")
        .sign(&own(1));
    cached
        .call(&call)
        .await
        .expect_part(&version, 4_000_000, 4_000_099);
    let seen = cached.store.origin.seen();
    assert!(
        seen.last()
            .unwrap()
            .signer
            .as_ref()
            .unwrap()
            .contains("OWNKEY1")
    );
}

/// With no time for verdicts, every read asks.
#[tokio::test]
async fn a_verdict_of_no_time_is_asked_for_each_time() {
    let cached = with_own_identities("0s").await;
    let version = cached.put("lake/a", 1000);
    for _ in 0..3 {
        let call = Call::get("/lake/a").sign(&own(1));
        cached.call(&call).await.expect_whole(&version);
        assert_eq!(cached.asks().len(), 1);
    }
}

/// What the origin said before a write says nothing of what it would say now.
#[tokio::test]
async fn a_write_ends_what_the_origin_allowed() {
    let key = everything();
    let acl = Call::new("PUT", "/lake/a?acl").header("x-amz-acl", "private");
    for (what, write) in [
        ("bytes", Call::put("/lake/a", vec![1; 5000]).sign(&key)),
        ("an ACL", acl.sign(&key)),
        (
            "tags",
            Call::put("/lake/a?tagging", b"<Tagging/>").sign(&key),
        ),
        ("a policy", Call::put("/lake?policy", b"{}").sign(&key)),
    ] {
        let cached = with_own_identities("1h").await;
        cached.put("lake/a", 5000);
        let read = Call::get("/lake/a").sign(&own(1));
        cached.call(&read).await.expect(200, "");
        cached.call(&read).await.expect_hit();
        cached.store.objects.deny("OWNKEY1", "lake/a");
        cached.call(&write).await;
        // Fresh again, in the name of somebody else.
        cached.get("/lake/a").await.expect(200, "");
        cached.get("/lake/a").await.expect_hit();
        let answer = cached.call(&read).await;
        assert_eq!(answer.status, 403, "after a write of {what}");
    }
}

/// One refusal is enough, whatever it was that the origin refused.
#[tokio::test]
async fn after_a_refusal_nothing_is_a_hit() {
    let read = |range: &str| Call::get("/lake/a").header("range", range).sign(&own(1));
    for refused in ["a meta", "bytes"] {
        let rule = match refused {
            "a meta" => "{freshness: 3s}",
            _ => "{freshness: 1h}",
        };
        let cached = own_identities("1h", rule).await;
        let version = cached.put("lake/a", 5_000_000);
        let first = cached.call(&read("bytes=0-99")).await;
        first.expect_part(&version, 0, 99);
        cached.store.objects.deny("OWNKEY1", "lake/a");
        if refused == "a meta" {
            tokio::time::sleep(Duration::from_millis(3100)).await;
        }
        let missing = cached.call(&read("bytes=4000000-4000099")).await;
        assert_eq!(missing.status, 403, "{refused}");
        cached.get("/lake/a").await.expect_whole(&version);
        cached.get("/lake/a").await.expect_hit();
        for call in reads("/lake/a") {
            let answer = cached.call(&call.sign(&own(1))).await;
            assert_eq!(answer.status, 403, "after {refused} was refused");
        }
        cached.store.objects.allow_all();
        let allowed = cached.call(&read("bytes=0-99")).await;
        allowed.expect_part(&version, 0, 99);
        cached.call(&read("bytes=0-99")).await.expect_hit();
    }
}

/// An origin that cannot be asked has allowed nothing.
#[tokio::test]
async fn what_is_stale_is_given_to_whom_the_origin_allowed_it() {
    let cached = own_identities("1h", "{freshness: 1s, stale_if_error: 1h}").await;
    let version = cached.put("lake/a", 5000);
    let read = |number: usize| Call::get("/lake/a").sign(&own(number));
    cached.call(&read(1)).await.expect_whole(&version);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    cached
        .store
        .bend(|_, _| Reply::error(503, "ServiceUnavailable"));
    cached
        .get("/lake/a")
        .await
        .expect_hit()
        .expect_whole(&version);
    let allowed = cached.call(&read(1)).await;
    allowed.expect_hit().expect_whole(&version);
    for call in reads("/lake/a") {
        let answer = cached.call(&call.sign(&own(2))).await;
        assert_eq!(answer.status, 503, "nobody has asked for this identity");
        assert_eq!(answer.field("etag"), None);
    }
    // It has not refused the other one either.
    cached.call(&read(1)).await.expect_hit();
}

/// An absence is told only to whom the origin tells it.
#[tokio::test]
async fn an_absence_is_not_told_across_identities() {
    let cached = own_identities("1h", "{freshness: 1h, negative: 1h}").await;
    cached
        .call(&get("/lake/none"))
        .await
        .expect(404, "NoSuchKey");
    cached.store.objects.deny("OWNKEY2", "lake/none");
    let call = Call::get("/lake/none").sign(&own(2));
    cached.call(&call).await.expect(403, "AccessDenied");
    // What one of them is told is not what the others would be.
    let version = cached.put("lake/a", 1000);
    cached.store.bend(|_, _| Reply::error(404, "NoSuchKey"));
    let call = Call::get("/lake/a").sign(&own(1));
    cached.call(&call).await.expect(404, "NoSuchKey");
    cached.store.straighten();
    cached.get("/lake/a").await.expect_whole(&version);
}

/// Rules are asked before anything is looked up, whatever the connection did before.
#[tokio::test]
async fn one_connection_does_not_lend_its_rights() {
    let cached = Cached::start().await;
    let version = cached.put("lake/private/a", 1000);
    let mut client = cached.proxy.connect().await;
    for _ in 0..3 {
        client
            .call(&get("/lake/private/a"))
            .await
            .expect_whole(&version);
        let denied = client
            .call(&Call::get("/lake/private/a").sign(&reader()))
            .await;
        expect_refused(&denied, "AccessDenied", "on one connection");
        client
            .call(&head("/lake/private/a"))
            .await
            .expect_head(&version);
        client
            .call(&ranged("/lake/private/a", "bytes=0-0"))
            .await
            .expect_part(&version, 0, 0);
    }
    let _ = call_keeping(&cached.proxy, &get("/lake/private/a")).await;
}
