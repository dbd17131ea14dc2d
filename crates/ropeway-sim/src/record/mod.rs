//! What happened: every packet on every link, and the faults.

mod journeys;
mod pcap;

use std::collections::VecDeque;
use std::fmt;

pub(crate) use self::journeys::Journey;
use crate::engine::Micros;
use crate::world::{LinkId, NodeId, Packet, Way};

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
            Self::NoRoute => "refused: no way to that address",
            Self::HopLimit => "refused: out of hops",
            Self::Malformed => "dropped: not an IP packet, or corrupted",
        })
    }
}

/// What became of a packet on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrived,
    Dropped(Cause),
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Link(LinkId, Way),
    Node(NodeId),
}

/// A packet that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Micros,
    pub(crate) place: Place,
    pub(crate) fate: Fate,
    pub(crate) packet: Packet,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Record {
    /// The bytes of packets that are kept; older ones are forgotten.
    limit: usize,
    kept: usize,
    pub(crate) seen: VecDeque<Seen>,
    /// What befell the network, and when.
    pub(crate) events: Vec<(Micros, String)>,
    /// The names of the ends of each link.
    pub(crate) links: Vec<[String; 2]>,
}

impl Record {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: 0, seen: VecDeque::new(), events: Vec::new(), links: Vec::new() }
    }

    pub(crate) fn add_link(&mut self, first: &str, second: &str) {
        self.links.push([first.to_owned(), second.to_owned()]);
    }

    pub(crate) fn log(&mut self, at: Micros, what: String) {
        self.events.push((at, what));
    }

    pub(crate) fn packet(&mut self, at: Micros, link: LinkId, way: Way, packet: &Packet, fate: Fate) {
        self.see(Seen { at, place: Place::Link(link, way), fate, packet: packet.clone() });
    }

    /// A packet that got no further than a node.
    pub(crate) fn lost_at(&mut self, at: Micros, node: NodeId, packet: &Packet, cause: Cause) {
        self.see(Seen { at, place: Place::Node(node), fate: Fate::Dropped(cause), packet: packet.clone() });
    }

    fn see(&mut self, seen: Seen) {
        if self.limit == 0 {
            return;
        }
        self.kept += seen.packet.bytes.len();
        self.seen.push_back(seen);
        while self.kept > self.limit
            && let Some(oldest) = self.seen.pop_front()
        {
            self.kept -= oldest.packet.bytes.len();
        }
    }
}
