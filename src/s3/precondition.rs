//! Preconditions of reads, evaluated as S3 does it.
//!
//! If-Match decides before If-Unmodified-Since and If-None-Match before If-Modified-Since: the dates
//! count only where there is no ETag to compare.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header;
use http::header::HeaderName;

use super::ETag;

/// What a request wants to hold before it is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// If-Match.
    required: Option<ETags>,
    /// If-None-Match.
    known: Option<ETags>,
    /// If-Modified-Since.
    modified_since: Option<SystemTime>,
    /// If-Unmodified-Since.
    unmodified_since: Option<SystemTime>,
    /// If-Range.
    range: Option<IfRange>,
}

/// What comes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ETags {
    /// `*`.
    Any,
    /// As the client wrote them, with or without quotes.
    Listed(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum IfRange {
    ETag(String),
    Date(SystemTime),
}

impl Preconditions {
    /// Reads the fields. A date that is none is ignored.
    pub fn parse(headers: &HeaderMap) -> Self {
        Self {
            required: etags(headers, &header::IF_MATCH),
            known: etags(headers, &header::IF_NONE_MATCH),
            modified_since: date(headers, &header::IF_MODIFIED_SINCE),
            unmodified_since: date(headers, &header::IF_UNMODIFIED_SINCE),
            range: if_range(headers),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Holds them against an object.
    pub fn evaluate(&self, etag: &ETag, last_modified: Option<SystemTime>) -> Verdict {
        let modified = last_modified.map(whole_seconds);
        let has_required = match (&self.required, self.unmodified_since, modified) {
            (Some(tags), _, _) => tags.has(etag, is_strong_match),
            (None, Some(bound), Some(modified)) => modified <= bound,
            (None, _, _) => true,
        };
        if !has_required {
            return Verdict::Failed;
        }
        let is_known = match (&self.known, self.modified_since, modified) {
            (Some(tags), _, _) => tags.has(etag, is_weak_match),
            (None, Some(bound), Some(modified)) => modified <= bound,
            (None, _, _) => false,
        };
        if is_known {
            Verdict::NotModified
        } else {
            Verdict::Proceed
        }
    }

    /// Whether it depends on the object's validator whether `Range` counts.
    pub fn has_if_range(&self) -> bool {
        self.range.is_some()
    }

    /// Whether `Range` counts: `If-Range` is absent or names this object's validator. Otherwise the
    /// whole object is the answer.
    pub fn range_applies(&self, etag: &ETag, last_modified: Option<SystemTime>) -> bool {
        match &self.range {
            None => true,
            Some(IfRange::ETag(tag)) => is_strong_match(tag, etag),
            Some(IfRange::Date(date)) => last_modified.map(whole_seconds) == Some(*date),
        }
    }
}

impl ETags {
    fn has(&self, etag: &ETag, matches: fn(&str, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| matches(tag, etag)),
        }
    }
}

/// Of a weak ETag nothing is promised about bytes, so it matches nothing.
fn is_strong_match(asked: &str, etag: &ETag) -> bool {
    !etag.is_weak() && !asked.starts_with("W/") && is_same_opaque(asked, etag)
}

fn is_weak_match(asked: &str, etag: &ETag) -> bool {
    is_same_opaque(asked.strip_prefix("W/").unwrap_or(asked), etag)
}

/// S3 takes ETags without quotes too.
fn is_same_opaque(asked: &str, etag: &ETag) -> bool {
    let opaque = etag.opaque();
    let bare = opaque.trim_matches('"');
    asked == opaque || (!asked.is_empty() && asked == bare)
}

/// All ETags of all fields of this name; `None` without any.
fn etags(headers: &HeaderMap, name: &HeaderName) -> Option<ETags> {
    let mut listed = Vec::new();
    for value in headers.get_all(name) {
        // Bytes that no ETag of ours has are kept as a tag that matches nothing.
        let text = String::from_utf8_lossy(value.as_bytes());
        split_list(&text, &mut listed);
    }
    match listed.as_slice() {
        [] => None,
        tags if tags.iter().any(|tag| tag == "*") => Some(ETags::Any),
        _ => Some(ETags::Listed(listed)),
    }
}

/// Splits at the commas outside of quotes.
fn split_list(text: &str, list: &mut Vec<String>) {
    let mut is_quoted = false;
    let items = text.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    });
    let items = items.map(str::trim).filter(|item| !item.is_empty());
    list.extend(items.map(str::to_owned));
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(text).ok()
}

fn if_range(headers: &HeaderMap) -> Option<IfRange> {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    let text = values.next()?.to_str().unwrap_or_default().trim();
    let is_single = values.next().is_none();
    match httpdate::parse_http_date(text) {
        Ok(date) if is_single => Some(IfRange::Date(date)),
        // What is no validator matches none: the whole object is always right.
        _ => Some(IfRange::ETag(if is_single { text } else { "" }.to_owned())),
    }
}

/// Dates in fields have no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => time,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"9b2cf535f27731c974343645a3985328\"";
    const BARE: &str = "9b2cf535f27731c974343645a3985328";
    const MODIFIED: &str = "Tue, 15 Nov 1994 12:45:26 GMT";
    const BEFORE: &str = "Tue, 15 Nov 1994 12:45:25 GMT";
    const AFTER: &str = "Tue, 15 Nov 1994 12:45:27 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }

    fn judge(fields: &[(HeaderName, &str)]) -> Verdict {
        let modified = httpdate::parse_http_date(MODIFIED).unwrap();
        // Half a second that the field cannot say.
        let modified = modified + Duration::from_millis(500);
        let etag = ETag::parse(ETAG).unwrap();
        Preconditions::parse(&headers(fields)).evaluate(&etag, Some(modified))
    }

    #[test]
    fn etags_are_compared_in_lists_with_and_without_quotes() {
        use Verdict::{Failed, NotModified, Proceed};
        let weak = format!("W/{ETAG}");
        let list = format!("\"a,b\", {ETAG} ,\"c\"");
        let bare_list = format!("a,{BARE}");
        for (value, if_match, if_none_match) in [
            (ETAG, Proceed, NotModified),
            (BARE, Proceed, NotModified),
            (list.as_str(), Proceed, NotModified),
            (bare_list.as_str(), Proceed, NotModified),
            ("*", Proceed, NotModified),
            (" * ", Proceed, NotModified),
            (weak.as_str(), Failed, NotModified),
            ("\"*\"", Failed, Proceed),
            ("\"0123\"", Failed, Proceed),
            ("0123", Failed, Proceed),
            ("\"", Failed, Proceed),
            ("\"a,b", Failed, Proceed),
            ("W/", Failed, Proceed),
            // Nothing in it: as if it was not there.
            ("", Proceed, Proceed),
            (" , ", Proceed, Proceed),
        ] {
            assert_eq!(judge(&[(header::IF_MATCH, value)]), if_match, "{value}");
            assert_eq!(
                judge(&[(header::IF_NONE_MATCH, value)]),
                if_none_match,
                "{value}"
            );
        }
        let lines = [
            (header::IF_NONE_MATCH, "\"a\""),
            (header::IF_NONE_MATCH, ETAG),
        ];
        assert_eq!(judge(&lines), NotModified);
    }

    #[test]
    fn dates_are_compared_in_whole_seconds() {
        use Verdict::{Failed, NotModified, Proceed};
        for (date, since, unmodified) in [
            (BEFORE, Proceed, Failed),
            (MODIFIED, NotModified, Proceed),
            (AFTER, NotModified, Proceed),
            ("Tuesday, 15-Nov-94 12:45:26 GMT", NotModified, Proceed),
            ("Tue Nov 15 12:45:25 1994", Proceed, Failed),
            ("yesterday", Proceed, Proceed),
            ("1994-11-15T12:45:25Z", Proceed, Proceed),
            ("", Proceed, Proceed),
        ] {
            assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, date)]), since, "{date}");
            assert_eq!(
                judge(&[(header::IF_UNMODIFIED_SINCE, date)]),
                unmodified,
                "{date}"
            );
        }
        let etag = ETag::parse(ETAG).unwrap();
        for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
            let dated = Preconditions::parse(&headers(&[(name, MODIFIED)]));
            assert_eq!(dated.evaluate(&etag, None), Proceed);
        }
    }

    #[test]
    fn etags_decide_before_dates() {
        // The two combinations that AWS describes for GetObject.
        let both = [
            (header::IF_MATCH, ETAG),
            (header::IF_UNMODIFIED_SINCE, BEFORE),
        ];
        assert_eq!(judge(&both), Verdict::Proceed);
        let both = [
            (header::IF_NONE_MATCH, ETAG),
            (header::IF_MODIFIED_SINCE, BEFORE),
        ];
        assert_eq!(judge(&both), Verdict::NotModified);
    }

    #[test]
    fn if_range_needs_the_exact_validator() {
        let etag = ETag::parse(ETAG).unwrap();
        let modified = httpdate::parse_http_date(MODIFIED).unwrap();
        let applies = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|v| (header::IF_RANGE, *v)).collect();
            Preconditions::parse(&headers(&fields)).range_applies(&etag, Some(modified))
        };
        for value in [ETAG, BARE, MODIFIED] {
            assert!(applies(&[value]), "{value}");
        }
        let weak = format!("W/{ETAG}");
        for value in [
            "\"0123\"",
            weak.as_str(),
            BEFORE,
            AFTER,
            "*",
            "",
            "yesterday",
        ] {
            assert!(!applies(&[value]), "{value}");
        }
        assert!(applies(&[]));
        assert!(!applies(&[ETAG, ETAG]));
        let dated = Preconditions::parse(&headers(&[(header::IF_RANGE, MODIFIED)]));
        assert!(!dated.range_applies(&etag, None));
        let odd = ETag::parse("\"\"").unwrap();
        let empty = Preconditions::parse(&headers(&[(header::IF_RANGE, "")]));
        assert!(!empty.range_applies(&odd, None));
    }

    #[test]
    fn a_weak_etag_matches_nothing_strongly() {
        let etag = ETag::parse("W/\"a\"").unwrap();
        let conditions = |name, value| Preconditions::parse(&headers(&[(name, value)]));
        for value in ["W/\"a\"", "\"a\"", "a"] {
            let verdict = conditions(header::IF_MATCH, value).evaluate(&etag, None);
            assert_eq!(verdict, Verdict::Failed, "{value}");
            let verdict = conditions(header::IF_NONE_MATCH, value).evaluate(&etag, None);
            assert_eq!(verdict, Verdict::NotModified, "{value}");
        }
    }

    proptest! {
        /// RFC 9110, 13.2.2, step by step.
        #[test]
        fn the_steps_of_the_rfc(
            matches in prop::option::of(any::<bool>()),
            none_matches in prop::option::of(any::<bool>()),
            modified_since in prop::option::of(-1..=1_i32),
            unmodified_since in prop::option::of(-1..=1_i32),
        ) {
            let date = |offset: i32| match offset { -1 => BEFORE, 0 => MODIFIED, _ => AFTER };
            let tag = |holds: bool| if holds { ETAG } else { "\"other\"" };
            let mut fields = Vec::new();
            fields.extend(matches.map(|holds| (header::IF_MATCH, tag(holds))));
            fields.extend(none_matches.map(|holds| (header::IF_NONE_MATCH, tag(holds))));
            fields.extend(modified_since.map(|at| (header::IF_MODIFIED_SINCE, date(at))));
            fields.extend(unmodified_since.map(|at| (header::IF_UNMODIFIED_SINCE, date(at))));
            let model = || {
                if matches == Some(false) {
                    return Verdict::Failed;
                }
                if matches.is_none() && unmodified_since.is_some_and(|at| at < 0) {
                    return Verdict::Failed;
                }
                if none_matches == Some(true) {
                    return Verdict::NotModified;
                }
                if none_matches.is_none() && modified_since.is_some_and(|at| at >= 0) {
                    return Verdict::NotModified;
                }
                Verdict::Proceed
            };
            prop_assert_eq!(judge(&fields), model());
        }

        #[test]
        fn any_value_is_read(value in prop::collection::vec(0x20..=0xff_u8, 0..40), etag in "\"[!#-~]{0,8}\"") {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let etag = ETag::parse(&etag).unwrap();
            for name in [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_RANGE, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
                let mut headers = HeaderMap::new();
                headers.insert(name, value.clone());
                let conditions = Preconditions::parse(&headers);
                let _ = conditions.evaluate(&etag, None);
                let _ = conditions.range_applies(&etag, None);
            }
        }

        #[test]
        fn an_etag_is_found_in_any_list(etags in prop::collection::vec("\"[!#-~]{1,8}\"", 1..6), which in any::<prop::sample::Index>()) {
            let list = etags.join(", ");
            let etag = ETag::parse(which.get::<String>(&etags)).unwrap();
            let conditions = Preconditions::parse(&headers(&[(header::IF_MATCH, &list)]));
            prop_assert_eq!(conditions.evaluate(&etag, None), Verdict::Proceed);
            let other = ETag::parse("\"longer-than-all\"").unwrap();
            prop_assert_eq!(conditions.evaluate(&other, None), Verdict::Failed);
        }
    }
}
