//! Probes: is a port open, closed or filtered? What a port scanner asks, once per port.

use ropeway_packet::FourTuple;

use crate::error::ConnectionError;
use crate::parts::PartsMap;
use crate::slab::{Key, Slab};

/// What a probe has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// Somebody answered: a SYN-ACK (which was answered with a RST), or a datagram.
    Open,
    /// A RST; for UDP, ICMP port unreachable.
    Closed,
    /// No answer to the SYN and its retransmissions, or an ICMP error that says why. For UDP only the
    /// latter: silence may mean open as well.
    Filtered(ConnectionError),
}

/// A UDP probe that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UdpProbeId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl UdpProbeId {
    /// A small number, unique among the probes that have not been ended: an index for a caller's own table.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Clone, Debug)]
struct UdpProbe {
    tuple: FourTuple,
    outcome: Option<ProbeOutcome>,
}

/// The UDP probes that wait for an answer: as many as their owner sent and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct UdpProbes {
    slab: Slab<UdpProbe>,
    by_tuple: PartsMap<FourTuple, Key>,
}

impl UdpProbes {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self { slab: Slab::new(), by_tuple: PartsMap::new(secret) }
    }

    /// Enters a probe; no other has its tuple.
    pub(crate) fn insert(&mut self, tuple: FourTuple) -> Option<UdpProbeId> {
        let key = self.slab.insert_with(|_| UdpProbe { tuple, outcome: None })?;
        self.by_tuple.insert(tuple, key);
        Some(UdpProbeId { index: key.index, generation: key.generation })
    }

    /// Forgets a probe. Gives its tuple.
    pub(crate) fn remove(&mut self, id: UdpProbeId) -> Option<FourTuple> {
        let tuple = self.slab.remove(key(id))?.tuple;
        self.by_tuple.remove(&tuple);
        Some(tuple)
    }

    pub(crate) fn tuple(&self, id: UdpProbeId) -> Option<FourTuple> {
        self.slab.get(key(id)).map(|probe| probe.tuple)
    }

    pub(crate) fn outcome(&self, id: UdpProbeId) -> Option<ProbeOutcome> {
        self.slab.get(key(id))?.outcome
    }

    /// An answer for a probe from `tuple.local` to `tuple.remote`. Gives the probe it was for.
    pub(crate) fn answer(&mut self, tuple: &FourTuple, outcome: ProbeOutcome) -> Option<UdpProbeId> {
        let found = *self.by_tuple.get(tuple)?;
        self.slab.get_mut(found)?.outcome.get_or_insert(outcome);
        Some(UdpProbeId { index: found.index, generation: found.generation })
    }
}

fn key(id: UdpProbeId) -> Key {
    Key { index: id.index, generation: id.generation }
}
