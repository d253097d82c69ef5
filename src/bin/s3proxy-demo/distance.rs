//! How far away a store is: the two figures that make it so, and the flags that give them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

/// How far away the store is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    /// Before the first byte of each response.
    pub(crate) first_byte_delay: Duration,
    /// Of one connection; `None` is no limit.
    pub(crate) bytes_per_second: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DistanceArgs {
    /// Delay before the first byte of each response
    #[arg(long, default_value = "30ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    first_byte_delay: Duration,
    /// Bytes per second that one connection can receive; 0 is no limit
    #[arg(long, default_value = "80MB/s", value_parser = parse_rate, value_name = "RATE")]
    bandwidth: ByteSize,
}

impl DistanceArgs {
    pub(crate) fn distance(&self) -> Distance {
        let rate = self.bandwidth.as_u64();
        Distance {
            first_byte_delay: self.first_byte_delay,
            bytes_per_second: (rate > 0).then_some(rate),
        }
    }
}

impl Display for DistanceArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to the first byte",
            humantime::format_duration(self.first_byte_delay)
        )?;
        match self.bandwidth.as_u64() {
            0 => Ok(()),
            _ => write!(f, ", {}/s a connection", self.bandwidth.display().si()),
        }
    }
}

/// `80MB/s` or `80MB`.
fn parse_rate(text: &str) -> Result<ByteSize, String> {
    text.strip_suffix("/s").unwrap_or(text).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_size_with_or_without_its_second() {
        assert_eq!(parse_rate("80MB/s"), Ok(ByteSize::mb(80)));
        assert_eq!(parse_rate("80MB"), Ok(ByteSize::mb(80)));
        assert_eq!(parse_rate("0"), Ok(ByteSize::b(0)));
        assert!(parse_rate("fast").is_err());
    }
}
