//! How figures and names are written for people.

use std::time::Duration;

use bytesize::ByteSize;
use serde_json::Value;

/// Text that came from elsewhere, without what a terminal would take for commands.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            cleaned.extend(character.escape_default());
        } else {
            cleaned.push(character);
        }
    }
    cleaned
}

/// The end of a text that is too long: keys differ there.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let end: String = text.chars().skip(length - kept).collect();
    format!("…{end}")
}

pub(super) fn bytes(value: &Value) -> String {
    let bytes = value.as_u64().unwrap_or_default();
    ByteSize(bytes).display().iec().to_string()
}

/// With thousands apart.
pub(super) fn count(value: &Value) -> String {
    let digits = value.as_u64().unwrap_or_default().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn percent(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", part * 100.0))
}

pub(super) fn times(value: &Value) -> String {
    let ratio = value.as_f64();
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// A short time, to three digits or so.
pub(super) fn latency(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

/// A long time, in whole seconds.
pub(super) fn duration(value: &Value) -> String {
    let seconds = value.as_f64().unwrap_or_default().clamp(0.0, 1e12);
    let whole = Duration::from_secs(Duration::from_secs_f64(seconds).as_secs());
    humantime::format_duration(whole).to_string()
}

pub(super) fn dollars(value: &Value) -> String {
    let amount = value.as_f64().unwrap_or_default();
    if amount < 0.01 {
        format!("${amount:.6}")
    } else {
        format!("${amount:.2}")
    }
}

/// Text as JSON holds it, cleaned.
pub(super) fn string(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(count(&json!(0)), "0");
        assert_eq!(count(&json!(999)), "999");
        assert_eq!(count(&json!(1_234_567)), "1,234,567");
        assert_eq!(percent(&json!(0.9876)), "98.8 %");
        assert_eq!(percent(&Value::Null), "-");
        assert_eq!(latency(&json!(0.000_042)), "42 µs");
        assert_eq!(latency(&json!(0.0421)), "42.1 ms");
        assert_eq!(latency(&json!(2.5)), "2.50 s");
        assert_eq!(duration(&json!(3723.9)), "1h 2m 3s");
        assert_eq!(duration(&json!(-1.0)), "0s");
        assert_eq!(dollars(&json!(0.000_4)), "$0.000400");
        assert_eq!(dollars(&json!(12.345)), "$12.35");
        assert_eq!(bytes(&json!(1536)), "1.5 KiB");
    }

    #[test]
    fn keys_cannot_command_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(clean("ü/ä"), "ü/ä");
        assert_eq!(fitted("abcdef", 6), "abcdef");
        assert_eq!(fitted("abcdefg", 4), "…efg");
        assert_eq!(fitted("äöü", 2), "…ü");
    }
}
