//! A host: a stack, its timer, and its turns.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ropeway_core::{Event, IpCidr, PacketPool, RxChecksum, Stack, StackConfig, Timestamp};
use ropeway_sim::pipe::{Micros, NEVER};

use super::packet::Packet;

/// How the simulated clock of a host behaves, and its scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Timers go off at multiples of this only, in microseconds: a deadline is rounded up. 0: exactly.
    pub(crate) granularity: Micros,
    /// From a packet's arrival to the host's answer, in microseconds. What arrives meanwhile is taken with it.
    pub(crate) turn_delay: Micros,
}

impl Timing {
    /// When a timer goes off that is set for this deadline.
    fn round_up(self, deadline: Micros) -> Micros {
        match self.granularity {
            0 => deadline,
            granularity => deadline.div_ceil(granularity).saturating_mul(granularity),
        }
    }
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) stack: Stack,
    timing: Timing,
    inbox: Vec<Packet>,
    pool: PacketPool,
    checksum: RxChecksum,
    /// When the packets that have arrived are to be taken.
    turn: Micros,
    /// When the timer goes off.
    timer: Micros,
    burst: Burst,
}

/// Segments with data that were sent in one moment.
#[derive(Debug, Default)]
struct Burst {
    at: Micros,
    count: u64,
    largest: u64,
}

impl Burst {
    fn note(&mut self, now: Micros) {
        if self.at != now {
            (self.at, self.count) = (now, 0);
        }
        self.count += 1;
        self.largest = self.largest.max(self.count);
    }
}

/// The address of a host.
pub(super) fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + u32::try_from(host).unwrap_or(u32::MAX >> 8))
}

/// The host that a packet is for.
fn destination(header: &[u8]) -> usize {
    let Some([a, b, c, d]) = header.get(16..20).and_then(|bytes| bytes.first_chunk()).copied() else {
        return 0;
    };
    (u32::from_be_bytes([a, b, c, d]) - Ipv4Addr::new(10, 0, 0, 1).to_bits()) as usize
}

pub(super) fn moment(now: Micros) -> Timestamp {
    Timestamp::from_micros(now)
}

impl Host {
    /// `verifies`: packets may be corrupted on their way, so checksums are computed and verified.
    pub(super) fn new(
        number: usize,
        mut config: StackConfig,
        seed: [u8; 32],
        timing: Timing,
        verifies: bool,
    ) -> Self {
        config.addresses = vec![IpCidr::new(IpAddr::V4(address(number)), 16)];
        config.tx_checksum_offload = !verifies;
        let checksum = if verifies { RxChecksum::Unverified } else { RxChecksum::Verified };
        let pool = PacketPool::new(config.mtu);
        Self {
            stack: Stack::new(Arc::new(config), seed, moment(0)),
            timing,
            inbox: Vec::new(),
            pool,
            checksum,
            turn: NEVER,
            timer: NEVER,
            burst: Burst::default(),
        }
    }

    /// When the host does something next.
    pub(super) fn next(&self) -> Micros {
        self.turn.min(self.timer)
    }

    pub(super) fn largest_burst(&self) -> u64 {
        self.burst.largest
    }

    /// A packet has arrived.
    pub(super) fn arrive(&mut self, now: Micros, packet: Packet) {
        self.inbox.push(packet);
        self.turn = self.turn.min(now + self.timing.turn_delay);
    }

    /// The program wants the host to have a turn now.
    pub(super) fn wake(&mut self, now: Micros) {
        self.turn = self.turn.min(now);
    }

    /// Takes what has arrived, sends what is to be sent, and lets the program act on the news, until nothing is left to do.
    pub(super) fn turn(
        &mut self,
        now: Micros,
        send: &mut dyn FnMut(Packet),
        program: &mut dyn FnMut(&mut Stack, Timestamp, Event),
    ) {
        let at = moment(now);
        if self.is_due(at) {
            self.stack.handle_timeout(at);
        }
        for packet in self.inbox.drain(..) {
            self.stack.handle_packet(at, packet.receive(&mut self.pool, self.checksum));
        }
        loop {
            while let Some(transmit) = self.stack.poll_transmit(at) {
                if !transmit.payload.is_empty() {
                    self.burst.note(now);
                }
                send(Packet::new(destination(&transmit.header), transmit));
            }
            // The work of one call is bounded: what is left of it is due at once.
            if self.is_due(at) {
                self.stack.handle_timeout(at);
                continue;
            }
            let mut is_idle = true;
            while let Some(event) = self.stack.poll_event() {
                is_idle = false;
                program(&mut self.stack, at, event);
            }
            if is_idle && !self.stack.has_output() {
                break;
            }
        }
        self.turn = NEVER;
        let deadline = self.stack.poll_timeout().map_or(NEVER, Timestamp::as_micros);
        self.timer = self.timing.round_up(deadline);
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.stack.poll_timeout().is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_goes_off_at_a_tick_and_never_too_soon() {
        let coarse = Timing { granularity: 1000, turn_delay: 0 };
        for (deadline, tick) in [(1, 1000), (999, 1000), (1000, 1000), (1001, 2000), (40_000, 40_000)] {
            assert_eq!(coarse.round_up(deadline), tick);
            assert_eq!(Timing::default().round_up(deadline), deadline);
        }
    }

    #[test]
    fn the_address_of_a_host_leads_to_it() {
        for host in [0, 1, 7, 300] {
            let mut header = [0; 20];
            header[16..].copy_from_slice(&address(host).octets());
            assert_eq!(destination(&header), host);
        }
    }
}
