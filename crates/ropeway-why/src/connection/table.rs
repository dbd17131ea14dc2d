//! The connections of a capture, in bounded memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Connection, Ends, Room, Seen, Side};
use crate::capture::{Frame, Packet, Transport};
use ropeway_packet::TcpFlags;

/// Points, ranges and the like that all connections may hold together.
const BUDGET: usize = 4_000_000;

/// What was read, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Frames of the capture.
    pub frames: u64,
    /// Those that carry TCP.
    pub tcp: u64,
    /// Those of which some bytes were not captured.
    pub cut: u64,
    /// Frames whose time is before that of the one before.
    pub backwards: u64,
    /// Connections that there was no room for.
    pub left_out: u64,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) connections: Vec<Connection>,
    /// The latest connection between two ends, the smaller one first.
    latest: HashMap<(SocketAddr, SocketAddr), usize>,
    most: usize,
    begin: Option<Duration>,
    now: Duration,
    pub(crate) totals: Totals,
    filter: Option<SocketAddr>,
}

impl Table {
    /// A table of at most `most` connections; the others are counted. With `filter`, of those that have this end.
    pub(crate) fn new(most: usize, filter: Option<SocketAddr>) -> Self {
        Self {
            connections: Vec::new(),
            latest: HashMap::new(),
            most: most.max(1),
            begin: None,
            now: Duration::ZERO,
            totals: Totals::default(),
            filter,
        }
    }

    /// Takes the next frame of the capture.
    pub(crate) fn on_frame(&mut self, frame: &Frame<'_>) {
        self.totals.frames += 1;
        let Some(packet) = Packet::parse(frame) else { return };
        if self.filter.is_some_and(|end| end != packet.src && end != packet.dst) {
            return;
        }
        self.totals.tcp += 1;
        let begin = *self.begin.get_or_insert(frame.at);
        let at = frame.at.saturating_sub(begin);
        // Several interfaces, or a clock that is set: time does not go back here.
        if at < self.now {
            self.totals.backwards += 1;
        }
        self.now = self.now.max(at);
        let is_cut = frame.data.len() < frame.len;
        self.totals.cut += u64::from(is_cut);
        let key = if packet.src <= packet.dst { (packet.src, packet.dst) } else { (packet.dst, packet.src) };
        let known = self.latest.get(&key).copied();
        match packet.transport {
            Transport::Icmp(error) => {
                let found = known.and_then(|at| self.connections.get_mut(at));
                if let Some(connection) = found {
                    let about = side(connection, packet.src);
                    connection.on_icmp(about, frame.number, self.now, error);
                }
            }
            Transport::Segment(segment) => {
                let seen = Seen { frame: frame.number, at: self.now, segment };
                let index = known.filter(|at| !self.is_over_for(*at, packet.src, &seen));
                let Some(index) = index.or_else(|| self.open(key, &packet, &seen)) else { return };
                let room = self.room();
                if let Some(connection) = self.connections.get_mut(index) {
                    let from = side(connection, packet.src);
                    connection.on_segment(from, &seen, is_cut, room);
                }
            }
        }
    }

    fn is_over_for(&self, index: usize, src: SocketAddr, seen: &Seen) -> bool {
        let syn = seen.segment.flags.contains(TcpFlags::SYN) && seen.segment.ack.is_none();
        syn && self
            .connections
            .get(index)
            .is_some_and(|connection| connection.is_over_for(side(connection, src), seen))
    }

    fn open(&mut self, key: (SocketAddr, SocketAddr), packet: &Packet, seen: &Seen) -> Option<usize> {
        if self.connections.len() >= self.most {
            self.totals.left_out += u64::from(seen.segment.flags.contains(TcpFlags::SYN));
            return None;
        }
        // A SYN-ACK is sent by the end that was asked; without a SYN, the higher port asks.
        let syn = seen.segment.flags.contains(TcpFlags::SYN);
        let answers = syn && seen.segment.ack.is_some();
        let by_port = !syn && packet.src.port() < packet.dst.port();
        let ends = if answers || by_port {
            Ends { client: packet.dst, server: packet.src }
        } else {
            Ends { client: packet.src, server: packet.dst }
        };
        self.connections.push(Connection::new(ends, seen.frame, seen.at));
        let index = self.connections.len() - 1;
        if let Some(before) = self.latest.insert(key, index)
            && let Some(before) = self.connections.get_mut(before)
        {
            before.finish(seen.at);
        }
        Some(index)
    }

    /// What each may hold, so that all together stay within the budget.
    fn room(&self) -> Room {
        let share = BUDGET / self.connections.len().max(1);
        Room {
            points: (share / 8).clamp(64, 6000),
            ranges: (share / 4).clamp(64, 100_000),
            retransmissions: (share / 64).clamp(16, 2000),
            spans: (share / 64).clamp(16, 1000),
            rows: (share / 256).clamp(12, 200),
        }
    }

    /// The whole capture was read.
    pub(crate) fn finish(&mut self) {
        // Those that another has followed are finished already.
        for at in self.latest.values() {
            if let Some(connection) = self.connections.get_mut(*at) {
                connection.finish(self.now);
            }
        }
    }
}

fn side(connection: &Connection, src: SocketAddr) -> Side {
    if connection.ends.client == src { Side::Client } else { Side::Server }
}
