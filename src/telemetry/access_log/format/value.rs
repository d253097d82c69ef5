//! The values of a line, written where they belong. A line has some twenty of them and every request has a
//! line, so none is made into a string of its own first, and numbers do without `core::fmt`.

use std::borrow::Cow;
use std::fmt::Display;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde::Serializer;

/// What can stand in a line.
pub(super) trait Shown {
    /// Appends it.
    fn show(&self, text: &mut String);
}

impl Shown for &str {
    fn show(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Shown for Cow<'_, str> {
    fn show(&self, text: &mut String) {
        text.push_str(self);
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Shown for $type {
            fn show(&self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}

numbers!(u16 u32 u64);

/// What prints itself.
#[derive(Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Shown for Text<T> {
    fn show(&self, text: &mut String) {
        write!(text, "{}", self.0).expect("writing into memory");
    }
}

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Where a client is.
#[derive(Debug)]
pub(super) struct Address(pub(super) SocketAddr);

impl Shown for Address {
    fn show(&self, text: &mut String) {
        let SocketAddr::V4(address) = self.0 else {
            return Text(self.0).show(text);
        };
        let mut separator = "";
        for octet in address.ip().octets() {
            text.push_str(separator);
            u16::from(octet).show(text);
            separator = ".";
        }
        text.push(':');
        address.port().show(text);
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Milliseconds, to the microsecond.
#[derive(Debug)]
pub(super) struct Milliseconds(pub(super) Duration);

impl Shown for Milliseconds {
    /// As a fraction is printed: without zeros at its end.
    fn show(&self, text: &mut String) {
        let micros = u64::try_from(self.rounded()).unwrap_or(u64::MAX);
        (micros / 1000).show(text);
        let mut rest = micros % 1000;
        let mut unit = 100;
        let point = if rest > 0 { "." } else { "" };
        text.push_str(point);
        while rest > 0 {
            (rest / unit).show(text);
            rest %= unit;
            unit /= 10;
        }
    }
}

impl Milliseconds {
    fn rounded(&self) -> u128 {
        (self.0.as_nanos() + 500) / 1000
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1e6).round() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_fractions() {
        for (nanos, expected) in [
            (0, "0"),
            (499, "0"),
            (500, "0.001"),
            (1_000, "0.001"),
            (84_000, "0.084"),
            (100_000, "0.1"),
            (120_400, "0.12"),
            (999_999, "1"),
            (41_250_000, "41.25"),
            (30_000_000, "30"),
            (3_600_000_000_123, "3600000"),
        ] {
            let mut text = String::new();
            let value = Milliseconds(Duration::from_nanos(nanos));
            value.show(&mut text);
            assert_eq!(text, expected, "{nanos}");
            let json: f64 = serde_json::to_string(&value).unwrap().parse().unwrap();
            assert_eq!(text, json.to_string(), "{nanos}");
        }
    }
}
