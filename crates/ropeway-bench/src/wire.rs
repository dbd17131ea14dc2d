//! One direction of a simulated link, and what is on its way in it: on any clock, with any kind of packet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use ropeway_sim::pipe::{Carried, Micros, NEVER, Outcome, PipeState};
use ropeway_sim::{Cause, Pipe};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Wire<P> {
    pipe: PipeState<P>,
    /// When the packet that is being sent leaves the queue.
    departure: Micros,
    flying: Flying<P>,
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
#[derive(Debug)]
struct Flying<P> {
    /// Those that arrive in the order in which they left.
    in_order: VecDeque<Due<P>>,
    /// The others.
    others: BinaryHeap<Reverse<Due<P>>>,
    /// How many there were.
    count: u64,
    queue: QueueCounts,
}

#[derive(Debug)]
struct Due<P> {
    at: Micros,
    number: u64,
    packet: P,
}

impl<P: Carried> Wire<P> {
    pub(crate) fn new(seed: u64, name: &str, config: Pipe) -> Self {
        Self { pipe: PipeState::seeded(seed, name, config), departure: NEVER, flying: Flying::new() }
    }

    /// Changes the link at this moment: what has left its queue before, has left it.
    pub(crate) fn change(&mut self, now: Micros, change: impl FnOnce(&mut Pipe)) {
        self.pass(now.saturating_sub(1));
        let mut config = self.pipe.config().clone();
        change(&mut config);
        self.pipe.set(config);
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        self.flying.queue
    }

    pub(crate) fn enter(&mut self, now: Micros, packet: P) {
        if let Some(at) = self.pipe.enter(now, packet, &mut self.flying) {
            self.departure = at;
        }
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Micros {
        self.departure.min(self.flying.next())
    }

    /// The packets that have arrived by now, one after the other, and when.
    pub(crate) fn arrival(&mut self, now: Micros) -> Option<(Micros, P)> {
        self.pass(now);
        self.flying.pop_due(now)
    }

    /// Lets leave the queue what has done so by now.
    fn pass(&mut self, now: Micros) {
        while self.departure <= now {
            self.departure = self.pipe.depart(self.departure, &mut self.flying).unwrap_or(NEVER);
        }
    }
}

impl<P> Outcome<P> for Flying<P> {
    fn arrives(&mut self, at: Micros, packet: P) {
        self.count += 1;
        let due = Due { at, number: self.count, packet };
        if self.in_order.back().is_some_and(|last| last.at > at) {
            self.others.push(Reverse(due));
        } else {
            self.in_order.push_back(due);
        }
    }

    fn dropped(&mut self, _: P, cause: Cause) {
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

impl<P> Flying<P> {
    fn new() -> Self {
        Self { in_order: VecDeque::new(), others: BinaryHeap::new(), count: 0, queue: QueueCounts::default() }
    }

    fn next(&self) -> Micros {
        let in_order = self.in_order.front().map_or(NEVER, |due| due.at);
        let other = self.others.peek().map_or(NEVER, |Reverse(due)| due.at);
        in_order.min(other)
    }

    fn pop_due(&mut self, now: Micros) -> Option<(Micros, P)> {
        let in_order = self.in_order.front().map(Due::key).filter(|(at, _)| *at <= now);
        let other = self.others.peek().map(|Reverse(due)| due.key()).filter(|(at, _)| *at <= now);
        let due = match (in_order, other) {
            (None, None) => None,
            (Some(in_order), Some(other)) if other < in_order => self.others.pop().map(|Reverse(due)| due),
            (None, Some(_)) => self.others.pop().map(|Reverse(due)| due),
            (Some(_), _) => self.in_order.pop_front(),
        };
        due.map(|due| (due.at, due.packet))
    }
}

impl<P> Due<P> {
    fn key(&self) -> (Micros, u64) {
        (self.at, self.number)
    }
}

impl<P> Ord for Due<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<P> PartialOrd for Due<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> PartialEq for Due<P> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<P> Eq for Due<P> {}
