//! A request that a test builds, signs, spoils and turns into bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::sigv4::{self, EMPTY, Key, Signing, chunk_signature, date_in, encode_query, sha256_hex};

/// A request. The host field is filled in when it is signed, or when it is sent.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An aws-chunked body.
#[derive(Clone)]
pub(super) struct Framed<'a> {
    pub(super) data: &'a [u8],
    pub(super) chunk_bytes: usize,
    /// Name and value of the trailing checksum.
    pub(super) trailer: Option<(&'a str, String)>,
    pub(super) is_signed: bool,
}

/// `Host` of every request, whatever port the proxy listens on.
pub(super) const HOST: &str = "s3.test:3000";

impl Call {
    pub(super) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(super) fn put(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("PUT", target).body(body)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces a field that is there.
    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// A body with its length.
    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.set("content-length", &length)
    }

    /// Signs in the header, now, with the hash of the body.
    pub(super) fn sign(self, key: &Key) -> Self {
        let hash = sha256_hex(&self.body);
        self.sign_at(key, &date_in(0), &hash)
    }

    pub(super) fn sign_unsigned(self, key: &Key) -> Self {
        self.sign_at(key, &date_in(0), "UNSIGNED-PAYLOAD")
    }

    /// Signs host and every `x-amz-*` field there is, dated as told.
    pub(super) fn sign_at(mut self, key: &Key, date: &str, payload_hash: &str) -> Self {
        if self.field("host").is_none() {
            self = self.header("host", HOST);
        }
        self = self
            .set("x-amz-date", date)
            .set("x-amz-content-sha256", payload_hash);
        if let Some(token) = &key.token {
            self = self.set("x-amz-security-token", token);
        }
        let headers = self.signed_fields(|name| name == "host" || name.starts_with("x-amz-"));
        self.authorize(key, date, payload_hash, &headers)
    }

    /// Signs only these fields of it.
    pub(super) fn sign_fields(self, key: &Key, names: &[&str]) -> Self {
        let date = date_in(0);
        let hash = sha256_hex(&self.body);
        let mut call = self
            .set("x-amz-date", &date)
            .set("x-amz-content-sha256", &hash);
        if call.field("host").is_none() {
            call = call.header("host", HOST);
        }
        let headers = call.signed_fields(|name| names.contains(&name));
        call.authorize(key, &date, &hash, &headers)
    }

    /// Signs with the hash of the body but does not say it, as curl before 8 does.
    pub(super) fn sign_body(self, key: &Key) -> Self {
        let date = date_in(0);
        let hash = sha256_hex(&self.body);
        let call = self.set("x-amz-date", &date);
        let headers = call.signed_fields(|name| name == "host" || name.starts_with("x-amz-"));
        call.authorize(key, &date, &hash, &headers)
    }

    fn authorize(self, key: &Key, date: &str, hash: &str, headers: &[(String, String)]) -> Self {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let signing = Signing {
            key,
            date,
            method: &self.method,
            path,
            query,
            headers,
            payload_hash: hash,
        };
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
            key.id,
            signing.scope(),
            signing.names(),
            signing.signature()
        );
        self.set("authorization", &value)
    }

    fn signed_fields(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| wanted(name))
            .collect();
        fields.sort();
        fields
    }

    /// Makes it a presigned URL for `expires` seconds, which covers the host alone.
    pub(super) fn presign(self, key: &Key, expires: &str) -> Self {
        self.presign_at(key, expires, &date_in(0))
    }

    pub(super) fn presign_at(mut self, key: &Key, expires: &str, date: &str) -> Self {
        if self.field("host").is_none() {
            self = self.header("host", HOST);
        }
        let headers = self.signed_fields(|name| name == "host" || name.starts_with("x-amz-"));
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", key.id, &date[..8]);
        self.target += &format!(
            "{separator}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders={}",
            encode_query(&credential),
            encode_query(&names.join(";"))
        );
        if let Some(token) = &key.token {
            self.target += &format!("&X-Amz-Security-Token={}", encode_query(token));
        }
        let (path, query) = self.target.split_once('?').unwrap();
        let signing = Signing {
            key,
            date,
            method: &self.method,
            path,
            query,
            headers: &headers,
            payload_hash: "UNSIGNED-PAYLOAD",
        };
        let signature = signing.signature();
        self.target += &format!("&X-Amz-Signature={signature}");
        self
    }

    /// Signs the head and frames the body as aws-chunked.
    pub(super) fn framed(self, key: &Key, framed: &Framed<'_>) -> Self {
        let mode = match (framed.is_signed, &framed.trailer) {
            (true, None) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (true, Some(_)) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            (false, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        };
        let length = framed.data.len().to_string();
        let mut call = self
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &length);
        if let Some((name, _)) = &framed.trailer {
            call = call.header("x-amz-trailer", name);
        }
        let date = date_in(0);
        let call = call.sign_at(key, &date, mode);
        let seed = call
            .field("authorization")
            .unwrap()
            .rsplit('=')
            .next()
            .unwrap()
            .to_owned();
        let body = framed.encode(key, &date, seed);
        call.body(body)
    }

    /// As it goes on the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if self.field("host").is_none() {
            head += &format!("host: {HOST}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        head.into_bytes()
    }
}

impl<'a> Framed<'a> {
    pub(super) fn unsigned(data: &'a [u8]) -> Self {
        Self {
            data,
            chunk_bytes: 8192,
            trailer: Some(("x-amz-checksum-crc32", crc32_base64(data))),
            is_signed: false,
        }
    }

    pub(super) fn signed(data: &'a [u8]) -> Self {
        Self {
            trailer: None,
            is_signed: true,
            ..Self::unsigned(data)
        }
    }

    pub(super) fn signed_with_trailer(data: &'a [u8]) -> Self {
        Self {
            is_signed: true,
            ..Self::unsigned(data)
        }
    }

    fn encode(&self, key: &Key, date: &str, seed: String) -> Vec<u8> {
        let mut previous = seed;
        let mut body = Vec::new();
        let empty: &[u8] = &[];
        for data in self.data.chunks(self.chunk_bytes).chain([empty]) {
            body.extend_from_slice(format!("{:x}", data.len()).as_bytes());
            if self.is_signed {
                previous = chunk_signature(key, date, &previous, data);
                body.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
            if !data.is_empty() {
                body.extend_from_slice(data);
                body.extend_from_slice(b"\r\n");
            }
        }
        if let Some((name, value)) = &self.trailer {
            let line = format!("{name}:{value}");
            body.extend_from_slice(format!("{line}\r\n").as_bytes());
            if self.is_signed {
                let lines = format!("{line}\n");
                let signature = sigv4::trailer_signature(key, date, &previous, &lines);
                body.extend_from_slice(
                    format!("x-amz-trailer-signature:{signature}\r\n").as_bytes(),
                );
            }
        }
        body.extend_from_slice(b"\r\n");
        body
    }
}

/// CRC-32 as zlib computes it, bit by bit.
pub(super) fn crc32_base64(data: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    STANDARD.encode((!crc).to_be_bytes())
}

/// The hash of nothing is what a request without a body signs.
#[test]
fn nothing_has_the_known_hash() {
    assert_eq!(sha256_hex(b""), EMPTY);
    assert_eq!(crc32_base64(b"123456789"), "y/Q5Jg==");
}
