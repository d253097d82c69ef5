//! How single values are written: text to value, `None` when it is not one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use globset::Glob;
use globset::GlobBuilder;

use crate::cache::CacheRules;
use crate::cache::RuleSpec;
use crate::policy::Statement;
use crate::s3::GLOB_MARKS;
use crate::upstream::Endpoint;

/// `true` or `false`.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Decimal digits.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Dollars, in digits and with a point at most.
pub(super) fn price(text: &str) -> Option<f64> {
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let price = text.parse().ok().filter(|_| is_decimal)?;
    (0.0..=1000.0).contains(&price).then_some(price)
}

/// A share: from 0 to 1.
pub(super) fn ratio(text: &str) -> Option<f64> {
    price(text).filter(|ratio| *ratio <= 1.0)
}

/// `4GiB`, `200MB`, or bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// `30s`, `1h 30m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// The shortest exact way to write a size.
pub(super) fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    UNITS
        .iter()
        .find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits)
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, bits)| format!("{}{unit}", bytes >> bits),
        )
}

/// The way to write a duration.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

/// `ip:port` with a port of its own.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    text.parse()
        .ok()
        .filter(|addr: &SocketAddr| addr.port() != 0)
}

/// `ip:port`, or `unix:` and an absolute path.
pub(super) fn admin_listener(text: &str) -> Option<Result<SocketAddr, PathBuf>> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') && !path.contains('\0') => {
            Some(Err(PathBuf::from(path)))
        }
        Some(_) => None,
        None => address(text).map(Ok),
    }
}

/// Octal, for the owner and the group only.
pub(super) fn mode(text: &str) -> Option<u32> {
    let bits = u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok()?;
    (bits & !0o770 == 0 && bits & 0o600 == 0o600).then_some(bits)
}

/// Scheme, host and port; a path, a query or user information has no place here.
pub(super) fn endpoint(text: &str) -> Option<Endpoint> {
    if text.contains('#') {
        return None; // `Uri` would drop what follows without a word.
    }
    let uri: http::Uri = text.parse().ok()?;
    let is_tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
        return None;
    }
    let host = authority.host();
    let host = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => is_host(host).then(|| host.to_ascii_lowercase())?,
    };
    // Read here: `Authority::port` takes a port that is out of range for none.
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" if is_tls => 443,
        "" => 80,
        rest => whole(rest.strip_prefix(':')?)?
            .try_into()
            .ok()
            .filter(|port| *port != 0)?,
    };
    Some(Endpoint { is_tls, host, port })
}

/// Labels of letters, digits, `-` and `_`, up to 253 characters; IPv4 addresses are among them.
pub(super) fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// What a client or an origin may be called.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// What can stand in a credential scope, which is separated by `/`, in a field separated by `,`.
pub(super) fn is_access_key(text: &str) -> bool {
    (3..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/,=".contains(&b))
}

/// POSIX names of environment variables.
pub(super) fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Compiled by the policy stage itself; a `/` would make a glob that no bucket can match.
pub(super) fn is_bucket_glob(text: &str) -> bool {
    !text.is_empty()
        && !text.contains('/')
        && Statement::new(&[text.to_owned()], &[], Vec::new(), Vec::new()).is_ok()
        && bucket_glob(text).is_some()
}

/// Compiled by the policy stage itself.
pub(super) fn is_prefix_glob(text: &str) -> bool {
    !text.is_empty() && Statement::new(&[], &[text.to_owned()], Vec::new(), Vec::new()).is_ok()
}

/// Compiled by the cache itself.
pub(super) fn is_key_glob(text: &str) -> bool {
    let rule = RuleSpec {
        keys: vec![text.to_owned()],
        ..RuleSpec::default()
    };
    !text.is_empty() && CacheRules::new(vec![rule]).is_ok()
}

/// A glob over bucket names, read as rules read theirs.
pub(super) fn bucket_glob(text: &str) -> Option<Glob> {
    GlobBuilder::new(text)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .ok()
}

/// Whether a glob is a plain name.
pub(super) fn is_literal(glob: &str) -> bool {
    !glob.contains(GLOB_MARKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let plain = endpoint("https://s3.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((plain.is_tls, plain.port), (true, 443));
        let v6 = endpoint("http://[::1]:9000/").unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("::1", 9000));
        for bad in [
            "",
            "s3.amazonaws.com",
            "ftp://h",
            "https://h/path",
            "https://h?x=1",
            "https://u:p@h",
            "https://",
            "http://h:0",
            "http://h:99999",
            "http://h:",
            "https://a..b",
            "https://h#f/x",
        ] {
            assert!(endpoint(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_admin_listener_is_an_address_or_a_socket() {
        let address = admin_listener("127.0.0.1:3001").unwrap();
        assert_eq!(address, Ok("127.0.0.1:3001".parse().unwrap()));
        let socket = admin_listener("unix:/run/s3proxy/admin.sock").unwrap();
        assert_eq!(socket, Err("/run/s3proxy/admin.sock".into()));
        for bad in [
            "",
            "unix:",
            "unix:admin.sock",
            "127.0.0.1",
            "127.0.0.1:0",
            "/run/x",
        ] {
            assert_eq!(admin_listener(bad), None, "{bad}");
        }
    }

    #[test]
    fn prices_are_decimal() {
        assert_eq!(price("0"), Some(0.0));
        assert_eq!(price("0.0004"), Some(0.0004));
        assert_eq!(price("1000"), Some(1000.0));
        for bad in [
            "", ".", "-1", "1e3", "inf", "nan", "1,5", "1000.1", "$1", "1.2.3",
        ] {
            assert_eq!(price(bad), None, "{bad}");
        }
    }

    #[test]
    fn modes_leave_everyone_else_out() {
        assert_eq!(mode("0660"), Some(0o660));
        assert_eq!(mode("0o600"), Some(0o600));
        for bad in ["0666", "0777", "0661", "0060", "660x", "4660", ""] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_durations_are_shown_as_they_are_read() {
        for text in ["64KiB", "4GiB", "1000B", "3MiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        for text in ["30s", "15m", "1h30m", "500ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }
}
