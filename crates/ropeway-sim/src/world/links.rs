//! How packets get through a link.

use super::events::EventQueue;
use super::{Event, LinkId, Packet, Way, World};
use crate::engine::Micros;
use crate::pipe::{self, Carried, Outcome};
use crate::record::{Cause, Fate, Record};

impl Carried for Packet {
    fn wire_len(&self) -> usize {
        self.bytes.len()
    }

    fn invert(&mut self, bit: usize) {
        self.bytes = pipe::inverted(&self.bytes, bit);
        self.notes.corrupted = true;
    }

    fn mark(&mut self) -> bool {
        let Some(marked) = pipe::marked(&self.bytes) else { return false };
        self.bytes = marked;
        self.notes.marked = true;
        true
    }

    fn reordered(&mut self) {
        self.notes.reordered = true;
    }

    fn duplicated(&mut self) {
        self.notes.duplicate = true;
    }
}

/// Notes what becomes of the packets in one direction of a link.
struct InLink<'a> {
    now: Micros,
    id: LinkId,
    way: Way,
    record: &'a mut Record,
    events: &'a mut EventQueue,
}

impl Outcome<Packet> for InLink<'_> {
    fn arrives(&mut self, at: Micros, packet: Packet) {
        self.events.push(at.max(self.now), Event::Arrival(self.id, self.way, packet));
    }

    fn dropped(&mut self, packet: Packet, cause: Cause) {
        self.record.on_link(self.now, self.id, self.way, &packet, Fate::Dropped(cause));
    }
}

impl World {
    /// Puts a packet into a link. It fits.
    pub(crate) fn enter_link(&mut self, id: LinkId, way: Way, packet: Packet) {
        self.in_link(id, way, |pipe, now, out| pipe.enter(now, packet, out));
    }

    /// The packet at the head of the queue has left it.
    pub(super) fn depart(&mut self, id: LinkId, way: Way) {
        self.in_link(id, way, |pipe, now, out| pipe.depart(now, out));
    }

    fn in_link(
        &mut self,
        id: LinkId,
        way: Way,
        step: impl FnOnce(&mut pipe::PipeState<Packet>, Micros, &mut InLink<'_>) -> Option<Micros>,
    ) {
        let now = self.now;
        #[expect(clippy::indexing_slicing, reason = "links are never removed")]
        let pipe = self.links[id.0 as usize].pipe(way);
        let mut out = InLink { now, id, way, record: &mut self.record, events: &mut self.events };
        if let Some(at) = step(pipe, now, &mut out) {
            self.schedule(at, Event::Departure(id, way));
        }
    }
}
