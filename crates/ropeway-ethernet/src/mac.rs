//! Hardware addresses.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address.
///
/// ```
/// use ropeway_ethernet::MacAddr;
///
/// let mac: MacAddr = "52:55:0a:00:02:02".parse()?;
/// assert_eq!(mac.to_string(), "52:55:0a:00:02:02");
/// assert_eq!(mac.link_local().to_string(), "fe80::5055:aff:fe00:202");
/// # Ok::<(), ropeway_ethernet::ParseMacAddrError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// The text is not six bytes in hexadecimal, separated by colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMacAddrError;

impl MacAddr {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address with these bytes.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Its bytes.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether it stands for a group of stations. The broadcast address does.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it can be the address of a station.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Where packets for a multicast group are sent (RFC 1112 6.4, RFC 2464 7).
    #[must_use]
    pub const fn of_group(group: IpAddr) -> Self {
        match group {
            IpAddr::V4(group) => {
                let [_, b, c, d] = group.octets();
                Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(group) => {
                let [.., a, b, c, d] = group.octets();
                Self([0x33, 0x33, a, b, c, d])
            }
        }
    }

    /// The link-local IPv6 address that is made from it (RFC 4291 appendix A, RFC 2464 5).
    #[must_use]
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacAddrError)?;
            let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16).ok().filter(|_| is_hex).ok_or(ParseMacAddrError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(ParseMacAddrError),
        }
    }
}

impl fmt::Display for ParseMacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an Ethernet address, such as 52:55:0a:00:02:02")
    }
}

impl Error for ParseMacAddrError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            "1:2:3:4:5:6",
            "+1:02:03:04:05:06",
            "01:02:03:04:05",
            "01:02:03:04:05:06:07",
            "zz:02:03:04:05:06",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacAddrError), "{text}");
        }
        assert_eq!("FF:ff:FF:ff:FF:ff".parse(), Ok(MacAddr::BROADCAST));
    }

    #[test]
    fn groups_have_the_addresses_that_the_rfcs_give_them() {
        let of = |group: &str| MacAddr::of_group(group.parse().unwrap()).to_string();
        assert_eq!(of("224.0.0.251"), "01:00:5e:00:00:fb");
        assert_eq!(of("239.255.1.2"), "01:00:5e:7f:01:02");
        assert_eq!(of("ff02::1:ff00:2"), "33:33:ff:00:00:02");
    }

    #[test]
    fn no_group_and_no_zero_is_a_station() {
        assert!(MacAddr::new([2, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!MacAddr::new([3, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!MacAddr::new([0; 6]).is_unicast() && !MacAddr::BROADCAST.is_unicast());
    }
}
