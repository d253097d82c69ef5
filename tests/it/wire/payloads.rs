//! Bodies that are not what was signed: the origin never gets one whole.

use super::call::{Call, Framed};
use super::client::Answer;
use super::origin::Origin;
use super::poll_until;
use super::proxy::{Proxy, Setup, everything, reader};
use super::sigv4::{date_in, sha256_hex};

/// Sends the call over a connection of its own; the origin must not get the whole body.
async fn refused(proxy: &Proxy, origin: &Origin, call: &Call) -> Answer {
    let answer = proxy.call(call).await;
    poll_until("end of the upload", || {
        origin.seen().iter().all(|seen| seen.has_ended)
    })
    .await;
    for seen in origin.take() {
        assert!(!seen.is_complete, "the origin got all of {}", seen.target);
    }
    answer
}

fn spoil(mut call: Call, position: usize) -> Call {
    let byte = &mut call.body[position];
    *byte = if *byte == b'0' { b'1' } else { b'0' };
    call
}

fn replace(mut call: Call, from: &str, to: &str) -> Call {
    let start = call
        .body
        .windows(from.len())
        .rposition(|window| window == from.as_bytes());
    let start = start.expect("the text stands in the body");
    call.body.splice(start..start + from.len(), to.bytes());
    let body = std::mem::take(&mut call.body);
    call.body(body)
}

#[tokio::test]
async fn a_body_that_is_not_the_signed_one_is_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    for size in [1, 10, 70_000, 1_000_000] {
        let call = Call::put("/lake/a", vec![7; size]).sign(&key);
        let answer = refused(&proxy, &origin, &spoil(call, size - 1)).await;
        answer.expect(400, "XAmzContentSHA256Mismatch");
    }
    let empty = Call::new("PUT", "/lake/a").header("content-length", "0");
    let call = empty.sign_at(&key, &date_in(0), &sha256_hex(b"something"));
    refused(&proxy, &origin, &call)
        .await
        .expect(400, "XAmzContentSHA256Mismatch");
}

#[tokio::test]
async fn signed_chunks_are_verified() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    for size in [100, 300_000] {
        let data = vec![b'x'; size];
        let put = || Call::new("PUT", "/lake/a");
        let signed = put().framed(&key, &Framed::signed(&data));
        let with_trailer = put().framed(&key, &Framed::signed_with_trailer(&data));
        let last = signed.body.len() - 1;
        let end = with_trailer.body.len();
        let cut = |call: &Call, bytes: usize| {
            let body = call.body[..call.body.len() - bytes].to_vec();
            call.clone().body(body)
        };
        for (name, call, status, code) in [
            (
                "first byte",
                spoil(signed.clone(), 100),
                403,
                "SignatureDoesNotMatch",
            ),
            (
                "last signature",
                spoil(signed.clone(), last - 6),
                403,
                "SignatureDoesNotMatch",
            ),
            (
                "no signature",
                replace(signed.clone(), ";chunk-signature=", ";chunk-nature===="),
                400,
                "InvalidRequest",
            ),
            (
                "trailer signature",
                spoil(with_trailer.clone(), end - 6),
                403,
                "SignatureDoesNotMatch",
            ),
            ("no end", cut(&signed, 2), 400, "IncompleteBody"),
            ("no last chunk", cut(&signed, 87), 400, "IncompleteBody"),
            (
                "no trailer signature",
                cut(&with_trailer, 92),
                400,
                "IncompleteBody",
            ),
            (
                "more after the end",
                {
                    let body = [signed.body.clone(), b"0\r\n\r\n".to_vec()].concat();
                    signed.clone().body(body)
                },
                400,
                "InvalidRequest",
            ),
        ] {
            println!("{name} of {size}");
            refused(&proxy, &origin, &call).await.expect(status, code);
        }
    }
}

#[tokio::test]
async fn trailing_checksums_are_verified() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let put = || Call::new("PUT", "/lake/a");
    for size in [1, 200_000] {
        let data = vec![b'x'; size];
        let good = Framed::unsigned(&data);
        let wrong = Framed {
            trailer: Some(("x-amz-checksum-crc32", "AAAAAA==".to_owned())),
            ..good.clone()
        };
        let no_base64 = Framed {
            trailer: Some(("x-amz-checksum-crc32", "!".to_owned())),
            ..good.clone()
        };
        let right = put().framed(&key, &good);
        for (name, call, status, code) in [
            ("wrong", put().framed(&key, &wrong), 400, "BadDigest"),
            (
                "no base64",
                put().framed(&key, &no_base64),
                400,
                "InvalidRequest",
            ),
            (
                "another name",
                replace(right.clone(), "checksum-crc32:", "checksum-crc32c:"),
                400,
                "MalformedTrailerError",
            ),
            (
                "missing",
                replace(
                    right.clone(),
                    &format!(
                        "x-amz-checksum-crc32:{}\r\n",
                        good.trailer.clone().unwrap().1
                    ),
                    "",
                ),
                400,
                "MalformedTrailerError",
            ),
            (
                "twice",
                replace(
                    right.clone(),
                    "x-amz-checksum-crc32:",
                    "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:",
                ),
                400,
                "MalformedTrailerError",
            ),
            (
                "smuggled field",
                replace(
                    right.clone(),
                    "x-amz-checksum-crc32:",
                    "x-amz-meta-a:b\r\nx-amz-checksum-crc32:",
                ),
                400,
                "MalformedTrailerError",
            ),
            (
                "data",
                spoil(right.clone(), if size == 1 { 3 } else { 6 }),
                400,
                "BadDigest",
            ),
        ] {
            println!("{name} of {size}");
            refused(&proxy, &origin, &call).await.expect(status, code);
        }
    }
}

#[tokio::test]
async fn lengths_are_kept() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let data = vec![b'x'; 1000];
    let framed = |decoded: &str| {
        let call = Call::new("PUT", "/lake/a").header("x-amz-decoded-content-length", decoded);
        let framed = Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(&data));
        call.header("x-amz-trailer", "x-amz-checksum-crc32")
            .sign_at(&key, &date_in(0), "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .body(framed.body)
    };
    for (decoded, status, code) in [
        ("999", 400, "IncompleteBody"),
        ("1001", 400, "IncompleteBody"),
        ("0", 400, "IncompleteBody"),
        ("-1", 400, "InvalidArgument"),
        ("1e3", 400, "InvalidArgument"),
        ("18446744073709551616", 400, "InvalidArgument"),
        // Cannot be framed: no 64-bit length is left for it.
        ("18446744073709551615", 400, "EntityTooLarge"),
    ] {
        println!("{decoded}");
        refused(&proxy, &origin, &framed(decoded))
            .await
            .expect(status, code);
    }
    let none = Call::put("/lake/a", data.clone()).sign_at(
        &key,
        &date_in(0),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    );
    refused(&proxy, &origin, &none)
        .await
        .expect(411, "MissingContentLength");
}

/// A client that goes away in the middle of an upload leaves no object behind.
#[tokio::test]
async fn an_upload_that_breaks_off_is_broken_off_at_the_origin() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    for call in [
        Call::put("/lake/a", vec![1; 500_000]).sign(&key),
        Call::put("/lake/a", vec![1; 500_000]).sign_unsigned(&key),
        Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(&[1; 500_000])),
    ] {
        let mut client = proxy.connect().await;
        let bytes = call.bytes();
        client.send(&bytes[..bytes.len() - 10]).await;
        origin.wait_for(1).await;
        drop(client);
        poll_until("end of the upload", || origin.seen()[0].has_ended).await;
        assert!(!origin.take_one().is_complete);
    }
}

/// A request without a body is complete with its head: it has to be verified before.
#[tokio::test]
async fn an_empty_body_is_verified_before_the_origin_hears_of_it() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let put = || Call::new("PUT", "/lake/a");
    let empty = put().header("content-length", "0");
    let other = sha256_hex(b"something");
    let bad_signature = put().framed(&key, &Framed::signed(b""));
    let last = bad_signature.body.len() - 6;
    let bad_trailer = Framed {
        trailer: Some(("x-amz-checksum-crc32", "AAAAAQ==".to_owned())),
        ..Framed::unsigned(b"")
    };
    for _ in 0..5 {
        for (name, call, status, code) in [
            (
                "hash",
                empty.clone().sign_at(&key, &date_in(0), &other),
                400,
                "XAmzContentSHA256Mismatch",
            ),
            (
                "delete",
                Call::new("DELETE", "/lake/a").sign_at(&key, &date_in(0), &other),
                400,
                "XAmzContentSHA256Mismatch",
            ),
            (
                "chunk",
                spoil(bad_signature.clone(), last),
                403,
                "SignatureDoesNotMatch",
            ),
            (
                "trailer",
                put().framed(&key, &bad_trailer),
                400,
                "BadDigest",
            ),
        ] {
            println!("{name}");
            refused(&proxy, &origin, &call).await.expect(status, code);
        }
    }
    let mut client = proxy.connect().await;
    for call in [
        empty.sign(&key),
        put().framed(&key, &Framed::signed(b"")),
        put().framed(&key, &Framed::signed_with_trailer(b"")),
        put().framed(&key, &Framed::unsigned(b"")),
        Call::new("DELETE", "/lake/a").sign(&key),
    ] {
        client.call(&call).await.expect(200, "");
        assert_eq!(origin.take_one().decoded, Ok(Vec::new()));
    }
}

/// Closing on top of unread bytes resets the connection: the client would never see why.
#[tokio::test]
async fn a_large_upload_that_is_refused_gets_its_answer() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let data = vec![1; 8 << 20];
    let mut client = proxy.connect().await;
    let denied = Call::put("/lake/a", data.clone()).sign_unsigned(&reader());
    for _ in 0..3 {
        client.call(&denied).await.expect(403, "AccessDenied");
    }
    origin.assert_untouched("a refused upload");
    let chunked = Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(&data[..2 << 20]));
    let bad = spoil(chunked, 10_000);
    refused(&proxy, &origin, &bad)
        .await
        .expect(403, "SignatureDoesNotMatch");
}
