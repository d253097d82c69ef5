//! GetObject requests, signed in the header as SDKs sign them: with the range.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy::sigv4::{
    AmzDate, CanonicalQuery, CanonicalRequest, EMPTY_SHA256_HEX, SignedHeaders, SigningKey,
    canonical_path, string_to_sign,
};

use crate::Error;

const WITH_RANGE: &str = "host;range;x-amz-content-sha256;x-amz-date";
const WITHOUT_RANGE: &str = "host;x-amz-content-sha256;x-amz-date";
const USER_AGENT: &str = "s3proxy-load/1";

/// Signs with one key pair for one host, at one time.
pub(crate) struct Signer {
    host: String,
    access_key: String,
    scope: String,
    date: AmzDate,
    key: SigningKey,
}

impl Signer {
    pub(crate) fn new(
        host: &str,
        access_key: &str,
        secret_key: &str,
        region: &str,
        now: i64,
    ) -> Result<Self, Error> {
        let date = AmzDate::from_unix(now).ok_or("the clock is wrong")?;
        Ok(Self {
            host: host.to_owned(),
            access_key: access_key.to_owned(),
            scope: format!("{}/{region}/s3/aws4_request", date.day()),
            key: SigningKey::derive(secret_key, date.day(), region, "s3"),
            date,
        })
    }

    /// The whole request.
    pub(crate) fn get(&self, path: &str, range: Option<&str>) -> Result<Bytes, Error> {
        let date = self.date.as_str();
        let names = match range {
            Some(_) => WITH_RANGE,
            None => WITHOUT_RANGE,
        };
        let signature = self.signature(path, range, names)?;
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\nuser-agent: {USER_AGENT}\r\n\
             x-amz-content-sha256: {EMPTY_SHA256_HEX}\r\nx-amz-date: {date}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}\r\n",
            self.host, self.access_key, self.scope,
        );
        if let Some(range) = range {
            write!(head, "range: {range}\r\n")?;
        }
        head += "\r\n";
        Ok(head.into())
    }

    fn signature(&self, path: &str, range: Option<&str>, names: &str) -> Result<String, Error> {
        let mut headers = HeaderMap::new();
        let date = self.date.as_str();
        headers.insert(
            HeaderName::from_static("x-amz-content-sha256"),
            HeaderValue::from_static(EMPTY_SHA256_HEX),
        );
        headers.insert(HeaderName::from_static("x-amz-date"), date.parse()?);
        if let Some(range) = range {
            headers.insert(http::header::RANGE, range.parse()?);
        }
        let canonical = CanonicalRequest {
            method: "GET",
            path: &canonical_path(path),
            query: &CanonicalQuery::parse(""),
            host: &self.host,
            headers: &headers,
            signed_headers: &SignedHeaders::parse(names.into()).ok_or("no names to sign")?,
            payload_hash: EMPTY_SHA256_HEX,
        };
        let text = string_to_sign(&self.date, &self.scope, &canonical.to_bytes());
        Ok(self.key.sign(text.as_bytes()).to_hex())
    }
}
