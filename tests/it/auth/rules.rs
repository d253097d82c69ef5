//! The rules of the front door, one by one.

use std::time::Duration;

use s3proxy::auth::{AuthError, Verifier};
use s3proxy::s3::{Credentials, ErrorCode, Principal, Secret};

use super::request::{
    ACCESS_KEY, DATE, Request, SECRET_KEY, at, client, config, refusal, verifier, verify, verify_at,
};

fn code(request: &Request) -> ErrorCode {
    refusal(verify(&verifier(), request)).code()
}

fn with_authorization(change: impl Fn(&str) -> String) -> Request {
    let mut request = Request::get("/lake/a").signed();
    let value = request.head().field("authorization").unwrap().to_owned();
    request
        .headers
        .insert("authorization", change(&value).parse().unwrap());
    request
}

#[test]
fn a_signed_request_names_its_client() {
    let verified = verify(&verifier(), &Request::get("/lake/a").signed())
        .ok()
        .unwrap();
    assert_eq!(verified.principal, Principal::Client("analytics".into()));
    assert_eq!(verified.access_key_id.as_deref(), Some(ACCESS_KEY));
    assert_eq!(&*verified.credentials.unwrap().access_key_id, ACCESS_KEY);
    assert_eq!(verified.signed_region.as_deref(), Some("us-east-1"));
    assert!(!verified.is_presigned);
}

#[test]
fn unknown_keys_and_wrong_secrets_have_aws_codes() {
    let unknown = with_authorization(|value| value.replace(ACCESS_KEY, "AKIDOTHER"));
    assert_eq!(code(&unknown), ErrorCode::InvalidAccessKeyId);

    let other = Credentials::fixed(ACCESS_KEY, Secret::new("another secret"));
    let verifier = Verifier::new(config(vec![client("other", other)]), None);
    let request = Request::get("/lake/a?b").with("x-amz-security-token", "S3CRET");
    let error = refusal(verify(&verifier, &request.signed()));
    let AuthError::SignatureMismatch(mismatch) = &error else {
        panic!("{error}");
    };
    assert_eq!(error.code(), ErrorCode::SignatureDoesNotMatch);
    assert_eq!(&*mismatch.access_key_id, ACCESS_KEY);
    assert!(
        mismatch
            .string_to_sign
            .starts_with("AWS4-HMAC-SHA256\n20261121T081042Z\n")
    );
    assert!(
        mismatch
            .canonical_request
            .starts_with("GET\n/lake/a\nb=\nhost:127.0.0.1:9000\n")
    );
    assert!(
        mismatch
            .canonical_request
            .contains("x-amz-security-token:REDACTED\n")
    );
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("S3CRET") && !shown.contains("another secret"));
}

#[test]
fn dates_are_within_the_skew() {
    let request = Request::get("/lake/a").signed();
    let (signed_at, skew) = (at(DATE), Duration::from_mins(15));
    let second = Duration::from_secs(1);
    for now in [signed_at - skew, signed_at, signed_at + skew] {
        assert!(verify_at(&verifier(), &request, now).is_ok());
    }
    for now in [signed_at - skew - second, signed_at + skew + second] {
        let error = refusal(verify_at(&verifier(), &request, now));
        assert_eq!(error, AuthError::TimeTooSkewed);
    }
}

#[test]
fn the_date_field_stands_in_for_x_amz_date() {
    for date in ["Sat, 21 Nov 2026 08:10:42 GMT", DATE] {
        let signed = Request::get("/lake/a")
            .with("date", date)
            .signed_with("date;host", "us-east-1");
        assert!(verify(&verifier(), &signed).is_ok(), "{date}");
        let unsigned = Request::get("/lake/a")
            .with("date", date)
            .signed_with("host", "us-east-1");
        let not_signed = AuthError::NotSigned("date".to_owned());
        assert_eq!(refusal(verify(&verifier(), &unsigned)), not_signed);
    }
    let absent = Request::get("/lake/a").signed_with("host", "us-east-1");
    assert_eq!(
        refusal(verify(&verifier(), &absent)),
        AuthError::DateMissing
    );
}

#[test]
fn malformed_authorization_is_refused() {
    for (from, to) in [
        ("Credential=", "credential="),
        ("Credential=", ""),
        (", Signature=", ", Signature=0, Signature="),
        (", SignedHeaders", ", Other=1, SignedHeaders"),
        (", SignedHeaders", ", , SignedHeaders"),
        ("/s3/", "/sts/"),
        ("/s3/", "/"),
        ("20261121/", "20261120/"),
        ("20261121/", "20269999/"),
        ("host;", "Host;"),
        ("host;", "host;host;"),
        ("host;", ";host;"),
        (
            "host;x-amz-content-sha256;x-amz-date",
            "x-amz-date;host;x-amz-content-sha256",
        ),
        ("Signature=", "Signature=0"),
    ] {
        let request = with_authorization(|value| value.replacen(from, to, 1));
        let found = code(&request);
        assert_eq!(
            found,
            ErrorCode::AuthorizationHeaderMalformed,
            "{from} -> {to}"
        );
    }
}

#[test]
fn other_mechanisms_are_named() {
    let refused = |authorization: &str| {
        let request = Request::get("/lake/a").with("authorization", authorization);
        refusal(verify(&verifier(), &request))
    };
    assert_eq!(
        refused("AWS AKIDEXAMPLE:c2lnbmF0dXJl"),
        AuthError::SignatureV2
    );
    assert!(
        refused("AWS A:b")
            .to_string()
            .contains("signature_version='s3v4'")
    );
    let v4a = refused("AWS4-ECDSA-P256-SHA256 Credential=A");
    assert_eq!(v4a.code(), ErrorCode::NotImplemented);
    assert_eq!(refused("Basic QTpi"), AuthError::UnsupportedScheme);
    assert_eq!(refused(""), AuthError::UnsupportedScheme);
    assert_eq!(refused("Bearer "), AuthError::UnsupportedScheme);
    assert_eq!(refused("Bearer t"), AuthError::BearerUnsupported);
    assert_eq!(
        refusal(verify(&verifier(), &Request::get("/a"))),
        AuthError::Anonymous
    );
}

#[test]
fn only_one_mechanism_at_a_time() {
    let presigned = Request::get("/lake/a").presigned("600", "host");
    for authorization in ["Bearer t", "AWS4-HMAC-SHA256 Credential=A", "Basic QTpi"] {
        let both = presigned.clone().with("authorization", authorization);
        assert_eq!(
            refusal(verify(&verifier(), &both)),
            AuthError::SeveralMechanisms
        );
    }
    let v2 = Request::get("/a?AWSAccessKeyId=A&X-Amz-Signature=b");
    assert_eq!(
        refusal(verify(&verifier(), &v2)),
        AuthError::SeveralMechanisms
    );
}

#[test]
fn repeated_fields_and_parameters_are_refused() {
    for name in [
        "authorization",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-security-token",
        "content-length",
        "date",
        "x-amz-trailer",
    ] {
        let mut request = Request::get("/lake/a").with(name, "1").signed();
        let value = request.headers.get(name).unwrap().clone();
        request.headers.append(name, value);
        let error = refusal(verify(&verifier(), &request));
        assert_eq!(error, AuthError::AmbiguousField(name), "{name}");
    }
    let presigned = Request::get("/lake/a").presigned("600", "host");
    for pair in presigned.query.split('&') {
        let mut twice = presigned.clone();
        twice.query = format!("{}&{pair}", presigned.query);
        assert_eq!(
            code(&twice),
            ErrorCode::AuthorizationQueryParametersError,
            "{pair}"
        );
        let mut other_case = presigned.clone();
        other_case.query = format!("{}&{}", presigned.query, pair.to_lowercase());
        assert_eq!(
            code(&other_case),
            ErrorCode::AuthorizationQueryParametersError
        );
        let mut encoded = presigned.clone();
        encoded.query = format!("{}&{}", presigned.query, pair.replace('X', "%58"));
        assert_eq!(code(&encoded), ErrorCode::AuthorizationQueryParametersError);
    }
}

#[test]
fn presigned_urls_live_exactly_as_long_as_they_say() {
    let request = Request::get("/lake/a?x-id=GetObject").presigned("600", "host");
    let (signed_at, second) = (at(DATE), Duration::from_secs(1));
    let end = signed_at + Duration::from_mins(10);
    for now in [signed_at, end] {
        let verified = verify_at(&verifier(), &request, now).ok().unwrap();
        assert!(verified.is_presigned);
    }
    let error = refusal(verify_at(&verifier(), &request, end + second));
    assert_eq!(
        (error.code(), error.to_string()),
        (ErrorCode::AccessDenied, "Request has expired".to_owned())
    );
    let early = signed_at - Duration::from_mins(15);
    assert!(verify_at(&verifier(), &request, early).is_ok());
    let error = refusal(verify_at(&verifier(), &request, early - second));
    assert_eq!(error, AuthError::NotYetValid);
    for expires in [
        "0",
        "604801",
        "",
        "-1",
        "+1",
        "1e3",
        "600.0",
        "99999999999999999999",
    ] {
        let request = Request::get("/lake/a").presigned(expires, "host");
        assert_eq!(
            code(&request),
            ErrorCode::AuthorizationQueryParametersError,
            "{expires}"
        );
    }
    let week = Request::get("/lake/a").presigned("604800", "host");
    assert!(verify_at(&verifier(), &week, signed_at + Duration::from_hours(168)).is_ok());
}

#[test]
fn presigned_urls_need_every_parameter() {
    let presigned = Request::get("/lake/a").presigned("600", "host");
    let pairs: Vec<_> = presigned.query.split('&').collect();
    for index in 0..pairs.len() {
        let mut request = presigned.clone();
        let mut fewer = pairs.clone();
        fewer.remove(index);
        request.query = fewer.join("&");
        assert_eq!(code(&request), ErrorCode::AuthorizationQueryParametersError);
    }
}

#[test]
fn host_and_amz_fields_must_be_signed() {
    for (signed, name) in [("x-amz-date", "host"), ("host;x-amz-date", "x-amz-acl")] {
        let request = Request::get("/lake/a").with("x-amz-acl", "private");
        let request = if name == "host" {
            request.without("x-amz-acl")
        } else {
            request
        };
        let error = refusal(verify(
            &verifier(),
            &request.signed_with(signed, "us-east-1"),
        ));
        assert_eq!(error, AuthError::NotSigned(name.to_owned()));
        assert_eq!(error.code(), ErrorCode::AccessDenied);
    }
    let mut presigned = Request::get("/lake/a").presigned("600", "host");
    presigned = presigned.with("x-amz-copy-source", "/secret/a");
    assert_eq!(code(&presigned), ErrorCode::AccessDenied);
}

#[test]
fn a_signed_field_must_be_there() {
    let request = Request::get("/lake/a").with("range", "bytes=0-9").signed();
    let error = refusal(verify(&verifier(), &request.without("range")));
    assert_eq!(error, AuthError::SignedFieldAbsent("range".to_owned()));
    assert_eq!(error.code(), ErrorCode::SignatureDoesNotMatch);
}

#[test]
fn regions_are_those_configured_or_any() {
    let credentials = Credentials::fixed(ACCESS_KEY, Secret::new(SECRET_KEY));
    let mut config = config(vec![client("analytics", credentials)]);
    config.regions = Some(vec!["eu-west-1".to_owned(), String::new()]);
    let strict = Verifier::new(config, None);
    for (region, is_strict) in [("eu-west-1", true), ("", true), ("us-east-1", false)] {
        let names = "host;x-amz-content-sha256;x-amz-date";
        let request = Request::get("/lake/a").signed_with(names, region);
        assert!(verify(&verifier(), &request).is_ok());
        assert_eq!(verify(&strict, &request).is_ok(), is_strict, "{region}");
    }
    let error = refusal(verify(&strict, &Request::get("/lake/a").signed()));
    assert_eq!(error.code(), ErrorCode::AuthorizationHeaderMalformed);
    assert!(
        error
            .to_string()
            .ends_with("the region 'us-east-1' is wrong; expecting 'eu-west-1'")
    );
}

#[test]
fn session_tokens_belong_to_their_key() {
    let mut credentials = Credentials::fixed(ACCESS_KEY, Secret::new(SECRET_KEY));
    credentials.session_token = Some(Secret::new("T0KEN"));
    let with_token = Verifier::new(config(vec![client("temporary", credentials)]), None);
    let request = |token: &str| {
        Request::get("/a")
            .with("x-amz-security-token", token)
            .signed()
    };
    let query = |token: &str| {
        Request::get(&format!("/a?X-Amz-Security-Token={token}")).presigned("60", "host")
    };
    assert!(verify(&with_token, &request("T0KEN")).is_ok());
    assert!(verify(&with_token, &query("T0KEN")).is_ok());
    for (verifier, request) in [
        (&with_token, request("T0KEM")),
        (&with_token, query("T0KEM")),
        (&with_token, Request::get("/a").signed()),
        (&verifier(), request("T0KEN")),
        (&verifier(), query("T0KEN")),
    ] {
        assert_eq!(refusal(verify(verifier, &request)), AuthError::TokenInvalid);
    }
}

#[test]
fn anonymous_requests_pass_where_configured() {
    let mut config = config(Vec::new());
    config.anonymous = true;
    let verifier = Verifier::new(config, None);
    let verified = verify(&verifier, &Request::get("/a")).ok().unwrap();
    assert_eq!(verified.principal, Principal::Anonymous);
    assert!(verified.credentials.is_none() && verified.access_key_id.is_none());
    // A bad signature does not fall back to anonymous.
    assert_eq!(
        refusal(verify(&verifier, &Request::get("/a").signed())),
        AuthError::UnknownAccessKey
    );
}
