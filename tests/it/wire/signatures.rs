//! Who is let in: every way a signature can be wrong is refused before the origin hears of it.

use super::call::{Call, Framed};
use super::origin::Origin;
use super::proxy::{Setup, everything, reader};
use super::sigv4::{Key, date_in, sha256_hex};

#[tokio::test]
async fn every_way_of_signing_is_understood() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let mut client = proxy.connect().await;
    let data = b"0123456789".repeat(3000);
    let put = || Call::new("PUT", "/lake/in/a%20b");
    let whole = || Call::put("/lake/a", data.clone());
    for (name, call) in [
        ("header", Call::get("/lake/a").sign(&key)),
        ("presigned", Call::get("/lake/a").presign(&key, "60")),
        ("hash", whole().sign(&key)),
        ("unsigned", whole().sign_unsigned(&key)),
        ("trailer", put().framed(&key, &Framed::unsigned(&data))),
        ("chunks", put().framed(&key, &Framed::signed(&data))),
        (
            "chunks and trailer",
            put().framed(&key, &Framed::signed_with_trailer(&data)),
        ),
        ("presigned put", whole().presign(&key, "60")),
    ] {
        let answer = client.call(&call).await.expect(200, "");
        assert_eq!(answer.text(), "ok", "{name}");
        let seen = origin.take_one();
        assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"), "{name}");
        assert!(seen.is_complete, "{name}");
        if call.method == "PUT" {
            assert!(seen.decoded == Ok(data.clone()), "{name}");
        }
    }
}

/// Sends all over one connection, which every refusal leaves open.
async fn refused(cases: Vec<(&str, Call, u16, &str)>) {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (name, call, status, code) in cases {
        println!("{name}");
        client.call(&call).await.expect(status, code);
        origin.assert_untouched(name);
    }
    let good = Call::get("/lake/a").sign(&everything());
    client.call(&good).await.expect(200, "");
    assert_eq!(proxy.metric("s3proxy_connections", "").await, 1.0);
}

#[tokio::test]
async fn a_wrong_signature_in_the_header_is_refused() {
    let key = everything();
    let get = || Call::get("/lake/a?versionId=1").header("range", "bytes=0-1");
    let empty = sha256_hex(b"");
    let at = |seconds| get().sign_at(&key, &date_in(seconds), &empty);
    let mut moved = get().sign(&key);
    moved.target = "/lake/b?versionId=1".to_owned();
    let mut other_query = get().sign(&key);
    other_query.target = "/lake/a?versionId=2".to_owned();
    let mut other_method = get().sign(&key);
    other_method.method = "DELETE".to_owned();
    let names = ["host", "range", "x-amz-content-sha256", "x-amz-date"];
    let signed_range = get().sign_fields(&key, &names);
    refused(vec![
        ("nobody", get(), 403, "AccessDenied"),
        (
            "wrong secret",
            get().sign(&key.clone().with_secret("x")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another's secret",
            get().sign(&key.clone().with_secret(&reader().secret)),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "unknown key",
            get().sign(&Key::new("NOBODY", "x")),
            403,
            "InvalidAccessKeyId",
        ),
        (
            "origin's key",
            get().sign(&Origin::key()),
            403,
            "InvalidAccessKeyId",
        ),
        (
            "unasked token",
            get().sign(&key.clone().with_token("t")),
            400,
            "InvalidToken",
        ),
        ("too old", at(-1000), 403, "RequestTimeTooSkewed"),
        ("too new", at(1000), 403, "RequestTimeTooSkewed"),
        ("other path", moved, 403, "SignatureDoesNotMatch"),
        ("other query", other_query, 403, "SignatureDoesNotMatch"),
        ("other method", other_method, 403, "SignatureDoesNotMatch"),
        (
            "other range",
            signed_range.clone().set("range", "bytes=0-9"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "no range",
            signed_range.without("range"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "other host",
            get().sign(&key).set("host", "other.test:3000"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "header added",
            get().sign(&key).header("x-amz-checksum-mode", "ENABLED"),
            403,
            "AccessDenied",
        ),
        (
            "host not signed",
            get().sign_fields(&key, &names[1..]),
            403,
            "AccessDenied",
        ),
        (
            "date not signed",
            get().sign_fields(&key, &names[..3]),
            403,
            "AccessDenied",
        ),
        (
            "two authorizations",
            get().sign(&key).header("authorization", "AWS x:y"),
            400,
            "InvalidRequest",
        ),
        (
            "two dates",
            get().sign(&key).header("x-amz-date", &date_in(0)),
            400,
            "InvalidRequest",
        ),
        (
            "bearer",
            get().header("authorization", "Bearer abc"),
            403,
            "AccessDenied",
        ),
        (
            "basic",
            get().header("authorization", "Basic YTpi"),
            400,
            "InvalidArgument",
        ),
        (
            "half",
            get().header("authorization", "AWS4-HMAC-SHA256 Credential=a"),
            400,
            "AuthorizationHeaderMalformed",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_wrong_presigned_url_is_refused() {
    let key = everything();
    let get = || Call::get("/lake/a?versionId=1");
    let spoiled = |from: &str, to: &str| {
        let mut call = get().presign(&key, "60");
        assert!(call.target.contains(from));
        call.target = call.target.replace(from, to);
        call
    };
    let mut other_method = get().presign(&key, "60");
    other_method.method = "DELETE".to_owned();
    let mut added = get().presign(&key, "60");
    added.target += "&partNumber=1";
    let mut hoisted = get().presign(&key, "60");
    hoisted.target += "&x-amz-checksum-mode=ENABLED";
    let both = get().presign(&key, "60").sign(&key);
    let malformed = "AuthorizationQueryParametersError";
    refused(vec![
        (
            "expired",
            get().presign_at(&key, "60", &date_in(-120)),
            403,
            "AccessDenied",
        ),
        (
            "from the future",
            get().presign_at(&key, "60", &date_in(1000)),
            403,
            "AccessDenied",
        ),
        ("eight days", get().presign(&key, "604801"), 400, malformed),
        ("no time", get().presign(&key, "0"), 400, malformed),
        ("negative", get().presign(&key, "-5"), 400, malformed),
        ("no number", get().presign(&key, "60s"), 400, malformed),
        (
            "longer",
            spoiled("Expires=60", "Expires=600"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "two expiries",
            spoiled("Expires=60", "Expires=60&X-Amz-Expires=600"),
            400,
            malformed,
        ),
        (
            "other spelling",
            spoiled("X-Amz-Expires", "x-amz-expires"),
            400,
            malformed,
        ),
        (
            "no signature",
            spoiled("X-Amz-Signature=", "X-Amz-Nature="),
            400,
            malformed,
        ),
        (
            "other path",
            spoiled("/lake/a", "/lake/b"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "other query",
            spoiled("versionId=1", "versionId=2"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("parameter added", added, 403, "SignatureDoesNotMatch"),
        (
            "field added to the query",
            hoisted,
            403,
            "SignatureDoesNotMatch",
        ),
        ("other method", other_method, 403, "SignatureDoesNotMatch"),
        (
            "other host",
            get().presign(&key, "60").set("host", "other.test"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "header added",
            get().presign(&key, "60").header("x-amz-meta-a", "b"),
            403,
            "AccessDenied",
        ),
        (
            "wrong secret",
            get().presign(&key.clone().with_secret("x"), "60"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "unknown key",
            get().presign(&Key::new("NOBODY", "x"), "60"),
            403,
            "InvalidAccessKeyId",
        ),
        ("two mechanisms", both, 400, "InvalidArgument"),
        (
            "bearer as well",
            get()
                .presign(&key, "60")
                .header("authorization", "Bearer x"),
            400,
            "InvalidArgument",
        ),
    ])
    .await;
}

/// boto3 presigns with version 2 unless told otherwise: the answer says how.
#[tokio::test]
async fn version_two_is_refused_with_advice() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let query = "/lake/a?AWSAccessKeyId=EVERYTHINGKEY&Signature=abc%3D&Expires=2000000000";
    for call in [
        Call::get("/lake/a").header("authorization", "AWS EVERYTHINGKEY:abc="),
        Call::get(query),
    ] {
        let answer = client.call(&call).await.expect(400, "InvalidRequest");
        assert!(
            answer.element("Message").contains("s3v4"),
            "{}",
            answer.text()
        );
    }
    origin.assert_untouched("version 2");
}

/// A refusal shows what was signed, so that a developer finds the mistake, and nothing secret.
#[tokio::test]
async fn a_mismatch_shows_the_canonical_request_and_no_secret() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything()
        .with_secret("x")
        .with_token("very-secret-token");
    let call = Call::get("/lake/a%20b?versionId=%3C1%3E").sign(&key);
    let answer = proxy.call(&call).await.expect(403, "SignatureDoesNotMatch");
    let text = answer.text();
    assert!(
        answer
            .element("CanonicalRequest")
            .starts_with("GET&#10;/lake/a%20b&#10;versionId=")
    );
    assert_eq!(answer.element("AWSAccessKeyId"), "EVERYTHINGKEY");
    assert!(!text.contains("very-secret-token"), "{text}");
    let presigned = Call::get("/lake/a").presign(&key, "60");
    let answer = proxy
        .call(&presigned)
        .await
        .expect(403, "SignatureDoesNotMatch");
    assert!(
        !answer.text().contains("very-secret-token"),
        "{}",
        answer.text()
    );
}
