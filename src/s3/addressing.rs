//! Where the bucket is written: path-style and virtual-hosted-style requests.

use super::ErrorCode;
use super::names::Bucket;
use super::names::Key;
use super::request_head::RequestHead;

/// The domains below which a `Host` label is a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseDomains(Vec<String>);

/// What a request's host and path name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Absent for the service itself (`GET /`).
    pub bucket: Option<Bucket>,
    /// Absent for a bucket.
    pub key: Option<Key>,
}

impl BaseDomains {
    /// Takes domains as configured, without port.
    pub fn new(domains: impl IntoIterator<Item = String>) -> Self {
        Self(
            domains
                .into_iter()
                .map(|domain| domain.to_ascii_lowercase())
                .collect(),
        )
    }

    /// Reads bucket and key from the raw request. `/bucket` and `/bucket/` are the same bucket.
    pub fn resource(&self, head: &RequestHead<'_>) -> Result<Resource, ErrorCode> {
        let path = head
            .raw_path
            .strip_prefix('/')
            .ok_or(ErrorCode::InvalidURI)?;
        if let Some(label) = self.bucket_label(head.host) {
            return Ok(Resource {
                bucket: Some(Bucket::new(&label)?),
                key: optional_key(path)?,
            });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return if key.is_empty() && path.is_empty() {
                Ok(Resource {
                    bucket: None,
                    key: None,
                })
            } else {
                Err(ErrorCode::InvalidBucketName)
            };
        }
        let bucket = percent_encoding::percent_decode_str(bucket)
            .decode_utf8()
            .map_err(|_| ErrorCode::InvalidURI)?;
        Ok(Resource {
            bucket: Some(Bucket::new(&bucket)?),
            key: optional_key(key)?,
        })
    }

    /// The part of the host before a base domain. A host below no base domain is path-style,
    /// whatever its name: the host decides nothing else.
    fn bucket_label(&self, host: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let host = without_port(host).to_ascii_lowercase();
        if self.0.contains(&host) {
            return None;
        }
        // One domain may lie below another: the longest one leaves the shortest label.
        let labels = self.0.iter().filter_map(|domain| {
            let label = host.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            (!label.is_empty()).then_some(label)
        });
        labels.min_by_key(|label| label.len()).map(str::to_owned)
    }
}

fn optional_key(encoded: &str) -> Result<Option<Key>, ErrorCode> {
    if encoded.is_empty() {
        Ok(None)
    } else {
        Key::decode(encoded).map(Some)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn resource(domains: &[&str], host: &str, path: &str) -> Result<(String, String), ErrorCode> {
        let headers = HeaderMap::new();
        let head = RequestHead {
            method: &Method::GET,
            raw_path: path,
            raw_query: "",
            host,
            headers: &headers,
        };
        let found = BaseDomains::new(domains.iter().map(ToString::to_string)).resource(&head)?;
        let text = |name: Option<&str>| name.unwrap_or("-").to_owned();
        Ok((
            text(found.bucket.as_ref().map(Bucket::as_str)),
            text(found.key.as_ref().map(Key::as_str)),
        ))
    }

    fn pair(bucket: &str, key: &str) -> (String, String) {
        (bucket.to_owned(), key.to_owned())
    }

    #[test]
    fn path_style() {
        assert_eq!(resource(&[], "h:3000", "/"), Ok(pair("-", "-")));
        assert_eq!(resource(&[], "h", "/lake"), Ok(pair("lake", "-")));
        assert_eq!(resource(&[], "h", "/lake/"), Ok(pair("lake", "-")));
        assert_eq!(
            resource(&[], "h", "/lake/a//b/./c/../d"),
            Ok(pair("lake", "a//b/./c/../d"))
        );
        assert_eq!(resource(&[], "h", "/lake//a"), Ok(pair("lake", "/a")));
        assert_eq!(
            resource(&[], "h", "/lake/x%2Fy%20z+"),
            Ok(pair("lake", "x/y z+"))
        );
        assert_eq!(
            resource(&[], "h", "//lake/a"),
            Err(ErrorCode::InvalidBucketName)
        );
        assert_eq!(
            resource(&[], "h", "/%2e%2e/a"),
            Err(ErrorCode::InvalidBucketName)
        );
        assert_eq!(
            resource(&[], "h", "/a%2Fb/c"),
            Err(ErrorCode::InvalidBucketName)
        );
    }

    #[test]
    fn virtual_hosted_style() {
        let domains = ["s3.example.com"];
        assert_eq!(
            resource(&domains, "lake.S3.example.com:3000", "/a/b"),
            Ok(pair("lake", "a/b"))
        );
        assert_eq!(
            resource(&domains, "a.b.s3.example.com", "/"),
            Ok(pair("a.b", "-"))
        );
        assert_eq!(
            resource(&domains, "s3.example.com", "/lake/a"),
            Ok(pair("lake", "a"))
        );
        let nested = ["example.com", "s3.example.com"];
        assert_eq!(
            resource(&nested, "lake.s3.example.com", "/a"),
            Ok(pair("lake", "a"))
        );
        assert_eq!(
            resource(&nested, "s3.example.com", "/lake/a"),
            Ok(pair("lake", "a"))
        );
        assert_eq!(
            resource(&domains, "evils3.example.com", "/lake/a"),
            Ok(pair("lake", "a"))
        );
        assert_eq!(
            resource(&domains, ".s3.example.com", "/lake/a"),
            Ok(pair("lake", "a"))
        );
        assert_eq!(
            resource(&domains, "a/b.s3.example.com", "/k"),
            Err(ErrorCode::InvalidBucketName)
        );
    }
}
