//! Which addresses a guest reaches only where somebody has said so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is refused whatever the host is: loopback, link-local, multicast, broadcast, unspecified, reserved ones, and those
/// that carry such an IPv4 address in an IPv6 address.
///
/// ```
/// use ropeway_gateway::is_forbidden;
///
/// for refused in ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
///     assert!(is_forbidden(refused.parse().unwrap()), "{refused}");
/// }
/// assert!(!is_forbidden("93.184.216.34".parse().unwrap()));
/// ```
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // "This network" (RFC 791 3.2), and what was never given out, with the limited broadcast (RFC 1112 4).
    first == 0 || first >= 240 || address.is_loopback() || address.is_link_local() || address.is_multicast()
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    let is_link_local = first & 0xffc0 == 0xfe80;
    let is_site_local = first & 0xffc0 == 0xfec0;
    // RFC 8215: where the IPv4 address stands in these is the network's own affair.
    let is_local_nat64 = (first, second, third) == (0x64, 0xff9b, 1);
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local
        || is_site_local
        || is_local_nat64
        || embedded(address).is_some_and(is_forbidden_v4)
}

/// The IPv4 address that an IPv6 address leads to: IPv4-mapped and IPv4-compatible ones (RFC 4291 2.5.5), NAT64 (RFC 6052 2.1),
/// 6to4 (RFC 3056 2).
pub(crate) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[.., a, b, c, d]: [u8; 16]| Ipv4Addr::new(a, b, c, d);
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last(address.octets())),
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

    use super::*;

    #[test]
    fn loopback_and_its_like_are_refused_in_every_form() {
        let refused = [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::224.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b:1:7f00:0:100::",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
        ];
        for address in refused {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        let allowed = [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "93.184.216.34",
            "2001:db8::1",
            "fd00::1",
            "64:ff9b::93.184.216.34",
            "::ffff:93.184.216.34",
            "2002:5db8:d822::1",
        ];
        for address in allowed {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }
}
