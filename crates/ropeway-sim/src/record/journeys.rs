//! What became of each segment between the two ends of its connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ropeway_packet::{Protocol, TcpHeader, ip, parse_tcp};

use super::{Cause, Fate, Place, Record, Seen};
use crate::engine::Micros;
use crate::world::{Kind, World};

/// A segment, from the host that sent it to its end.
#[derive(Clone, Debug)]
pub(crate) struct Journey {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) header: TcpHeader,
    pub(crate) len: usize,
    pub(crate) sent_at: Micros,
    /// When it arrived; more than once if it was duplicated.
    pub(crate) arrived_at: Vec<Micros>,
    /// Why, where and when it was lost.
    pub(crate) lost: Option<(Cause, String, Micros)>,
}

impl Journey {
    fn parse(seen: &Seen) -> Option<Self> {
        let bytes = &seen.packet.bytes;
        let header = ip::parse(bytes).ok()?;
        if header.protocol != Protocol::TCP || header.fragment.is_some() {
            return None;
        }
        let (src, dst) = (header.src, header.dst);
        let segment = parse_tcp(bytes, header, false).ok()?;
        Some(Self {
            from: SocketAddr::new(src, segment.tcp.src_port),
            to: SocketAddr::new(dst, segment.tcp.dst_port),
            header: segment.tcp,
            len: segment.payload.len(),
            sent_at: seen.packet.sent_at,
            arrived_at: Vec::new(),
            lost: None,
        })
    }

    /// The two ends, in the same order for both directions.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.from.min(self.to), self.from.max(self.to))
    }
}

impl World {
    /// All segments that are remembered, in the order in which they were sent.
    pub(crate) fn journeys(&self) -> Vec<Journey> {
        // By the number of the packet, so in the order in which they were sent.
        let mut journeys: BTreeMap<u64, Journey> = BTreeMap::new();
        for seen in &self.record.seen {
            // A corrupted copy may not parse, or as something else; the others do.
            let journey = match journeys.entry(seen.packet.id) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => match Journey::parse(seen) {
                    Some(journey) => entry.insert(journey),
                    None => continue,
                },
            };
            match seen.fate {
                Fate::Arrived if self.is_at_a_host(seen.place) => journey.arrived_at.push(seen.at),
                Fate::Arrived => {}
                Fate::Dropped(cause) => {
                    // What was refused at the host's door had arrived on its last link.
                    if let Place::Node(_) = seen.place {
                        journey.arrived_at.retain(|at| *at != seen.at);
                    }
                    journey.lost = Some((cause, self.record.name_of(seen.place, self), seen.at));
                }
            }
        }
        journeys.into_values().collect()
    }

    fn is_at_a_host(&self, place: Place) -> bool {
        let Place::Link(link, way) = place else { return false };
        self.links
            .get(link.0 as usize)
            .is_some_and(|link| matches!(self.node(link.end(way)).kind, Kind::Host(_)))
    }
}

impl Record {
    fn name_of(&self, place: Place, world: &World) -> String {
        match place {
            Place::Node(node) => format!("at {}", world.node(node).name),
            Place::Link(link, way) => match self.links.get(link.0 as usize) {
                Some([first, second]) if way == crate::world::Way::Forth => format!("{first} to {second}"),
                Some([first, second]) => format!("{second} to {first}"),
                None => String::new(),
            },
        }
    }
}
