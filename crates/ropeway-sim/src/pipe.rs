//! One direction of a link at work: on any clock, with any kind of packet in it.
//!
//! Hidden: the measurements drive it without a network, and the network drives it here.

mod codel;
mod dice;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::codel::{CoDelState, Verdict};
use self::dice::Dice;
use crate::link::{Discipline, Limit, Loss, Pipe};
use crate::record::Cause;
use crate::seed::Seed;

/// Microseconds on the clock of who drives the pipe.
pub type Micros = u64;

/// What is to come at this moment or later never comes: after 272 years, as far as Tokio's clock can go.
pub const NEVER: Micros = 1_000_000 << 33;

/// A packet, as a pipe sees it.
pub trait Carried: Clone {
    /// Its length in bytes, IP header included.
    fn wire_len(&self) -> usize;

    /// Inverts one bit, counted from the first byte's highest.
    fn invert(&mut self, bit: usize);

    /// Sets Congestion Experienced (RFC 3168 5), unless the transport is not ECN-capable: `false`.
    fn mark(&mut self) -> bool;

    /// Others may overtake it.
    fn reordered(&mut self);

    /// It is the second of two that are equal.
    fn duplicated(&mut self);
}

/// Learns what becomes of the packets in a pipe.
pub trait Outcome<P> {
    /// The packet will arrive at this moment.
    fn arrives(&mut self, at: Micros, packet: P);

    /// It goes no further.
    fn dropped(&mut self, packet: P, cause: Cause);

    /// A packet begins to leave the queue, in which it has waited so long.
    fn waited(&mut self, _: Micros) {}
}

/// See the [module](self).
///
/// Whoever drives it calls [`enter`](Self::enter) with each packet, and [`depart`](Self::depart) at the moment that
/// the one or the other gave last.
#[derive(Debug)]
pub struct PipeState<P> {
    config: Pipe,
    waiting: VecDeque<Waiting<P>>,
    /// Bytes that wait.
    bytes: usize,
    /// The packet that is being sent, which counts as waiting until then, leaves at this moment, in nanoseconds.
    busy_until: u64,
    is_sending: bool,
    /// When the last packet arrives that keeps its order.
    last_arrival: Micros,
    /// The link is in the bad state of a [`Loss::Burst`].
    is_bad: bool,
    /// Packets lost one after the other, for [`Loss::Runs`].
    run: u32,
    /// Packets that have come to the loss since it was set.
    count: u64,
    codel: CoDelState,
    dice: Dice,
}

#[derive(Debug)]
struct Waiting<P> {
    since: Micros,
    packet: P,
}

/// What becomes of a packet on the wire.
enum Wire<P> {
    Lost(P, Cause),
    /// When it arrives, and whether twice.
    Arrives(P, Micros, bool),
}

impl<P: Carried> PipeState<P> {
    /// An empty pipe, whose chances come from the number and the name.
    #[must_use]
    pub fn seeded(seed: u64, name: &str, config: Pipe) -> Self {
        Self::new(Seed::of(seed), name, config)
    }

    pub(crate) fn new(seed: Seed, name: &str, config: Pipe) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            bytes: 0,
            busy_until: 0,
            is_sending: false,
            last_arrival: 0,
            is_bad: false,
            run: 0,
            count: 0,
            codel: CoDelState::default(),
            dice: Dice::new(seed, name),
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Pipe {
        &self.config
    }

    /// Changes the settings. What waits, and what is on its way, goes on as it was.
    pub fn set(&mut self, config: Pipe) {
        if self.config.loss != config.loss {
            (self.count, self.is_bad, self.run) = (0, false, 0);
        }
        self.config = config;
    }

    /// A packet comes to the pipe. When [`depart`](Self::depart) is to be called, if that is new.
    pub fn enter(&mut self, now: Micros, mut packet: P, out: &mut impl Outcome<P>) -> Option<Micros> {
        if let Some(cause) = self.is_shut_to(&packet) {
            out.dropped(packet, cause);
            return None;
        }
        if self.config.rate.is_none() && self.waiting.is_empty() {
            self.transmit(now, packet, out);
            return None;
        }
        let len = packet.wire_len();
        if !self.has_room(len) {
            out.dropped(packet, Cause::QueueFull);
            return None;
        }
        if let Discipline::Step(most) = self.config.queue.discipline
            && self.bytes > most
        {
            packet.mark();
        }
        self.bytes += len;
        self.waiting.push_back(Waiting { since: now, packet });
        if self.is_sending {
            None
        } else {
            self.start_sending(self.busy_until.max(now.saturating_mul(1000)), out)
        }
    }

    /// The packet at the head of the queue has left it. When to call this again.
    pub fn depart(&mut self, now: Micros, out: &mut impl Outcome<P>) -> Option<Micros> {
        self.is_sending = false;
        if let Some(packet) = self.pop() {
            self.transmit(now, packet, out);
        }
        self.choose_next(now, out);
        // The wire was busy until then, which is up to a microsecond ago.
        self.start_sending(self.busy_until, out)
    }

    fn pop(&mut self) -> Option<P> {
        let Waiting { packet, .. } = self.waiting.pop_front()?;
        self.bytes -= packet.wire_len();
        Some(packet)
    }

    fn has_room(&self, len: usize) -> bool {
        match self.config.queue.limit {
            Limit::Packets(limit) => self.waiting.len() < limit,
            Limit::Bytes(limit) => self.bytes.saturating_add(len) <= limit,
        }
    }

    /// When the packet at the head of the queue will have left it that begins to do so at `start`, in nanoseconds.
    fn start_sending(&mut self, start: u64, out: &mut impl Outcome<P>) -> Option<Micros> {
        let head = self.waiting.front()?;
        out.waited((start / 1000).saturating_sub(head.since));
        let len = head.packet.wire_len();
        self.busy_until = self.config.rate.map_or(start, |rate| start.saturating_add(rate.nanos(len)));
        self.is_sending = true;
        Some(self.busy_until.div_ceil(1000))
    }

    /// Lets the queue's discipline decide over the packets at its head, until one may be sent.
    fn choose_next(&mut self, now: Micros, out: &mut impl Outcome<P>) {
        loop {
            let Discipline::CoDel(settings) = self.config.queue.discipline else { return };
            let Some(head) = self.waiting.front_mut() else { return self.codel.emptied() };
            let waited = now.saturating_sub(head.since);
            match self.codel.judge(&settings, now, waited, self.bytes) {
                Verdict::Send => return,
                Verdict::Congested if settings.ecn && head.packet.mark() => return,
                Verdict::Congested => {}
            }
            if let Some(packet) = self.pop() {
                out.dropped(packet, Cause::CoDel);
            }
        }
    }

    fn transmit(&mut self, now: Micros, packet: P, out: &mut impl Outcome<P>) {
        match self.cross(now, packet) {
            Wire::Lost(packet, cause) => out.dropped(packet, cause),
            Wire::Arrives(packet, at, twice) => {
                let duplicate = twice.then(|| {
                    let mut duplicate = packet.clone();
                    duplicate.duplicated();
                    duplicate
                });
                out.arrives(at, packet);
                if let Some(duplicate) = duplicate {
                    out.arrives(at, duplicate);
                }
            }
        }
    }

    /// The fate of a packet that has left the queue.
    fn cross(&mut self, now: Micros, mut packet: P) -> Wire<P> {
        if let Some(cause) = self.is_shut_to(&packet).or_else(|| self.is_lost()) {
            return Wire::Lost(packet, cause);
        }
        if self.dice.corrupt.hits(self.config.corrupt) {
            packet.invert(self.dice.corrupt.below(packet.wire_len() * 8));
        }
        let at = now.saturating_add(micros(self.config.delay)).saturating_add(self.jitter());
        let twice = self.dice.duplicate.hits(self.config.duplicate);
        if self.dice.reorder.hits(self.config.reorder) {
            packet.reordered();
            return Wire::Arrives(
                packet,
                self.bunched(at.saturating_add(micros(self.config.reorder_by))),
                twice,
            );
        }
        let at = self.bunched(at);
        if self.config.overtaking && at < self.last_arrival {
            packet.reordered();
            return Wire::Arrives(packet, at, twice);
        }
        // What would overtake waits.
        self.last_arrival = self.last_arrival.max(at);
        Wire::Arrives(packet, self.last_arrival, twice)
    }

    /// Why no packet like this gets through, whatever chance says.
    fn is_shut_to(&self, packet: &P) -> Option<Cause> {
        if !self.config.up {
            return Some(Cause::LinkDown);
        }
        let takes = self.config.black_hole.map_or(usize::MAX, usize::from);
        (packet.wire_len() > takes).then_some(Cause::BlackHole)
    }

    /// The end of the bunch that a moment falls into.
    fn bunched(&self, at: Micros) -> Micros {
        match micros(self.config.bunch) {
            0 => at,
            every => at.div_ceil(every).saturating_mul(every),
        }
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
            Loss::Runs { loss, most } => {
                let lost = self.dice.loss.hits(*loss) && self.run < *most;
                self.run = if lost { self.run + 1 } else { 0 };
                lost.then_some(Cause::Loss)
            }
            Loss::Packets(numbers) => numbers.contains(&self.count).then_some(Cause::ChosenLoss),
            Loss::Every(every) => {
                (*every > 0 && self.count.is_multiple_of(*every)).then_some(Cause::ChosenLoss)
            }
        }
    }
}

fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER)
}

/// The same packet with one bit inverted.
#[must_use]
pub fn inverted(bytes: &Bytes, bit: usize) -> Bytes {
    let mut bytes = BytesMut::from(bytes.as_ref());
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
    bytes.freeze()
}

/// The same packet with Congestion Experienced set (RFC 3168 5). `None` if its transport is not ECN-capable.
#[must_use]
pub fn marked(bytes: &Bytes) -> Option<Bytes> {
    codel::mark(bytes)
}
