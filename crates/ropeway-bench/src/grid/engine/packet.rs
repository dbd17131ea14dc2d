//! Packets as they lie in a simulated link: what the stack gave, not copied before it arrives.

use std::hash::Hasher;

use bytes::Bytes;
use ropeway_core::{PacketPool, Received, RxChecksum, Transmit};
use ropeway_sim::pipe::{self, Carried};

use crate::carry::carry;

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The host that it is for.
    pub(super) to: usize,
    transmit: Transmit,
}

impl Packet {
    pub(super) fn new(to: usize, transmit: Transmit) -> Self {
        Self { to, transmit }
    }

    /// The packet in one piece, as a device hands it over.
    pub(super) fn receive(&self, pool: &mut PacketPool, checksum: RxChecksum) -> Received {
        carry(&self.transmit, pool).with_checksum(checksum)
    }

    /// For the hash of a run.
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        hasher.write(&self.transmit.header);
        hasher.write_u64(self.transmit.payload.len() as u64);
    }

    fn replace(&mut self, bytes: Bytes) {
        self.transmit = Transmit::whole(bytes);
    }
}

impl Carried for Packet {
    fn wire_len(&self) -> usize {
        self.transmit.len()
    }

    fn invert(&mut self, bit: usize) {
        self.replace(pipe::inverted(&self.transmit.to_bytes(), bit));
    }

    fn mark(&mut self) -> bool {
        let marked = pipe::marked(&self.transmit.to_bytes());
        marked.map(|bytes| self.replace(bytes)).is_some()
    }

    fn reordered(&mut self) {}

    fn duplicated(&mut self) {}
}
