//! Who uses which local port: one table for each protocol, which a call asks instead of looking for users.
//!
//! A port has users of two kinds. A *claim* is a binding or a listener: it has a local address, which may be
//! unspecified, and says with whom it shares. A *flow* is a connection, or a tuple in TIME-WAIT: it has two ends.
//! Claims and flows are counted by local port and address, so that a call which names a port is answered at once.
//! Beside the counts there are bitmaps, so that a call which names none finds a free one in some hundred steps, or finds
//! that there is none.
//!
//! Which of the free ports it gets is decided by RFC 6056.

pub(crate) mod choice;
mod set;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ropeway_packet::FourTuple;

pub(crate) use self::set::FreePorts;
use self::set::PortSet;
use crate::parts::PartsMap;

/// With whom a claim shares its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sharing {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
}

impl Sharing {
    const ALL: [Self; 4] = [
        Self { reuse_addr: false, reuse_port: false },
        Self { reuse_addr: true, reuse_port: false },
        Self { reuse_addr: false, reuse_port: true },
        Self { reuse_addr: true, reuse_port: true },
    ];

    fn index(self) -> usize {
        usize::from(self.reuse_addr) | usize::from(self.reuse_port) << 1
    }
}

/// Who holds a port without having a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    Binding(Sharing),
    Listener(Sharing),
}

/// Which local addresses a count is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Scope {
    /// Just this one, which may be the unspecified one.
    At(IpAddr),
    /// All of a family.
    V4,
    V6,
}

impl Scope {
    const ANY_V4: Self = Self::At(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    const ANY_V6: Self = Self::At(IpAddr::V6(Ipv6Addr::UNSPECIFIED));

    /// Where a user of this address is counted.
    fn of(address: IpAddr) -> [Self; 2] {
        [Self::At(address), if address.is_ipv4() { Self::V4 } else { Self::V6 }]
    }

    /// Where whoever may be in the way of this address is counted. `::` is for IPv4 too, as on Linux.
    fn in_the_way_of(address: IpAddr) -> impl Iterator<Item = Self> {
        let scopes = match address {
            IpAddr::V4(any) if any.is_unspecified() => [Some(Self::V4), Some(Self::ANY_V6), None],
            IpAddr::V6(any) if any.is_unspecified() => [Some(Self::V4), Some(Self::V6), None],
            IpAddr::V4(_) => [Some(Self::At(address)), Some(Self::ANY_V4), Some(Self::ANY_V6)],
            IpAddr::V6(_) => [Some(Self::At(address)), Some(Self::ANY_V6), None],
        };
        scopes.into_iter().flatten()
    }
}

/// The claims on a port, by how they share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Claims {
    bindings: [u32; 4],
    listeners: [u32; 4],
}

impl Claims {
    fn count(&mut self, claim: Claim) -> Option<&mut u32> {
        match claim {
            Claim::Binding(sharing) => self.bindings.get_mut(sharing.index()),
            Claim::Listener(sharing) => self.listeners.get_mut(sharing.index()),
        }
    }

    /// Whether one of them does not share with a newcomer.
    fn exclude(&self, new: Sharing) -> bool {
        let counted = Sharing::ALL.iter().zip(self.bindings.iter().zip(&self.listeners));
        counted.into_iter().any(|(theirs, (bindings, listeners))| {
            let both_ports = new.reuse_port && theirs.reuse_port;
            let both_addrs = new.reuse_addr && theirs.reuse_addr;
            (*listeners > 0 && !both_ports) || (*bindings > 0 && !both_ports && !both_addrs)
        })
    }
}

/// Where the flows go that we have opened: our address, and the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Towards {
    local: IpAddr,
    remote: IpAddr,
    remote_port: u16,
}

impl Towards {
    fn of(tuple: &FourTuple) -> Self {
        Self { local: tuple.local_addr, remote: tuple.remote_addr, remote_port: tuple.remote_port }
    }
}

/// The flows that we have opened towards one other end.
#[derive(Clone, Debug, Default)]
struct Opened {
    ports: PortSet,
    /// Those in TIME-WAIT that may be opened anew, in the order in which they came there.
    waiting: VecDeque<u16>,
}

/// The local ports of one protocol.
#[derive(Clone, Debug)]
pub(crate) struct PortTable {
    claims: PartsMap<(Scope, u16), Claims>,
    flows: PartsMap<(Scope, u16), u32>,
    /// The ports that have a claim or a flow.
    used: PartsMap<Scope, PortSet>,
    /// The ports that have a claim at whatever address.
    claimed: PortSet,
    opened: PartsMap<Towards, Opened>,
}

impl PortTable {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self {
            claims: PartsMap::new(secret),
            flows: PartsMap::new(secret),
            used: PartsMap::new(secret),
            claimed: PortSet::default(),
            opened: PartsMap::new(secret),
        }
    }

    /// An address is bound, or listened on.
    pub(crate) fn claim(&mut self, local: SocketAddr, claim: Claim) {
        for scope in Scope::of(local.ip()) {
            self.claims.change(&(scope, local.port()), |claims| {
                if let Some(count) = claims.count(claim) {
                    *count += 1;
                }
            });
            self.note(scope, local.port());
        }
        self.claimed.insert(local.port());
    }

    /// Takes back what [`claim`](Self::claim) said.
    pub(crate) fn release(&mut self, local: SocketAddr, claim: Claim) {
        for scope in Scope::of(local.ip()) {
            let key = (scope, local.port());
            let Some(claims) = self.claims.get_mut(&key) else { continue };
            if let Some(count) = claims.count(claim) {
                *count = count.saturating_sub(1);
            }
            if *claims == Claims::default() {
                self.claims.remove(&key);
            }
            self.note(scope, local.port());
        }
        if [Scope::V4, Scope::V6].iter().all(|scope| self.claims.get(&(*scope, local.port())).is_none()) {
            self.claimed.remove(local.port());
        }
    }

    /// A connection begins. `opened`: by us.
    pub(crate) fn flow_begins(&mut self, tuple: &FourTuple, opened: bool) {
        for scope in Scope::of(tuple.local_addr) {
            let mut is_first = false;
            self.flows.change(&(scope, tuple.local_port), |count| {
                *count += 1;
                is_first = *count == 1;
            });
            if is_first {
                self.used.change(&scope, |used| {
                    used.insert(tuple.local_port);
                });
            }
        }
        if opened {
            self.opened.change(&Towards::of(tuple), |opened| {
                opened.ports.insert(tuple.local_port);
            });
        }
    }

    /// A connection of ours is in TIME-WAIT now, and what its peer knows of it would let it be opened anew.
    pub(crate) fn flow_waits(&mut self, tuple: &FourTuple) {
        if let Some(opened) = self.opened.get_mut(&Towards::of(tuple)) {
            opened.waiting.push_back(tuple.local_port);
        }
    }

    /// Neither a connection nor TIME-WAIT has the tuple any more.
    pub(crate) fn flow_ends(&mut self, tuple: &FourTuple) {
        for scope in Scope::of(tuple.local_addr) {
            let key = (scope, tuple.local_port);
            let Some(count) = self.flows.get_mut(&key) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.flows.remove(&key);
                self.note(scope, tuple.local_port);
            }
        }
        let towards = Towards::of(tuple);
        let Some(opened) = self.opened.get_mut(&towards) else { return };
        // It is not there if the peer had opened it.
        if opened.ports.remove(tuple.local_port) {
            // Most leave TIME-WAIT in the order in which they came: then it is the first.
            if let Some(place) = opened.waiting.iter().position(|port| *port == tuple.local_port) {
                opened.waiting.remove(place);
            }
        }
        if opened.ports.is_empty() {
            self.opened.remove(&towards);
        }
    }

    /// Brings the bitmap of a scope into line with the counts.
    fn note(&mut self, scope: Scope, port: u16) {
        let key = (scope, port);
        if self.claims.get(&key).is_some() || self.flows.get(&key).is_some() {
            self.used.change(&scope, |used| {
                used.insert(port);
            });
        } else if let Some(used) = self.used.get_mut(&scope) {
            used.remove(port);
            if used.is_empty() {
                self.used.remove(&scope);
            }
        }
    }

    /// Whether something that may not be shared is in the way of a new claim.
    pub(crate) fn is_taken(&self, local: SocketAddr, new: Sharing) -> bool {
        Scope::in_the_way_of(local.ip()).any(|scope| {
            let key = (scope, local.port());
            // RFC 9293 3.9.1.1 MUST-42: who says so may listen beside any connection.
            let by_flow = !new.reuse_addr && self.flows.get(&key).is_some();
            by_flow || self.claims.get(&key).is_some_and(|claims| claims.exclude(new))
        })
    }

    /// What a claim without a port must keep clear of: whatever is in the way of its address.
    pub(crate) fn in_the_way_of(&self, local: IpAddr) -> Vec<&PortSet> {
        Scope::in_the_way_of(local).filter_map(|scope| self.used.get(&scope)).collect()
    }

    /// What a flow without a local port must keep clear of: claims, at whatever address, and our other flows towards
    /// the same end.
    pub(crate) fn in_the_way_towards(
        &self,
        local: IpAddr,
        (remote, remote_port): (IpAddr, u16),
    ) -> Vec<&PortSet> {
        let opened = self.opened.get(&Towards { local, remote, remote_port });
        std::iter::once(&self.claimed).chain(opened.map(|opened| &opened.ports)).collect()
    }

    /// Whether there is a claim on the port, at whatever address.
    pub(crate) fn is_claimed(&self, port: u16) -> bool {
        self.claimed.contains(port)
    }

    /// The ports of our flows in TIME-WAIT towards one end that may be opened anew, the oldest first.
    pub(crate) fn waiting_towards(
        &self,
        local: IpAddr,
        (remote, remote_port): (IpAddr, u16),
    ) -> impl Iterator<Item = u16> {
        let opened = self.opened.get(&Towards { local, remote, remote_port });
        opened.into_iter().flat_map(|opened| opened.waiting.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Sharing = Sharing::ALL[0];

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_in_the_way_of_an_address() {
        let taken = |claimed: &str, wanted: &str| {
            let mut table = PortTable::new([1; 16]);
            table.claim(at(claimed), Claim::Binding(ALONE));
            let by_name = table.is_taken(at(wanted), ALONE);
            let port = at(wanted).port();
            let mut free = FreePorts::new(&(port..=port), 0, table.in_the_way_of(at(wanted).ip()));
            assert_eq!(free.next().is_none(), by_name, "{claimed} and {wanted}");
            table.release(at(claimed), Claim::Binding(ALONE));
            assert!(!table.is_taken(at(wanted), ALONE));
            assert!(table.claimed.is_empty());
            by_name
        };
        let addresses = ["10.0.0.1:9", "10.0.0.2:9", "0.0.0.0:9", "[::]:9", "[fd00::1]:9", "[fd00::2]:9"];
        for (n, claimed) in addresses.iter().enumerate() {
            let in_the_way: Vec<bool> = addresses.iter().map(|wanted| taken(claimed, wanted)).collect();
            let expected = [
                [true, false, true, true, false, false],
                [false, true, true, true, false, false],
                [true, true, true, true, false, false],
                [true, true, true, true, true, true],
                [false, false, false, true, true, false],
                [false, false, false, true, false, true],
            ];
            assert_eq!(in_the_way, expected[n], "{claimed}");
            assert!(!taken(claimed, "10.0.0.1:10"));
        }
    }

    #[test]
    fn nothing_is_left_of_what_has_ended() {
        let mut table = PortTable::new([1; 16]);
        let tuple =
            |port| FourTuple { local_port: port, ..FourTuple::new(at("10.0.0.2:0"), at("10.0.0.1:80")) };
        for port in 1000..2000 {
            table.flow_begins(&tuple(port), port % 2 == 0);
            table.flow_waits(&tuple(port));
            table.claim(at("0.0.0.0:7"), Claim::Listener(ALONE));
        }
        let towards = (at("10.0.0.1:80").ip(), 80);
        assert_eq!(table.waiting_towards(at("10.0.0.2:0").ip(), towards).next(), Some(1000));
        assert!(table.is_taken(at("10.0.0.2:1999"), ALONE));
        for port in (1000..2000).rev() {
            table.flow_ends(&tuple(port));
            table.release(at("0.0.0.0:7"), Claim::Listener(ALONE));
        }
        let left = [table.claims.len(), table.flows.len(), table.used.len(), table.opened.len()];
        assert_eq!((left, table.claimed.is_empty()), ([0; 4], true));
    }
}
