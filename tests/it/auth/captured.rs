//! Requests of real clients verify, or fail as they should.

use s3proxy::auth::AuthError;
use s3proxy::s3::{ErrorCode, Principal};

use super::request::{Capture, captures, now_or_never, refusal, verify_at};

#[test]
fn every_captured_request_gets_the_expected_verdict() {
    for capture in captures() {
        let verifier = capture.verifier();
        let result = verify_at(&verifier, &capture.request, capture.now);
        let (id, expected) = (&capture.id, capture.json["expected"].as_str().unwrap());
        match expected {
            "valid" | "valid-only-with-raw-path" => {
                let verified = result.unwrap_or_else(|error| panic!("{id}: {error}"));
                assert_eq!(
                    verified.principal,
                    Principal::Client("captured".into()),
                    "{id}"
                );
                let region = capture.json["region"].as_str();
                assert_eq!(verified.signed_region.as_deref(), region, "{id}");
                let is_presigned = capture.json["auth_form"] == "query";
                assert_eq!(verified.is_presigned, is_presigned, "{id}");
            }
            "valid-only-with-raw-path-and-raw-query" => {
                let code = refusal(result).code();
                assert_eq!(code, ErrorCode::SignatureDoesNotMatch, "{id}");
            }
            "not-sigv4" => match capture.json["auth_form"].as_str().unwrap() {
                "Bearer" => assert_eq!(refusal(result), AuthError::BearerUnsupported),
                "sigv2-query" => assert_eq!(refusal(result), AuthError::SignatureV2),
                form => panic!("{id}: {form}"),
            },
            expected => panic!("{id}: {expected}"),
        }
    }
}

#[test]
fn the_second_request_verifies_with_the_kept_key() {
    for capture in captures() {
        if capture.json["expected"] == "valid" {
            let verifier = capture.verifier();
            for _ in 0..2 {
                assert!(verify_at(&verifier, &capture.request, capture.now).is_ok());
            }
        }
    }
}

#[test]
fn a_body_without_a_declared_hash_is_asked_for() {
    let mut capture = Capture::named("cap-27");
    let verifier = capture.verifier();
    capture.request = capture.request.with("content-length", "5");
    let result = verify_at(&verifier, &capture.request, capture.now);
    assert_eq!(refusal(result), AuthError::BodyHashNeeded);

    let head = capture.request.head();
    let verified = now_or_never(verifier.verify(&head, capture.body_sha256(), capture.now));
    assert_eq!(
        verified.unwrap().payload.sha256_hex().as_deref(),
        capture.json["body_sha256"].as_str()
    );
    let other = now_or_never(verifier.verify(&head, Some([7; 32]), capture.now));
    assert_eq!(refusal(other).code(), ErrorCode::SignatureDoesNotMatch);
}
