//! How many half-open connections a source prefix has: one client must not starve the rest.

use std::hash::Hasher;
use std::net::IpAddr;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// Counts per /24 (IPv4) or /64 (IPv6). Prefixes with none are not stored.
#[derive(Clone)]
pub(crate) struct PrefixCounts {
    key: [u8; 16],
    counts: HashTable<(u64, u32)>,
}

impl std::fmt::Debug for PrefixCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixCounts").field("len", &self.counts.len()).finish_non_exhaustive()
    }
}

impl PrefixCounts {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, counts: HashTable::new() }
    }

    fn hash(key: &[u8; 16], prefix: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write_u64(prefix);
        hasher.finish()
    }

    pub(crate) fn get(&self, source: IpAddr) -> u32 {
        let prefix = prefix_of(source);
        self.counts.find(Self::hash(&self.key, prefix), |entry| entry.0 == prefix).map_or(0, |entry| entry.1)
    }

    pub(crate) fn add(&mut self, source: IpAddr) {
        let prefix = prefix_of(source);
        let hash = Self::hash(&self.key, prefix);
        match self.counts.find_mut(hash, |entry| entry.0 == prefix) {
            Some(entry) => entry.1 += 1,
            None => {
                let key = self.key;
                self.counts.insert_unique(hash, (prefix, 1), |entry| Self::hash(&key, entry.0));
            }
        }
    }

    pub(crate) fn sub(&mut self, source: IpAddr) {
        let prefix = prefix_of(source);
        let hash = Self::hash(&self.key, prefix);
        if let Ok(mut entry) = self.counts.find_entry(hash, |entry| entry.0 == prefix) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        if self.counts.is_empty() && self.counts.capacity() > 1024 {
            self.counts = HashTable::new();
        }
    }
}

/// The prefix as a number; an IPv4 prefix cannot be an IPv6 one, since 0::/32 is nobody's.
fn prefix_of(source: IpAddr) -> u64 {
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
        assert!(counts.counts.is_empty());
    }

    #[test]
    fn the_hash_depends_on_key_and_prefix_and_the_key_is_not_shown() {
        let hashes: std::collections::HashSet<_> =
            (0..100).map(|n| PrefixCounts::hash(&[n; 16], u64::from(n / 2))).collect();
        assert_eq!(hashes.len(), 100);
        let hashes: std::collections::HashSet<_> =
            (0..100).map(|n| PrefixCounts::hash(&[1; 16], n)).collect();
        assert_eq!(hashes.len(), 100);
        let mut counts = PrefixCounts::new([173; 16]);
        counts.add("192.0.2.1".parse().unwrap());
        assert_eq!(format!("{counts:?}"), "PrefixCounts { len: 1, .. }");
    }

    #[test]
    fn the_memory_of_a_flood_is_given_back() {
        let mut counts = PrefixCounts::new([1; 16]);
        let host = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n << 8));
        for (hosts, kept) in [(500, true), (5000, false)] {
            (0..hosts).for_each(|n| counts.add(host(n)));
            (1..hosts).for_each(|n| counts.sub(host(n)));
            assert!(counts.counts.capacity() >= hosts as usize);
            assert_eq!(counts.get(host(0)), 1);
            counts.sub(host(0));
            assert_eq!(counts.counts.capacity() > 0, kept, "small tables are not worth it");
        }
    }
}
