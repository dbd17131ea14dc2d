//! Packets as they lie in a simulated link: what the stack gave, not copied before it arrives.

use std::hash::Hasher;

use bytes::{Bytes, BytesMut};
use ropeway_core::{Received, RxChecksum, Transmit};
use ropeway_sim::pipe::{self, Carried};

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The host that it is for.
    pub(super) to: usize,
    transmit: Transmit,
}

/// Enough for many packets: slabs are used again once the receiver has let go of them.
const SLAB: usize = 64 * 1024;

impl Packet {
    pub(super) fn new(to: usize, transmit: Transmit) -> Self {
        Self { to, transmit }
    }

    /// The packet in one piece, as a device hands it over.
    pub(super) fn receive(&self, slab: &mut BytesMut, checksum: RxChecksum) -> Received {
        if slab.capacity() < self.transmit.len() {
            slab.reserve(SLAB);
        }
        self.transmit.write_to(slab);
        let mut received = Received::new(slab.split().freeze());
        received.checksum = checksum;
        received
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
