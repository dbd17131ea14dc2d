//! Our addresses, and which addresses nobody can have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::IpCidr;

/// An address of each family, or two.
const FEW: usize = 4;

/// However many there are, a packet, a call and a choice of a source look none of them through.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalAddresses {
    /// In the order in which they were added, with their numbers in that order.
    list: Vec<IpCidr>,
    numbers: Vec<u64>,
    own: BTreeMap<IpAddr, u64>,
    next: u64,
    /// The broadcast addresses of our networks, and of how many of them each is one.
    broadcast: BTreeMap<Ipv4Addr, usize>,
    /// Those in each network, by its first address and the length of its prefix; and how many networks have each length.
    networks: BTreeMap<(IpAddr, u8), BTreeMap<u64, IpAddr>>,
    lengths: BTreeMap<(bool, u8), usize>,
    /// Those of each family, link-local ones apart.
    kinds: BTreeMap<(bool, bool), BTreeMap<u64, IpAddr>>,
    /// Source and destination of the last packet that was found to have come to us on a way that it can: the next has the same,
    /// as a rule.
    passed: Option<(IpAddr, IpAddr)>,
}

/// The family of an address, and whether it is link-local.
fn kind_of(address: IpAddr) -> (bool, bool) {
    (address.is_ipv4(), is_link_local(address))
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
        self.passed = None;
        let (ip, number) = (address.address(), self.next);
        self.next += 1;
        self.list.push(address);
        self.numbers.push(number);
        self.own.insert(ip, number);
        if let Some(broadcast) = address.broadcast() {
            *self.broadcast.entry(broadcast).or_default() += 1;
        }
        self.kinds.entry(kind_of(ip)).or_default().insert(number, ip);
        let network = self.networks.entry(address.network()).or_default();
        if network.is_empty() {
            *self.lengths.entry((ip.is_ipv4(), address.prefix_len())).or_default() += 1;
        }
        network.insert(number, ip);
    }

    pub(crate) fn remove(&mut self, ip: IpAddr) {
        self.passed = None;
        let Some(number) = self.own.remove(&ip) else { return };
        let Ok(place) = self.numbers.binary_search(&number) else { return };
        self.numbers.remove(place);
        let address = self.list.remove(place);
        if let Some(broadcast) = address.broadcast() {
            take_one(&mut self.broadcast, broadcast);
        }
        if let Some(kind) = self.kinds.get_mut(&kind_of(ip)) {
            kind.remove(&number);
        }
        let key = address.network();
        if let Some(network) = self.networks.get_mut(&key) {
            network.remove(&number);
            if network.is_empty() {
                self.networks.remove(&key);
                take_one(&mut self.lengths, (ip.is_ipv4(), address.prefix_len()));
            }
        }
    }

    /// Whether the last packet that [has passed](Self::note_passed) had this source and this destination, and our addresses are
    /// the same since.
    #[inline]
    pub(crate) fn has_passed(&self, ends: (IpAddr, IpAddr)) -> bool {
        self.passed == Some(ends)
    }

    /// A packet with this source and this destination can have come to us from the device.
    #[inline]
    pub(crate) fn note_passed(&mut self, ends: (IpAddr, IpAddr)) {
        self.passed = Some(ends);
    }

    /// Whether the address is one of ours on the device.
    pub(crate) fn is_on_device(&self, address: IpAddr) -> bool {
        // Every packet asks. Where there are few, looking at each costs less than a tree.
        if self.list.len() <= FEW {
            return self.list.iter().any(|own| own.address() == address);
        }
        self.own.contains_key(&address)
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
        let (is_v4, link_local) = kind_of(remote);
        let lengths = self.lengths.range((is_v4, 0)..=(is_v4, u8::MAX));
        let networks = lengths.filter_map(|((_, len), _)| {
            self.networks.get(&IpCidr::new(remote, *len).network())?.first_key_value()
        });
        let near = networks.min().map(|(_, own)| *own);
        let first = |link_local| Some(*self.kinds.get(&(is_v4, link_local))?.first_key_value()?.1);
        near.or_else(|| first(link_local)).or_else(|| first(!link_local))
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

/// Counts one less.
fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it reads: itself if it is ours, the first in its network, the first that is link-local or not as it is, the
    /// first of its family.
    fn obvious(list: &[IpCidr], remote: IpAddr) -> Option<IpAddr> {
        let family = || list.iter().filter(|own| own.address().is_ipv4() == remote.is_ipv4());
        let own = family()
            .find(|own| own.address() == remote)
            .or_else(|| family().find(|own| own.contains(remote)))
            .or_else(|| family().find(|own| is_link_local(own.address()) == is_link_local(remote)))
            .or_else(|| family().next())?;
        Some(own.address())
    }

    proptest! {
        #[test]
        fn a_source_is_chosen_as_from_a_plain_list(
            ops in prop::collection::vec((any::<bool>(), any::<bool>(), 0u32..40, 0u8..=32), 1..60),
            remotes in prop::collection::vec((any::<bool>(), any::<bool>(), 0u32..40), 10),
        ) {
            let address = |v4: bool, link_local: bool, n: u32| match (v4, link_local) {
                (true, false) => IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 | n << 14 | n)),
                (true, true) => Ipv4Addr::from_bits(0xa9fe_0000 | n << 4).into(),
                (false, false) => Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(n) << 100 | u128::from(n)).into(),
                (false, true) => Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(n)).into(),
            };
            let (mut addresses, mut list) = (LocalAddresses::default(), Vec::<IpCidr>::new());
            for (n, (v4, link_local, number, len)) in ops.into_iter().enumerate() {
                let ip = address(v4, link_local, number);
                list.retain(|own| own.address() != ip);
                if n % 3 == 2 {
                    addresses.remove(ip);
                } else {
                    let own = IpCidr::new(ip, if v4 { len } else { len * 4 });
                    addresses.add(own);
                    list.push(own);
                }
                prop_assert_eq!(addresses.list(), &list[..]);
                for (v4, link_local, number) in &remotes {
                    let remote = address(*v4, *link_local, *number);
                    prop_assert_eq!(addresses.source_for(remote), obvious(&list, remote));
                    prop_assert_eq!(addresses.is_broadcast(remote), list.iter().any(|own| own.is_broadcast(remote)));
                }
            }
        }
    }

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
