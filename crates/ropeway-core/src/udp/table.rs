//! Who takes a datagram: however many sockets there are, by a few looks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

use super::socket::Socket;
use crate::parts::{Keyed, PartsMap};
use crate::slab::Key;

/// Where a socket that is not connected takes datagrams. The address may be unspecified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    address: IpAddr,
    port: u16,
    /// Of `::`: it leaves IPv4 to others.
    only_v6: bool,
}

impl Keyed for Place {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        (self.address, self.port).hash(hasher)
    }
}

/// Those at one place, in the order in which they came there.
#[derive(Clone, Debug, Default)]
struct Sharers {
    all: Vec<Member>,
    /// How many of them share by flows.
    by_flow: usize,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    key: Key,
    reuse_port: bool,
}

impl Sharers {
    fn enter(&mut self, member: Member) {
        self.all.push(member);
        self.by_flow += usize::from(member.reuse_port);
    }

    /// Says whether nobody is left.
    fn strike(&mut self, key: Key) -> bool {
        if let Some(place) = self.all.iter().position(|member| member.key == key) {
            let member = self.all.remove(place);
            self.by_flow -= usize::from(member.reuse_port);
        }
        self.all.is_empty()
    }

    /// As in Linux the last that came takes it, or one of those that share by flows.
    fn choose(&self, choice: impl Fn() -> u64) -> Option<Key> {
        let last = self.all.last()?;
        if !last.reuse_port || self.by_flow == 1 {
            return Some(last.key);
        }
        let nth = usize::try_from(choice() % self.by_flow as u64).ok()?;
        let chosen = match self.by_flow == self.all.len() {
            true => self.all.get(nth),
            false => self.all.iter().filter(|member| member.reuse_port).nth(nth),
        };
        chosen.map(|member| member.key)
    }
}

/// Who takes a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// One that is connected to its sender.
    Connected(Key),
    /// One that takes what comes to its port.
    Bound(Key),
    /// The one that takes what nobody else does.
    Any(Key),
}

impl Found {
    pub(crate) fn key(self) -> Key {
        match self {
            Self::Connected(key) | Self::Bound(key) | Self::Any(key) => key,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    connected: PartsMap<FourTuple, Sharers>,
    bound: PartsMap<Place, Sharers>,
    pub(super) any: Option<Key>,
}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl Table {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self { connected: PartsMap::new(secret), bound: PartsMap::new(secret), any: None }
    }

    pub(super) fn enter(&mut self, key: Key, socket: &Socket) {
        let member = Member { key, reuse_port: socket.sharing.reuse_port };
        if socket.takes_any() {
            self.any = Some(key);
        } else if let Some(remote) = socket.remote {
            let tuple = FourTuple::new(socket.local, remote);
            self.connected.change(&tuple, |sharers| sharers.enter(member));
        } else {
            self.bound.change(&place_of(socket), |sharers| sharers.enter(member));
        }
    }

    pub(super) fn strike(&mut self, key: Key, socket: &Socket) {
        if socket.takes_any() {
            self.any = self.any.filter(|any| *any != key);
        } else if let Some(remote) = socket.remote {
            let tuple = FourTuple::new(socket.local, remote);
            self.connected.remove_if(&tuple, |sharers| sharers.strike(key));
        } else {
            self.bound.remove_if(&place_of(socket), |sharers| sharers.strike(key));
        }
    }

    pub(super) fn find(&self, tuple: &FourTuple, choice: impl Fn() -> u64) -> Option<Found> {
        if !self.connected.is_empty()
            && let Some(key) = self.connected.get(tuple).and_then(|sharers| sharers.choose(&choice))
        {
            return Some(Found::Connected(key));
        }
        if !self.bound.is_empty() {
            let mut sharers = places(tuple).filter_map(|place| self.bound.get(&place));
            if let Some(key) = sharers.find_map(|sharers| sharers.choose(&choice)) {
                return Some(Found::Bound(key));
            }
        }
        // Port 0 is nobody's (RFC 6335 6).
        self.any.filter(|_| tuple.local_port != 0).map(Found::Any)
    }

    pub(super) fn find_all(&self, tuple: &FourTuple) -> Vec<Key> {
        let bound = places(tuple).filter_map(|place| self.bound.get(&place));
        let sharers = self.connected.get(tuple).into_iter().chain(bound);
        sharers.flat_map(|sharers| sharers.all.iter().map(|member| member.key)).collect()
    }
}

fn place_of(socket: &Socket) -> Place {
    let address = socket.local.ip();
    Place { address, port: socket.local.port(), only_v6: address == ANY_V6 && socket.sharing.only_v6 }
}

/// Where sockets may be that take a datagram, those first that ask for it most closely.
fn places(tuple: &FourTuple) -> impl Iterator<Item = Place> {
    let place = |address, only_v6| Place { address, port: tuple.local_port, only_v6 };
    let second = if tuple.is_ipv4() { place(ANY_V4, false) } else { place(ANY_V6, true) };
    [place(tuple.local_addr, false), second, place(ANY_V6, false)].into_iter()
}
