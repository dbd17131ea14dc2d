//! What became of each segment between the two ends of its connection.

use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_packet::{Protocol, TcpHeader, ip, parse_tcp};

use super::{Cause, Fate, Place, Record, Trace};
use crate::engine::Micros;
use crate::world::{Way, World};

/// A segment, from the host that sent it to its end.
#[derive(Clone, Debug)]
pub(crate) struct Journey {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) header: TcpHeader,
    pub(crate) payload: Bytes,
    pub(crate) sent_at: Micros,
    /// When it arrived; more than once if it was duplicated.
    pub(crate) arrived_at: Vec<Micros>,
    /// Why, where and when it was lost.
    pub(crate) lost: Option<(Cause, String, Micros)>,
}

impl Journey {
    fn parse(trace: &Trace) -> Option<Self> {
        let header = ip::parse(&trace.sent).ok()?;
        if header.protocol != Protocol::TCP || header.fragment.is_some() {
            return None;
        }
        let (src, dst) = (header.src, header.dst);
        let segment = parse_tcp(&trace.sent, header, false).ok()?;
        Some(Self {
            from: SocketAddr::new(src, segment.tcp.src_port),
            to: SocketAddr::new(dst, segment.tcp.dst_port),
            header: segment.tcp,
            payload: trace.sent.slice(segment.payload),
            sent_at: trace.sent_at,
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
        self.record.traces().filter_map(|trace| self.journey(trace)).collect()
    }

    fn journey(&self, trace: &Trace) -> Option<Journey> {
        let mut journey = Journey::parse(trace)?;
        for seen in &trace.sightings {
            match seen.fate {
                Fate::Passed => {}
                Fate::Arrived => journey.arrived_at.push(seen.at),
                Fate::Dropped(cause) => {
                    journey.lost = Some((cause, self.record.name_of(seen.place, self), seen.at));
                }
            }
        }
        Some(journey)
    }
}

impl Record {
    pub(super) fn name_of(&self, place: Place, world: &World) -> String {
        match place {
            Place::Node(node) => format!("at {}", world.node(node).name),
            Place::Link(link, way) => match self.links.get(link.0 as usize) {
                Some([first, second]) if way == Way::Forth => format!("{first} to {second}"),
                Some([first, second]) => format!("{second} to {first}"),
                None => String::new(),
            },
        }
    }
}
