//! AWS's own signing test suite against the algorithm.

use http::HeaderMap;
use s3proxy::sigv4::{
    AmzDate, CanonicalQuery, CanonicalRequest, SignedHeaders, SigningKey, canonical_path, hex,
    string_to_sign,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::request::Request;

/// Vectors whose path is folded before it is signed, as every service but S3 does. Their path is
/// taken from the vector; everything else is computed.
const FOLDED: [&str; 6] = [
    "get-relative-normalized",
    "get-relative-relative-normalized",
    "get-slash-dot-slash-normalized",
    "get-slash-normalized",
    "get-slash-pointless-dot-normalized",
    "get-slashes-normalized",
];

/// The token is put into the query after signing here; S3 signs it, so this one cannot come true.
const TOKEN_AFTER_SIGNING: &str = "post-sts-header-after";

#[test]
fn every_vector_comes_out_to_the_byte() {
    let mut checked = 0;
    for line in include_str!("../../fixtures/aws-signing-test-suite.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        check(&vector, "header");
        checked += 1;
        if vector["name"] != TOKEN_AFTER_SIGNING {
            check(&vector, "query");
            checked += 1;
        }
    }
    assert_eq!(checked, 75);
}

fn check(vector: &Value, form: &str) {
    let name = vector["name"].as_str().unwrap();
    let text = |part: &str| vector[format!("{form}_{part}")].as_str().unwrap();
    let (request, body) = parse(text("signed_request"));
    let canonical = text("canonical_request");
    let expected_path = canonical.lines().nth(1).unwrap();
    let path = canonical_path(&request.path);
    let is_folded = FOLDED.contains(&name);
    assert_eq!(path != expected_path, is_folded, "{name}: {path}");

    let query = CanonicalQuery::parse(&request.query);
    let lines: Vec<&str> = canonical.lines().collect();
    let signed_headers = SignedHeaders::parse(lines[lines.len() - 2].into()).unwrap();
    let built = CanonicalRequest {
        method: request.method.as_str(),
        path: if is_folded { expected_path } else { &path },
        query: &query,
        host: &request.host,
        headers: &request.headers,
        signed_headers: &signed_headers,
        payload_hash: &hex::encode(&Sha256::digest(&body).into()),
    };
    let bytes = built.to_bytes();
    assert_eq!(String::from_utf8_lossy(&bytes), canonical, "{name} {form}");

    let date = AmzDate::parse("20150830T123600Z").unwrap();
    let to_sign = string_to_sign(&date, "20150830/us-east-1/service/aws4_request", &bytes);
    assert_eq!(to_sign, text("string_to_sign"), "{name} {form}");

    let secret = vector["context"]["credentials"]["secret_access_key"].as_str();
    let key = SigningKey::derive(secret.unwrap(), date.day(), "us-east-1", "service");
    assert_eq!(
        key.sign(to_sign.as_bytes()).to_hex(),
        text("signature"),
        "{name} {form}"
    );
}

/// Reads the suite's HTTP: LF line ends, folded fields, raw bytes in the target.
fn parse(text: &str) -> (Request, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let head = head.replace("\n ", " ");
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::new(method, target.strip_suffix(" HTTP/1.1").unwrap());
    request.headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.with(name, value.trim());
    }
    request.host = request.head().field("host").unwrap().to_owned();
    (request, body.to_owned())
}
