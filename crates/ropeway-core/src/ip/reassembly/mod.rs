//! Fragments that wait for the others of their datagrams (RFC 791 3.2, RFC 815, RFC 8200 4.5).
//!
//! A fragment costs O(log n), and a datagram that is complete is put together once; nothing is ever searched for a gap.
//! What waits is bounded by memory, in all and for each source prefix; the oldest is given up first.

mod datagram;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use ropeway_packet::{Fragment, IpPacket};

use self::datagram::{Added, Datagram};
use crate::tcp::listen::prefix::prefix_of;
use crate::time::Timestamp;
use crate::transmit::Received;

/// What the fragments of a datagram have in common (RFC 791 3.2-1, RFC 8200 4.5-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    src: IpAddr,
    dst: IpAddr,
    ident: u32,
    /// Only that of the first fragment counts in IPv6, where it names what follows the fragment header.
    protocol: Option<u8>,
}

impl Name {
    fn of(ip: &IpPacket) -> Self {
        let protocol = ip.src.is_ipv4().then_some(ip.protocol.0);
        Self { src: ip.src, dst: ip.dst, ident: ip.ident, protocol }
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of all that wait, and of those of one source prefix.
    pub(crate) memory: usize,
    pub(crate) per_source: usize,
}

/// What became of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits, or makes no difference: it came twice, or nothing more is taken of its datagram.
    Waits,
    /// It was the last one that was missing.
    Whole(Bytes),
    /// Its datagram was complete, and cannot be: it is too long, or its marks contradict each other (RFC 3168 5.3).
    Impossible,
    /// It contradicts another one of its datagram, of which nothing is kept, nor taken any more (RFC 5722 4).
    Contradicts,
    /// It carries nothing.
    Empty,
    /// There is no room for it.
    Displaced,
}

/// What became of a datagram whose time is over.
#[derive(Clone, Debug)]
pub(crate) struct Expired {
    /// The packet of its first fragment, if that came: whoever sent it is told.
    pub(crate) first: Option<Bytes>,
    /// Its fragments have contradicted each other: it was given up before.
    pub(crate) refused: bool,
}

/// The datagrams of which something is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fragments {
    datagrams: BTreeMap<Name, Datagram>,
    /// By the order in which they began.
    ages: BTreeMap<u64, Name>,
    /// Of each prefix that has any.
    sources: BTreeMap<u64, Source>,
    /// The number of the next one.
    next: u64,
    memory: usize,
    /// When the oldest began.
    oldest: Option<Timestamp>,
    /// How many were given up for want of room.
    displaced: u64,
}

#[derive(Clone, Debug, Default)]
struct Source {
    memory: usize,
    ages: BTreeSet<u64>,
}

impl Fragments {
    /// The memory that all take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// How many datagrams were given up for want of room so far.
    pub(crate) fn displaced(&self) -> u64 {
        self.displaced
    }

    /// When the oldest is given up.
    #[inline]
    pub(crate) fn next_deadline(&self, timeout: Duration) -> Option<Timestamp> {
        self.oldest.map(|began| began + timeout)
    }

    /// A fragment has come: `ip` is what its header says, and `place` where it belongs (RFC 1122 3.3.2-1, RFC 1122 3.3.2-2,
    /// RFC 8200 5-1).
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        received: &Received,
        ip: &IpPacket,
        place: Fragment,
        limits: Limits,
    ) -> Taken {
        if ip.payload.is_empty() {
            return Taken::Empty;
        }
        if limits.memory == 0 {
            return Taken::Displaced;
        }
        let name = Name::of(ip);
        let datagram = self.datagrams.entry(name).or_insert_with(|| {
            let (number, prefix) = (self.next, prefix_of(ip.src));
            self.next += 1;
            self.ages.insert(number, name);
            self.sources.entry(prefix).or_default().ages.insert(number);
            self.oldest.get_or_insert(now);
            Datagram::new(now, number, prefix)
        });
        let (added, prefix) = (datagram.add(received, ip, place), datagram.prefix);
        let (was, takes) = datagram.charge();
        self.memory = self.memory - was + takes;
        if let Some(source) = self.sources.get_mut(&prefix) {
            source.memory = source.memory - was + takes;
        }
        if added == Added::Whole {
            let whole = self.remove(name).and_then(Datagram::join);
            return whole.map_or(Taken::Impossible, Taken::Whole);
        }
        self.shed_of(prefix, limits.per_source);
        self.shed(limits.memory);
        match added {
            Added::Contradicts => Taken::Contradicts,
            _ if !self.datagrams.contains_key(&name) => Taken::Displaced,
            _ => Taken::Waits,
        }
    }

    /// Gives up the oldest until no more than `memory` bytes are taken.
    pub(crate) fn shed(&mut self, memory: usize) {
        while self.memory > memory
            && let Some((_, name)) = self.ages.first_key_value()
        {
            self.give_up(*name);
        }
    }

    /// Likewise, those of a source.
    fn shed_of(&mut self, prefix: u64, memory: usize) {
        while let Some(source) = self.sources.get(&prefix).filter(|source| source.memory > memory)
            && let Some(name) = source.ages.first().and_then(|number| self.ages.get(number))
        {
            self.give_up(*name);
        }
    }

    fn give_up(&mut self, name: Name) {
        if self.remove(name).is_some_and(|datagram| !datagram.is_refused()) {
            self.displaced += 1;
        }
    }

    /// The oldest, if its time is over (RFC 1122 3.3.2-3, RFC 8200 4.5-3).
    pub(crate) fn expire(&mut self, now: Timestamp, timeout: Duration) -> Option<Expired> {
        self.next_deadline(timeout).filter(|deadline| *deadline <= now)?;
        let (_, name) = self.ages.first_key_value()?;
        let datagram = self.remove(*name)?;
        Some(Expired { first: datagram.first().cloned(), refused: datagram.is_refused() })
    }

    fn remove(&mut self, name: Name) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&name)?;
        let (takes, number) = (datagram.memory(), datagram.number);
        self.memory -= takes;
        self.ages.remove(&number);
        if let Some(source) = self.sources.get_mut(&datagram.prefix) {
            source.memory -= takes;
            source.ages.remove(&number);
            if source.ages.is_empty() {
                self.sources.remove(&datagram.prefix);
            }
        }
        let oldest = self.ages.first_key_value().and_then(|(_, name)| self.datagrams.get(name));
        self.oldest = oldest.map(|datagram| datagram.began);
        Some(datagram)
    }
}

#[cfg(test)]
mod tests;
