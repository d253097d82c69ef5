//! Which `Host` the admin listener answers to.

use std::net::IpAddr;
use std::net::Ipv6Addr;

use http::HeaderValue;

/// Whether the host is an IP address, `localhost` or one of the configured names, whatever the port.
/// An address cannot be rebound; only a name can.
pub(super) fn is_allowed(host: &HeaderValue, names: &[String]) -> bool {
    let Some(name) = host.to_str().ok().and_then(without_port) else {
        return false;
    };
    is_address(name)
        || name.eq_ignore_ascii_case("localhost")
        || names
            .iter()
            .any(|allowed| name.eq_ignore_ascii_case(allowed))
}

fn is_address(name: &str) -> bool {
    match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()),
        None => name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv4()),
    }
}

/// `None` when what follows the host is not a port.
fn without_port(host: &str) -> Option<&str> {
    let end_of_v6 = host.find(']').map_or(0, |end| end + 1);
    let (name, port) = match host[end_of_v6..].find(':') {
        Some(colon) => host.split_at(end_of_v6 + colon),
        None => (host, ":"),
    };
    port[1..]
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_known_names_are_allowed() {
        let names = ["s3proxy.internal".to_owned()];
        let allowed = |host| is_allowed(&HeaderValue::from_static(host), &names);
        for host in [
            "127.0.0.1:3001",
            "10.0.0.7",
            "[::1]:3001",
            "[fe80::1]",
            "localhost:3001",
            "LOCALHOST",
            "s3proxy.internal:3001",
            "S3Proxy.Internal",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in [
            "",
            ":3001",
            "attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "127.0.0.1:80@attacker.example",
            "[::1",
            "[127.0.0.1]",
            "[::1].attacker.example",
            "::1",
            "]",
        ] {
            assert!(!allowed(host), "{host}");
        }
    }
}
