//! Bodies: what is declared is what is verified, and a wrong body never goes out completely.

use bytes::Bytes;
use s3proxy::auth::{AuthError, PayloadError, PayloadMode, TrailerField, Verifier};
use s3proxy::s3::{Credentials, ErrorCode, Secret};
use s3proxy::sigv4::hex;
use sha2::{Digest, Sha256};

use super::request::{
    ACCESS_KEY, Capture, Request, SECRET_KEY, at, client, config, refusal, verifier, verify,
    verify_at,
};

pub(super) type Decoded = Result<(Vec<u8>, Vec<TrailerField>), PayloadError>;

/// Feeds the pieces; answers what went out before the end, and the verdict.
pub(super) fn decode(mode: &PayloadMode, pieces: &[&[u8]]) -> (usize, Decoded) {
    let mut decoder = mode.decoder();
    let mut out = Vec::new();
    let mut run = || {
        for piece in pieces {
            if let Some(bytes) = decoder.push(Bytes::copy_from_slice(piece))? {
                out.extend_from_slice(&bytes);
            }
        }
        decoder.finish()
    };
    let result = run();
    let released = out.len();
    let result = result.map(|(rest, trailer)| {
        out.extend_from_slice(&rest.unwrap_or_default());
        (out, trailer)
    });
    (released, result)
}

fn put(body_length: usize) -> Request {
    Request::new("PUT", "/lake/a.parquet").with("content-length", &body_length.to_string())
}

#[test]
fn a_body_with_another_hash_is_refused_and_never_complete() {
    let body = b"the bytes of an object";
    let hash = hex::encode(&Sha256::digest(body).into());
    let request = put(body.len()).with("x-amz-content-sha256", &hash).signed();
    let mode = verify(&verifier(), &request).ok().unwrap().payload;
    assert_eq!(mode.sha256_hex(), Some(hash));
    assert_eq!(mode.decoded_length(), Some(22));

    let (released, result) = decode(&mode, &[&body[..10], &body[10..]]);
    assert_eq!((released, result.unwrap().0), (10, body.to_vec()));

    let wrong = b"the bytes of an abject";
    let (released, result) = decode(&mode, &[&wrong[..10], &wrong[10..]]);
    assert_eq!((released, result), (10, Err(PayloadError::Sha256Mismatch)));
    let (_, result) = decode(&mode, &[&body[..10]]);
    assert_eq!(result, Err(PayloadError::TooShort));
    let (_, result) = decode(&mode, &[body, b"!"]);
    assert_eq!(result, Err(PayloadError::TooLong));
}

#[test]
fn plain_pieces_are_not_copied() {
    let request = put(8).with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    let mode = verify(&verifier(), &request.signed()).ok().unwrap().payload;
    let mut decoder = mode.decoder();
    let (first, second) = (Bytes::from_static(b"abcd"), Bytes::from_static(b"efgh"));
    let front = decoder.push(first.clone()).unwrap().unwrap();
    assert_eq!((front.as_ptr(), &front[..]), (first.as_ptr(), &b"abc"[..]));
    let last = decoder.push(second).unwrap();
    assert_eq!(last.as_deref(), Some(&b"d"[..]));
    let rest = decoder.finish().unwrap().0;
    assert_eq!(rest.as_deref(), Some(&b"efgh"[..]));
}

#[test]
fn an_error_stays() {
    let request = put(3).with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    let mode = verify(&verifier(), &request.signed()).ok().unwrap().payload;
    let mut decoder = mode.decoder();
    let too_long = Err(PayloadError::TooLong);
    assert_eq!(decoder.push(Bytes::from_static(b"abcd")), too_long);
    assert_eq!(decoder.push(Bytes::new()), too_long);
    assert_eq!(decoder.finish().err(), Some(PayloadError::TooLong));
}

#[test]
fn the_published_example_of_signed_chunks_verifies() {
    let capture = Capture::named("cap-32");
    let verified = verify_at(&capture.verifier(), &capture.request, capture.now);
    let mode = verified.ok().unwrap().payload;
    assert!(mode.is_aws_chunked());
    let chunks = [vec![b'a'; 65_536], vec![b'a'; 1_024], Vec::new()];
    let signatures = capture.json["chunk_signatures"].as_array().unwrap();
    let mut body = Vec::new();
    for (chunk, signature) in chunks.iter().zip(signatures) {
        let signature = signature.as_str().unwrap();
        body.extend(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    assert_eq!(body.len(), 66_824);
    let (_, result) = decode(&mode, &[&body]);
    assert_eq!(result.unwrap().0, vec![b'a'; 66_560]);

    for (position, expected) in [(100, 0), (65_700, 65_535)] {
        let mut wrong = body.clone();
        wrong[position] = b'b';
        let (released, result) = decode(&mode, &wrong.chunks(1_000).collect::<Vec<_>>());
        assert_eq!(result, Err(PayloadError::SignatureMismatch));
        // Nothing of the chunk itself, and of the one before it not the last byte.
        assert_eq!(released, expected, "{position}");
    }
}

#[test]
fn captured_trailers_verify() {
    for id in ["cap-10", "cap-17"] {
        let capture = Capture::named(id);
        let verified = verify_at(&capture.verifier(), &capture.request, capture.now);
        let mode = verified.ok().unwrap().payload;
        let body = capture.json["body_latin1"].as_str().unwrap().as_bytes();
        let (_, result) = decode(&mode, &[body]);
        let (decoded, trailer) = result.unwrap();
        assert_eq!(decoded, vec![b'x'; 100]);
        let name = trailer[0].algorithm.field_name();
        assert_eq!(mode.trailer_names().collect::<Vec<_>>(), [name]);
        assert_eq!(
            capture.json["aws_chunked"]["trailer"][name],
            trailer[0].value
        );

        let wrong = String::from_utf8(body.to_vec())
            .unwrap()
            .replacen("xx", "xy", 1);
        let (released, result) = decode(&mode, &[wrong.as_bytes()]);
        assert_eq!((released, result), (0, Err(PayloadError::ChecksumMismatch)));
    }
}

#[test]
fn unsigned_payloads_are_refused_where_configured() {
    let credentials = Credentials::fixed(ACCESS_KEY, Secret::new(SECRET_KEY));
    let mut config = config(vec![client("analytics", credentials)]);
    config.unsigned_payload = false;
    let strict = Verifier::new(config, None);
    for hash in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let request = put(3)
            .with("x-amz-content-sha256", hash)
            .with("x-amz-decoded-content-length", "3")
            .signed();
        assert_eq!(
            refusal(verify(&strict, &request)),
            AuthError::PayloadUnsigned
        );
        assert!(verify(&verifier(), &request).is_ok());
    }
    let mut presigned = put(3).presigned("600", "host");
    assert!(verify(&verifier(), &presigned).is_ok());
    assert_eq!(
        refusal(verify(&strict, &presigned)),
        AuthError::PayloadUnsigned
    );
    presigned.headers.remove("content-length");
    presigned
        .headers
        .insert("transfer-encoding", "chunked".parse().unwrap());
    assert_eq!(
        refusal(verify(&strict, &presigned)),
        AuthError::PayloadUnsigned
    );
    // Polars says so on every read, where there is nothing to sign.
    let read = Request::get("/lake/a").with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert!(verify(&strict, &read.signed()).is_ok());
}

#[test]
fn declarations_that_mean_nothing_are_refused() {
    for (hash, code) in [
        ("", ErrorCode::InvalidArgument),
        ("abc", ErrorCode::InvalidArgument),
        ("STREAMING-AWS4-HMAC-SHA256", ErrorCode::InvalidArgument),
        (
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
            ErrorCode::NotImplemented,
        ),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            ErrorCode::MissingContentLength,
        ),
    ] {
        let request = put(3).with("x-amz-content-sha256", hash).signed();
        assert_eq!(
            refusal(verify(&verifier(), &request)).code(),
            code,
            "{hash}"
        );
    }
    for (name, value) in [
        ("x-amz-decoded-content-length", "+3"),
        ("x-amz-decoded-content-length", "99999999999999999999"),
        ("x-amz-trailer", "x-amz-meta-a"),
        ("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-crc32"),
    ] {
        let mut request = put(3).with("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        request = request.with("x-amz-decoded-content-length", "3");
        request.headers.insert(name, value.parse().unwrap());
        let code = refusal(verify(&verifier(), &request.signed())).code();
        assert_eq!(code.status(), 400, "{name}: {value}");
    }
}

#[test]
fn anonymous_bodies_lose_their_framing_only() {
    let mut config = config(Vec::new());
    config.anonymous = true;
    let anonymous = Verifier::new(config, None);
    let request = put(60)
        .with("content-encoding", "gzip, aws-chunked")
        .with("x-amz-decoded-content-length", "3");
    let mode = verify_at(&anonymous, &request, at("20261121T000000Z"));
    let mode = mode.ok().unwrap().payload;
    assert!(mode.is_aws_chunked());
    assert_eq!(
        decode(&mode, &[b"3\r\nabc\r\n0\r\n\r\n"]).1.unwrap().0,
        b"abc"
    );

    let request = put(3).with("x-amz-content-sha256", &"0".repeat(64));
    let mode = verify(&anonymous, &request).ok().unwrap().payload;
    assert_eq!(decode(&mode, &[b"abc"]).1.unwrap().0, b"abc");
}
