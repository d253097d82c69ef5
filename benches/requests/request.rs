//! The requests: signed once, sent again and again as the same bytes.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use s3proxy::sigv4::{
    AmzDate, CanonicalQuery, CanonicalRequest, EMPTY_SHA256_HEX, SignedHeaders, SigningKey, hex,
    string_to_sign,
};
use sha2::{Digest, Sha256};

pub(crate) const ACCESS_KEY_ID: &str = "BENCHCLIENT";
pub(crate) const SECRET_ACCESS_KEY: &str = "bench-client-secret";

const HOST: &str = "s3.bench.test";
const PATH: &str = "/lake/hive/year%3D2024/part-00000.parquet";
/// Another object: a write to the first would throw it out of the cache.
const UPLOAD_PATH: &str = "/lake/hive/year%3D2025/part-00000.parquet";
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";
const USER_AGENT: &str = "duckdb/v1.5.5(linux_amd64) python/3.11";
const MIB: usize = 1 << 20;

/// A request, ready to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) name: &'static str,
    pub(crate) is_head: bool,
    pub(crate) is_upload: bool,
    /// Whether it is the first and the last one of its connection.
    pub(crate) is_first: bool,
    /// Bytes of object in it or in its answer.
    pub(crate) object_bytes: usize,
    /// Head and body as they go on the wire.
    pub(crate) wire: Bytes,
}

impl Request {
    /// Everything that is measured.
    pub(crate) fn all() -> Vec<Self> {
        let get = |name, first: usize, length: usize| {
            let range = format!("bytes={first}-{}", first + length - 1);
            Self::new(name, "GET", PATH, Some(&range), &[], length)
        };
        vec![
            Self::new("HEAD", "HEAD", PATH, None, &[], 0),
            get("GET range 4 KiB", MIB, 4 << 10),
            get("GET range 64 KiB", MIB, 64 << 10),
            Self {
                is_first: true,
                ..get("GET range 64 KiB, new connection", MIB, 64 << 10)
            },
            // As column chunks lie: in two blocks.
            get("GET range 64 KiB, unaligned", MIB + 12_345, 64 << 10),
            get("GET range 1 MiB", MIB, MIB),
            get("GET range 8 MiB", 8 * MIB, 8 * MIB),
            Self::new("GET 64 MiB", "GET", PATH, None, &[], 64 * MIB),
            Self::new("PUT 1 MiB", "PUT", UPLOAD_PATH, None, &vec![7; MIB], MIB),
        ]
    }

    pub(crate) fn new(
        name: &'static str,
        method: &str,
        path: &str,
        range: Option<&str>,
        body: &[u8],
        object_bytes: usize,
    ) -> Self {
        let hash = match body {
            [] => EMPTY_SHA256_HEX.to_owned(),
            body => hex::encode(&Sha256::digest(body).into()),
        };
        let date = now();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {HOST}\r\naccept: */*\r\n\
             user-agent: {USER_AGENT}\r\nx-amz-content-sha256: {hash}\r\nx-amz-date: {}\r\n\
             authorization: {}\r\n",
            date.as_str(),
            authorization(method, path, &hash, &date)
        );
        if let Some(range) = range {
            write!(head, "range: {range}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        head += "\r\n";
        Self {
            name,
            is_head: method == "HEAD",
            is_upload: method == "PUT",
            is_first: false,
            object_bytes,
            wire: [head.as_bytes(), body].concat().into(),
        }
    }
}

fn now() -> AmzDate {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    AmzDate::from_unix(now.as_secs().try_into().unwrap()).unwrap()
}

fn authorization(method: &str, path: &str, hash: &str, date: &AmzDate) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-amz-content-sha256", hash),
        ("x-amz-date", date.as_str()),
    ] {
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let signed_headers = SignedHeaders::parse(SIGNED_HEADERS.into()).unwrap();
    let canonical = CanonicalRequest {
        method,
        path,
        query: &CanonicalQuery::parse(""),
        host: HOST,
        headers: &headers,
        signed_headers: &signed_headers,
        payload_hash: hash,
    };
    let scope = format!("{}/us-east-1/s3/aws4_request", date.day());
    let text = string_to_sign(date, &scope, &canonical.to_bytes());
    let key = SigningKey::derive(SECRET_ACCESS_KEY, date.day(), "us-east-1", "s3");
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={SIGNED_HEADERS}, \
         Signature={}",
        key.sign(text.as_bytes()).to_hex()
    )
}
