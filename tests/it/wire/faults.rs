//! Origins that fail: what is tried again, what never is, and what the client is told.

use std::time::{Duration, Instant};

use super::call::Call;
use super::origin::Origin;
use super::pattern;
use super::proxy::{Setup, everything};
use super::reply::{End, Payload, Reply};

fn get() -> Call {
    Call::get("/lake/a").sign(&everything())
}

fn put(size: usize) -> Call {
    Call::put("/lake/a", pattern::bytes(size)).sign_unsigned(&everything())
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_are_not() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for status in [500, 502, 503, 504] {
        let sick = || Reply::error(status, "SlowDown");
        origin.script(vec![sick(), sick()]);
        client.call(&get()).await.expect(200, "");
        assert_eq!(origin.take().len(), 3, "{status}");
        origin.script(vec![sick(), sick(), sick(), sick()]);
        let answer = client.call(&get()).await.expect(status, "SlowDown");
        assert_eq!(answer.element("Message"), "from the origin");
        assert_eq!(origin.take().len(), 3, "{status}");
        for call in [put(10), Call::new("DELETE", "/lake/a").sign(&everything())] {
            origin.script(vec![sick()]);
            client.call(&call).await.expect(status, "SlowDown");
            assert_eq!(origin.take().len(), 1, "{status} {}", call.method);
        }
    }
    origin.script(vec![Reply::error(404, "NoSuchKey")]);
    client.call(&get()).await.expect(404, "NoSuchKey");
    assert_eq!(origin.take().len(), 1);
    let retries = proxy.metric("s3proxy_upstream_retries_total", "").await;
    assert_eq!(retries, 16);
}

/// A lost answer may have been a success: only reads are sent twice.
#[tokio::test]
async fn after_an_ambiguous_failure_only_reads_are_sent_twice() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    origin.script(vec![Reply::vanish(), Reply::vanish()]);
    proxy.call(&get()).await.expect(200, "");
    assert_eq!(origin.take().len(), 3);
    for size in [0, 10, 60_000, 300_000] {
        origin.script(vec![Reply::vanish()]);
        proxy
            .call(&put(size))
            .await
            .expect(503, "ServiceUnavailable");
        assert_eq!(origin.take().len(), 1, "{size}");
    }
    for call in [
        Call::new("DELETE", "/lake/a"),
        Call::new("POST", "/lake/a?uploads"),
        Call::new("POST", "/lake/a?uploadId=u").body("<CompleteMultipartUpload/>"),
        Call::new("POST", "/lake?delete").body("<Delete><Object><Key>a</Key></Object></Delete>"),
    ] {
        origin.script(vec![Reply::vanish()]);
        proxy
            .call(&call.clone().sign(&everything()))
            .await
            .expect(503, "ServiceUnavailable");
        assert_eq!(origin.take().len(), 1, "{} {}", call.method, call.target);
    }
}

/// A kept connection that the origin has closed meanwhile: reads do not notice, writes either find
/// it closed before they are sent or fail.
#[tokio::test]
async fn stale_connections_do_not_fail_reads() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    origin.respond(|_| Reply::ok("ok").ending(End::Close));
    for _ in 0..20 {
        client.call(&get()).await.expect(200, "");
    }
    // The second request on a connection is never answered.
    let served = parking_lot::Mutex::new(std::collections::HashSet::new());
    origin.respond(move |seen| {
        if served.lock().insert(seen.connection) {
            Reply::ok("ok")
        } else {
            Reply::vanish()
        }
    });
    for _ in 0..10 {
        client.call(&get()).await.expect(200, "");
    }
}

#[tokio::test]
async fn a_write_is_tried_again_when_no_connection_was_made() {
    let origin = Origin::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Setup::at(&format!("http://{}", origin.address), &["buckets: [lake]"])
        .origin("down", &format!("http://{unused}"), &["buckets: [down]"])
        .start()
        .await;
    let begun = Instant::now();
    let down = Call::put("/down/a", "x").sign(&everything());
    proxy.call(&down).await.expect(503, "ServiceUnavailable");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let labels = "origin=\"down\",reason=\"connect\"";
    assert_eq!(
        proxy.metric("s3proxy_upstream_retries_total", labels).await,
        2
    );
    proxy.call(&put(10)).await.expect(200, "");
}

#[tokio::test]
async fn a_bucket_elsewhere_is_found_and_never_shown() {
    for (status, code) in [
        (301, "PermanentRedirect"),
        (307, "TemporaryRedirect"),
        (400, "AuthorizationHeaderMalformed"),
    ] {
        let origin = Origin::start().await;
        origin.respond(move |seen| {
            let scope = seen.field("authorization").unwrap();
            if scope.contains("/eu-west-1/s3/") {
                return Reply::ok("ok").header("x-amz-bucket-region", "eu-west-1");
            }
            let reply = Reply::error(status, code).header("x-amz-bucket-region", "eu-west-1");
            reply.header("Location", "http://evil.test/lake/a")
        });
        let proxy = Setup::of(&origin).start().await;
        let mut client = proxy.connect().await;
        for (call, requests) in [(get(), 2), (get(), 1), (put(10), 1)] {
            let answer = client.call(&call).await.expect(200, "");
            assert_eq!(answer.field("x-amz-bucket-region"), None);
            assert_eq!(answer.field("location"), None);
            let seen = origin.take();
            assert_eq!(seen.len(), requests, "{status}");
            assert!(seen.iter().all(|seen| seen.signer.is_ok()));
        }
        let other = Call::put("/pond/a", "hello").sign(&everything());
        client.call(&other).await.expect(200, "");
        assert_eq!(origin.take()[1].body, b"hello");
    }
}

#[tokio::test]
async fn redirects_are_not_followed_out_of_the_service_or_in_circles() {
    let origin = Origin::start().await;
    let elsewhere = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let location = format!("http://{}/lake/a", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let target = location.clone();
        origin.respond(move |_| Reply::error(status, "Redirect").header("Location", &target));
        let answer = proxy.call(&get()).await.expect(503, "ServiceUnavailable");
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(answer.field("location"), None);
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
        assert_eq!(origin.take().len(), 1);
        let mut client = proxy.connect().await;
        client
            .call(&put(10))
            .await
            .expect(503, "ServiceUnavailable");
        assert_eq!(origin.take().len(), 1);
    }
    elsewhere.assert_untouched("a redirect");
    // Every answer names another region, for ever.
    origin.respond(|seen| {
        let region = format!("region-{}", seen.number);
        Reply::error(301, "PermanentRedirect").header("x-amz-bucket-region", &region)
    });
    proxy.call(&get()).await.expect(503, "ServiceUnavailable");
    assert!(origin.take().len() <= 4);
}

#[tokio::test]
async fn a_silent_origin_is_given_up() {
    let origin = Origin::start().await;
    let endpoint = format!("http://{}", origin.address);
    let proxy = Setup::at(&endpoint, &["timeouts: {read: 300ms}", "max_retries: 1"])
        .start()
        .await;
    origin.respond(|_| Reply::stall());
    let begun = Instant::now();
    proxy.call(&get()).await.expect(503, "ServiceUnavailable");
    assert_eq!(origin.take().len(), 2);
    proxy
        .call(&put(100_000))
        .await
        .expect(503, "ServiceUnavailable");
    assert_eq!(origin.take().len(), 1);
    origin.respond(|_| {
        Reply::ok("half")
            .header("Content-Length", "8")
            .ending(End::StallAfter)
    });
    let answer = proxy.call(&get()).await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.is_complete),
        (200, "half", false)
    );
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "{:?}",
        begun.elapsed()
    );
    origin.respond(|_| Reply::ok("late").after(Duration::from_millis(150)));
    proxy.call(&get()).await.expect(200, "");
}

#[tokio::test]
async fn an_exchange_is_bounded_as_a_whole() {
    let origin = Origin::start().await;
    let endpoint = format!("http://{}", origin.address);
    let proxy = Setup::at(&endpoint, &["timeouts: {total: 1s}"])
        .start()
        .await;
    origin.respond(|_| Reply::ok(vec![1; 1000]).in_pieces(10, Duration::from_millis(100)));
    let begun = Instant::now();
    let answer = proxy.call(&get()).await;
    assert_eq!((answer.status, answer.is_complete), (200, false));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// A body that ends early is never padded and never ended cleanly.
#[tokio::test]
async fn a_cut_body_is_cut_for_the_client() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let raw = |bytes: &[u8]| Reply::new(200, Payload::Raw(bytes.to_vec()));
    for (name, reply, bytes) in [
        (
            "length",
            Reply::ok(vec![b'x'; 100_000]).ending(End::CutAfter(70_000)),
            70_000,
        ),
        (
            "first byte",
            Reply::ok(vec![b'x'; 100]).ending(End::CutAfter(0)),
            0,
        ),
        (
            "chunks",
            raw(b"5\r\nhello\r\n5\r\nwo")
                .header("Transfer-Encoding", "chunked")
                .ending(End::Close),
            7,
        ),
        (
            "no last chunk",
            raw(b"5\r\nhello\r\n")
                .header("Transfer-Encoding", "chunked")
                .ending(End::Close),
            5,
        ),
    ] {
        origin.respond(move |_| reply.clone());
        let answer = proxy.call(&get()).await;
        assert!(!answer.is_complete, "{name}");
        assert!(
            answer.status == 503 || (answer.status == 200 && answer.body_bytes <= bytes),
            "{name}"
        );
    }
    // Said to be longer than it is, with the next answer behind it.
    origin.respond(|_| Reply::ok("hello, and more").header("Content-Length", "5"));
    for _ in 0..3 {
        let answer = proxy.call(&get()).await;
        assert_eq!(
            (answer.text().as_str(), answer.is_complete),
            ("hello", true)
        );
    }
}

#[tokio::test]
async fn answers_that_are_none_are_not_passed_on() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let raw = |text: &str| Reply::new(200, Payload::Raw(text.as_bytes().to_vec()));
    let long = "x".repeat(3 << 20);
    for (name, reply) in [
        (
            "two lengths",
            raw("hello")
                .header("Content-Length", "5")
                .header("Content-Length", "6")
                .ending(End::Close),
        ),
        (
            "no number",
            raw("hello")
                .header("Content-Length", "x")
                .ending(End::Close),
        ),
        (
            "endless head",
            raw("").header("x", &long).ending(End::Close),
        ),
    ] {
        origin.respond(move |_| reply.clone());
        let answer = proxy.call(&get()).await;
        assert!(
            answer.status == 503 || !answer.is_complete,
            "{name}: {answer:?}"
        );
        origin.take();
    }
    origin.respond(|_| Reply::ok("ok"));
    proxy.call(&get()).await.expect(200, "");
}

/// An origin that answers before it has read the body ends the upload.
#[tokio::test]
async fn an_early_answer_reaches_the_client() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let denied = Reply::error(403, "AccessDenied").header("Connection", "close");
    origin.respond(move |_| denied.clone().early().ending(End::Linger));
    for size in [10, 100_000, 8 << 20] {
        let answer = proxy.call(&put(size)).await.expect(403, "AccessDenied");
        assert_eq!(answer.element("Message"), "from the origin", "{size}");
    }
    proxy.wait_until_idle().await;
}
