//! Addresses for nodes that chose none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ropeway::IpCidr;

/// Gives out addresses: hosts get 10.0.0.1, 10.0.0.2 and so on and fd00::1, fd00::2 and so on; routers get
/// 10.255.0.1 and fd00::ffff:0:1 and so on.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    hosts: u32,
    routers: u32,
}

impl Allocator {
    pub(crate) fn host(&mut self) -> [IpAddr; 2] {
        self.hosts += 1;
        let v6 = Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(self.hosts));
        [numbered(Ipv4Addr::new(10, 0, 0, 0), self.hosts).into(), v6.into()]
    }

    pub(crate) fn router(&mut self) -> [IpAddr; 2] {
        self.routers += 1;
        let v6 = Ipv6Addr::from_bits(0xfd00 << 112 | 0xffff << 32 | u128::from(self.routers));
        [numbered(Ipv4Addr::new(10, 255, 0, 0), self.routers).into(), v6.into()]
    }
}

/// The address with that number after `base`, where none ends in 0 or 255.
fn numbered(base: Ipv4Addr, number: u32) -> Ipv4Addr {
    let index = number - 1;
    Ipv4Addr::from_bits(base.to_bits() + (index / 254) * 256 + index % 254 + 1)
}

/// An address with the prefix of the networks above; others are alone.
pub(crate) fn with_prefix(address: IpAddr) -> IpCidr {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 10 => IpCidr::new(address, 8),
        IpAddr::V6(v6) if v6.segments()[0] == 0xfd00 => IpCidr::new(address, 16),
        _ => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_different_and_usual() {
        let mut allocator = Allocator::default();
        let hosts: Vec<_> = (0..600).map(|_| allocator.host()).collect();
        let text = |index: usize| hosts[index].map(|address| address.to_string());
        assert_eq!(text(0), ["10.0.0.1", "fd00::1"]);
        assert_eq!(text(253)[0], "10.0.0.254");
        assert_eq!(text(254)[0], "10.0.1.1");
        let different: std::collections::HashSet<_> = hosts.iter().flatten().collect();
        assert_eq!(different.len(), 1200);
        assert_eq!(allocator.router().map(|address| address.to_string()), ["10.255.0.1", "fd00::ffff:0:1"]);
    }
}
