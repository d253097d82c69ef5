//! What the cache did for an answer, as the field `Cache-Status` tells it.
//! <https://www.rfc-editor.org/rfc/rfc9211>

use std::fmt::Write;

use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;

use super::labels::CacheResult;

/// The field's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the cache did for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// A hit, or why the request was forwarded.
    pub result: CacheResult,
    /// Seconds for which the object meta is still fresh; negative when it is stale.
    pub ttl: Option<i64>,
    /// The status by which the origin answered, where the client gets another one.
    pub fwd_status: Option<StatusCode>,
    /// Whether the answer is kept.
    pub is_stored: bool,
    /// Whether it waited for a request to the origin that another one had begun.
    pub is_collapsed: bool,
    /// What else there is to say: a token, or a few words of visible ASCII.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// The result alone.
    pub const fn new(result: CacheResult) -> Self {
        Self {
            result,
            ttl: None,
            fwd_status: None,
            is_stored: false,
            is_collapsed: false,
            detail: None,
        }
    }

    /// The member that this cache appends to the field.
    pub fn to_field(&self) -> HeaderValue {
        let mut field = String::with_capacity(48);
        field.push_str(match self.result {
            CacheResult::Hit | CacheResult::HitStale => "s3proxy; hit",
            CacheResult::Partial => "s3proxy; fwd=partial",
            CacheResult::Miss => "s3proxy; fwd=uri-miss",
            CacheResult::Stale => "s3proxy; fwd=stale",
            CacheResult::Bypass => "s3proxy; fwd=bypass",
            CacheResult::Method => "s3proxy; fwd=method",
        });
        let is_hit = matches!(self.result, CacheResult::Hit | CacheResult::HitStale);
        if let (false, Some(status)) = (is_hit, self.fwd_status) {
            write(&mut field, format_args!("; fwd-status={}", status.as_u16()));
        }
        if self.is_stored && !is_hit {
            field.push_str("; stored");
        }
        if self.is_collapsed && !is_hit {
            field.push_str("; collapsed");
        }
        if let Some(ttl) = self.ttl {
            write(&mut field, format_args!("; ttl={ttl}"));
        }
        let stale = (self.result == CacheResult::HitStale).then_some("stale-if-error");
        if let Some(detail) = self.detail.or(stale) {
            push_detail(&mut field, detail);
        }
        HeaderValue::try_from(field).unwrap_or(PLAIN)
    }

    /// The member of an answer that s3proxy gives on its own, such as a refusal. RFC 9211 would
    /// rather see none there; with it, people see who answered.
    pub fn own_answer(detail: &'static str) -> HeaderValue {
        let mut field = "s3proxy".to_owned();
        push_detail(&mut field, detail);
        HeaderValue::try_from(field).unwrap_or(PLAIN)
    }
}

/// In place of what is no field. Details are written in our code, so that this does not happen.
const PLAIN: HeaderValue = HeaderValue::from_static("s3proxy");

/// Tokens stand as they are, anything else in quotes (RFC 8941 sections 3.3.3 and 3.3.4).
fn push_detail(field: &mut String, detail: &str) {
    let is_token = detail.starts_with(|c: char| c.is_ascii_alphabetic())
        && detail
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let quote = if is_token { "" } else { "\"" };
    write(field, format_args!("; detail={quote}{detail}{quote}"));
}

fn write(field: &mut String, arguments: std::fmt::Arguments<'_>) {
    field
        .write_fmt(arguments)
        .expect("writing into memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_tells_what_happened() {
        use CacheResult::{Bypass, Hit, HitStale, Method, Miss, Partial, Stale};
        let plain = CacheStatus::new;
        for (status, expected) in [
            (plain(Hit), "s3proxy; hit"),
            (
                CacheStatus {
                    ttl: Some(42),
                    ..plain(Hit)
                },
                "s3proxy; hit; ttl=42",
            ),
            (
                CacheStatus {
                    ttl: Some(-7),
                    ..plain(HitStale)
                },
                "s3proxy; hit; ttl=-7; detail=stale-if-error",
            ),
            (
                CacheStatus {
                    is_stored: true,
                    ..plain(Miss)
                },
                "s3proxy; fwd=uri-miss; stored",
            ),
            (
                CacheStatus {
                    is_collapsed: true,
                    ..plain(Partial)
                },
                "s3proxy; fwd=partial; collapsed",
            ),
            (
                CacheStatus {
                    fwd_status: Some(StatusCode::NOT_MODIFIED),
                    ..plain(Stale)
                },
                "s3proxy; fwd=stale; fwd-status=304",
            ),
            (
                CacheStatus {
                    detail: Some("no-etag"),
                    ..plain(Bypass)
                },
                "s3proxy; fwd=bypass; detail=no-etag",
            ),
            (plain(Method), "s3proxy; fwd=method"),
        ] {
            assert_eq!(status.to_field(), expected);
        }
        let words = CacheStatus {
            detail: Some("no etag"),
            ..plain(Bypass)
        };
        assert_eq!(words.to_field(), "s3proxy; fwd=bypass; detail=\"no etag\"");
        assert_eq!(
            CacheStatus::own_answer("AccessDenied"),
            "s3proxy; detail=AccessDenied"
        );
    }

    #[test]
    fn a_hit_was_not_forwarded() {
        let contradictory = CacheStatus {
            fwd_status: Some(StatusCode::OK),
            is_stored: true,
            is_collapsed: true,
            ..CacheStatus::new(CacheResult::Hit)
        };
        assert_eq!(contradictory.to_field(), "s3proxy; hit");
    }
}
