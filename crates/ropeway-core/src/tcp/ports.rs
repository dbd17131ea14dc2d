//! Ephemeral ports (RFC 6056 3.3.3, algorithm 3: the simple hash-based one).

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ropeway_packet::FourTuple;

use super::isn::{hash_tuple, low_u32};

/// Chooses ports so that they cannot be predicted from outside, yet differ from one connection to the next.
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

    /// The first port of `range` that is `free`, starting at a place that depends on the two ends.
    pub(crate) fn select(
        &mut self,
        range: &RangeInclusive<u16>,
        local: IpAddr,
        remote: Option<(IpAddr, u16)>,
        mut free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let count = u32::from(range.end().checked_sub(*range.start())?) + 1;
        let (remote_addr, remote_port) = remote.unwrap_or((local, 0));
        let ends = FourTuple { local_addr: local, remote_addr, local_port: 0, remote_port };
        let offset = low_u32(hash_tuple(&self.key, &ends));
        for _ in 0..count {
            let step = offset.wrapping_add(self.next) % count;
            self.next = self.next.wrapping_add(1);
            let port = u16::try_from(u32::from(*range.start()) + step).ok()?;
            if free(port) {
                return Some(port);
            }
        }
        None
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
            let port = selector.select(&(50000..=50099), local, None, |port| !taken.contains(&port)).unwrap();
            assert!((50000..=50099).contains(&port));
            assert!(taken.insert(port));
        }
        assert_eq!(selector.select(&(50000..=50099), local, None, |port| !taken.contains(&port)), None);
    }
}
