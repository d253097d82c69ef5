//! `POST /-/warm`: what an operator wants in the cache before anybody asks, and how it goes, told line
//! by line while it does.

use std::fmt;

use http::HeaderMap;
use http::Response;
use http::StatusCode;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Refused;
use super::pages::Page;
use super::purge;
use crate::s3::Bucket;
use crate::s3::Key;

/// The longest request body: ten thousand keys of 400 bytes.
pub(super) const MAX_BODY: usize = 4 << 20;

/// Objects that are warmed when no limit is named.
const OBJECTS: u64 = 100_000;

/// The highest limit.
const MOST_OBJECTS: u64 = 10_000_000;

/// Fetches into the cache.
pub trait Warm: Send + Sync {
    /// Begins. It ends when it is done, or when nobody listens any more.
    fn begin(&self, order: WarmOrder) -> Result<mpsc::Receiver<WarmEvent>, WarmError>;
}

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmOrder {
    /// The bucket.
    pub bucket: Bucket,
    /// What of it.
    pub target: WarmTarget,
    /// How much of each object.
    pub mode: WarmMode,
    /// Objects at most.
    pub limit: u64,
}

/// What of a bucket is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmTarget {
    /// These objects.
    Keys(Vec<Key>),
    /// Every object whose key begins so, as the origin lists them.
    Prefix(String),
}

/// How much of each object is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmMode {
    /// The last 512 KiB, where the footer of a data file is.
    #[default]
    Footer,
    /// All of it.
    Whole,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum WarmEvent {
    /// So far.
    Progress(WarmFigures),
    /// An object could not be fetched; the others go on.
    Error {
        /// Which.
        key: String,
        /// Why.
        error: String,
    },
    /// It has come to its end.
    Done(WarmFigures),
    /// It could not go on.
    Failed {
        /// Why.
        error: String,
        /// What came of it until then.
        #[serde(flatten)]
        figures: WarmFigures,
    },
}

/// What has been done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WarmFigures {
    /// Objects that are known to be meant so far.
    pub found: u64,
    /// Whether there are more than that.
    pub more: bool,
    /// Objects that are done with, however.
    pub objects: u64,
    /// Of these, those that could not be fetched.
    pub failed: u64,
    /// Of these, those that are not for the cache.
    pub skipped: u64,
    /// Bytes fetched.
    pub fetched_bytes: u64,
    /// Bytes that were there already.
    pub present_bytes: u64,
    /// How long it has taken.
    pub seconds: f64,
}

/// Why nothing begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmError {
    /// There is no cache, or it only compares.
    Off,
    /// No origin serves the bucket.
    NoOrigin,
    /// Others run.
    Busy,
}

impl fmt::Display for WarmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "the cache is off: there is nothing to warm",
            Self::NoOrigin => "no origin serves this bucket",
            Self::Busy => "two warms run already; wait until one has ended",
        })
    }
}

impl std::error::Error for WarmError {}

impl WarmError {
    pub(super) fn into_response(self) -> Response<Vec<u8>> {
        let status = match self {
            Self::Off | Self::NoOrigin => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
        };
        Page::refusal(status, &self.to_string()).into_response()
    }
}

/// The request as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    bucket: Option<String>,
    keys: Option<Vec<String>>,
    prefix: Option<String>,
    #[serde(default)]
    mode: WarmMode,
    limit: Option<u64>,
}

impl WarmOrder {
    /// Reads a request.
    pub(super) fn parse(fields: &HeaderMap, body: &[u8]) -> Result<Self, Refused> {
        if !purge::is_json(fields) {
            let why = "a warm needs `content-type: application/json`";
            return Err(Box::new(purge::refuse(StatusCode::FORBIDDEN, why)));
        }
        let wanted = serde_json::from_slice(body).map_err(|error| format!("the body: {error}"));
        wanted
            .and_then(Wanted::check)
            .map_err(|why| Box::new(purge::refuse(StatusCode::BAD_REQUEST, &why)))
    }
}

impl Wanted {
    fn check(self) -> Result<WarmOrder, String> {
        let bucket = self.bucket.ok_or("`bucket` is missing")?;
        let bucket = Bucket::new(&bucket).map_err(|_| "`bucket` is no bucket name")?;
        let target = match (self.keys, self.prefix) {
            (Some(keys), None) => {
                let key = |key: &String| Key::new(key).map_err(|_| format!("`{key}` is no key"));
                WarmTarget::Keys(keys.iter().map(key).collect::<Result<_, _>>()?)
            }
            (None, Some(prefix)) => WarmTarget::Prefix(prefix),
            _ => return Err("one of `keys` and `prefix` is needed".to_owned()),
        };
        let limit = self.limit.unwrap_or(OBJECTS);
        if !(1..=MOST_OBJECTS).contains(&limit) {
            return Err(format!("`limit` is from 1 to {MOST_OBJECTS}"));
        }
        Ok(WarmOrder {
            bucket,
            target,
            mode: self.mode,
            limit,
        })
    }
}

/// An event as a line.
pub(super) fn line(event: &WarmEvent) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("strings and numbers serialize");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header;

    use super::*;

    fn parse(content_type: &'static str, body: &str) -> Result<WarmOrder, (u16, String)> {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        WarmOrder::parse(&fields, body.as_bytes()).map_err(|refusal| {
            let status = refusal.status().as_u16();
            (status, String::from_utf8(refusal.into_body()).unwrap())
        })
    }

    #[test]
    fn an_order_names_keys_or_a_prefix() {
        let json = "application/json; charset=utf-8";
        let order = parse(json, r#"{"bucket": "lake", "keys": ["a", "b/c"]}"#).unwrap();
        assert_eq!((order.mode, order.limit), (WarmMode::Footer, OBJECTS));
        let keys = ["a", "b/c"].map(|key| Key::new(key).unwrap()).to_vec();
        assert_eq!(order.target, WarmTarget::Keys(keys));
        let body = r#"{"bucket": "lake", "prefix": "", "mode": "whole", "limit": 5}"#;
        let order = parse(json, body).unwrap();
        assert_eq!((order.mode, order.limit), (WarmMode::Whole, 5));
        assert_eq!(order.target, WarmTarget::Prefix(String::new()));
    }

    #[test]
    fn what_is_not_clear_or_could_come_from_a_web_page_is_refused() {
        let clear = r#"{"bucket": "lake", "prefix": ""}"#;
        for simple in ["text/plain", "application/x-www-form-urlencoded"] {
            assert_eq!(parse(simple, clear).unwrap_err().0, 403, "{simple}");
        }
        for (body, why) in [
            ("", "the body"),
            ("{}", "`bucket` is missing"),
            (r#"{"bucket": "lake"}"#, "one of `keys` and `prefix`"),
            (r#"{"bucket": "lake", "keys": [], "prefix": ""}"#, "one of"),
            (r#"{"bucket": "lake", "keys": [""]}"#, "is no key"),
            (r#"{"bucket": "..", "prefix": ""}"#, "is no bucket name"),
            (r#"{"bucket": "lake", "prefix": "", "mode": "all"}"#, "all"),
            (r#"{"bucket": "lake", "prefix": "", "limit": 0}"#, "`limit`"),
            (
                r#"{"bucket": "lake", "prefix": "", "key": "a"}"#,
                "unknown field",
            ),
        ] {
            let (status, text) = parse("application/json", body).unwrap_err();
            assert_eq!(status, 400, "{body}");
            assert!(text.contains(why), "{body}: {text}");
        }
    }

    #[test]
    fn events_are_lines_of_json() {
        let figures = WarmFigures {
            found: 3,
            ..WarmFigures::default()
        };
        let text = |event| String::from_utf8(line(&event)).unwrap();
        let progress = text(WarmEvent::Progress(figures));
        assert!(
            progress.starts_with("{\"event\":\"progress\",\"found\":3,"),
            "{progress}"
        );
        assert!(progress.ends_with("}\n"));
        let failed = text(WarmEvent::Failed {
            error: "no".to_owned(),
            figures,
        });
        assert!(
            failed.starts_with("{\"event\":\"failed\",\"error\":\"no\",\"found\":3,"),
            "{failed}"
        );
    }
}
