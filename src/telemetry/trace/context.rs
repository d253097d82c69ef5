//! W3C trace context: `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>).

use std::sync::Arc;

use http::HeaderMap;
use http::HeaderName;

/// Which trace, which span of it, and whether it is recorded.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What others keep beside it; passed on as it came.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longer ones may be left out, says the standard.
const MAX_STATE_BYTES: usize = 512;

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) is_sampled: bool,
    pub(super) state: Option<Arc<str>>,
}

impl Parent {
    /// What the fields of a request say; nothing when they are malformed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, more) = (values.next()?, values.next());
        let parent = parse(value.to_str().ok()?).filter(|_| more.is_none())?;
        let state = state(headers);
        Some(Self { state, ..parent })
    }
}

/// `version-trace-parent-flags`, in lower-case hexadecimal digits. Later versions may have more.
fn parse(text: &str) -> Option<Parent> {
    let mut parts = text.splitn(5, '-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let (flags, rest) = (parts.next()?, parts.next());
    if version == "ff" || (version == "00" && rest.is_some()) {
        return None;
    }
    digits(version, 2)?;
    let trace_id = digits(trace, 32).filter(|id| *id != 0)?;
    let span_id = u64::try_from(digits(span, 16)?)
        .ok()
        .filter(|id| *id != 0)?;
    Some(Parent {
        trace_id,
        span_id,
        is_sampled: digits(flags, 2)? & 1 == 1,
        state: None,
    })
}

fn digits(text: &str, length: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(is_digit))
        .then(|| u128::from_str_radix(text, 16).ok())?
}

fn state(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = String::new();
    for value in headers.get_all(TRACESTATE) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(value.to_str().ok()?);
    }
    (!all.is_empty() && all.len() <= MAX_STATE_BYTES).then(|| all.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_parent_is_taken() {
        let parent = parse(GOOD).unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.is_sampled);
        assert!(!parse(&GOOD.replace("-01", "-00")).unwrap().is_sampled);
        assert!(parse(&GOOD.replacen("00", "01", 1)).is_some());
        let later = GOOD.replacen("00", "cc", 1) + "-more";
        assert!(parse(&later).is_some());
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(Parent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Parent::of(&headers), None, "which of the two?");
    }

    #[test]
    fn the_state_is_passed_on_as_far_as_it_is_short() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        let state = |headers: &HeaderMap| Parent::of(headers).unwrap().state;
        assert_eq!(state(&headers).as_deref(), Some("a=1,b=2"));
        let long = format!("c={}", "x".repeat(MAX_STATE_BYTES));
        headers.append(TRACESTATE, HeaderValue::from_str(&long).unwrap());
        assert_eq!(state(&headers), None);
    }
}
