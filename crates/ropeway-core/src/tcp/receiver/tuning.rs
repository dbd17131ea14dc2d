//! How large a receive buffer is that tunes itself: by what the application reads in a round trip (dynamic right-sizing, as
//! `tcp_rcv_space_adjust` in Linux).
//!
//! A round trip is measured from here, although a receiver sends nothing that would be acknowledged: by the timestamps that
//! the peer echoes, or by how long a whole window takes to arrive.

use std::time::Duration;

use ropeway_packet::SeqNum;

use super::Receiver;
use crate::buffer::send::length_u32;
use crate::ledger::Growth;
use crate::time::Timestamp;

/// What the buffer's size depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuning {
    /// So many bytes may be held.
    size: u32,
    /// The most that was read in a round trip.
    space: u32,
    /// The round trip in microseconds; 0 as long as nothing is known of it.
    rtt: u32,
    /// When this round trip began, in microseconds modulo 2^32.
    began: u32,
    /// Up to where the application had read then.
    read: SeqNum,
    /// The right edge that had been announced then: what lies behind it was sent a round trip later at the earliest.
    edge: SeqNum,
}

/// What a segment with data tells of the round trip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub(crate) now: Timestamp,
    /// Where the data begins that it came with, and how much of that was before it.
    pub(crate) seq: SeqNum,
    pub(crate) taken: u32,
    /// How long its own data is.
    pub(crate) len: u32,
    /// How long ago the timestamp was sent that it echoes.
    pub(crate) echo: Option<Duration>,
    /// How long no data had arrived before it.
    pub(crate) pause: Duration,
}

/// Tasks do not run more often than that: what is read at once after such a pause was not read slowly.
const SHORTEST_ROUND: u32 = 2000;

/// The sender is expected to begin with so many segments (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;

impl Tuning {
    pub(super) fn new(initial: usize, advmss: u16) -> Self {
        let (size, zero) = (length_u32(initial), SeqNum::new(0));
        Self { size, space: first_space(size, advmss), rtt: 0, began: 0, read: zero, edge: zero }
    }

    /// A sample of the round trip.
    fn sample(&mut self, rtt: Duration) {
        let sample = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let mixed = if self.rtt == 0 { sample } else { self.rtt - self.rtt / 8 + sample / 8 };
        self.rtt = mixed.max(1);
    }

    /// A round trip begins.
    fn begin(&mut self, now: u32, read: SeqNum, edge: SeqNum) {
        (self.began, self.read, self.edge) = (now, read, edge);
    }

    /// The application reads so much in a round trip. What it reads now was sent a round trip ago, so twice that is on its way;
    /// and if it is more than before, the sender is about to send as much more again, twice before this is known. As in
    /// Linux, but for the bound: no sender more than doubles what it sends.
    fn grow(&mut self, space: u32, growth: &mut Growth) {
        let (old, new) = (u64::from(self.space.max(1)), u64::from(space));
        let window = 2 * new;
        let more = (2 * window * (new - old).min(old)) / old;
        self.grow_to(window + more, growth);
        // If it may not grow now, it is to do so later.
        self.space = space.min(self.size / 2).max(1);
    }

    /// The one place where it grows.
    fn grow_to(&mut self, wanted: u64, growth: &mut Growth) {
        self.size = growth.grow(self.size, u32::try_from(wanted).unwrap_or(u32::MAX));
    }
}

/// How much a round trip is expected to bring at first.
fn first_space(size: u32, advmss: u16) -> u32 {
    (INITIAL_SEGMENTS * u32::from(advmss)).min(size / 4).max(1)
}

impl Receiver {
    /// How many bytes may be held unread, if the buffer tunes itself.
    pub(crate) fn tuned_size(&self) -> usize {
        self.tuning.size as usize
    }

    /// The round trip as seen from here.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.tuning.rtt > 0).then(|| Duration::from_micros(self.tuning.rtt.into()))
    }

    /// The most that was read in a round trip.
    pub(crate) fn space(&self) -> u32 {
        self.tuning.space
    }

    /// The handshake is complete: it took so long, as far as that is known.
    pub(crate) fn begin_tuning(&mut self, now: Timestamp, rtt: Option<Duration>) {
        if let Some(rtt) = rtt {
            self.tuning.sample(rtt);
        }
        self.tuning.begin(low_micros(now), self.rcv.nxt, self.rcv.edge);
    }

    /// Data arrives, and was not taken yet: has a round trip passed, and how much was read in it?
    pub(crate) fn tune(&mut self, tick: &Tick, growth: &mut Growth) {
        let now = low_micros(tick.now);
        // What came before it in a train has been taken by now, if it was next in order.
        let taken = if tick.seq == self.rcv.nxt { tick.taken } else { 0 };
        let unread = length_u32(self.buffer.len()) + taken;
        let read = self.rcv.nxt + taken - unread;
        self.sample_round_trip(now, taken, tick);
        self.make_room_beyond(tick, growth);
        let tuning = &mut self.tuning;
        let elapsed = now.wrapping_sub(tuning.began);
        let round = tuning.rtt.max(SHORTEST_ROUND);
        if tuning.rtt == 0 || elapsed < round {
            return;
        }
        let consumed = read.since(tuning.read);
        // What is left unread is not wanted that fast. While it is being worked off, it is too soon to tell.
        if consumed > 0 && consumed <= unread {
            return;
        }
        // It took longer than a round trip if nothing came meanwhile: because nothing was sent, or the window was closed by an
        // application that reads seldom, and much.
        let space = consumed.saturating_sub(unread);
        if space > tuning.space {
            tuning.grow(space, growth);
        }
        tuning.begin(now, read, self.rcv.edge);
        self.note_round(consumed, elapsed);
    }

    fn sample_round_trip(&mut self, now: u32, taken: u32, tick: &Tick) {
        let tuning = &mut self.tuning;
        // After a pause of the sender's the echo is as old as the pause. And a segment that is not full may have waited.
        let flows = tick.pause <= Duration::from_micros(2 * u64::from(tuning.rtt)) || tuning.rtt == 0;
        if let Some(echo) = tick.echo.filter(|_| flows && tick.len >= u32::from(self.rcv.mss)) {
            tuning.sample(echo);
        }
        // A window and no more arrives in a round trip at the most: so it is no longer than that, whatever was echoed.
        let elapsed = now.wrapping_sub(tuning.began);
        if (self.rcv.nxt + taken).after(tuning.edge) && (tuning.rtt == 0 || elapsed < tuning.rtt) {
            tuning.rtt = elapsed.max(1);
        }
    }

    /// While a gap is repaired the sender goes on, for another round trip: there is to be room for what lies beyond the gap.
    fn make_room_beyond(&mut self, tick: &Tick, growth: &mut Growth) {
        if tick.seq != self.rcv.nxt {
            let in_flight = 2 * u64::from(self.tuning.space);
            let end = tick.seq + tick.taken + tick.len;
            let beyond = u64::from(end.since(self.rcv.nxt));
            self.tuning.grow_to(in_flight + beyond.min(in_flight), growth);
        }
    }
}

fn low_micros(now: Timestamp) -> u32 {
    let [a, b, c, d, ..] = now.as_micros().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
