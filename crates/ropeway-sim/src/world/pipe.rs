//! One direction of a link at work.

mod codel;
mod dice;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use self::codel::{CoDelState, Verdict};
use self::dice::Dice;
use super::events::NEVER;
use super::{Event, LinkId, Packet, Way, World};
use crate::engine::Micros;
use crate::link::{Discipline, Limit, Loss, Pipe};
use crate::record::{Cause, Fate};
use crate::seed::Seed;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct PipeState {
    pub(crate) config: Pipe,
    waiting: VecDeque<Waiting>,
    /// Bytes that wait.
    bytes: usize,
    /// The packet that is being sent, which counts as waiting until then, leaves at this moment, in nanoseconds.
    busy_until: u64,
    is_sending: bool,
    /// When the last packet arrives that keeps its order.
    last_arrival: Micros,
    /// The link is in the bad state of a [`Loss::Burst`].
    is_bad: bool,
    /// Packets that have come to the loss since it was set.
    count: u64,
    codel: CoDelState,
    dice: Dice,
}

#[derive(Debug)]
struct Waiting {
    since: Micros,
    packet: Packet,
}

/// What becomes of a packet on the wire.
enum Wire {
    Lost(Cause),
    /// When it arrives, and when a copy of it does.
    Arrives(Packet, Micros, Option<Micros>),
}

impl PipeState {
    pub(crate) fn new(seed: Seed, name: &str, config: Pipe) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            bytes: 0,
            busy_until: 0,
            is_sending: false,
            last_arrival: 0,
            is_bad: false,
            count: 0,
            codel: CoDelState::default(),
            dice: Dice::new(seed, name),
        }
    }

    /// Changes the settings. What waits, and what is on its way, goes on as it was.
    pub(crate) fn set(&mut self, config: Pipe) {
        if self.config.loss != config.loss {
            (self.count, self.is_bad) = (0, false);
        }
        self.config = config;
    }

    fn has_room(&self, len: usize) -> bool {
        match self.config.queue.limit {
            Limit::Packets(limit) => self.waiting.len() < limit,
            Limit::Bytes(limit) => self.bytes.saturating_add(len) <= limit,
        }
    }

    /// When the packet at the head of the queue will have left it.
    fn start_sending(&mut self, now: Micros) -> Option<Micros> {
        let len = self.waiting.front()?.packet.bytes.len();
        let start = self.busy_until.max(now.saturating_mul(1000));
        self.busy_until = self.config.rate.map_or(start, |rate| start.saturating_add(rate.nanos(len)));
        self.is_sending = true;
        Some(self.busy_until.div_ceil(1000))
    }

    /// The fate of a packet that has left the queue.
    fn transmit(&mut self, now: Micros, mut packet: Packet) -> Wire {
        if !self.config.up {
            return Wire::Lost(Cause::LinkDown);
        }
        if let Some(cause) = self.is_lost() {
            return Wire::Lost(cause);
        }
        if self.dice.corrupt.hits(self.config.corrupt) {
            let bit = self.dice.corrupt.below(packet.bytes.len() * 8);
            packet.bytes = invert(&packet.bytes, bit);
            packet.notes.corrupted = true;
        }
        let delay = micros(self.config.delay).saturating_add(self.jitter());
        let copy = self.dice.duplicate.hits(self.config.duplicate);
        if self.dice.reorder.hits(self.config.reorder) {
            packet.notes.reordered = true;
            let at = now.saturating_add(delay).saturating_add(micros(self.config.reorder_by));
            return Wire::Arrives(packet, at, copy.then_some(at));
        }
        // What would overtake waits.
        self.last_arrival = self.last_arrival.max(now.saturating_add(delay));
        Wire::Arrives(packet, self.last_arrival, copy.then_some(self.last_arrival))
    }

    fn jitter(&mut self) -> Micros {
        match micros(self.config.jitter) {
            0 => 0,
            most => self.dice.jitter.up_to(most),
        }
    }

    fn is_lost(&mut self) -> Option<Cause> {
        self.count += 1;
        match &self.config.loss {
            Loss::None => None,
            Loss::Random(probability) => self.dice.loss.hits(*probability).then_some(Cause::Loss),
            Loss::Burst { to_bad, to_good, loss_in_good, loss_in_bad } => {
                let turns = if self.is_bad { *to_good } else { *to_bad };
                self.is_bad ^= self.dice.loss.hits(turns);
                let probability = if self.is_bad { *loss_in_bad } else { *loss_in_good };
                self.dice.loss.hits(probability).then_some(Cause::BurstLoss)
            }
            Loss::Packets(numbers) => numbers.contains(&self.count).then_some(Cause::ChosenLoss),
            Loss::Every(every) => {
                (*every > 0 && self.count.is_multiple_of(*every)).then_some(Cause::ChosenLoss)
            }
        }
    }
}

impl World {
    /// Puts a packet into a link. It fits.
    pub(crate) fn enter_link(&mut self, id: LinkId, way: Way, packet: Packet) {
        let now = self.now;
        let pipe = self.link_mut(id).pipe(way);
        if !pipe.config.up {
            return self.record.on_link(now, id, way, &packet, Fate::Dropped(Cause::LinkDown));
        }
        if pipe.config.rate.is_none() && pipe.waiting.is_empty() {
            return self.transmit(id, way, packet);
        }
        if !pipe.has_room(packet.bytes.len()) {
            return self.record.on_link(now, id, way, &packet, Fate::Dropped(Cause::QueueFull));
        }
        pipe.bytes += packet.bytes.len();
        pipe.waiting.push_back(Waiting { since: now, packet });
        if !pipe.is_sending
            && let Some(at) = pipe.start_sending(now)
        {
            self.schedule(at, Event::Departure(id, way));
        }
    }

    /// The packet at the head of the queue has left it.
    pub(super) fn depart(&mut self, id: LinkId, way: Way) {
        let now = self.now;
        let pipe = self.link_mut(id).pipe(way);
        pipe.is_sending = false;
        if let Some(Waiting { packet, .. }) = pipe.waiting.pop_front() {
            pipe.bytes -= packet.bytes.len();
            self.transmit(id, way, packet);
        }
        self.choose_next(id, way);
        if let Some(at) = self.link_mut(id).pipe(way).start_sending(now) {
            self.schedule(at, Event::Departure(id, way));
        }
    }

    /// Lets the queue's discipline decide over the packets at its head, until one may be sent.
    fn choose_next(&mut self, id: LinkId, way: Way) {
        let now = self.now;
        loop {
            let pipe = self.link_mut(id).pipe(way);
            let Discipline::CoDel(settings) = pipe.config.queue.discipline else { return };
            let Some(head) = pipe.waiting.front_mut() else { return pipe.codel.emptied() };
            let waited = now.saturating_sub(head.since);
            match pipe.codel.judge(&settings, now, waited, pipe.bytes) {
                Verdict::Send => return,
                Verdict::Congested if settings.ecn && codel::mark(&mut head.packet) => return,
                Verdict::Congested => {}
            }
            if let Some(Waiting { packet, .. }) = pipe.waiting.pop_front() {
                pipe.bytes -= packet.bytes.len();
                self.record.on_link(now, id, way, &packet, Fate::Dropped(Cause::CoDel));
            }
        }
    }

    fn transmit(&mut self, id: LinkId, way: Way, packet: Packet) {
        let now = self.now;
        // For the record, should it be lost.
        let offered = packet.clone();
        match self.link_mut(id).pipe(way).transmit(now, packet) {
            Wire::Lost(cause) => self.record.on_link(now, id, way, &offered, Fate::Dropped(cause)),
            Wire::Arrives(packet, at, copy) => {
                let duplicate = copy.map(|copy_at| {
                    let mut duplicate = packet.clone();
                    duplicate.notes.duplicate = true;
                    (copy_at, duplicate)
                });
                self.schedule(at, Event::Arrival(id, way, packet));
                if let Some((at, duplicate)) = duplicate {
                    self.schedule(at, Event::Arrival(id, way, duplicate));
                }
            }
        }
    }
}

fn micros(duration: std::time::Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER)
}

/// The same packet with one bit inverted.
fn invert(bytes: &Bytes, bit: usize) -> Bytes {
    let mut bytes = BytesMut::from(bytes.as_ref());
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
    bytes.freeze()
}
