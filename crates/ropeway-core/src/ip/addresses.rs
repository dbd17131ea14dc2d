//! Our addresses, and which addresses nobody can have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::IpCidr;

/// The list is for those who ask for it, and for the choice of a source; every packet asks the sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalAddresses {
    list: Vec<IpCidr>,
    own: BTreeSet<IpAddr>,
    /// The broadcast addresses of our networks, and of how many of them each is one.
    broadcast: BTreeMap<Ipv4Addr, usize>,
}

impl LocalAddresses {
    pub(crate) fn new(list: Vec<IpCidr>) -> Self {
        let mut addresses = Self::default();
        for address in list {
            addresses.add(address);
        }
        addresses
    }

    pub(crate) fn list(&self) -> &[IpCidr] {
        &self.list
    }

    pub(crate) fn add(&mut self, address: IpCidr) {
        self.remove(address.address());
        self.list.push(address);
        self.own.insert(address.address());
        if let Some(broadcast) = address.broadcast() {
            *self.broadcast.entry(broadcast).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, address: IpAddr) {
        if !self.own.remove(&address) {
            return;
        }
        let Some(place) = self.list.iter().position(|own| own.address() == address) else { return };
        let Some(broadcast) = self.list.remove(place).broadcast() else { return };
        if let Some(count) = self.broadcast.get_mut(&broadcast) {
            *count -= 1;
            if *count == 0 {
                self.broadcast.remove(&broadcast);
            }
        }
    }

    /// Whether the address is one of ours on the device.
    pub(crate) fn is_on_device(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Whether packets to the address never leave the stack: 127.0.0.0/8, `::1`, and our own.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_on_device(address)
    }

    /// Our address towards `remote` (RFC 9293 3.9.1.1 MUST-44): itself if it is ours, one in its network,
    /// or the first of its family.
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(if remote.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        if self.is_on_device(remote) {
            return Some(remote);
        }
        let family = || self.list.iter().filter(|own| own.address().is_ipv4() == remote.is_ipv4());
        let own = family()
            .find(|own| own.contains(remote))
            .or_else(|| family().find(|own| is_link_local(own.address()) == is_link_local(remote)))
            .or_else(|| family().next())?;
        Some(own.address())
    }

    /// Whether TCP can have a peer there (RFC 9293 3.9.2.3 MUST-63, 3.9.1.1 MUST-46).
    ///
    /// As in Linux, 240.0.0.0/4 and the rest of 0.0.0.0/8 are addresses like others: nobody has them yet, and to answer
    /// them costs no more than to answer any other forgery.
    pub(crate) fn is_unicast(&self, address: IpAddr) -> bool {
        !address.is_multicast()
            && !address.is_unspecified()
            && !self.is_broadcast(address)
            && !is_mapped(address)
    }

    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.is_broadcast() || self.broadcast.contains_key(&address),
            IpAddr::V6(_) => false,
        }
    }
}

/// `::ffff:10.0.0.1`, which stands for an IPv4 address inside a program (RFC 4291 2.5.5.2). In a packet it is a forgery:
/// whoever trusts the IPv4 address would trust it.
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9293 3.9.1.1 MUST-44
    #[test]
    fn source_is_in_the_remotes_network_if_there_is_one() {
        let list = ["10.0.0.2/24", "192.168.1.2/16", "fe80::2/64", "fd00::2/64"];
        let addresses = LocalAddresses::new(list.iter().map(|text| text.parse().unwrap()).collect());
        let source = |remote: &str| addresses.source_for(remote.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(source("192.168.77.1").as_deref(), Some("192.168.1.2"));
        assert_eq!(source("8.8.8.8").as_deref(), Some("10.0.0.2"));
        assert_eq!(source("2001:db8::1").as_deref(), Some("fd00::2"));
        assert_eq!(source("fe80::9").as_deref(), Some("fe80::2"));
        assert_eq!(source("127.3.3.3").as_deref(), Some("127.0.0.1"));
        assert_eq!(source("10.0.0.2").as_deref(), Some("10.0.0.2"));
        assert_eq!(LocalAddresses::new(Vec::new()).source_for("8.8.8.8".parse().unwrap()), None);
    }

    #[test]
    fn broadcast_and_multicast_are_nobodys() {
        let addresses = LocalAddresses::new(vec!["10.0.0.2/24".parse().unwrap()]);
        for nobody in ["10.0.0.255", "255.255.255.255", "224.0.0.1", "ff02::1", "0.0.0.0", "::"] {
            assert!(!addresses.is_unicast(nobody.parse().unwrap()), "{nobody}");
        }
        assert!(addresses.is_unicast("10.0.1.255".parse().unwrap()));
    }

    #[test]
    fn a_broadcast_address_is_one_as_long_as_one_of_its_networks_is_there() {
        let mut addresses = LocalAddresses::new(Vec::new());
        let broadcast = "10.0.0.255".parse().unwrap();
        for address in
            ["10.0.0.2/24", "10.0.0.3/24", "10.0.0.3/24", "10.0.0.3/25", "10.0.0.4/32", "fd00::2/64"]
        {
            addresses.add(address.parse().unwrap());
            assert!(addresses.is_broadcast(broadcast));
        }
        assert!(addresses.is_broadcast("10.0.0.127".parse().unwrap()));
        for (gone, left) in [("10.0.0.3", true), ("10.0.0.9", true), ("10.0.0.2", false)] {
            addresses.remove(gone.parse().unwrap());
            assert_eq!(addresses.is_broadcast(broadcast), left);
        }
        assert!(!addresses.is_broadcast("10.0.0.127".parse().unwrap()));
        assert_eq!(addresses.list().len(), 2);
    }
}
