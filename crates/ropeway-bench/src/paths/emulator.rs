//! The emulated path: the simulated link, between two ports, on whichever clock it is told.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ropeway_sim::Pipe;
use ropeway_sim::pipe::{self, Carried, Micros};

use super::lateness::Lateness;
use crate::grid::engine::Change;
use crate::wire::{QueueCounts, Wire};

/// The longest packet that a port gives.
const MTU: usize = 1500;
/// Packets that are taken in from a port before others have their turn.
const BATCH: usize = 32;
/// The place of the protocol in an IPv4 header, and the number of TCP.
const PROTOCOL: usize = 9;
const TCP: u8 = 6;

/// Where whole packets come from and go to: a TUN device, or queues in a test.
pub(crate) trait Port {
    /// Reads one packet; `None` if none is there.
    fn recv(&mut self, packet: &mut [u8]) -> io::Result<Option<usize>>;

    /// Writes one packet.
    fn send(&mut self, packet: &[u8]) -> io::Result<()>;
}

/// A packet in the path.
#[derive(Clone, Debug)]
pub(crate) struct Frame(Bytes);

impl Carried for Frame {
    fn wire_len(&self) -> usize {
        self.0.len()
    }

    fn invert(&mut self, bit: usize) {
        self.0 = pipe::inverted(&self.0, bit);
    }

    fn mark(&mut self) -> bool {
        let marked = pipe::marked(&self.0);
        marked.map(|bytes| self.0 = bytes).is_some()
    }

    fn reordered(&mut self) {}

    fn duplicated(&mut self) {}
}

/// What a path does to packets, and when that changes.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) seed: u64,
    /// From the sender to the receiver, and back.
    pub(crate) forth: Pipe,
    pub(crate) back: Pipe,
    /// In the order of time, counted from the path's beginning.
    pub(crate) changes: Vec<(Micros, Change)>,
}

/// A packet as the sender's end saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Micros,
    pub(crate) packet: Bytes,
}

/// What a path has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathCounts {
    pub(crate) forth: QueueCounts,
    pub(crate) back: QueueCounts,
    /// How late packets arrived, beyond what the link asked for.
    pub(crate) late: Lateness,
    /// How long no packet was looked for: one that came meanwhile was seen that much later.
    pub(crate) unseen: Lateness,
}

/// The path between a sender's port and a receiver's.
pub(crate) struct Path<P> {
    sender: P,
    receiver: P,
    forth: Wire<Frame>,
    back: Wire<Frame>,
    changes: Vec<(Micros, Change)>,
    /// How many of the changes have happened.
    changed: usize,
    /// The last turn, in nanoseconds.
    last_turn: Option<u64>,
    late: Lateness,
    unseen: Lateness,
    seen: Option<Vec<Seen>>,
}

impl<P: Port> Path<P> {
    pub(crate) fn new(course: Course, sender: P, receiver: P) -> Self {
        Self {
            sender,
            receiver,
            forth: Wire::new(course.seed, "forth", course.forth),
            back: Wire::new(course.seed, "back", course.back),
            changes: course.changes,
            changed: 0,
            last_turn: None,
            late: Lateness::default(),
            unseen: Lateness::default(),
            seen: None,
        }
    }

    /// Keeps all packets as the sender's end sees them.
    pub(crate) fn keep_packets(&mut self) {
        self.seen = Some(Vec::new());
    }

    /// What has been kept.
    pub(crate) fn seen(&self) -> Option<&[Seen]> {
        self.seen.as_deref()
    }

    pub(crate) fn counts(&self) -> PathCounts {
        PathCounts {
            forth: self.forth.counts(),
            back: self.back.counts(),
            late: self.late.clone(),
            unseen: self.unseen.clone(),
        }
    }

    /// Hands over what has arrived by now, and takes in what has come. `clock` tells the nanoseconds since the path
    /// began.
    pub(crate) fn turn(&mut self, clock: impl Fn() -> u64) -> io::Result<()> {
        let began = clock();
        if let Some(last) = self.last_turn.replace(began) {
            self.unseen.note(began.saturating_sub(last));
        }
        self.change(began / 1000);
        let seen = &mut self.seen;
        deliver(&mut self.forth, &mut self.receiver, &clock, &mut self.late, |_, _| ())?;
        deliver(&mut self.back, &mut self.sender, &clock, &mut self.late, |at, packet| {
            see(seen, at, packet)
        })?;
        take_in(&mut self.sender, &mut self.forth, &clock, |at, packet| see(seen, at, packet))?;
        take_in(&mut self.receiver, &mut self.back, &clock, |_, _| ())
    }

    fn change(&mut self, now: Micros) {
        while let Some((at, change)) = self.changes.get(self.changed)
            && *at <= now
        {
            let at = *at;
            self.changed += 1;
            match *change {
                Change::Rate(rate) => self.forth.change(at, |pipe| pipe.rate = Some(rate)),
                Change::Delay(delay) => self.forth.change(at, |pipe| pipe.delay = delay),
                Change::BlackHole(takes) => self.forth.change(at, |pipe| pipe.black_hole = takes),
                Change::Up(up) => {
                    self.forth.change(at, |pipe| pipe.up = up);
                    self.back.change(at, |pipe| pipe.up = up);
                }
            }
        }
    }
}

fn see(seen: &mut Option<Vec<Seen>>, at: Micros, packet: &Bytes) {
    if let Some(seen) = seen {
        seen.push(Seen { at, packet: packet.clone() });
    }
}

fn deliver(
    wire: &mut Wire<Frame>,
    to: &mut impl Port,
    clock: &impl Fn() -> u64,
    late: &mut Lateness,
    mut see: impl FnMut(Micros, &Bytes),
) -> io::Result<()> {
    while let Some((at, Frame(packet))) = wire.arrival(clock() / 1000) {
        let now = clock();
        late.note(now.saturating_sub(at * 1000));
        see(now / 1000, &packet);
        to.send(&packet)?;
    }
    Ok(())
}

fn take_in(
    from: &mut impl Port,
    wire: &mut Wire<Frame>,
    clock: &impl Fn() -> u64,
    mut see: impl FnMut(Micros, &Bytes),
) -> io::Result<()> {
    let mut buffer = [0; MTU];
    for _ in 0..BATCH {
        let Some(length) = from.recv(&mut buffer)? else { break };
        let packet = buffer.get(..length).unwrap_or_default();
        // What the kernel says besides is not what is compared, and must not use up the seed's losses.
        if packet.get(PROTOCOL) != Some(&TCP) {
            continue;
        }
        let (now, packet) = (clock() / 1000, Bytes::copy_from_slice(packet));
        see(now, &packet);
        wire.enter(now, Frame(packet));
    }
    Ok(())
}

/// Microseconds of a duration.
pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 8)
}

#[cfg(test)]
mod tests;
