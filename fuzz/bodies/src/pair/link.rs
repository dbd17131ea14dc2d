//! The link, and what it does to the packets that are on their way.

use bytes::Bytes;
use ropeway_core::Timestamp;

use crate::modern::meddled;
use crate::story::{describe, tell};

#[derive(Default)]
pub(super) struct Link {
    /// For whom, and what.
    flight: Vec<(usize, Bytes)>,
    spoilt: u64,
}

/// A packet that is not any more what was sent.
pub(super) struct Spoilt {
    pub(super) to: usize,
    pub(super) packet: Bytes,
    /// Its header is IPv6's, or was, and no checksum protects that.
    pub(super) unprotected: bool,
}

impl Link {
    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_empty()
    }

    /// How many packets it has spoilt.
    pub(super) fn spoilt(&self) -> u64 {
        self.spoilt
    }

    pub(super) fn carry(&mut self, to: usize, packet: Bytes) {
        self.flight.push((to, packet));
    }

    /// One packet, not always the oldest.
    pub(super) fn take(&mut self, which: usize) -> Option<(usize, Bytes)> {
        (!self.flight.is_empty()).then(|| self.flight.remove(which % self.flight.len()))
    }

    /// All of them, in their order.
    pub(super) fn take_all(&mut self) -> Vec<(usize, Bytes)> {
        std::mem::take(&mut self.flight)
    }

    pub(super) fn lose(&mut self, now: Timestamp, which: usize) {
        let lost = self.take(which);
        tell(now, || format!("    lost: {}", lost.map_or_else(String::new, |lost| describe(&lost.1))));
    }

    /// A packet that arrives and will come again.
    pub(super) fn repeat(&mut self, which: usize) -> Option<(usize, Bytes)> {
        let (to, packet) = self.take(which)?;
        self.carry(to, packet.clone());
        Some((to, packet))
    }

    /// A box changes a packet, which goes on.
    pub(super) fn meddle(&mut self, which: usize, how: u8, with: u8) {
        let count = self.flight.len().max(1);
        if let Some((_, packet)) = self.flight.get_mut(which % count)
            && let Some(changed) = meddled(packet, how, with)
        {
            *packet = changed;
        }
    }

    /// Changes a byte of a packet.
    pub(super) fn spoil(&mut self, which: usize, at: u8, change: u8) -> Option<Spoilt> {
        let (to, packet) = self.take(which)?;
        let mut spoilt = packet.to_vec();
        let at = usize::from(at) % spoilt.len();
        spoilt[at] ^= change.max(1);
        self.spoilt += 1;
        let unprotected = spoilt[0] >> 4 == 6 || packet[0] >> 4 == 6;
        Some(Spoilt { to, packet: spoilt.into(), unprotected })
    }
}
