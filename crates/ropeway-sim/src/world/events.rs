//! What is to come, in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{LinkId, NodeId, Packet, Way};
use crate::engine::Micros;
use crate::pipe::NEVER;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet arrives at the end of a link.
    Arrival(LinkId, Way, Packet),
    /// The packet that is being sent has left the queue.
    Departure(LinkId, Way),
    /// The stack of a host, in this life of it, wanted its turn.
    Deadline(NodeId, u32),
    /// A packet leaves its host that a rule has kept.
    Release(NodeId, Packet),
}

/// Events by time; of those of one moment, the one that was scheduled first comes first.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    heap: BinaryHeap<Entry>,
    /// Events scheduled so far.
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: Micros,
    number: u64,
    event: Event,
}

impl EventQueue {
    pub(crate) fn push(&mut self, at: Micros, event: Event) {
        self.count += 1;
        self.heap.push(Entry { at, number: self.count, event });
    }

    pub(crate) fn next(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.at).filter(|at| *at < NEVER)
    }

    /// Whether something is to come that never comes.
    pub(crate) fn has_more(&self) -> bool {
        self.next().is_none() && !self.heap.is_empty()
    }

    pub(crate) fn pop_due(&mut self, now: Micros) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.event)
    }
}

impl Entry {
    fn key(&self) -> (Micros, u64) {
        (self.at, self.number)
    }
}

/// The heap gives the greatest first: that is the earliest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}
