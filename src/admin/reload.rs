//! `POST /-/reload`: the configuration is read again; and `GET /-/config`: the one in force.
//!
//! As with a purge, a web page must not be able to have it sent.

use async_trait::async_trait;
use http::HeaderMap;
use http::Response;
use http::StatusCode;
use serde::Serialize;

use super::pages::Page;
use super::purge::is_json;
use super::purge::refuse;
use crate::telemetry::ReloadOutcome;

/// An order says nothing: this leaves room for a `{}` with some space around it.
pub(super) const MAX_BODY: usize = 1 << 10;

/// The field that a request needs which is not JSON.
const FIELD: &str = "x-s3proxy-reload";

/// Reads the configuration again.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Does it. Returns when it is in force, or nothing of it is.
    async fn reload(&self) -> ReloadReport;

    /// What is in force, since when, and what came of the last attempt, as JSON without secrets.
    fn in_force(&self) -> String;
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// Whether it is in force.
    pub ok: bool,
    /// The same in a word, which tells a wrong file from an attempt that was not made.
    #[serde(serialize_with = "as_word")]
    pub outcome: ReloadOutcome,
    /// The keys that changed and took effect.
    pub changed: Vec<String>,
    /// The keys that changed and take a new process.
    pub needs_restart: Vec<String>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// What is wrong.
    pub errors: Vec<String>,
}

impl ReloadReport {
    /// Nothing of it is in force.
    pub fn of_errors(outcome: ReloadOutcome, errors: Vec<String>) -> Self {
        Self {
            ok: false,
            outcome,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            warnings: Vec::new(),
            errors,
        }
    }
}

// What serde calls is given a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn as_word<S: serde::Serializer>(outcome: &ReloadOutcome, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(outcome.as_str())
}

/// Why a request is no order; `None` when it is one.
pub(super) fn refusal(query: &str, fields: &HeaderMap, body: &[u8]) -> Option<Response<Vec<u8>>> {
    let is_empty = matches!(body.trim_ascii(), b"" | b"{}");
    if !is_json(fields) && !fields.contains_key(FIELD) {
        let why =
            "send JSON with `content-type: application/json`, or the field `x-s3proxy-reload: 1`";
        return Some(refuse(StatusCode::FORBIDDEN, why));
    }
    if !query.is_empty() || !is_empty {
        let why = "there is nothing to say: no query, and no body but `{}`";
        return Some(refuse(StatusCode::BAD_REQUEST, why));
    }
    None
}

/// What came of it.
pub(super) fn page(report: &ReloadReport) -> Response<Vec<u8>> {
    let status = match report.outcome {
        ReloadOutcome::Applied => StatusCode::OK,
        ReloadOutcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        ReloadOutcome::Ignored => StatusCode::CONFLICT,
    };
    Page::json(status, report).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(query: &str, field: Option<(&'static str, &str)>, body: &str) -> Option<u16> {
        let mut fields = HeaderMap::new();
        if let Some((name, value)) = field {
            fields.insert(name, value.parse().unwrap());
        }
        let refused = refusal(query, &fields, body.as_bytes());
        refused.map(|refused| refused.status().as_u16())
    }

    #[test]
    fn an_order_is_one_that_no_web_page_can_send() {
        let json = Some(("content-type", "application/json; charset=utf-8"));
        let meant = Some((FIELD, "1"));
        for (field, body) in [(json, ""), (json, "{}\n"), (meant, ""), (meant, "{}")] {
            assert_eq!(status_of("", field, body), None, "{field:?} {body}");
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
            let field = Some(("content-type", content_type));
            assert_eq!(status_of("", field, "{}"), Some(403), "{content_type}");
        }
        assert_eq!(status_of("", None, ""), Some(403));
        assert_eq!(status_of("now=1", meant, ""), Some(400));
        assert_eq!(status_of("", json, "{\"now\": true}"), Some(400));
    }

    #[test]
    fn what_came_of_it_shows_in_the_status() {
        let errors = vec!["s3proxy.yaml:1: lisen: unknown key".to_owned()];
        let report = ReloadReport::of_errors(ReloadOutcome::Refused, errors);
        let answer = page(&report);
        assert_eq!(answer.status(), 422);
        let text = String::from_utf8(answer.into_body()).unwrap();
        assert!(
            text.starts_with(r#"{"ok":false,"outcome":"refused","changed":[]"#),
            "{text}"
        );
        assert!(text.contains("lisen"), "{text}");
        let ignored = ReloadReport::of_errors(ReloadOutcome::Ignored, Vec::new());
        assert_eq!(page(&ignored).status(), 409);
        let done = ReloadReport {
            ok: true,
            outcome: ReloadOutcome::Applied,
            ..ignored
        };
        assert_eq!(page(&done).status(), 200);
    }
}
