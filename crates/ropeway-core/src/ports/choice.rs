//! Ephemeral ports (RFC 6056 3.3.3, algorithm 3: the simple hash-based one).

use std::net::IpAddr;

use ropeway_packet::FourTuple;

use crate::tcp::isn::{hash_tuple, low_u32};

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

    /// Where among `count` ports the search begins: it depends on the two ends, and on how many ports were tried
    /// before.
    pub(crate) fn offset(&self, count: u32, local: IpAddr, remote: Option<(IpAddr, u16)>) -> u32 {
        let (remote_addr, remote_port) = remote.unwrap_or((local, 0));
        let ends = FourTuple { local_addr: local, remote_addr, local_port: 0, remote_port };
        let start = u64::from(low_u32(hash_tuple(&self.key, &ends))) + u64::from(self.next);
        low_u32(start % u64::from(count.max(1)))
    }

    /// So many ports were tried.
    pub(crate) fn advance(&mut self, tried: u32) {
        self.next = self.next.wrapping_add(tried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_elsewhere_for_other_ends_and_goes_on_where_it_stopped() {
        let (local, remote) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let mut selector = PortSelector::new([9; 16], 12345);
        let first = selector.offset(1000, local, Some((remote, 80)));
        assert_ne!(first, selector.offset(1000, local, Some((remote, 81))));
        assert_ne!(first, selector.offset(1000, remote, Some((remote, 80))));
        assert_ne!(first, PortSelector::new([8; 16], 12345).offset(1000, local, Some((remote, 80))));
        selector.advance(3);
        assert_eq!(selector.offset(1000, local, Some((remote, 80))), (first + 3) % 1000);
        assert_eq!(selector.offset(0, local, None), 0);
    }
}
