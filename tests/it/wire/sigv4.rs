//! A signer of the tests' own, so that a mistake in the crate's canonicalization cannot hide.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: AsciiSet = UNRESERVED.remove(b'/');
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A key pair, with the session token that temporary ones have.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl Key {
    pub(super) fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: None,
        }
    }

    pub(super) fn with_token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    pub(super) fn with_secret(self, secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            ..self
        }
    }
}

/// What a signature is made of.
pub(super) struct Signing<'a> {
    pub(super) key: &'a Key,
    /// `yyyymmddThhmmssZ`.
    pub(super) date: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// Lower-case names in ascending order, with their values.
    pub(super) headers: &'a [(String, String)],
    pub(super) payload_hash: &'a str,
}

impl Signing<'_> {
    pub(super) fn scope(&self) -> String {
        scope(self.date)
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.join(";")
    }

    pub(super) fn signature(&self) -> String {
        let mut request = format!(
            "{}\n{}\n{}\n",
            self.method,
            encode(&decode(self.path), &PATH),
            canonical_query(self.query)
        );
        for (name, value) in self.headers {
            request += &format!("{name}:{}\n", value.trim());
        }
        request += &format!("\n{}\n{}", self.names(), self.payload_hash);
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope(),
            sha256_hex(request.as_bytes())
        );
        sign(self.key, self.date, &text)
    }
}

/// The signature of one aws-chunked chunk.
pub(super) fn chunk_signature(key: &Key, date: &str, previous: &str, data: &[u8]) -> String {
    let text = format!(
        "AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{}\n{previous}\n{EMPTY}\n{}",
        scope(date),
        sha256_hex(data)
    );
    sign(key, date, &text)
}

/// The signature of the trailing fields, each `name:value\n`.
pub(super) fn trailer_signature(key: &Key, date: &str, previous: &str, lines: &str) -> String {
    let text = format!(
        "AWS4-HMAC-SHA256-TRAILER\n{date}\n{}\n{previous}\n{}",
        scope(date),
        sha256_hex(lines.as_bytes())
    );
    sign(key, date, &text)
}

fn scope(date: &str) -> String {
    format!("{}/us-east-1/s3/aws4_request", &date[..8])
}

fn sign(key: &Key, date: &str, text: &str) -> String {
    let mut signing_key = format!("AWS4{}", key.secret).into_bytes();
    for part in [&date[..8], "us-east-1", "s3", "aws4_request", text] {
        signing_key = hmac(&signing_key, part.as_bytes());
    }
    hex(&signing_key)
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let anew = |text| encode(&decode(text), &UNRESERVED);
            (anew(name), anew(value))
        })
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn encode(bytes: &[u8], kept: &'static AsciiSet) -> String {
    percent_encode(bytes, kept).to_string()
}

/// Encodes everything but unreserved characters.
pub(super) fn encode_query(text: &str) -> String {
    encode(text.as_bytes(), &UNRESERVED)
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The date of a moment so many seconds from now.
pub(super) fn date_in(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let then = i64::try_from(now.as_secs()).unwrap() + seconds;
    let time = UNIX_EPOCH + Duration::from_secs(then.try_into().unwrap());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace(['-', ':'], "")
}
