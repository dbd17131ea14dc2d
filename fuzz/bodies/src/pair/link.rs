//! The link, and what it does to the packets that are on their way.

use bytes::Bytes;
use ropeway_core::Timestamp;
use ropeway_packet::TcpFlags;

use crate::modern::meddled;
use crate::story::{describe, tell};
use crate::wide::{cut, flags_of, is_fragment};

#[derive(Default)]
pub(super) struct Link {
    /// For whom, and what.
    flight: Vec<(usize, Bytes)>,
    spoilt: u64,
    /// A fragment was: two that are may have checksums that are right together.
    fragment_spoilt: bool,
    cuts: u32,
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

    /// One packet, in its place.
    pub(super) fn peek(&self, which: usize) -> Option<&(usize, Bytes)> {
        self.flight.get(which % self.flight.len().max(1))
    }

    /// A packet goes on in its place as something else.
    pub(super) fn change(&mut self, which: usize, change: impl FnOnce(&Bytes) -> Option<Bytes>) {
        let count = self.flight.len().max(1);
        if let Some((_, packet)) = self.flight.get_mut(which % count)
            && let Some(changed) = change(packet)
        {
            *packet = changed;
        }
    }

    /// A packet goes on in fragments; without the last one, if that is `lost`.
    pub(super) fn cut(&mut self, which: usize, mtu: u16, lost: bool) {
        self.cuts += 1;
        let Some((to, packet)) = self.take(which) else { return };
        let mut pieces = cut(&packet, mtu, 0x9000 + self.cuts);
        if pieces.is_empty() {
            pieces.push(packet);
        } else if lost {
            pieces.pop();
        }
        pieces.into_iter().for_each(|piece| self.carry(to, piece));
    }

    /// A box changes a packet, which goes on. Whether that was a SYN, and its flags are others now.
    pub(super) fn meddle(&mut self, which: usize, how: u8, with: u8) -> bool {
        let mut asks_anew = false;
        self.change(which, |packet| {
            let changed = meddled(packet, how, with).filter(|_| !is_fragment(packet))?;
            let [before, after] = [packet, &changed].map(|packet| flags_of(packet));
            asks_anew = before != after && before.is_some_and(|flags| flags.contains(TcpFlags::SYN));
            Some(changed)
        });
        asks_anew
    }

    /// Changes a byte of a packet.
    pub(super) fn spoil(&mut self, which: usize, at: u8, change: u8) -> Option<Spoilt> {
        let (to, packet) = self.take(which)?;
        if is_fragment(&packet) && std::mem::replace(&mut self.fragment_spoilt, true) {
            return None;
        }
        let mut spoilt = packet.to_vec();
        let at = usize::from(at) % spoilt.len();
        spoilt[at] ^= change.max(1);
        self.spoilt += 1;
        let unprotected = spoilt[0] >> 4 == 6 || packet[0] >> 4 == 6;
        Some(Spoilt { to, packet: spoilt.into(), unprotected })
    }
}
