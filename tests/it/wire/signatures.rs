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

/// Calls that are refused with one status and code, each with its name.
type Refused<'a> = (u16, &'a str, Vec<(&'a str, Call)>);

/// Sends all over one connection, which every refusal leaves open.
async fn refused(groups: Vec<Refused<'_>>) {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (status, code, calls) in groups {
        for (name, call) in calls {
            println!("{name}");
            client.call(&call).await.expect(status, code);
            origin.assert_untouched(name);
        }
    }
    let good = Call::get("/lake/a").sign(&everything());
    client.call(&good).await.expect(200, "");
    assert_eq!(proxy.metric("s3proxy_connections", "").await, 1);
}

fn get() -> Call {
    Call::get("/lake/a?versionId=1").header("range", "bytes=0-1")
}

#[tokio::test]
async fn a_wrong_signature_in_the_header_is_refused() {
    let key = everything();
    let good = || get().sign(&key);
    let spoiled = |spoil: fn(&mut Call)| {
        let mut call = get().sign(&everything());
        spoil(&mut call);
        call
    };
    let names = ["host", "range", "x-amz-content-sha256", "x-amz-date"];
    let range = || get().sign_fields(&key, &names);
    let by = |key: &Key| get().sign(key);
    let mismatch = vec![
        ("wrong secret", by(&key.clone().with_secret("x"))),
        (
            "another's secret",
            by(&key.clone().with_secret(&reader().secret)),
        ),
        (
            "other path",
            spoiled(|call| call.target = "/lake/b?versionId=1".into()),
        ),
        (
            "other query",
            spoiled(|call| call.target = "/lake/a?versionId=2".into()),
        ),
        (
            "other method",
            spoiled(|call| call.method = "DELETE".into()),
        ),
        ("other host", good().set("host", "other.test:3000")),
        ("other range", range().set("range", "bytes=0-9")),
        ("no range", range().without("range")),
    ];
    let strangers = vec![
        ("unknown key", by(&Key::new("NOBODY", "x"))),
        ("origin's key", by(&Origin::key())),
    ];
    let empty = sha256_hex(b"");
    let skewed = vec![
        ("too old", get().sign_at(&key, &date_in(-1000), &empty)),
        ("too new", get().sign_at(&key, &date_in(1000), &empty)),
    ];
    refused(vec![
        (403, "SignatureDoesNotMatch", mismatch),
        (403, "InvalidAccessKeyId", strangers),
        (403, "RequestTimeTooSkewed", skewed),
        (
            400,
            "InvalidToken",
            vec![("unasked token", by(&key.clone().with_token("t")))],
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_incomplete_or_doubled_signature_is_refused() {
    let key = everything();
    let good = || get().sign(&key);
    let names = ["host", "x-amz-content-sha256", "x-amz-date"];
    let scheme = |value: &str| get().header("authorization", value);
    let uncovered = vec![
        ("nobody", get()),
        ("bearer", scheme("Bearer abc")),
        (
            "header added",
            good().header("x-amz-checksum-mode", "ENABLED"),
        ),
        (
            "copy source added",
            good().header("x-amz-copy-source", "/pond/a"),
        ),
        ("host not signed", get().sign_fields(&key, &names[1..])),
        ("date not signed", get().sign_fields(&key, &names[..2])),
    ];
    let ambiguous = vec![
        (
            "two authorizations",
            good().header("authorization", "AWS x:y"),
        ),
        ("two dates", good().header("x-amz-date", &date_in(0))),
    ];
    let half = scheme("AWS4-HMAC-SHA256 Credential=a");
    refused(vec![
        (403, "AccessDenied", uncovered),
        (400, "InvalidRequest", ambiguous),
        (
            400,
            "InvalidArgument",
            vec![("basic", scheme("Basic YTpi"))],
        ),
        (400, "AuthorizationHeaderMalformed", vec![("half", half)]),
    ])
    .await;
}

#[tokio::test]
async fn a_wrong_presigned_url_is_refused() {
    let key = everything();
    let good = || get().presign(&key, "60");
    let spoiled = |from: &str, to: &str| {
        let mut call = good();
        assert!(call.target.contains(from));
        call.target = call.target.replace(from, to);
        call
    };
    let with_more = |more: &str| {
        let mut call = good();
        call.target += more;
        call
    };
    let mut other_method = good();
    other_method.method = "DELETE".to_owned();
    let mismatch = vec![
        ("longer", spoiled("Expires=60", "Expires=600")),
        ("other path", spoiled("/lake/a", "/lake/b")),
        ("other query", spoiled("versionId=1", "versionId=2")),
        ("parameter added", with_more("&partNumber=1")),
        (
            "field added to the query",
            with_more("&x-amz-checksum-mode=ENABLED"),
        ),
        ("other method", other_method),
        ("other host", good().set("host", "other.test")),
        (
            "wrong secret",
            get().presign(&key.clone().with_secret("x"), "60"),
        ),
    ];
    let ended = vec![
        ("expired", get().presign_at(&key, "60", &date_in(-120))),
        (
            "from the future",
            get().presign_at(&key, "60", &date_in(1000)),
        ),
        ("header added", good().header("x-amz-meta-a", "b")),
    ];
    let malformed = vec![
        ("eight days", get().presign(&key, "604801")),
        ("no time", get().presign(&key, "0")),
        ("negative", get().presign(&key, "-5")),
        ("no number", get().presign(&key, "60s")),
        (
            "two expiries",
            spoiled("Expires=60", "Expires=60&X-Amz-Expires=600"),
        ),
        ("other spelling", spoiled("X-Amz-Expires", "x-amz-expires")),
        ("no signature", spoiled("X-Amz-Signature=", "X-Amz-Nature=")),
    ];
    let two = vec![
        ("two mechanisms", good().sign(&key)),
        ("bearer as well", good().header("authorization", "Bearer x")),
    ];
    let stranger = get().presign(&Key::new("NOBODY", "x"), "60");
    refused(vec![
        (403, "SignatureDoesNotMatch", mismatch),
        (403, "AccessDenied", ended),
        (400, "AuthorizationQueryParametersError", malformed),
        (400, "InvalidArgument", two),
        (403, "InvalidAccessKeyId", vec![("unknown key", stranger)]),
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
