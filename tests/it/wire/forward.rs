//! What reaches the origin, and what comes back, when all is well.

use std::collections::BTreeSet;

use super::call::{Call, Framed, crc32_base64};
use super::origin::Origin;
use super::pattern;
use super::poll_until;
use super::proxy::{Setup, everything, reader, writer};
use super::reply::{Gate, Payload, Reply};

#[tokio::test]
async fn nothing_of_the_client_itself_reaches_the_origin() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let extras = |call: Call| {
        call.header("cookie", "session=1")
            .header("connection", "keep-alive, x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-authorization", "Basic eDp5")
            .header("te", "trailers")
            .header("x-forwarded-for", "1.2.3.4")
            .header("forwarded", "for=1.2.3.4")
            .header("x-forwarded-host", "evil.test")
            .header("accept-encoding", "gzip")
            .header("amz-sdk-request", "attempt=1; max=3")
            .header("origin", "http://page.test")
            .header("user-agent", "engine/1.0")
            .header("range", "bytes=1-2")
            .header("if-match", "\"e\"")
    };
    let allowed: BTreeSet<&str> = [
        "authorization",
        "host",
        "if-match",
        "range",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-date",
    ]
    .into();
    for call in [
        extras(Call::get("/lake/a").sign(&everything())),
        extras(Call::get("/lake/a").presign(&everything(), "60")),
    ] {
        client.call(&call).await.expect(200, "");
        let seen = origin.take_one();
        let names: BTreeSet<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, allowed);
        assert_eq!(seen.target, "/lake/a");
        assert!(
            !seen
                .field("authorization")
                .unwrap()
                .contains("EVERYTHINGKEY")
        );
        assert_eq!(seen.field("range"), Some("bytes=1-2"));
        assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"));
    }
}

/// What describes the object arrives, signed; a length is always said.
#[tokio::test]
async fn what_means_something_to_s3_arrives() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let key = everything();
    let fields = [
        ("cache-control", "max-age=1"),
        ("content-type", "text/csv"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("if-none-match", "*"),
        ("x-amz-meta-a", "b  c"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-checksum-crc32", "NhCmhg=="),
    ];
    let mut put = Call::put("/lake/a", "hello");
    for (name, value) in fields {
        put = put.header(name, value);
    }
    let canonical = put.clone().set("x-amz-meta-a", "b c");
    client.call(&canonical.sign(&key)).await.expect(200, "");
    let seen = origin.take_one();
    for (name, value) in fields {
        let value = value.replace("  ", " ");
        assert_eq!(seen.field(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(seen.field("content-length"), Some("5"));
    for (call, length) in [
        (Call::new("PUT", "/lake/a"), Some("0")),
        (Call::new("POST", "/lake/a?uploads"), Some("0")),
        (Call::new("DELETE", "/lake/a"), None),
        (Call::get("/lake/a"), None),
    ] {
        client.call(&call.sign(&key)).await.expect(200, "");
        let seen = origin.take_one();
        assert_eq!(seen.field("content-length"), length, "{}", seen.method);
    }
}

/// The origin gets the same checksum in a frame of the proxy's, or the bare bytes.
#[tokio::test]
async fn trailing_checksums_reach_the_origin() {
    let origin = Origin::start().await;
    let key = everything();
    for forwards in [true, false] {
        let line = format!("trailing_checksums: {forwards}");
        let endpoint = format!("http://{}", origin.address);
        let proxy = Setup::at(&endpoint, &[&line]).start().await;
        let mut client = proxy.connect().await;
        for size in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let data = pattern::bytes(size);
            for framed in [Framed::unsigned(&data), Framed::signed_with_trailer(&data)] {
                let call = Call::new("PUT", "/lake/a").framed(&key, &framed);
                client.call(&call).await.expect(200, "");
                let seen = origin.take_one();
                assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"));
                assert!(seen.decoded.as_ref() == Ok(&data), "{size}");
                let is_framed = seen.field("x-amz-trailer") == Some("x-amz-checksum-crc32");
                assert_eq!(is_framed, forwards);
                let coding = forwards.then_some("aws-chunked");
                assert_eq!(seen.field("content-encoding"), coding);
                if forwards {
                    let end = format!("0\r\nx-amz-checksum-crc32:{}\r\n\r\n", crc32_base64(&data));
                    assert!(seen.body.ends_with(end.as_bytes()));
                } else {
                    assert_eq!(seen.field("x-amz-decoded-content-length"), None);
                }
            }
        }
        let call = Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(b"hello"));
        client.call(&call).await.expect(200, "");
        assert_eq!(origin.take_one().body, b"hello");
    }
}

#[tokio::test]
async fn errors_pass_unchanged() {
    let range = Reply::error(416, "InvalidRange").header("Content-Range", "bytes */5");
    let conflict = Reply::error(409, "ConditionalRequestConflict");
    pass_unchanged(vec![
        ("GET", Reply::error(404, "NoSuchKey"), None),
        ("GET", Reply::error(412, "PreconditionFailed"), None),
        ("GET", range, None),
        ("PUT", conflict, None),
        ("PUT", Reply::error(400, "EntityTooSmall"), None),
        ("GET", Reply::status(304).header("ETag", "\"e\""), Some("")),
        (
            "HEAD",
            Reply::status(404).header("Content-Length", "300"),
            Some(""),
        ),
    ])
    .await;
}

#[tokio::test]
async fn answers_pass_unchanged() {
    let part = Reply::new(206, Payload::Bytes(b"ell".into()));
    let part = part.header("Content-Range", "bytes 1-3/5");
    let chunked = Payload::Raw(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec());
    let chunked = Reply::new(200, chunked).header("Transfer-Encoding", "chunked");
    let fields = Reply::ok("x")
        .header("x-amz-meta-a", "b")
        .header("ETag", "\"e\"");
    let hints = Reply::ok("x").interim("HTTP/1.1 103 Early Hints\r\n\r\n");
    let go_on = Reply::ok("x").interim("HTTP/1.1 100 Continue\r\n\r\n");
    let head = Reply::status(200).header("Content-Length", "12345");
    pass_unchanged(vec![
        ("DELETE", Reply::status(204), Some("")),
        ("GET", part, None),
        ("HEAD", head, Some("")),
        ("GET", chunked, Some("abcde")),
        ("GET", fields, None),
        ("GET", hints, None),
        ("PUT", go_on, None),
    ])
    .await;
}

/// Each over the same connection; the body is the reply's unless given.
async fn pass_unchanged(cases: Vec<(&str, Reply, Option<&str>)>) {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (method, reply, body) in cases {
        println!("{method} {}", reply.status);
        origin.script(vec![reply.clone()]);
        let call = Call::new(method, "/lake/a").sign(&everything());
        let answer = client.call(&call).await;
        assert_eq!(answer.status, reply.status);
        assert!(answer.is_complete);
        match (body, &reply.body) {
            (Some(body), _) => assert_eq!(answer.text(), body),
            (None, Payload::Bytes(bytes)) => assert_eq!(answer.body, *bytes),
            (None, _) => unreachable!("only bytes can be compared"),
        }
        for (name, value) in &reply.headers {
            if name != "Transfer-Encoding" {
                assert_eq!(answer.field(name), Some(value.as_str()), "{name}");
            }
        }
        assert_eq!(answer.field("server"), Some("s3proxy"));
        origin.take_one();
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for number in 0..20 {
        let call = match number % 4 {
            0 => Call::get("/lake/a").sign(&everything()),
            1 => Call::put("/lake/a", vec![1; 100_000]).sign(&everything()),
            2 => Call::new("HEAD", "/lake/a").sign(&everything()),
            _ => Call::get("/lake/private/a").sign(&reader()),
        };
        let status = client.call(&call).await.status;
        assert_eq!(status, if number % 4 == 3 { 403 } else { 200 });
    }
    let connections: BTreeSet<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    // Each of the two threads may have one.
    assert!(connections.len() <= 2, "{connections:?}");
    let reused = proxy
        .metric("s3proxy_upstream_connections_total", "reused=\"true\"")
        .await;
    assert!(reused >= 13, "{reused}");
    assert_eq!(proxy.metric("s3proxy_connections", "").await, 1);
    proxy.wait_until_idle().await;
    assert_eq!(proxy.metric("s3proxy_requests_total", "").await, 20);
}

#[tokio::test]
async fn the_bucket_chooses_the_origin() {
    let (first, second) = (Origin::start().await, Origin::start().await);
    let endpoint = format!("http://{}", second.address);
    let proxy = Setup::at(
        &format!("http://{}", first.address),
        &["buckets: [lake, 'l-*']"],
    )
    .origin("second", &endpoint, &["buckets: ['p*', lake]"])
    .start()
    .await;
    let mut client = proxy.connect().await;
    let key = everything();
    for (bucket, here) in [("lake", &first), ("l-1", &first), ("pond", &second)] {
        client
            .call(&Call::get(&format!("/{bucket}/a")).sign(&key))
            .await
            .expect(200, "");
        assert_eq!(here.take_one().path(), format!("/{bucket}/a"));
    }
    client
        .call(&Call::get("/sea/a").sign(&key))
        .await
        .expect(404, "NoSuchBucket");
    let copy = Call::new("PUT", "/lake/a").header("x-amz-copy-source", "pond/a");
    client
        .call(&copy.sign(&key))
        .await
        .expect(501, "NotImplemented");
    first.assert_untouched("nobody's bucket");
    second.assert_untouched("nobody's bucket");
}

fn bucket_list(names: &[&str], token: &str) -> Reply {
    let mut buckets = String::new();
    for name in names {
        let created = "<CreationDate>2026-01-01T00:00:00Z</CreationDate>";
        buckets += &format!("<Bucket><Name>{name}</Name>{created}</Bucket>");
    }
    let token = match token {
        "" => String::new(),
        token => format!("<ContinuationToken>{token}</ContinuationToken>"),
    };
    let body = format!(
        "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets>{token}</ListAllMyBucketsResult>"
    );
    Reply::ok(body).header("Content-Type", "application/xml")
}

#[tokio::test]
async fn buckets_of_all_origins_are_listed_as_far_as_they_may_be_seen() {
    let (first, second) = (Origin::start().await, Origin::start().await);
    first.respond(|seen| {
        if seen.target.contains("continuation-token=t") {
            bucket_list(&["lagoon"], "")
        } else {
            bucket_list(&["lake", "pond"], "t")
        }
    });
    second.respond(|_| bucket_list(&["sea", "lake", "evil&lt;"], ""));
    let endpoint = format!("http://{}", second.address);
    let proxy = Setup::at(&format!("http://{}", first.address), &["buckets: ['l*']"])
        .origin("second", &endpoint, &[])
        .start()
        .await;
    let mut client = proxy.connect().await;
    let names = |text: &str| -> Vec<String> {
        let parts = text.split("<Name>").skip(1);
        parts
            .map(|part| part.split('<').next().unwrap().to_owned())
            .collect()
    };
    let answer = client
        .call(&Call::get("/").sign(&everything()))
        .await
        .expect(200, "");
    assert_eq!(names(&answer.text()), ["lagoon", "lake", "sea"]);
    let answer = client
        .call(&Call::get("/").sign(&writer()))
        .await
        .expect(200, "");
    assert_eq!(names(&answer.text()), ["lake"]);
    assert!(first.take().iter().all(|seen| seen.signer.is_ok()));
    second.respond(|_| Reply::error(500, "InternalError"));
    client
        .call(&Call::get("/").sign(&everything()))
        .await
        .expect(503, "ServiceUnavailable");
    client
        .call(&Call::get("/"))
        .await
        .expect(403, "AccessDenied");
}

/// The origin has not said anything yet, and the client leaves: what was asked is counted all the same.
#[tokio::test]
async fn a_request_given_up_before_its_answer_is_counted() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.respond(move |_| Reply::new(200, Payload::Pattern(10)).held(&held));
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    client
        .send(&Call::get("/lake?acl").sign(&everything()).bytes())
        .await;
    poll_until("request at the origin", || origin.in_flight() == 1).await;
    drop(client);
    proxy.wait_until_idle().await;
    let given_up = "operation=\"GetBucketAcl\",origin=\"main\",status=\"given_up\"";
    let requests = "s3proxy_upstream_requests_total";
    assert_eq!(proxy.metric(requests, given_up).await, 1);
    assert_eq!(proxy.metric(requests, "").await, 1);
}

/// A client that stops reading stops the origin, and a client that leaves ends its transfer.
#[tokio::test]
async fn a_client_that_leaves_ends_the_transfer() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(1 << 40)));
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    client
        .send(&Call::get("/lake/a").sign(&everything()).bytes())
        .await;
    let (status, _) = client.read_head().await.unwrap();
    assert_eq!(status, 200);
    drop(client);
    proxy.wait_until_idle().await;
    poll_until("line in the access log", || {
        proxy.logs().contains("operation=GetObject")
    })
    .await;
}
