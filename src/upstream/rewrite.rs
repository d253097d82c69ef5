//! The origin request: built from an allow list, never by copying what the client sent.
//!
//! Everything here is a function of values. Path and query are encoded anew from the decoded names
//! that were authorized, so what the origin reads is what the rules judged.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;

use super::config::Addressing;
use super::framing;
use crate::s3::Request;
use crate::s3::encode_key;
use crate::s3::encode_query;
use crate::sigv4::EMPTY_SHA256_HEX;

/// A request to the origin, complete but for its signature.
#[derive(Debug, Clone)]
pub struct OriginRequest {
    /// The method.
    pub method: Method,
    /// Encoded path, with `?query` when there is one.
    pub target: String,
    /// Value of `Host`.
    pub authority: String,
    /// All fields but `Host` and those of the signature.
    pub headers: HeaderMap,
    /// What the signature says of the body.
    pub payload: PayloadHash,
}

/// The value of `x-amz-content-sha256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadHash {
    /// Lower-case hex SHA-256 of the body, as the client signed it.
    Sha256(String),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedTrailer,
}

/// How the body goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginBody {
    /// The request has no body.
    Absent,
    /// The bytes as they are.
    Plain {
        /// Their number.
        length: u64,
        /// Their hash, when the client signed one.
        payload: PayloadHash,
    },
    /// aws-chunked with one trailing checksum, so that the origin verifies it too.
    TrailingChecksum {
        /// Number of bytes without the framing.
        decoded_length: u64,
        /// Field name of the checksum, such as `x-amz-checksum-crc32`.
        trailer: &'static str,
    },
}

impl OriginBody {
    /// Whether the origin has the whole request as soon as it has the head.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Plain { length, .. } => *length == 0,
            Self::TrailingChecksum { .. } => false,
        }
    }
}

/// Fields of a client's request that mean something to S3, besides `x-amz-*`.
const FORWARDED: &[HeaderName] = &[
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
];

/// `x-amz-*` fields that belong to the client's own signature or framing, or that are rebuilt.
const NOT_FORWARDED: &[&str] = &[
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-s3session-token",
    "x-amz-security-token",
    "x-amz-trailer",
];

/// Builds the origin request. `host` is the origin's authority without a bucket label.
pub fn rewrite(
    request: &Request,
    method: &Method,
    client: &HeaderMap,
    host: &str,
    addressing: Addressing,
    body: &OriginBody,
) -> OriginRequest {
    let (authority, path) = locate(request, host, addressing);
    let mut headers = forwarded(request, client);
    if let Some(source) = &request.copy_source {
        insert(&mut headers, "x-amz-copy-source", &source.to_field());
    }
    let payload = frame(&mut headers, client, method, body);
    OriginRequest {
        method: method.clone(),
        target: with_query(path, &request.query),
        authority,
        headers,
        payload,
    }
}

fn locate(request: &Request, host: &str, addressing: Addressing) -> (String, String) {
    let key = request
        .key
        .as_ref()
        .map(|key| encode_key(key.as_str()))
        .unwrap_or_default();
    match (&request.bucket, addressing) {
        (None, _) => (host.to_owned(), "/".to_owned()),
        (Some(bucket), Addressing::Path) if key.is_empty() => {
            (host.to_owned(), format!("/{bucket}"))
        }
        (Some(bucket), Addressing::Path) => (host.to_owned(), format!("/{bucket}/{key}")),
        (Some(bucket), Addressing::VirtualHosted) => {
            (format!("{bucket}.{host}"), format!("/{key}"))
        }
    }
}

fn with_query(mut target: String, query: &[(String, Option<String>)]) -> String {
    for (position, (name, value)) in query.iter().enumerate() {
        target.push(if position == 0 { '?' } else { '&' });
        target.push_str(&encode_query(name));
        if let Some(value) = value {
            target.push('=');
            target.push_str(&encode_query(value));
        }
    }
    target
}

fn forwarded(request: &Request, client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    for (name, value) in client {
        let is_amz = name.as_str().starts_with("x-amz-") && !NOT_FORWARDED.contains(&name.as_str());
        if is_amz || FORWARDED.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    for (name, value) in &request.hoisted {
        if !NOT_FORWARDED.contains(&name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Sets every field that describes the body.
fn frame(
    headers: &mut HeaderMap,
    client: &HeaderMap,
    method: &Method,
    body: &OriginBody,
) -> PayloadHash {
    let mut codings = content_codings(client);
    let payload = match body {
        OriginBody::Absent => {
            if matches!(*method, Method::PUT | Method::POST) {
                insert(headers, "content-length", "0");
            }
            PayloadHash::Sha256(EMPTY_SHA256_HEX.to_owned())
        }
        OriginBody::Plain { length, payload } => {
            copy(headers, client, "content-md5");
            insert(headers, "content-length", &length.to_string());
            payload.clone()
        }
        OriginBody::TrailingChecksum {
            decoded_length,
            trailer,
        } => {
            // `Content-MD5` of an aws-chunked body covers the decoded bytes and stays true.
            copy(headers, client, "content-md5");
            codings.insert(0, "aws-chunked".to_owned());
            let length = framing::encoded_length(*decoded_length, trailer);
            insert(headers, "content-length", &length.to_string());
            insert(
                headers,
                "x-amz-decoded-content-length",
                &decoded_length.to_string(),
            );
            insert(headers, "x-amz-trailer", trailer);
            PayloadHash::UnsignedTrailer
        }
    };
    if !codings.is_empty() {
        insert(headers, "content-encoding", &codings.join(","));
    }
    payload
}

/// The codings of the object itself: `aws-chunked` describes the upload only.
fn content_codings(client: &HeaderMap) -> Vec<String> {
    client
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .map(str::to_owned)
        .collect()
}

fn copy(headers: &mut HeaderMap, client: &HeaderMap, name: &'static str) {
    if let Some(value) = client.get(name) {
        headers.insert(name, value.clone());
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Only percent-encoded names, numbers and codings from parsed fields arrive here.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::BaseDomains;
    use crate::s3::RequestHead;

    fn built(
        method: &Method,
        path: &str,
        query: &str,
        fields: &[(&'static str, &str)],
        addressing: Addressing,
        body: &OriginBody,
    ) -> OriginRequest {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let head = RequestHead {
            method,
            raw_path: path,
            raw_query: query,
            host: "proxy:3000",
            headers: &headers,
        };
        let request = Request::classify(&head, &BaseDomains::default()).unwrap();
        rewrite(&request, method, &headers, "origin:9000", addressing, body)
    }

    #[test]
    fn nothing_of_the_clients_signature_goes_on() {
        let fields = [
            ("authorization", "AWS4-HMAC-SHA256 Credential=AK"),
            ("x-amz-date", "20261121T000000Z"),
            ("x-amz-security-token", "token"),
            ("x-amz-s3session-token", "token"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("connection", "keep-alive, x-amz-meta-a"),
            ("cookie", "c"),
            ("x-forwarded-for", "1.2.3.4"),
            ("range", "bytes=0-1"),
            ("x-amz-meta-a", "b"),
        ];
        let query = "X-Amz-Signature=s&X-Amz-Credential=c&X-Amz-Security-Token=t&versionId=v%2B1\
                     &x-amz-checksum-mode=ENABLED&x-id=GetObject";
        let request = built(
            &Method::GET,
            "/lake/a%20b",
            query,
            &fields,
            Addressing::Path,
            &OriginBody::Absent,
        );
        assert_eq!(request.target, "/lake/a%20b?versionId=v%2B1&x-id=GetObject");
        let mut names: Vec<_> = request.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["range", "x-amz-checksum-mode", "x-amz-meta-a"]);
        assert_eq!(
            request.payload,
            PayloadHash::Sha256(EMPTY_SHA256_HEX.to_owned())
        );
    }

    #[test]
    fn names_are_encoded_anew() {
        let get = |path, query, addressing| {
            let none = OriginBody::Absent;
            let request = built(&Method::GET, path, query, &[], addressing, &none);
            format!("{}{}", request.authority, request.target)
        };
        let path = Addressing::Path;
        assert_eq!(
            get("/lake/é~(1)=+", "", path),
            "origin:9000/lake/%C3%A9~%281%29%3D%2B"
        );
        assert_eq!(
            get("/lake/", "prefix=a/b&delimiter=&list-type=2", path),
            "origin:9000/lake?prefix=a%2Fb&delimiter=&list-type=2"
        );
        assert_eq!(get("/lake", "uploads", path), "origin:9000/lake?uploads");
        let virtual_hosted = Addressing::VirtualHosted;
        assert_eq!(get("/lake/a/b", "", virtual_hosted), "lake.origin:9000/a/b");
        assert_eq!(get("/lake", "", virtual_hosted), "lake.origin:9000/");
        assert_eq!(get("/", "", virtual_hosted), "origin:9000/");
    }

    #[test]
    fn a_trailing_checksum_is_framed_with_its_length() {
        let body = OriginBody::TrailingChecksum {
            decoded_length: 100,
            trailer: "x-amz-checksum-crc32",
        };
        let fields = [
            ("content-encoding", "aws-chunked, gzip"),
            ("x-amz-trailer", "x"),
        ];
        let request = built(
            &Method::PUT,
            "/lake/a",
            "",
            &fields,
            Addressing::Path,
            &body,
        );
        let field = |name| request.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(field("content-encoding"), "aws-chunked,gzip");
        assert_eq!(field("x-amz-trailer"), "x-amz-checksum-crc32");
        assert_eq!(field("x-amz-decoded-content-length"), "100");
        assert_eq!(
            field("content-length"),
            framing::encoded_length(100, "x-amz-checksum-crc32").to_string()
        );
        assert_eq!(request.payload, PayloadHash::UnsignedTrailer);
    }

    #[test]
    fn aws_chunked_is_no_coding_of_the_object() {
        let body = OriginBody::Plain {
            length: 5,
            payload: PayloadHash::Unsigned,
        };
        let fields = [("content-encoding", "aws-chunked")];
        let request = built(
            &Method::PUT,
            "/lake/a",
            "",
            &fields,
            Addressing::Path,
            &body,
        );
        assert!(!request.headers.contains_key("content-encoding"));
        assert_eq!(request.headers["content-length"], "5");
    }

    #[test]
    fn a_copy_source_is_rebuilt() {
        let fields = [("x-amz-copy-source", "/pond/a b?versionId=7")];
        let none = OriginBody::Absent;
        let request = built(
            &Method::PUT,
            "/lake/a",
            "",
            &fields,
            Addressing::Path,
            &none,
        );
        assert_eq!(
            request.headers["x-amz-copy-source"],
            "pond/a%20b?versionId=7"
        );
        assert_eq!(request.headers["content-length"], "0");
    }
}
