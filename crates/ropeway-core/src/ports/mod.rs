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
mod users;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

pub(crate) use self::set::FreePorts;
use self::set::PortSet;
use self::users::Users;
use crate::pages::Pages;
use crate::parts::{Keyed, PartsMap};

/// With whom a claim shares its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sharing {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
    /// A claim on `::` leaves IPv4 to others.
    pub(crate) only_v6: bool,
}

impl Sharing {
    const COUNT: usize = 8;

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(|index| Self {
            reuse_addr: index & 1 != 0,
            reuse_port: index & 2 != 0,
            only_v6: index & 4 != 0,
        })
    }

    fn index(self) -> usize {
        usize::from(self.reuse_addr) | usize::from(self.reuse_port) << 1 | usize::from(self.only_v6) << 2
    }
}

/// Who holds a port without having a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    Binding(Sharing),
    Listener(Sharing),
}

/// Which local addresses a count is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

    /// Where whoever may be in the way of this address is counted. `::` is for IPv4 too, as on Linux, unless it is not to be.
    fn in_the_way_of(address: IpAddr, only_v6: bool) -> impl Iterator<Item = Self> {
        let scopes = match address {
            IpAddr::V6(any) if any.is_unspecified() && only_v6 => [Some(Self::V6), None, None],
            IpAddr::V4(any) if any.is_unspecified() => [Some(Self::V4), Some(Self::ANY_V6), None],
            IpAddr::V6(any) if any.is_unspecified() => [Some(Self::V4), Some(Self::V6), None],
            IpAddr::V4(_) => [Some(Self::At(address)), Some(Self::ANY_V4), Some(Self::ANY_V6)],
            IpAddr::V6(_) => [Some(Self::At(address)), Some(Self::ANY_V6), None],
        };
        scopes.into_iter().flatten()
    }
}

/// Where the flows go that we have opened: our address, and the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

impl Keyed for Towards {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        let Self { local, remote, remote_port } = *self;
        FourTuple { local_addr: local, remote_addr: remote, local_port: 0, remote_port }.hash(hasher)
    }
}

impl Keyed for IpAddr {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        (*self, 0).hash(hasher)
    }
}

impl Keyed for (IpAddr, u16) {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        let [high, low] = self.1.to_be_bytes();
        match self.0 {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                hasher.hash(&[a, b, c, d, high, low])
            }
            IpAddr::V6(address) => {
                let mut packed = [0; 18];
                let (octets, port) = packed.split_at_mut(16);
                octets.copy_from_slice(&address.octets());
                port.copy_from_slice(&[high, low]);
                hasher.hash(&packed)
            }
        }
    }
}

/// The flows that we have opened towards one other end.
#[derive(Clone, Debug, Default)]
struct Opened {
    ports: PortSet,
    /// Those in TIME-WAIT that may be opened anew, in the order in which they came there.
    waiting: VecDeque<u16>,
}

/// The users of ports at all addresses of a family.
#[derive(Clone, Debug, Default)]
struct Family {
    users: Pages<Users>,
    /// The ports that have one.
    used: PortSet,
}

/// The local ports of one protocol.
#[derive(Clone, Debug)]
pub(crate) struct PortTable {
    /// The users of ports at one address, which may be an unspecified one.
    users: PartsMap<(IpAddr, u16), Users>,
    /// The ports that have one.
    used: PartsMap<IpAddr, PortSet>,
    v4: Family,
    v6: Family,
    /// The ports that have a claim at whatever address.
    claimed: PortSet,
    opened: PartsMap<Towards, Opened>,
}

impl PortTable {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self {
            users: PartsMap::new(secret),
            used: PartsMap::new(secret),
            v4: Family::default(),
            v6: Family::default(),
            claimed: PortSet::default(),
            opened: PartsMap::new(secret),
        }
    }

    /// An address is bound, or listened on.
    pub(crate) fn claim(&mut self, local: SocketAddr, claim: Claim) {
        for scope in Scope::of(local.ip()) {
            self.begins(scope, local.port(), |users| users.add(claim));
        }
        self.claimed.insert(local.port());
    }

    /// Takes back what [`claim`](Self::claim) said.
    pub(crate) fn release(&mut self, local: SocketAddr, claim: Claim) {
        for scope in Scope::of(local.ip()) {
            self.ends(scope, local.port(), |users| users.sub(claim));
        }
        let claims = |scope: &Scope| self.users(*scope, local.port()).and_then(Users::claims);
        if [Scope::V4, Scope::V6].iter().all(|scope| claims(scope).is_none()) {
            self.claimed.remove(local.port());
        }
    }

    /// A connection begins. `opened`: by us.
    pub(crate) fn flow_begins(&mut self, tuple: &FourTuple, opened: bool) {
        for scope in Scope::of(tuple.local_addr) {
            self.begins(scope, tuple.local_port, |users| users.flows += 1);
        }
        if opened {
            self.opened.change(&Towards::of(tuple), |opened| opened.ports.insert(tuple.local_port));
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
            self.ends(scope, tuple.local_port, |users| users.flows = users.flows.saturating_sub(1));
        }
        self.opened.remove_if(&Towards::of(tuple), |opened| {
            // It is not there if the peer had opened it.
            if opened.ports.remove(tuple.local_port) {
                // Most leave TIME-WAIT in the order in which they came: then it is the first.
                if let Some(place) = place_of(tuple.local_port, &opened.waiting) {
                    opened.waiting.remove(place);
                }
            }
            opened.ports.is_empty()
        });
    }

    /// A port gets a user.
    fn begins(&mut self, scope: Scope, port: u16, note: impl FnOnce(&mut Users)) {
        let note = |users: &mut Users| {
            let is_first = users.is_empty();
            note(users);
            is_first
        };
        let family = match scope {
            Scope::At(address) => {
                if self.users.change(&(address, port), note) {
                    self.used.change(&address, |used| used.insert(port));
                }
                return;
            }
            Scope::V4 => &mut self.v4,
            Scope::V6 => &mut self.v6,
        };
        if family.users.or_default(port.into()).is_some_and(note) {
            family.used.insert(port);
        }
    }

    /// One of the users of a port is none any more.
    fn ends(&mut self, scope: Scope, port: u16, note: impl FnOnce(&mut Users)) {
        let note = |users: &mut Users| {
            note(users);
            users.is_empty()
        };
        let family = match scope {
            Scope::At(address) => {
                if self.users.remove_if(&(address, port), note).is_some() {
                    self.used.remove_if(&address, |used| {
                        used.remove(port);
                        used.is_empty()
                    });
                }
                return;
            }
            Scope::V4 => &mut self.v4,
            Scope::V6 => &mut self.v6,
        };
        if family.users.get_mut(port.into()).is_some_and(note) {
            family.users.take(port.into());
            family.used.remove(port);
        }
    }

    /// The users of a port in a scope, if there are any.
    fn users(&self, scope: Scope, port: u16) -> Option<&Users> {
        match scope {
            Scope::At(address) => self.users.get(&(address, port)),
            Scope::V4 => self.v4.users.get(port.into()),
            Scope::V6 => self.v6.users.get(port.into()),
        }
    }

    /// The ports that have a user in a scope.
    fn used(&self, scope: Scope) -> Option<&PortSet> {
        match scope {
            Scope::At(address) => self.used.get(&address),
            Scope::V4 => Some(&self.v4.used),
            Scope::V6 => Some(&self.v6.used),
        }
    }

    /// Whether something that may not be shared is in the way of a new claim.
    pub(crate) fn is_taken(&self, local: SocketAddr, new: Sharing) -> bool {
        Scope::in_the_way_of(local.ip(), new.only_v6).any(|scope| {
            let Some(users) = self.users(scope, local.port()) else { return false };
            // RFC 9293 3.9.1.1 MUST-42: who says so may listen beside any connection.
            let by_flow = !new.reuse_addr && users.flows > 0;
            by_flow || users.claims().is_some_and(|claims| claims.exclude(new, local.is_ipv4()))
        })
    }

    /// What a claim without a port must keep clear of: whatever is in the way of its address.
    pub(crate) fn in_the_way_of(&self, local: IpAddr, only_v6: bool) -> Vec<&PortSet> {
        Scope::in_the_way_of(local, only_v6).filter_map(|scope| self.used(scope)).collect()
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

/// Where a port is among those that wait. There may be as many as there are ports, so a block is looked at in one go, as
/// vectors: some thirty thousand instructions if it is the last of all.
fn place_of(port: u16, waiting: &VecDeque<u16>) -> Option<usize> {
    const BLOCK: usize = 64;
    let (first, second) = waiting.as_slices();
    let parts = [(0, first), (first.len(), second)];
    let blocks = parts.into_iter().flat_map(|(start, part)| (start..).step_by(BLOCK).zip(part.chunks(BLOCK)));
    blocks.into_iter().find_map(|(start, block)| {
        let is_there = block.iter().fold(false, |found, other| found | (*other == port));
        is_there.then(|| Some(start + block.iter().position(|other| *other == port)?))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Sharing = Sharing { reuse_addr: false, reuse_port: false, only_v6: false };

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
            let mut free = FreePorts::new(&(port..=port), 0, table.in_the_way_of(at(wanted).ip(), false));
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
    fn what_leaves_ipv4_to_others_is_not_in_their_way() {
        let only_v6 = Sharing { only_v6: true, ..ALONE };
        for (first, sharing, second, new, taken) in [
            ("[::]:9", only_v6, "0.0.0.0:9", ALONE, false),
            ("[::]:9", only_v6, "10.0.0.1:9", ALONE, false),
            ("[::]:9", only_v6, "[fd00::1]:9", ALONE, true),
            ("[::]:9", only_v6, "[::]:9", ALONE, true),
            ("10.0.0.1:9", ALONE, "[::]:9", only_v6, false),
            ("10.0.0.1:9", ALONE, "[::]:9", ALONE, true),
            ("[::]:9", ALONE, "[::]:9", only_v6, true),
            ("[fd00::1]:9", ALONE, "[::]:9", only_v6, true),
        ] {
            let mut table = PortTable::new([1; 16]);
            table.claim(at(first), Claim::Binding(sharing));
            assert_eq!(table.is_taken(at(second), new), taken, "{first} and {second}");
            table.release(at(first), Claim::Binding(sharing));
            assert!(!table.is_taken(at(second), new));
        }
    }

    #[test]
    fn a_port_is_found_wherever_it_waits_and_the_others_keep_their_order() {
        let mut waiting = VecDeque::new();
        // It wraps around.
        for port in 0..1000 {
            waiting.push_back(port);
            if port % 2 == 0 {
                waiting.pop_front();
            }
        }
        let mut reference: Vec<u16> = waiting.iter().copied().collect();
        assert_eq!(place_of(1000, &waiting), None);
        for port in [999, 500, 501, 700, 763, 764, 828] {
            let place = reference.iter().position(|other| *other == port);
            assert_eq!(place_of(port, &waiting), place);
            reference.remove(place.unwrap());
            waiting.remove(place.unwrap());
            assert!(waiting.iter().eq(&reference));
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
        let left = [table.users.len(), table.v4.users.len(), table.used.len(), table.opened.len()];
        let empty = table.claimed.is_empty() && table.v4.used.is_empty();
        assert_eq!((left, empty), ([0; 4], true));
    }
}
