//! One direction of the bottleneck: a simulated link, and what is on its way in it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use ropeway_sim::pipe::{Micros, NEVER, Outcome, PipeState};
use ropeway_sim::{Cause, Pipe};

use super::packet::Packet;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Wire {
    pipe: PipeState<Packet>,
    /// When the packet that is being sent leaves the queue.
    departure: Micros,
    flying: Flying,
}

/// What the queue did to the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    /// Dropped because it was full, or by CoDel.
    pub(crate) dropped: u64,
    /// Lost on the way, as the cell asks for.
    pub(crate) lost: u64,
    /// Packets that had their turn.
    pub(crate) passed: u64,
    /// How long they waited for it, together, in microseconds.
    pub(crate) waited: u64,
    /// The longest of these.
    pub(crate) longest: u64,
}

/// Packets that will arrive.
#[derive(Debug, Default)]
struct Flying {
    /// Those that arrive in the order in which they left.
    in_order: VecDeque<Due>,
    /// The others.
    others: BinaryHeap<Reverse<Due>>,
    /// How many there were.
    count: u64,
    queue: QueueCounts,
}

#[derive(Debug)]
struct Due {
    at: Micros,
    number: u64,
    packet: Packet,
}

impl Wire {
    pub(super) fn new(seed: u64, name: &str, config: Pipe) -> Self {
        Self { pipe: PipeState::seeded(seed, name, config), departure: NEVER, flying: Flying::default() }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Pipe)) {
        let mut config = self.pipe.config().clone();
        change(&mut config);
        self.pipe.set(config);
    }

    pub(super) fn counts(&self) -> QueueCounts {
        self.flying.queue
    }

    pub(super) fn enter(&mut self, now: Micros, packet: Packet) {
        if let Some(at) = self.pipe.enter(now, packet, &mut self.flying) {
            self.departure = at;
        }
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Micros {
        self.departure.min(self.flying.next())
    }

    /// The packets that arrive now, one after the other.
    pub(super) fn arrival(&mut self, now: Micros) -> Option<Packet> {
        while self.departure <= now {
            self.departure = self.pipe.depart(self.departure, &mut self.flying).unwrap_or(NEVER);
        }
        self.flying.pop_due(now)
    }
}

impl Outcome<Packet> for Flying {
    fn arrives(&mut self, at: Micros, packet: Packet) {
        self.count += 1;
        let due = Due { at, number: self.count, packet };
        if due.packet.is_reordered || self.in_order.back().is_some_and(|last| last.at > at) {
            self.others.push(Reverse(due));
        } else {
            self.in_order.push_back(due);
        }
    }

    fn dropped(&mut self, _: Packet, cause: Cause) {
        match cause {
            Cause::QueueFull | Cause::CoDel => self.queue.dropped += 1,
            _ => self.queue.lost += 1,
        }
    }

    fn waited(&mut self, waited: Micros) {
        self.queue.passed += 1;
        self.queue.waited += waited;
        self.queue.longest = self.queue.longest.max(waited);
    }
}

impl Flying {
    fn next(&self) -> Micros {
        let in_order = self.in_order.front().map_or(NEVER, |due| due.at);
        let other = self.others.peek().map_or(NEVER, |Reverse(due)| due.at);
        in_order.min(other)
    }

    fn pop_due(&mut self, now: Micros) -> Option<Packet> {
        let in_order = self.in_order.front().map(Due::key).filter(|(at, _)| *at <= now);
        let other = self.others.peek().map(|Reverse(due)| due.key()).filter(|(at, _)| *at <= now);
        let due = match (in_order, other) {
            (None, None) => None,
            (Some(in_order), Some(other)) if other < in_order => self.others.pop().map(|Reverse(due)| due),
            (None, Some(_)) => self.others.pop().map(|Reverse(due)| due),
            (Some(_), _) => self.in_order.pop_front(),
        };
        due.map(|due| due.packet)
    }
}

impl Due {
    fn key(&self) -> (Micros, u64) {
        (self.at, self.number)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}
