//! What happened: every packet, from its sending to its end, and the faults.

mod journeys;
mod pcap;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

pub(crate) use self::journeys::Journey;
use crate::engine::Micros;
use crate::world::{LinkId, NodeId, Notes, Packet, Way};

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The link lost it, as its [`Loss::Random`](crate::Loss::Random) says.
    Loss,
    /// The link lost it in a burst.
    BurstLoss,
    /// The test chose it.
    ChosenLoss,
    /// The queue was full.
    QueueFull,
    /// CoDel dropped it, because packets wait too long.
    CoDel,
    /// The link is down.
    LinkDown,
    /// The sender is cut off from the receiver.
    Partition,
    /// A [rule](crate::Net::rule) of the test.
    Rule,
    /// The host is not running.
    HostDown,
    /// The host is frozen, and too many packets wait for it.
    HostFrozen,
    /// It is larger than the next link's MTU.
    TooBig,
    /// It is larger than the link takes, which tells nobody.
    BlackHole,
    /// There is no such address, or no way to it.
    NoRoute,
    /// It ran out of hops.
    HopLimit,
    /// It is no IP packet, or was corrupted.
    Malformed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "lost at random",
            Self::BurstLoss => "lost in a burst",
            Self::ChosenLoss => "lost as the test chose",
            Self::QueueFull => "dropped: the queue is full",
            Self::CoDel => "dropped by CoDel",
            Self::LinkDown => "lost: the link is down",
            Self::Partition => "lost: cut off by a partition",
            Self::Rule => "dropped by a rule of the test",
            Self::HostDown => "lost: the host is down",
            Self::HostFrozen => "dropped: too much waits for a frozen host",
            Self::TooBig => "refused: larger than the next link's MTU",
            Self::BlackHole => "lost in a black hole: larger than the link takes",
            Self::NoRoute => "refused: no way to that address",
            Self::HopLimit => "refused: out of hops",
            Self::Malformed => "dropped: not an IP packet, or corrupted",
        })
    }
}

/// What became of a packet at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It has come through the link, to a router.
    Passed,
    /// The host has got it.
    Arrived,
    /// It went no further.
    Dropped(Cause),
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Link(LinkId, Way),
    Node(NodeId),
}

/// What was seen of a packet on its way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Sighting {
    pub(crate) at: Micros,
    /// Counts what was sent and what was seen.
    pub(crate) order: u64,
    pub(crate) place: Place,
    pub(crate) fate: Fate,
    pub(crate) notes: Notes,
    /// What it was by then, if it has arrived.
    pub(crate) bytes: Bytes,
}

/// A packet, and what became of it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Trace {
    pub(crate) id: u64,
    pub(crate) from: NodeId,
    pub(crate) sent_at: Micros,
    pub(crate) order: u64,
    /// What it was when it was sent, after the test's rules.
    pub(crate) sent: Bytes,
    /// In the order of time. A packet that was doubled arrives twice.
    pub(crate) sightings: Vec<Sighting>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Record {
    /// The bytes of packets that are kept; older ones are forgotten.
    limit: usize,
    kept: usize,
    /// By their numbers, which have no gaps.
    traces: VecDeque<Trace>,
    count: u64,
    /// What befell the network, and when.
    pub(crate) events: Vec<(Micros, String)>,
    /// The names of the ends of each link.
    pub(crate) links: Vec<[String; 2]>,
}

impl Record {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: 0, traces: VecDeque::new(), count: 0, events: Vec::new(), links: Vec::new() }
    }

    pub(crate) fn add_link(&mut self, first: &str, second: &str) {
        self.links.push([first.to_owned(), second.to_owned()]);
    }

    pub(crate) fn log(&mut self, at: Micros, what: String) {
        self.events.push((at, what));
    }

    /// The packets that are remembered, in the order in which they were sent.
    pub(crate) fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.traces.iter()
    }

    /// A packet is sent.
    pub(crate) fn sent(&mut self, packet: &Packet) {
        if self.limit == 0 {
            return;
        }
        self.kept += packet.bytes.len();
        let order = self.next();
        self.traces.push_back(Trace {
            id: packet.id,
            from: packet.from,
            sent_at: packet.sent_at,
            order,
            sent: packet.bytes.clone(),
            sightings: Vec::new(),
        });
        while self.kept > self.limit
            && let Some(oldest) = self.traces.pop_front()
        {
            let seen: usize = oldest.sightings.iter().map(|seen| seen.bytes.len()).sum();
            self.kept -= oldest.sent.len() + seen;
        }
    }

    /// A rule of the test has made another packet of one that was just sent.
    pub(crate) fn changed(&mut self, packet: &Packet) {
        let Some(trace) = self.trace_mut(packet.id) else { return };
        let before = std::mem::replace(&mut trace.sent, packet.bytes.clone()).len();
        self.kept = self.kept + packet.bytes.len() - before;
    }

    /// A packet has come to the end of a link, or has been lost there.
    pub(crate) fn on_link(&mut self, at: Micros, link: LinkId, way: Way, packet: &Packet, fate: Fate) {
        self.see(at, Place::Link(link, way), packet, fate, Bytes::new());
    }

    /// A host has got a packet.
    pub(crate) fn arrived(&mut self, at: Micros, node: NodeId, packet: &Packet) {
        self.see(at, Place::Node(node), packet, Fate::Arrived, packet.bytes.clone());
    }

    /// A packet got no further than a node.
    pub(crate) fn lost_at(&mut self, at: Micros, node: NodeId, packet: &Packet, cause: Cause) {
        self.see(at, Place::Node(node), packet, Fate::Dropped(cause), Bytes::new());
    }

    fn see(&mut self, at: Micros, place: Place, packet: &Packet, fate: Fate, bytes: Bytes) {
        let order = self.next();
        let len = bytes.len();
        let Some(trace) = self.trace_mut(packet.id) else { return };
        trace.sightings.push(Sighting { at, order, place, fate, notes: packet.notes, bytes });
        self.kept += len;
    }

    fn trace_mut(&mut self, id: u64) -> Option<&mut Trace> {
        let first = self.traces.front()?.id;
        self.traces.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}
