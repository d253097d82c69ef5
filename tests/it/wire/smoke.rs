//! The plainest requests, each way of signing.

use super::call::{Call, Framed};
use super::origin::Origin;
use super::proxy::{Setup, everything};

#[tokio::test]
async fn every_way_of_signing_is_understood() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let mut client = proxy.connect().await;
    let data = b"0123456789".repeat(3000);
    let put = || Call::new("PUT", "/lake/in/a%20b");
    for (name, call) in [
        ("header", Call::get("/lake/a").sign(&key)),
        ("presigned", Call::get("/lake/a").presign(&key, "60")),
        ("hash", Call::put("/lake/a", data.clone()).sign(&key)),
        (
            "unsigned",
            Call::put("/lake/a", data.clone()).sign_unsigned(&key),
        ),
        ("trailer", put().framed(&key, &Framed::unsigned(&data))),
        ("chunks", put().framed(&key, &Framed::signed(&data))),
        (
            "chunks and trailer",
            put().framed(&key, &Framed::signed_with_trailer(&data)),
        ),
        (
            "presigned put",
            Call::put("/lake/a", data.clone()).presign(&key, "60"),
        ),
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
