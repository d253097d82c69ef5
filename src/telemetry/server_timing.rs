//! Where the time to the head of an answer went, as the field `Server-Timing` tells it.
//! <https://www.w3.org/TR/server-timing/>

use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;

/// The field's name.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Parts of the time to the head of an answer. What did not happen is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerTiming {
    /// Until it was known who asks and that they may.
    pub verify: Option<Duration>,
    /// Looking into the cache.
    pub cache: Option<Duration>,
    /// Waiting for the heads of the origin's answers.
    pub origin: Option<Duration>,
}

impl ServerTiming {
    /// The field; `None` when nothing is known. Milliseconds to the microsecond, as the durations
    /// of the access log are.
    pub fn to_field(&self) -> Option<HeaderValue> {
        let mut field = String::with_capacity(64);
        let parts = [
            ("verify", self.verify),
            ("cache", self.cache),
            ("origin", self.origin),
        ];
        for (name, duration) in parts {
            let Some(duration) = duration else { continue };
            if !field.is_empty() {
                field.push_str(", ");
            }
            field.push_str(name);
            field.push_str(";dur=");
            push_milliseconds(&mut field, duration);
        }
        if field.is_empty() {
            return None;
        }
        HeaderValue::try_from(field).ok()
    }
}

/// Three digits behind the point. Each answer has the field, so this does without `core::fmt`.
fn push_milliseconds(field: &mut String, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut number = itoa::Buffer::new();
    field.push_str(number.format(micros / 1000));
    field.push('.');
    // The digit before them keeps their zeros.
    field.push_str(&number.format(1000 + micros % 1000)[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_and_in_milliseconds() {
        let timing = ServerTiming {
            verify: Some(Duration::from_nanos(104_900)),
            cache: None,
            origin: Some(Duration::from_micros(31_007)),
        };
        let field = timing.to_field().unwrap();
        assert_eq!(field, "verify;dur=0.104, origin;dur=31.007");
        assert_eq!(ServerTiming::default().to_field(), None);
    }
}
