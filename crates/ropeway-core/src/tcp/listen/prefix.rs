//! How many half-open connections a source prefix has: one client must not starve the rest.

use std::net::IpAddr;

use crate::parts::PartsMap;

/// Counts per /24 (IPv4) or /64 (IPv6). Prefixes with none are not stored.
#[derive(Clone, Debug)]
pub(crate) struct PrefixCounts {
    counts: PartsMap<u64, u32>,
}

impl PrefixCounts {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self { counts: PartsMap::new(secret) }
    }

    pub(crate) fn get(&self, source: IpAddr) -> u32 {
        self.counts.get(&prefix_of(source)).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, source: IpAddr) {
        self.counts.change(&prefix_of(source), |count| *count += 1);
    }

    pub(crate) fn sub(&mut self, source: IpAddr) {
        self.counts.remove_if(&prefix_of(source), |count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

/// The prefix as a number; an IPv4 prefix cannot be an IPv6 one, since 0::/32 is nobody's.
pub(crate) fn prefix_of(source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_count_together_and_nothing_is_left_behind() {
        let mut counts = PrefixCounts::new([1; 16]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        counts.add(address("192.0.2.1"));
        counts.add(address("192.0.2.200"));
        counts.add(address("2001:db8::1"));
        assert_eq!(counts.get(address("192.0.2.77")), 2);
        assert_eq!(counts.get(address("192.0.3.77")), 0);
        assert_eq!(counts.get(address("2001:db8::ffff:1")), 1);
        for gone in ["192.0.2.1", "192.0.2.1", "2001:db8::1"] {
            counts.sub(address(gone));
        }
        assert_eq!(counts.counts.len(), 0);
    }
}
