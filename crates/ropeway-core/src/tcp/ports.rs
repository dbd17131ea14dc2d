//! Ephemeral ports (RFC 6056 3.3.3, algorithm 3: the simple hash-based one).

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ropeway_packet::FourTuple;

use super::isn::{hash_tuple, low_u32};

/// Chooses ports so that they cannot be predicted from outside, yet differ from one connection to the next.
#[derive(Clone)]
pub(crate) struct PortSelector {
    key: [u8; 16],
    next: u32,
}

impl std::fmt::Debug for PortSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PortSelector { .. }")
    }
}

impl PortSelector {
    pub(crate) fn new(key: [u8; 16], next: u32) -> Self {
        Self { key, next }
    }

    /// Every port of `range` once, starting at a place that depends on the two ends and on how many ports
    /// were tried before.
    pub(crate) fn candidates(
        &self,
        range: &RangeInclusive<u16>,
        local: IpAddr,
        remote: Option<(IpAddr, u16)>,
    ) -> impl Iterator<Item = u16> + use<> {
        let (remote_addr, remote_port) = remote.unwrap_or((local, 0));
        let ends = FourTuple { local_addr: local, remote_addr, local_port: 0, remote_port };
        let start = u64::from(low_u32(hash_tuple(&self.key, &ends))) + u64::from(self.next);
        let first = *range.start();
        let count = range.end().checked_sub(first).map_or(0, |last| u64::from(last) + 1);
        (0..count).filter_map(move |step| first.checked_add(u16::try_from((start + step) % count).ok()?))
    }

    /// So many candidates were tried.
    pub(crate) fn advance(&mut self, tried: u32) {
        self.next = self.next.wrapping_add(tried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_every_port_of_the_range_before_any_twice() {
        let local: IpAddr = "10.0.0.2".parse().unwrap();
        let mut selector = PortSelector::new([9; 16], 12345);
        let mut taken = std::collections::HashSet::new();
        for _ in 0..100 {
            let port = selector
                .candidates(&(50000..=50099), local, None)
                .find(|port| !taken.contains(port))
                .unwrap();
            selector.advance(1);
            assert!((50000..=50099).contains(&port));
            assert!(taken.insert(port));
        }
        assert_eq!(selector.candidates(&(50000..=50099), local, None).count(), 100);
    }
}
