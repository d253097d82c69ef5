//! Whatever a signature covers cannot be changed; whatever it does not cover can.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::{Strategy, any, prop_assert, proptest};
use s3proxy::auth::Verifier;

use super::request::{Capture, Request, captures, verify_at};

/// Fields that are checked on their own grounds, signed or not.
const CHECKED_ANYWAY: [&str; 4] = [
    "authorization",
    "content-length",
    "transfer-encoding",
    "host",
];

fn valid_captures() -> Vec<(Capture, Verifier)> {
    captures()
        .into_iter()
        .filter(|capture| capture.json["expected"] != "not-sigv4")
        .filter(|capture| capture.json["expected"] != "valid-only-with-raw-path-and-raw-query")
        .map(|capture| {
            let verifier = capture.verifier();
            (capture, verifier)
        })
        .collect()
}

impl Capture {
    fn signed_headers(&self) -> Vec<String> {
        let names = self.json["signed_headers"].as_str().unwrap_or_else(|| {
            let value = self.request.head().field("authorization").unwrap();
            let (_, rest) = value.split_once("SignedHeaders=").unwrap();
            rest.split(',').next().unwrap()
        });
        names.split(';').map(str::to_owned).collect()
    }
}

/// Every text with one byte replaced, removed, or doubled.
fn mutations(text: &str) -> impl Iterator<Item = String> + '_ {
    (0..text.len()).flat_map(move |index| {
        let (before, after) = (&text[..index], &text[index + 1..]);
        let byte = &text[index..=index];
        let other = if byte == "x" { "y" } else { "x" };
        [
            format!("{before}{other}{after}"),
            format!("{before}{after}"),
            format!("{before}{byte}{byte}{after}"),
        ]
    })
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name: HeaderName = name.parse().unwrap();
    headers.insert(name, HeaderValue::from_str(value).unwrap());
}

fn assert_refused(capture: &Capture, verifier: &Verifier, request: &Request) {
    assert!(
        verify_at(verifier, request, capture.now).is_err(),
        "{}: accepted {request:?}",
        capture.id
    );
}

#[test]
fn no_byte_of_a_signed_field_can_change() {
    for (capture, verifier) in valid_captures() {
        for name in capture.signed_headers() {
            let value = if name == "host" {
                capture.request.host.clone()
            } else {
                capture.request.head().field(&name).unwrap().to_owned()
            };
            for mutated in mutations(&value) {
                // Runs of spaces are one space to a signature.
                let collapse = |text: &str| {
                    text.split(' ')
                        .filter(|word| !word.is_empty())
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                if collapse(&mutated) == collapse(&value) {
                    continue;
                }
                let mut request = capture.request.clone();
                if name == "host" {
                    request.host = mutated;
                } else {
                    set(&mut request.headers, &name, &mutated);
                }
                assert_refused(&capture, &verifier, &request);
            }
            let mut request = capture.request.clone();
            if name != "host" {
                request.headers.remove(&name);
                assert_refused(&capture, &verifier, &request);
            }
        }
    }
}

#[test]
fn no_byte_of_the_path_can_change() {
    for (capture, verifier) in valid_captures() {
        for mutated in mutations(&capture.request.path) {
            let mut request = capture.request.clone();
            request.path = mutated;
            if decoded(&request.path) != decoded(&capture.request.path) {
                assert_refused(&capture, &verifier, &request);
            }
        }
    }
}

#[test]
fn no_pair_of_the_query_can_change_leave_or_come() {
    for (capture, verifier) in valid_captures() {
        let pairs: Vec<&str> = capture.request.query.split('&').collect();
        let with_query = |query: String| Request {
            query,
            ..capture.request.clone()
        };
        for mutated in mutations(&capture.request.query) {
            let mut before: Vec<_> = capture.request.head().query_pairs().collect();
            let request = with_query(mutated);
            let mut after: Vec<_> = request.head().query_pairs().collect();
            before.sort();
            after.sort();
            if before != after {
                assert_refused(&capture, &verifier, &request);
            }
        }
        for index in 0..pairs.len() {
            let mut fewer = pairs.clone();
            if !fewer.remove(index).is_empty() {
                assert_refused(&capture, &verifier, &with_query(fewer.join("&")));
            }
        }
        let more = format!("{}&versionId=1", capture.request.query);
        assert_refused(&capture, &verifier, &with_query(more));
    }
}

#[test]
fn neither_method_nor_signature_can_change() {
    for (capture, verifier) in valid_captures() {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ] {
            if method != capture.request.method {
                let mut request = capture.request.clone();
                request.method = method;
                assert_refused(&capture, &verifier, &request);
            }
        }
        if let Some(value) = capture.request.head().field("authorization") {
            for mutated in mutations(value) {
                let mut request = capture.request.clone();
                // Spaces between the parts mean nothing.
                let is_same = mutated.starts_with("AWS4-HMAC-SHA256 ")
                    && mutated.replace(' ', "") == value.replace(' ', "");
                if is_same {
                    continue;
                }
                set(&mut request.headers, "authorization", &mutated);
                assert_refused(&capture, &verifier, &request);
            }
        }
    }
}

#[test]
fn unsigned_fields_can_change_and_come() {
    for (capture, verifier) in valid_captures() {
        let signed = capture.signed_headers();
        for name in capture.request.headers.keys() {
            let is_free = !signed.iter().any(|signed| signed == name.as_str())
                && !CHECKED_ANYWAY.contains(&name.as_str());
            if is_free {
                let mut request = capture.request.clone();
                set(&mut request.headers, name.as_str(), "something else");
                let result = verify_at(&verifier, &request, capture.now);
                assert!(
                    result.is_ok(),
                    "{} {name}: {}",
                    capture.id,
                    result.err().unwrap()
                );
            }
        }
        let request = capture.request.clone().with("x-forwarded-for", "192.0.2.1");
        assert!(verify_at(&verifier, &request, capture.now).is_ok());
        let request = capture.request.clone().with("x-amz-acl", "public-read");
        assert_refused(&capture, &verifier, &request);
    }
}

proptest! {
    /// Any text in the place of a signed part is refused unless it means the same.
    #[test]
    fn no_other_path_or_query_is_accepted(
        index in any::<proptest::sample::Index>(),
        path in "/[ -~]{0,40}",
        query in "[ -~]{1,40}",
        is_path in any::<bool>(),
    ) {
        let captures = valid_captures();
        let (capture, verifier) = index.get(&captures);
        let mut request = capture.request.clone();
        if is_path {
            request.path = path;
        } else {
            request.query = format!("{}&{query}", request.query);
        }
        let is_same = decoded(&request.path) == decoded(&capture.request.path)
            && query.bytes().all(|byte| byte == b'&');
        prop_assert!(is_same || verify_at(verifier, &request, capture.now).is_err());
    }

    /// Nothing that stands in `Authorization` or in the query makes the verifier panic.
    #[test]
    fn hostile_credentials_never_panic(
        authorization in hostile(),
        query in hostile(),
        host in hostile(),
    ) {
        let (capture, verifier) = valid_captures().swap_remove(0);
        let mut request = capture.request.clone();
        request.query = query;
        request.host = host;
        if let Ok(value) = HeaderValue::from_str(&authorization) {
            request.headers.insert("authorization", value);
        }
        prop_assert!(verify_at(&verifier, &request, capture.now).is_err());
    }
}

/// Text that looks a little like credentials.
fn hostile() -> impl Strategy<Value = String> {
    let word = proptest::prop_oneof![
        proptest::sample::select(vec![
            "AWS4-HMAC-SHA256 ",
            "Credential=",
            "SignedHeaders=",
            "Signature=",
            ",",
            ", ",
            "=",
            "&",
            "/",
            ";",
            "AKIDEXAMPLE",
            "20261121",
            "us-east-1",
            "s3",
            "aws4_request",
            "X-Amz-Algorithm=",
            "X-Amz-Credential=",
            "X-Amz-Date=20261121T081042Z",
            "X-Amz-Signature=",
            "X-Amz-Expires=",
            "host",
            "%",
            "%2F",
            "%00",
            "ü",
            "AWS AKID:",
            "Bearer ",
            "91eebddcfcd28eed92e451822c00c163205bd4fb4380d0dc7f762d5bde1697f6",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,3}",
    ];
    proptest::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}
