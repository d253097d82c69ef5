//! A second implementation signs, ours verifies.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest,
    SignatureLocation, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::{Strategy, any, prop_assert, proptest};

use super::request::{ACCESS_KEY, DATE, Request, SECRET_KEY, at, refusal, verifier, verify};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Signs with `aws-sigv4`, as the AWS SDK for Rust does for S3.
fn signed_elsewhere(
    mut request: Request,
    location: SignatureLocation,
    time: SystemTime,
) -> Request {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.session_token_mode = SessionTokenMode::Include;
    settings.signature_location = location;
    let body = if location == SignatureLocation::QueryParams {
        settings.expires_in = Some(Duration::from_mins(10));
        SignableBody::UnsignedPayload
    } else {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        SignableBody::Bytes(b"")
    };
    let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("s3")
        .time(time)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("http://{}{}?{}", request.host, request.path, request.query);
    let fields: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(request.method.as_str(), uri, fields, body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    for (name, value) in instructions.headers() {
        request = request.with(name, value);
    }
    for (name, value) in instructions.params() {
        let value = utf8_percent_encode(value, UNRESERVED);
        request.query += &format!("&{name}={value}");
    }
    request
}

fn requests() -> impl Strategy<Value = Request> {
    let pair = ("[a-zA-Z-]{1,8}", "\\PC{0,12}");
    (
        proptest::sample::select(vec!["GET", "HEAD", "DELETE"]),
        "[\\PC/ %+=&]{0,30}",
        proptest::collection::vec(pair, 0..5),
        proptest::collection::btree_map(
            "x-amz-meta-[a-z0-9-]{1,8}",
            "[!-~]([ -~]{0,20}[!-~])?",
            0..4,
        ),
        any::<bool>(),
    )
        .prop_map(|(method, key, pairs, metadata, has_range)| {
            let path = utf8_percent_encode(&key, PATH);
            let mut request = Request::new(method, &format!("/lake/{path}"));
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED)))
                .collect();
            request.query = pairs.join("&");
            for (name, value) in &metadata {
                request = request.with(name, value);
            }
            if has_range {
                request = request.with("range", "bytes=0-65535");
            }
            request
        })
}

proptest! {
    #[test]
    fn what_the_sdk_signs_verifies(request in requests(), is_presigned in any::<bool>()) {
        let location = if is_presigned {
            SignatureLocation::QueryParams
        } else {
            SignatureLocation::Headers
        };
        let mut request = signed_elsewhere(request, location, at(DATE));
        let result = verify(&verifier(), &request);
        prop_assert!(result.is_ok(), "{}", refusal(result));
        request.path.push('x');
        prop_assert!(verify(&verifier(), &request).is_err());
    }
}
