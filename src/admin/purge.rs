//! `POST /-/purge`: what an operator wants deleted, read from the request, and what came of it.
//!
//! A web page must not be able to have it sent: browsers send neither JSON nor a field of our own to
//! another origin without asking first, and are not told that they may.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use serde::Serialize;

use super::pages::Page;
use super::query::Query;
use crate::s3::Bucket;
use crate::s3::Key;
use crate::telemetry::CacheScope;

/// The field that a request needs which is not JSON.
pub(super) const FIELD: &str = "x-s3proxy-purge";

/// The longest request body: a key of 1,024 bytes with everything escaped, and room.
pub(super) const MAX_BODY: usize = 16 << 10;

/// Deletes from the cache.
#[async_trait]
pub trait Purge: Send + Sync {
    /// Deletes what is kept, bytes on disk included. Returns when it is gone.
    async fn purge(&self, order: &PurgeOrder) -> Result<PurgeReport, PurgeError>;
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeOrder {
    /// The origin whose objects are meant; absent means the one that serves the bucket.
    pub origin: Option<Arc<str>>,
    /// The bucket.
    pub bucket: Bucket,
    /// What of it.
    pub target: PurgeTarget,
}

/// What of a bucket is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeTarget {
    /// One object.
    Key(Key),
    /// Every object whose key begins so; all of them when it is empty.
    Prefix(String),
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PurgeReport {
    /// Objects of which there was something.
    pub objects: u64,
    /// Their segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be looked at or deleted.
    pub failures: u64,
}

/// Why nothing was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeError {
    /// There is no cache.
    Off,
    /// No origin serves the bucket.
    NoOrigin,
}

impl fmt::Display for PurgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "the cache is off: there is nothing to purge",
            Self::NoOrigin => "no origin serves this bucket; name the origin if it once did",
        })
    }
}

impl std::error::Error for PurgeError {}

impl PurgeOrder {
    /// The label that metrics count it under.
    pub(super) fn scope(&self) -> CacheScope {
        match &self.target {
            PurgeTarget::Key(_) => CacheScope::Object,
            PurgeTarget::Prefix(prefix) if prefix.is_empty() => CacheScope::Bucket,
            PurgeTarget::Prefix(_) => CacheScope::Prefix,
        }
    }

    /// Reads a request, from its query or its body.
    pub(super) fn parse(query: &str, fields: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let wanted = if is_json(fields) {
            if !query.is_empty() {
                return Err(Refusal::Bad(
                    "either a query or a JSON body, not both".into(),
                ));
            }
            serde_json::from_slice(body)
                .map_err(|error| Refusal::Bad(format!("the body: {error}")))?
        } else if fields.contains_key(FIELD) {
            if !body.is_empty() {
                let why = "a body needs `content-type: application/json`";
                return Err(Refusal::Bad(why.into()));
            }
            Wanted::from_query(query)?
        } else {
            return Err(Refusal::NotMeant);
        };
        wanted.check()
    }
}

/// Why a request is no order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A web page could have had it sent.
    NotMeant,
    /// What is wrong with it.
    Bad(String),
}

/// The request as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    bucket: Option<String>,
    key: Option<String>,
    prefix: Option<String>,
    origin: Option<String>,
}

impl Wanted {
    fn from_query(query: &str) -> Result<Self, Refusal> {
        let query = Query::parse(query, &["bucket", "key", "prefix", "origin"]);
        let query = query.map_err(Refusal::Bad)?;
        let value = |name| query.get(name).map(str::to_owned);
        Ok(Self {
            bucket: value("bucket"),
            key: value("key"),
            prefix: value("prefix"),
            origin: value("origin"),
        })
    }

    fn check(self) -> Result<PurgeOrder, Refusal> {
        let bad = |why: &str| Refusal::Bad(why.to_owned());
        let bucket = self.bucket.ok_or_else(|| bad("`bucket` is missing"))?;
        let bucket = Bucket::new(&bucket).map_err(|_| bad("`bucket` is no bucket name"))?;
        let target = match (self.key, self.prefix) {
            (Some(key), None) => {
                let key = Key::new(&key).map_err(|_| bad("`key` is no key"))?;
                PurgeTarget::Key(key)
            }
            (None, Some(prefix)) => PurgeTarget::Prefix(prefix),
            _ => {
                return Err(bad(
                    "one of `key` and `prefix` is needed; an empty `prefix` means the whole bucket",
                ));
            }
        };
        Ok(PurgeOrder {
            origin: self.origin.map(Into::into),
            bucket,
            target,
        })
    }
}

/// Whether the body says that it is JSON: no web page can send it here unasked.
pub(super) fn is_json(fields: &HeaderMap) -> bool {
    let value = fields.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// What came of an order.
pub(super) fn page(outcome: Result<PurgeReport, PurgeError>) -> Response<Vec<u8>> {
    match outcome {
        Ok(report) => {
            let status = if report.failures == 0 {
                StatusCode::OK
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            Page::json(status, &report).into_response()
        }
        Err(error) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
    }
}

/// Says what is wrong.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response<Vec<u8>> {
    Page::refusal(status, why).into_response()
}

impl Refusal {
    pub(super) fn into_response(self) -> Response<Vec<u8>> {
        match self {
            Self::NotMeant => refuse(
                StatusCode::FORBIDDEN,
                "send JSON with `content-type: application/json`, or the field `x-s3proxy-purge: 1`",
            ),
            Self::Bad(why) => refuse(StatusCode::BAD_REQUEST, &why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, field: (&'static str, &str), body: &str) -> Result<PurgeOrder, Refusal> {
        let mut fields = HeaderMap::new();
        fields.insert(field.0, field.1.parse().unwrap());
        PurgeOrder::parse(query, &fields, body.as_bytes())
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const MEANT: (&str, &str) = (FIELD, "1");

    #[test]
    fn an_order_comes_as_json_or_as_a_query() {
        let key = PurgeOrder {
            origin: None,
            bucket: Bucket::new("lake").unwrap(),
            target: PurgeTarget::Key(Key::new("a b/ü&c").unwrap()),
        };
        let body = r#"{"bucket": "lake", "key": "a b/ü&c"}"#;
        assert_eq!(parse("", JSON, body), Ok(key.clone()));
        let query = "bucket=lake&key=a%20b/%C3%BC%26c";
        assert_eq!(parse(query, MEANT, ""), Ok(key.clone()));
        assert_eq!(key.scope(), CacheScope::Object);
        let prefix = parse("bucket=lake&prefix=hive/&origin=eu", MEANT, "").unwrap();
        assert_eq!(prefix.target, PurgeTarget::Prefix("hive/".to_owned()));
        assert_eq!(prefix.origin.as_deref(), Some("eu"));
        assert_eq!(prefix.scope(), CacheScope::Prefix);
        let all = parse("", JSON, r#"{"bucket": "lake", "prefix": ""}"#).unwrap();
        assert_eq!(all.scope(), CacheScope::Bucket);
    }

    #[test]
    fn what_a_web_page_could_send_is_no_order() {
        let query = "bucket=lake&prefix=";
        let body = r#"{"bucket": "lake", "prefix": ""}"#;
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "text/plain; application/json",
        ] {
            for (query, body) in [(query, ""), ("", body), (query, body)] {
                let refused = parse(query, ("content-type", content_type), body);
                assert_eq!(refused, Err(Refusal::NotMeant), "{content_type}");
            }
        }
    }

    #[test]
    fn an_order_that_is_not_clear_is_refused() {
        for (query, field, body) in [
            ("", JSON, ""),
            ("", JSON, "[]"),
            ("", JSON, "{}"),
            ("", JSON, r#"{"bucket": "lake"}"#),
            ("", JSON, r#"{"bucket": "lake", "key": "a", "prefix": "b"}"#),
            (
                "",
                JSON,
                r#"{"bucket": "lake", "prefix": "b", "dry_run": true}"#,
            ),
            ("", JSON, r#"{"bucket": "../x", "key": "a"}"#),
            ("", JSON, r#"{"bucket": "lake", "key": ""}"#),
            (
                "bucket=lake&key=a",
                JSON,
                r#"{"bucket": "lake", "key": "a"}"#,
            ),
            ("bucket=lake&key=a", MEANT, "x"),
            ("bucket=lake&key=a&key=b", MEANT, ""),
            ("bucket=lake&key=%ff", MEANT, ""),
            ("bucket=lake&keys=a", MEANT, ""),
        ] {
            let refused = parse(query, field, body);
            assert!(matches!(refused, Err(Refusal::Bad(_))), "{query} {body}");
        }
    }

    #[test]
    fn a_purge_that_is_not_complete_is_no_success() {
        let report = PurgeReport {
            objects: 1,
            ..PurgeReport::default()
        };
        let done = page(Ok(report));
        assert_eq!(done.status(), StatusCode::OK);
        assert_eq!(
            done.into_body(),
            b"{\"objects\":1,\"segments\":0,\"bytes\":0,\"failures\":0}\n"
        );
        let partial = PurgeReport {
            failures: 2,
            ..report
        };
        let status = page(Ok(partial)).status();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(page(Err(PurgeError::Off)).status(), StatusCode::NOT_FOUND);
    }
}
