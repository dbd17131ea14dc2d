//! The multicast groups of a host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every host is in these (RFC 1112 4, RFC 4291 2.7.1).
const ALL_HOSTS_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));
const ALL_NODES_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_NODES_OF_INTERFACE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1));

/// How many sockets have joined each.
#[derive(Clone, Debug, Default)]
pub(super) struct HostGroups {
    joined: BTreeMap<IpAddr, usize>,
}

impl HostGroups {
    pub(super) fn join(&mut self, group: IpAddr) {
        *self.joined.entry(group).or_default() += 1;
    }

    pub(super) fn leave(&mut self, group: IpAddr) {
        if let Some(sockets) = self.joined.get_mut(&group) {
            *sockets -= 1;
            if *sockets == 0 {
                self.joined.remove(&group);
            }
        }
    }

    pub(super) fn contains(&self, group: IpAddr) -> bool {
        [ALL_HOSTS_V4, ALL_NODES_V6, ALL_NODES_OF_INTERFACE_V6].contains(&group)
            || self.joined.contains_key(&group)
    }
}
