//! Signing, compared with Amazon's examples and with Amazon's own library.

use std::time::Duration;
use std::time::SystemTime;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use pingora::http::RequestHeader;
use proptest::prelude::*;

use super::SignError;
use super::SigningKeys;
use super::library;
use super::read;
use super::sign_request;
use crate::s3::Credentials;
use crate::s3::Secret;
use crate::s3::encode_key;
use crate::s3::encode_query;
use crate::sigv4::EMPTY_SHA256_HEX;
use crate::upstream::rewrite::OriginRequest;
use crate::upstream::rewrite::PayloadHash;

fn request(payload: PayloadHash) -> OriginRequest {
    let mut headers = HeaderMap::new();
    headers.insert("range", HeaderValue::from_static("bytes=0-9"));
    headers.insert("user-agent", HeaderValue::from_static("duckdb"));
    OriginRequest {
        method: Method::GET,
        target: "/examplebucket/test.txt".to_owned(),
        authority: "s3.amazonaws.com".to_owned(),
        headers,
        payload,
    }
}

fn empty() -> PayloadHash {
    PayloadHash::Sha256(EMPTY_SHA256_HEX.to_owned())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn signed(
    request: &OriginRequest,
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
) -> Result<RequestHeader, SignError> {
    sign_request(
        request,
        Some(credentials),
        region,
        now,
        &SigningKeys::default(),
    )
}

fn field<'a>(head: &'a RequestHeader, name: &str) -> &'a str {
    head.headers
        .get(name)
        .map_or("-", |value| value.to_str().unwrap())
}

#[test]
fn every_forwarded_field_but_the_user_agent_is_signed() {
    let mut credentials = Credentials::fixed("AKIDEXAMPLE", Secret::new("secret"));
    credentials.session_token = Some(Secret::new("token"));
    for (payload, hash) in [
        (PayloadHash::Unsigned, "UNSIGNED-PAYLOAD"),
        (empty(), EMPTY_SHA256_HEX),
    ] {
        let request = request(payload);
        let head = signed(&request, &credentials, "eu-west-1", at(1_400_000_000)).unwrap();
        assert_eq!(field(&head, "x-amz-date"), "20140513T165320Z");
        assert_eq!(field(&head, "x-amz-content-sha256"), hash);
        assert_eq!(field(&head, "x-amz-security-token"), "token");
        assert_eq!(field(&head, "user-agent"), "duckdb");
        let authorization = field(&head, "authorization");
        assert!(authorization.contains("AKIDEXAMPLE/20140513/eu-west-1/s3/aws4_request"));
        assert!(authorization.contains(
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token"
        ));
        assert!(head.headers["x-amz-security-token"].is_sensitive());
    }
}

#[test]
fn an_anonymous_origin_gets_no_signature() {
    for payload in [PayloadHash::Unsigned, empty()] {
        let keys = SigningKeys::default();
        let head = sign_request(&request(payload), None, "", at(0), &keys).unwrap();
        assert_eq!(field(&head, "authorization"), "-");
        assert_eq!(field(&head, "x-amz-content-sha256"), "-");
        assert_eq!(field(&head, "host"), "s3.amazonaws.com");
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
#[test]
fn amazons_examples_come_out() {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let credentials = Credentials::fixed("AKIAIOSFODNN7EXAMPLE", secret);
    for (target, range, signature) in [
        (
            "/test.txt",
            Some("bytes=0-9"),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/?lifecycle",
            None,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "/?max-keys=2&prefix=J",
            None,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let range = range.map(HeaderValue::from_static);
        let request = OriginRequest {
            method: Method::GET,
            target: target.to_owned(),
            authority: "examplebucket.s3.amazonaws.com".to_owned(),
            headers: range
                .map(|value| (http::header::RANGE, value))
                .into_iter()
                .collect(),
            payload: empty(),
        };
        assert!(read::is_read(&request));
        let head = signed(&request, &credentials, "us-east-1", at(1_369_353_600)).unwrap();
        let authorization = field(&head, "authorization");
        assert!(
            authorization.ends_with(&format!("Signature={signature}")),
            "{target}"
        );
    }
}

#[test]
fn only_reads_without_a_body_are_signed_here() {
    let post = OriginRequest {
        method: Method::POST,
        ..request(empty())
    };
    let other = PayloadHash::Sha256("0".repeat(64));
    for request in [
        post,
        request(other),
        request(PayloadHash::Unsigned),
        request(PayloadHash::UnsignedTrailer),
    ] {
        assert!(!read::is_read(&request), "{request:?}");
    }
}

#[test]
fn what_is_not_text_is_refused_on_both_ways() {
    let credentials = Credentials::fixed("AK", Secret::new("secret"));
    for payload in [empty(), PayloadHash::Unsigned] {
        let mut request = request(payload);
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        request.headers.insert("x-amz-meta-a", value);
        let refused = signed(&request, &credentials, "r", at(0));
        assert!(matches!(refused, Err(SignError::FieldNotText)));
    }
}

fn read_request() -> impl Strategy<Value = OriginRequest> {
    let parameter = ("[-._~a-zA-Z0-9 +/é]{1,8}", proptest::option::of(".{0,8}"));
    let query = proptest::collection::vec(parameter, 0..5);
    let name = prop_oneof![
        Just("range".to_owned()),
        Just("if-match".to_owned()),
        Just("user-agent".to_owned()),
        "x-amz-[a-z0-9-]{1,12}",
    ];
    // Repeated names, runs of spaces, empty values.
    let fields = proptest::collection::vec((name, "[!-~ ]{0,20}"), 0..8);
    let host = prop_oneof![
        Just("s3.amazonaws.com"),
        Just("lake.s3.eu-west-1.amazonaws.com"),
        Just("[::1]:9000"),
        Just("127.0.0.1:9000"),
    ];
    (any::<bool>(), ".{0,40}", query, fields, host).prop_map(
        |(is_head, key, query, fields, host)| {
            let mut target = format!("/{}", encode_key(&key));
            for (position, (name, value)) in query.iter().enumerate() {
                target.push(if position == 0 { '?' } else { '&' });
                target.push_str(&encode_query(name));
                if let Some(value) = value {
                    target.push('=');
                    target.push_str(&encode_query(value));
                }
            }
            let fields = fields.into_iter().map(|(name, value)| {
                let name = HeaderName::try_from(name).unwrap();
                (name, HeaderValue::try_from(value.trim()).unwrap())
            });
            OriginRequest {
                method: if is_head { Method::HEAD } else { Method::GET },
                target,
                authority: host.to_owned(),
                headers: fields.collect(),
                payload: empty(),
            }
        },
    )
}

/// The parts of credentials, which cannot be printed themselves.
fn key_pair() -> impl Strategy<Value = (String, String, Option<String>)> {
    let token = proptest::option::of("[a-zA-Z0-9/+=]{1,200}");
    ("[A-Z0-9]{1,20}", "[a-zA-Z0-9/+]{1,40}", token)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn reads_are_signed_as_amazons_library_signs_them(
        request in read_request(),
        (id, secret, token) in key_pair(),
        region in "[a-z]{2}-[a-z]{1,9}-[0-9]",
        seconds in 0_u64..4_102_444_800,
    ) {
        prop_assert!(read::is_read(&request));
        let mut credentials = Credentials::fixed(id, Secret::new(secret));
        credentials.session_token = token.map(Secret::new);
        let theirs = library::signature(&request, &credentials, &region, at(seconds)).unwrap();
        let keys = SigningKeys::default();
        for _ in 0..2 {
            let ours = sign_request(&request, Some(&credentials), &region, at(seconds), &keys);
            let ours = ours.unwrap();
            for (name, value) in &theirs {
                prop_assert_eq!(&ours.headers[*name], value, "{}", name);
            }
        }
    }
}
