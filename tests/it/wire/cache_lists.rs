//! Pages of ListObjects: what passes to a client teaches the cache, and stays what it is.

use super::cached::{CacheSetup, Cached, MIB, comes_true, get, head, put, ranged};
use super::call::Call;
use super::client::Answer;
use super::origin::Origin;
use super::proxy::everything;
use super::reply::{Gate, Payload};
use super::sigv4::Key;

const LISTS: &[&str] = &[
    "/lake?list-type=2",
    "/lake",
    "/lake/?prefix=a&encoding-type=url",
    "/lake?list-type=2&encoding-type=url&max-keys=1",
];

async fn with_lists() -> Cached {
    CacheSetup::memory()
        .rule("{freshness: 1h, list_metas: true}")
        .start()
        .await
}

/// Whether a HEAD of it is answered from a page.
async fn is_known(cached: &Cached, path: &str) -> bool {
    cached.asks();
    cached.head(path).await;
    cached.asks().is_empty()
}

#[tokio::test]
async fn the_first_read_of_a_listed_object_asks_once_and_for_what_is_there() {
    for list in LISTS {
        let cached = Cached::start().await;
        let version = cached.put("lake/a+b ü", 10 * MIB + 5);
        cached.call(&get(list)).await.expect(200, "");
        cached.asks();
        let answer = cached
            .range("/lake/a%2Bb%20%C3%BC", "bytes=-1000")
            .await
            .expect_part(&version, 10 * MIB - 995, 10 * MIB + 4);
        answer.expect_forwarded("uri-miss");
        let ask = cached.expect_one_ask(list);
        let end = 10 * MIB + 4;
        assert_eq!(ask.interval(), Some((10 * MIB - 65_536, end)), "{list}");
        // Where a page said nothing, the end has to be asked for as such.
        let other = cached.put("lake/other", 10 * MIB + 5);
        cached
            .range("/lake/other", "bytes=-1000")
            .await
            .expect_part(&other, 10 * MIB - 995, end);
        assert_eq!(cached.expect_one_ask("unlisted").interval(), None);
    }
}

/// The page was right when it was asked for; the object has grown, shrunk or gone since.
#[tokio::test]
async fn a_listed_size_that_is_no_longer_true_does_no_harm() {
    for size in [0, 10, 3 * MIB, 40 * MIB] {
        let cached = Cached::start().await;
        cached.put("lake/a", 10 * MIB);
        for range in ["bytes=-1000", "bytes=9000000-9000999", "bytes=100-", "none"] {
            cached.put("lake/a", 10 * MIB);
            cached.get("/lake?list-type=2").await.expect(200, "");
            let version = cached.put("lake/a", size);
            let direct = super::cached::ask_directly(&cached.store, ranged("/lake/a", range)).await;
            let answer = cached.range("/lake/a", range).await;
            assert_eq!(answer.status, direct.status, "{size} {range}");
            assert_eq!(answer.field("content-range"), direct.field("content-range"));
            if answer.status < 300 {
                assert_eq!(answer.field("etag"), Some(version.etag.as_str()));
                assert!(answer.body == direct.body, "{size} {range}: other bytes");
            }
            // Forgets it.
            cached.call(&put("/lake/a", b"x")).await.expect(200, "");
        }
    }
}

#[tokio::test]
async fn a_head_is_answered_from_a_page_where_a_rule_says_so() {
    let cached = with_lists().await;
    let described = [("Content-Type", "text/csv"), ("x-amz-meta-a", "1")];
    let version = cached.store.objects.put_with("lake/a", 5000, &described);
    cached.get("/lake?list-type=2").await.expect(200, "");
    cached.asks();
    let listed = cached.head("/lake/a").await.expect_hit();
    let listed = listed.expect_head(&version);
    let modified = version.last_modified();
    assert_eq!(listed.field("last-modified"), Some(modified.as_str()));
    assert_eq!(listed.field("content-type"), None);
    assert_eq!(listed.field("x-amz-meta-a"), None);
    let status = listed.cache_status();
    assert!(status.parameters.contains(&"detail=list".to_owned()));
    assert!(
        status
            .parameters
            .iter()
            .any(|word| word.starts_with("ttl=")),
        "{status:?}"
    );
    let unchanged = head("/lake/a").without("authorization");
    let unchanged = unchanged.header("if-none-match", &version.etag);
    let unchanged = cached.call(&unchanged.sign(&everything())).await;
    assert_eq!(unchanged.status, 304);
    cached.expect_no_asks("a listed object");
    // Checksums are in no page.
    let call = Call::new("HEAD", "/lake/a").header("x-amz-checksum-mode", "ENABLED");
    let sums = cached.call(&call.sign(&everything())).await;
    assert!(sums.field("x-amz-checksum-crc32").is_some());
    cached.expect_one_ask("checksums");
    // Bytes come with everything that describes them, and from then on a HEAD does too.
    for answer in [cached.get("/lake/a").await, cached.head("/lake/a").await] {
        assert_eq!(answer.field("content-type"), Some("text/csv"));
        assert_eq!(answer.field("x-amz-meta-a"), Some("1"));
    }
    // What a page contradicts is asked for, before a client is refused because of it.
    let refused = Call::new("HEAD", "/lake/a").header("if-match", "\"other\"");
    cached.asks();
    let refused = cached.call(&refused.sign(&everything())).await;
    assert_eq!(refused.status, 412);
    cached.expect_one_ask("a refusal");
}

#[tokio::test]
async fn without_a_rule_a_head_asks() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['no/*'], freshness: bypass, list_metas: true}")
        .rule("{keys: ['p/*'], freshness: validate, list_metas: true}")
        .start()
        .await;
    for path in ["lake/a", "lake/no/a", "lake/p/a"] {
        cached.put(path, 5000);
    }
    cached.get("/lake?list-type=2").await.expect(200, "");
    for path in ["/lake/a", "/lake/no/a", "/lake/p/a"] {
        assert!(!is_known(&cached, path).await, "{path}");
    }
}

/// Somebody wrote behind the proxy, and a page tells.
#[tokio::test]
async fn a_page_ends_what_it_contradicts() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    cached.put("lake/a", 5000);
    let same = cached.put("lake/same", 5000);
    cached.get("/lake/a").await;
    cached.get("/lake/same").await;
    let newer = cached.put("lake/a", 6000);
    cached.get("/lake/a").await.expect_hit();
    cached.get("/lake?list-type=2").await.expect(200, "");
    cached.get("/lake/a").await.expect_whole(&newer);
    cached.asks();
    cached.get("/lake/same").await.expect_whole(&same);
    cached.expect_no_asks("what a page confirms");
}

/// The page was asked for before the write, and arrives before, during or after it.
#[tokio::test]
async fn a_page_from_before_a_write_is_not_believed() {
    let cached = with_lists().await;
    for held_at in [0, 40, 400] {
        cached.put("lake/a", 300_000);
        let other = cached.put("lake/other", 1000);
        let gate = Gate::closed();
        let held = gate.clone();
        cached.store.bend(move |seen, reply| {
            if seen.target.contains("list-type") {
                reply.held_at(held_at, &held)
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
        let current = cached.store.objects.current("lake/a").unwrap();
        cached.head("/lake/a").await.expect_head(&current);
        // What was not written is known all the same.
        assert!(is_known(&cached, "/lake/other").await);
        cached.head("/lake/other").await.expect_head(&other);
        cached.store.straighten();
        cached.get("/lake?list-type=2").await.expect(200, "");
        cached
            .head("/lake/a")
            .await
            .expect_hit()
            .expect_head(&current);
        for path in ["/lake/a", "/lake/other"] {
            let call = Call::new("DELETE", path).sign(&everything());
            cached.call(&call).await.expect(204, "");
            assert_eq!(cached.head(path).await.status, 404, "{path}");
        }
    }
}

/// What the proxy learns from it or not: a page goes to the client as it comes.
#[tokio::test]
async fn a_page_passes_as_it_is() {
    let cached = with_lists().await;
    cached.put("lake/a", 5000);
    let plain = String::from_utf8(cached.get("/lake?list-type=2").await.body).unwrap();
    let is_learned = async |page: Vec<u8>, status: u16| {
        cached.call(&put("/lake/a", &[7; 5000])).await;
        cached.store.bend({
            let page = page.clone();
            move |seen, mut reply| {
                if seen.target.contains("list-type") {
                    reply.body = Payload::Bytes(page.clone());
                    reply.status = status;
                    return reply.in_pieces(100_000, std::time::Duration::ZERO);
                }
                reply
            }
        });
        let answer: Answer = cached.get("/lake?list-type=2").await;
        assert_eq!(answer.status, status);
        assert!(answer.is_complete && answer.body == page, "another page");
        cached.store.straighten();
        is_known(&cached, "/lake/a").await
    };
    let page_of = |more: &str| {
        let end = "</ListBucketResult>";
        plain.replace(end, &format!("{more}{end}"))
    };
    assert!(is_learned(page_of("").into_bytes(), 200).await);
    let padded = |bytes: usize| page_of(&format!("<!--{}-->", "x".repeat(bytes)));
    assert!(is_learned(padded(3 << 20).into_bytes(), 200).await);
    assert!(
        !is_learned(padded(4 << 20).into_bytes(), 200).await,
        "too long"
    );
    assert!(!is_learned(b"<html>".to_vec(), 200).await);
    assert!(!is_learned(plain.as_bytes()[..plain.len() - 5].to_vec(), 200).await);
    assert!(!is_learned(vec![0xff; 5000], 200).await);
    assert!(!is_learned(page_of("").into_bytes(), 203).await);
}

/// Nobody waits for the end of a page because it is read along.
#[tokio::test]
async fn a_page_is_not_held_back() {
    let cached = Cached::start().await;
    cached.put("lake/a", 5000);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held_at(100, &held));
    let mut client = cached.proxy.connect().await;
    client.send(&get("/lake?list-type=2").bytes()).await;
    client.read_head().await.unwrap();
    assert_eq!(client.read_raw(100).await.len(), 100);
    gate.open();
}

/// What one identity is shown is no news for others.
#[tokio::test]
async fn pages_of_own_identities_are_not_read() {
    let own = Key::new("OWNKEY1", "own-secret-1");
    let clients = "clients:
  - {name: own1, access_key_id: OWNKEY1, secret_access_key_env: OWN_SECRET1, origin_identity: own,
     allow: [{buckets: [lake], actions: [read, list]}]}
  - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,
     allow: [{buckets: ['*'], actions: ['*']}]}
";
    let secret = own.secret.clone();
    let cached = CacheSetup::memory()
        .rule("{freshness: 1h, list_metas: true}")
        .with(move |setup| setup.clients(clients).env("OWN_SECRET1", &secret))
        .start()
        .await;
    cached.store.origin.trust(&[Origin::key(), own.clone()]);
    cached.put("lake/a", 5000);
    let list = Call::get("/lake?list-type=2");
    cached.call(&list.clone().sign(&own)).await.expect(200, "");
    assert!(!is_known(&cached, "/lake/a").await);
    // And a page that others were shown is no permission of the origin's for this one.
    cached.put("lake/b", 5000);
    cached.call(&list.sign(&everything())).await.expect(200, "");
    cached.store.objects.deny("OWNKEY1", "lake/b");
    let answer = cached.call(&Call::new("HEAD", "/lake/b").sign(&own)).await;
    assert_eq!(answer.status, 403);
}
