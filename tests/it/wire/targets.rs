//! Paths and hosts that mean something else to somebody else.

use super::call::{Call, HOST};
use super::origin::Origin;
use super::proxy::{Setup, everything, reader};

/// The reader may read `lake/public/*`: none of these is that.
#[tokio::test]
async fn no_path_leads_out_of_the_rules() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (target, status, code) in [
        ("/lake/public/../private/x", 403, "AccessDenied"),
        ("/lake/public/%2e%2e/private/x", 403, "AccessDenied"),
        ("/lake/public/.%2E/private/x", 403, "AccessDenied"),
        ("/lake/public%2F..%2Fprivate/x", 403, "AccessDenied"),
        ("/lake/public/../../pond/x", 403, "AccessDenied"),
        ("/lake/public/../../../etc/passwd", 403, "AccessDenied"),
        ("/lake/public//../../private/x", 403, "AccessDenied"),
        ("/lake//public/x", 403, "AccessDenied"),
        ("/lake/./private/x", 403, "AccessDenied"),
        ("/lake/../lake/private/x", 403, "AccessDenied"),
        ("/lake/%252e%252e/x", 403, "AccessDenied"),
        ("/public/../lake/x", 403, "AccessDenied"),
        ("/lake%2Fpublic/x", 400, "InvalidBucketName"),
        ("/lake%00/public/x", 400, "InvalidBucketName"),
        ("//lake/public/x", 400, "InvalidBucketName"),
        ("/../lake/public/x", 400, "InvalidBucketName"),
        ("/.lake/public/x", 400, "InvalidBucketName"),
        ("/la%FFke/public/x", 400, "InvalidURI"),
        ("/lake/public/%FF", 400, "InvalidURI"),
        ("/lake/public/x?versionId=%FF", 400, "InvalidURI"),
        ("/lake/public/x?=x", 400, "InvalidArgument"),
        (
            "/lake/public/x?versionId=1&versionId=2",
            400,
            "InvalidArgument",
        ),
    ] {
        println!("{target}");
        client
            .call(&Call::get(target).sign(&reader()))
            .await
            .expect(status, code);
        origin.assert_untouched(target);
    }
    let long = format!("/lake/public/{}", "x".repeat(1024));
    client
        .call(&Call::get(&long).sign(&reader()))
        .await
        .expect(400, "KeyTooLongError");
    origin.assert_untouched("a long key");
}

/// Keys are names, not paths: what is allowed arrives byte for byte, encoded once.
#[tokio::test]
async fn strange_keys_arrive_as_they_are() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (target, arrives) in [
        ("/lake/public//x", "/lake/public//x"),
        ("/lake/public/a%2Fb", "/lake/public/a/b"),
        ("/lake/public/./x", "/lake/public/./x"),
        ("/lake/public/a/../x", "/lake/public/a/../x"),
        ("/lake/public/%7Ea", "/lake/public/~a"),
        ("/lake/public/a+b", "/lake/public/a%2Bb"),
        (
            "/lake/public/a%20b%25c%3D%26",
            "/lake/public/a%20b%25c%3D%26",
        ),
        ("/lake/public/(a)!@,b", "/lake/public/%28a%29%21%40%2Cb"),
        ("/lake/public/%C3%A9%0A%00", "/lake/public/%C3%A9%0A%00"),
        (
            "/lake/public/x?x-id=GetObject",
            "/lake/public/x?x-id=GetObject",
        ),
        ("/lake/public/", "/lake/public/"),
    ] {
        println!("{target}");
        client
            .call(&Call::get(target).sign(&reader()))
            .await
            .expect(200, "");
        let seen = origin.take_one();
        assert_eq!(seen.target, arrives);
        assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"));
    }
}

/// Sends bytes; the origin must not hear of them. Answers the status, or 0 for a closed connection.
async fn raw(proxy: &super::proxy::Proxy, origin: &Origin, bytes: &[u8]) -> u16 {
    let mut client = proxy.connect().await;
    client.send(bytes).await;
    let answer = client.answer_to("GET").await;
    origin.assert_untouched(&String::from_utf8_lossy(bytes));
    answer.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn the_host_decides_nothing_it_should_not() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let other = "other.test";
    let signed = |host: &str| Call::get("/lake/a").header("host", host).sign(&key);
    let text = |call: &Call| String::from_utf8(call.bytes()).unwrap();
    let good = text(&signed(HOST));
    let twice = good.replacen("\r\n", &format!("\r\nhost: {other}\r\n"), 1);
    let same_twice = good.replacen("\r\n", &format!("\r\nhost: {HOST}\r\n"), 1);
    let absolute =
        |authority: &str| good.replacen(" /lake", &format!(" http://{authority}/lake"), 1);
    let none = good.replace(&format!("host: {HOST}\r\n"), "");
    for (name, request, statuses) in [
        ("two hosts", twice, &[400][..]),
        ("the same host twice", same_twice, &[400]),
        ("no host", none, &[400, 403]),
        (
            "absolute-form of another authority",
            absolute(other),
            &[400],
        ),
        (
            "absolute-form with user",
            absolute(&format!("user@{HOST}")),
            &[400],
        ),
        (
            "user in the host",
            text(&signed(&format!("user@{HOST}"))),
            &[400],
        ),
        ("path in the host", text(&signed("s3.test/lake")), &[400]),
        (
            "two authorities",
            text(&signed("s3.test, other.test")),
            &[400],
        ),
    ] {
        let status = raw(&proxy, &origin, request.as_bytes()).await;
        assert!(statuses.contains(&status), "{name}: {status}");
    }
    let mut client = proxy.connect().await;
    client.send(absolute(HOST).as_bytes()).await;
    client.answer_to("GET").await.unwrap().expect(200, "");
    let seen = origin.take_one();
    assert_eq!(seen.target, "/lake/a");
    assert_eq!(
        seen.field("host"),
        Some(origin.address.to_string().as_str())
    );
    // Metadata services are asked by host name or address: neither moves the request.
    for host in ["169.254.169.254", "metadata.google.internal", "[::1]:80"] {
        client.call(&signed(host)).await.expect(200, "");
        assert!(origin.take_one().signer.is_ok());
    }
}
