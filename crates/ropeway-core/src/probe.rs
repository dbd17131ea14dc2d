//! Probes: is a port open, closed or filtered? What a port scanner asks, once per port.

use ropeway_packet::FourTuple;

use crate::error::ConnectionError;
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
}

impl UdpProbes {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new() }
    }

    pub(crate) fn insert(&mut self, tuple: FourTuple) -> Option<UdpProbeId> {
        let key = self.slab.insert_with(|_| UdpProbe { tuple, outcome: None })?;
        Some(UdpProbeId { index: key.index, generation: key.generation })
    }

    pub(crate) fn remove(&mut self, id: UdpProbeId) {
        self.slab.remove(key(id));
    }

    pub(crate) fn tuple(&self, id: UdpProbeId) -> Option<FourTuple> {
        self.slab.get(key(id)).map(|probe| probe.tuple)
    }

    pub(crate) fn outcome(&self, id: UdpProbeId) -> Option<ProbeOutcome> {
        self.slab.get(key(id))?.outcome
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.slab.iter().any(|(_, probe)| probe.tuple.local_port == port)
    }

    /// An answer for a probe from `tuple.local` to `tuple.remote`. Gives the probe it was for.
    pub(crate) fn answer(&mut self, tuple: &FourTuple, outcome: ProbeOutcome) -> Option<UdpProbeId> {
        let (found, _) = self.slab.iter().find(|(_, probe)| probe.tuple == *tuple)?;
        self.slab.get_mut(found)?.outcome.get_or_insert(outcome);
        Some(UdpProbeId { index: found.index, generation: found.generation })
    }
}

fn key(id: UdpProbeId) -> Key {
    Key { index: id.index, generation: id.generation }
}
