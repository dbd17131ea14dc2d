//! A connection as a capture shows it: both directions, how it was opened, how it ended.

mod cause;
mod distance;
mod ending;
mod ends;
mod flight;
mod gaps;
mod graph;
mod handshake;
mod limit;
mod offsets;
mod ranges;
mod records;
mod retransmission;
mod table;
mod waiting;
mod way;
mod window;

use std::net::SocketAddr;
use std::time::Duration;

use ropeway_packet::TcpFlags;

pub(crate) use ending::Ending;
pub use ending::Side;
pub(crate) use ends::Ends;

pub use limit::{Limit, Span};
pub use retransmission::{Cause, Counts, Needed, Retransmission};
pub(crate) use table::Table;
pub use table::Totals;

use crate::capture::{Icmp, Segment};
use distance::{Distance, Echoes};
use handshake::Handshake;
pub(crate) use way::Graph;
use way::{Around, Way};

/// The data of a segment without the option, by default (RFC 9293 3.7.1).
const DEFAULT_MSS: u32 = 536;
/// What is taken for it where the SYN is not in the capture.
const GUESSED_MSS: u32 = 1448;
/// A segment, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) frame: u64,
    /// Since the first frame of the capture.
    pub(crate) at: Duration,
    pub(crate) segment: Segment,
}

impl Seen {
    fn tsval(&self) -> Option<u32> {
        self.segment.options.timestamps.map(|timestamps| timestamps.tsval)
    }
}

/// How much may be remembered of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Points of each graph.
    pub(crate) points: usize,
    /// Ranges of each kind.
    pub(crate) ranges: usize,
    /// Retransmissions that are listed.
    pub(crate) retransmissions: usize,
    /// Stretches of time.
    pub(crate) spans: usize,
    /// Rows of the ladder.
    pub(crate) rows: usize,
}

/// A row of the ladder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) frame: u64,
    pub(crate) at: Duration,
    pub(crate) from: Side,
    pub(crate) segment: Segment,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The end that opened it, as far as is known, and the other.
    pub(crate) ends: Ends<SocketAddr>,
    pub(crate) handshake: Handshake,
    pub(crate) ending: Ending,
    /// What each end sends.
    ways: Ends<Way>,
    distances: Ends<Distance>,
    echoes: Echoes,
    /// The time to live of the last segment of each.
    ttls: Ends<Option<u8>>,
    pub(crate) first: (u64, Duration),
    pub(crate) last: (u64, Duration),
    pub(crate) frames: Ends<u64>,
    pub(crate) cut: u64,
    pub(crate) rows: Vec<Row>,
    /// What remained unanswered at the end: its last frame, how often it was sent again, and when.
    pub(crate) unanswered: Ends<Option<(u64, u32, Duration)>>,
    /// How long it was quiet until the capture ended.
    pub(crate) silence: Duration,
    pub(crate) icmp: Vec<(u64, Icmp)>,
}

impl Connection {
    pub(crate) fn new(ends: Ends<SocketAddr>, frame: u64, at: Duration) -> Self {
        Self {
            ends,
            handshake: Handshake::default(),
            ending: Ending::default(),
            ways: Default::default(),
            distances: Default::default(),
            echoes: Echoes::default(),
            ttls: Ends::default(),
            first: (frame, at),
            last: (frame, at),
            frames: Ends::default(),
            cut: 0,
            rows: Vec::new(),
            unanswered: Ends::default(),
            silence: Duration::ZERO,
            icmp: Vec::new(),
        }
    }

    pub(crate) fn way(&self, side: Side) -> &Way {
        &self.ways[side]
    }

    /// Takes out what is drawn of the data of `side`.
    pub(crate) fn take_graph(&mut self, side: Side) -> Graph {
        std::mem::take(&mut self.ways[side].graph)
    }

    pub(crate) fn distance(&self, side: Side) -> &Distance {
        &self.distances[side]
    }

    /// The scale of the windows that `side` announces, if both SYNs are known.
    pub(crate) fn scale(&self, side: Side) -> Option<u8> {
        let offers = &self.handshake.offers;
        match (offers[side], offers[side.other()]) {
            (Some(own), Some(peer)) => {
                Some(own.window_scale.filter(|_| peer.window_scale.is_some()).unwrap_or(0))
            }
            _ => None,
        }
    }

    /// The most data in a segment to `side`.
    pub(crate) fn mss_to(&self, side: Side) -> u32 {
        let offers = &self.handshake.offers;
        let offer = offers[side];
        let announced = offer.map_or(GUESSED_MSS, |offer| offer.mss.map_or(DEFAULT_MSS, u32::from));
        let stamps = offers.iter().all(|offer| offer.is_some_and(|offer| offer.timestamps));
        let stamps = if stamps || offer.is_none() { 12 } else { 0 };
        // Nobody may send more; many send less, for a smaller path.
        let known = if offer.is_some() { announced.saturating_sub(stamps) } else { announced };
        self.ways[side.other()].full_size().map_or(known, |size| known.min(size)).max(1)
    }

    fn around(&self, sender: Side, room: Room) -> Around {
        Around {
            near: self.distances[sender],
            far: self.distances[sender.other()],
            mss: self.mss_to(sender.other()),
            room,
        }
    }

    /// Takes the next segment.
    pub(crate) fn on_segment(&mut self, from: Side, seen: &Seen, is_cut: bool, room: Room) {
        self.last = (seen.frame, seen.at);
        self.frames[from] += 1;
        self.cut += u64::from(is_cut);
        if self.rows.len() < room.rows {
            self.rows.push(Row { frame: seen.frame, at: seen.at, from, segment: seen.segment });
        }
        let segment = &seen.segment;
        let to = from.other();
        if segment.flags.contains(TcpFlags::SYN)
            && !segment.flags.contains(TcpFlags::RST)
            && self.handshake.on_syn(from, seen)
        {
            self.ways[from].begin(segment.seq);
        }
        if let Some(rtt) = self.handshake.sample(from, seen) {
            self.distances[from].sample(rtt);
        }
        if let Some(rtt) = self.echoes.echoed(from, seen) {
            self.distances[from].echo(rtt);
        }
        let around = self.around(to, room);
        let scale = self.scale(from);
        if let Some(rtt) = self.ways[to].on_ack(seen, scale, &around) {
            self.distances[from].sample(rtt);
        }
        let around = self.around(from, room);
        self.ways[from].on_segment(seen, &around);
        self.handshake.on_segment(from, seen);
        let usual = self.ttls[from];
        if segment.flags.contains(TcpFlags::RST) {
            let waiting =
                Ends { client: self.ways.client.is_waiting(), server: self.ways.server.is_waiting() };
            self.ending.on_reset(from, seen, usual, waiting);
        } else {
            self.ttls[from] = Some(segment.ttl);
            if segment.flags.contains(TcpFlags::FIN) {
                self.ending.on_fin(from, seen);
            }
            self.ending.on_progress(from, seen, self.ways[to].una, self.ways[to].fin);
        }
    }

    /// An ICMP error about a segment that `about` has sent.
    pub(crate) fn on_icmp(&mut self, about: Side, frame: u64, at: Duration, error: Icmp) {
        if matches!(error, Icmp::TooBig(_)) {
            self.ways[about].too_big(frame, at);
        }
        if self.icmp.len() < 16 {
            self.icmp.push((frame, error));
        }
    }

    /// Whether a SYN of `from` opens another connection between the same ends.
    pub(crate) fn is_over_for(&self, from: Side, seen: &Seen) -> bool {
        let known = self.handshake.isn(from);
        let other = known.is_some_and(|isn| isn != seen.segment.seq);
        let over = self.ending.is_over();
        let carried = self.ways[from].nxt > self.ways[from].origin;
        (known.is_none() && carried)
            || (other && (over || carried || self.handshake.is_refused()))
            || (other && seen.at.saturating_sub(self.last.1) > Duration::from_secs(60))
    }

    /// Nothing more comes of it; the capture has got to `now`.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.silence = now.saturating_sub(self.last.1);
        for (way, unanswered) in self.ways.iter_mut().zip(self.unanswered.iter_mut()) {
            *unanswered = way.unanswered();
            way.finish(self.last.1);
        }
    }

    /// The least round-trip time from end to end, as far as the capture shows both parts.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        Some(self.distances.client.least? + self.distances.server.least?)
    }
}
