//! An origin that rejects the proxy's own credentials.

use super::call::Call;
use super::origin::Origin;
use super::proxy::{Setup, reader};
use super::reply::{Payload, Reply};

/// Its error is about us: the client must not learn our key id, nor take the error for its own.
#[tokio::test]
async fn a_rejection_of_our_credentials_is_not_the_clients() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for code in [
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "ExpiredToken",
    ] {
        let document = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><AWSAccessKeyId>ORIGINKEY\
             </AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 of the proxy</StringToSign></Error>"
        );
        origin.respond(move |_| {
            Reply::new(403, Payload::Bytes(document.clone().into()))
                .header("content-type", "application/xml")
        });
        let answer = client
            .call(&Call::get("/lake/public/x").sign(&reader()))
            .await;
        let answer = answer.expect(403, "AccessDenied");
        assert!(
            !answer.text().contains("ORIGINKEY"),
            "{code}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("AWS4-HMAC"), "{code}");
    }
    let counted = proxy
        .metric("s3proxy_upstream_errors_total", r#"kind="credentials""#)
        .await;
    assert!((counted - 3.0).abs() < 0.1, "{counted}");
}

/// What the origin says of the object stays as it is.
#[tokio::test]
async fn other_errors_pass_unchanged() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let document = "<Error><Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass>\
                    <Message>The operation is not valid for the object's storage class</Message></Error>";
    origin.respond(move |_| {
        Reply::new(403, Payload::Bytes(document.into())).header("content-type", "application/xml")
    });
    let answer = client
        .call(&Call::get("/lake/public/x").sign(&reader()))
        .await;
    assert_eq!((answer.status, answer.text()), (403, document.to_owned()));
}
