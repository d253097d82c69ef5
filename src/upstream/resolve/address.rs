//! Addresses that no origin can have, whatever a name server says.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Where clouds give instances their metadata and credentials, outside of the link-local ranges.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google Cloud
];

/// Whether connecting there is refused: link-local and metadata addresses (a request forged to
/// reach them returns the instance's credentials), unspecified, multicast and broadcast ones.
/// Loopback and private ranges are fine: origins may be local.
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4),
        IpAddr::V6(v6) => is_refused_v6(v6),
    }
}

fn is_refused_v4(v4: Ipv4Addr) -> bool {
    v4.octets()[0] == 0
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || METADATA_V4.contains(&v4)
}

fn is_refused_v6(v6: Ipv6Addr) -> bool {
    if v6.is_loopback() {
        return false;
    }
    v6.is_unspecified()
        || v6.is_unicast_link_local()
        || v6.is_multicast()
        || METADATA_V6.contains(&v6)
        || embedded_v4(v6).is_some_and(is_refused_v4)
}

/// The IPv4 address that packets to an IPv6 one end up at: mapped (`::ffff:0:0/96`), compatible
/// (`::/96`, RFC 4291 2.5.5), translated (`64:ff9b::/96`, RFC 6052) or tunnelled (`2002::/16`,
/// RFC 3056).
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}
