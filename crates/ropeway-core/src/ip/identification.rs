//! The identification of datagrams that may be cut: the same for all fragments of one, and another one for the next.
//!
//! RFC 6864 4.3 asks that no source repeats one for the same destination and protocol while the old datagram may still be
//! on its way, and RFC 7739 that nobody can guess the next one. A counter would be guessed, and dice would repeat
//! themselves after some hundred: so a counter goes through a permutation that only we know. Each number comes once
//! before any comes again, in an order that tells nothing.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::tcp::isn::low_u32;

/// Counters of IPv4: its 16 bits are too few to share one among all destinations. Which one a destination and protocol have,
/// a keyed hash says.
const COUNTERS: usize = 1024;

/// Rounds of the permutation. Four make one that cannot be told from chance (Luby and Rackoff).
const ROUNDS: u8 = 4;

#[derive(Clone)]
pub(crate) struct Identifications {
    key: [u8; 16],
    /// Of several shards of a host, each has every so manieth number.
    shard: u32,
    shards: u32,
    v4: Vec<u16>,
    v6: u32,
}

impl std::fmt::Debug for Identifications {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum: u64 = self.v4.iter().map(|count| u64::from(*count)).sum();
        f.debug_struct("Identifications").field("v4", &sum).field("v6", &self.v6).finish_non_exhaustive()
    }
}

impl Identifications {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, shard: 0, shards: 1, v4: Vec::new(), v6: 0 }
    }

    /// The part of these numbers that one of several shards has.
    pub(crate) fn of_shard(&self, shard: usize, shards: usize) -> Self {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { shard: number(shard), shards: number(shards), ..Self::new(self.key) }
    }

    /// The identification of the next datagram, of IPv4 in the lower 16 bits (RFC 6864 4.3-1, RFC 7739 4-1, RFC 8200 4.5-10).
    pub(crate) fn next(&mut self, src: IpAddr, dst: IpAddr, protocol: u8) -> u32 {
        match (src, dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                let name = self.hash(|hasher| {
                    std::hash::Hash::hash(&(src, dst), hasher);
                    hasher.write_u8(protocol);
                });
                self.v4.resize(COUNTERS, 0);
                let counter = usize::try_from(name >> 32).unwrap_or_default() % COUNTERS;
                let Some(count) = self.v4.get_mut(counter) else { return 0 };
                let number = u32::from(*count).wrapping_mul(self.shards).wrapping_add(self.shard);
                *count = count.wrapping_add(1);
                self.permute(number & 0xffff, 8, low_u32(name))
            }
            _ => {
                let number = self.v6.wrapping_mul(self.shards).wrapping_add(self.shard);
                self.v6 = self.v6.wrapping_add(1);
                self.permute(number, 16, 0)
            }
        }
    }

    fn hash(&self, write: impl FnOnce(&mut SipHasher13)) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        write(&mut hasher);
        hasher.finish()
    }

    /// A permutation of the numbers of twice `half` bits, one of many by `tweak`: a Feistel network.
    fn permute(&self, number: u32, half: u32, tweak: u32) -> u32 {
        let mask = (1 << half) - 1;
        let (mut left, mut right) = (number >> half & mask, number & mask);
        for round in 0..ROUNDS {
            let mixed = self.hash(|hasher| {
                hasher.write_u32(right);
                hasher.write_u32(tweak);
                hasher.write_u8(round);
            });
            (left, right) = (right, (left ^ low_u32(mixed)) & mask);
        }
        left << half | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const UDP: u8 = 17;

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn v6() -> IpAddr {
        std::net::Ipv6Addr::LOCALHOST.into()
    }

    // RFC 6864 4.3-1, RFC 8200 4.5-10
    #[test]
    fn none_comes_again_before_all_have_come() {
        let mut idents = Identifications::new([1; 16]);
        let seen: BTreeSet<u32> = (0..65_536).map(|_| idents.next(v4(1), v4(2), UDP)).collect();
        assert_eq!((seen.len(), seen.last()), (65_536, Some(&65_535)));
        let mut idents = Identifications::new([1; 16]);
        let seen: BTreeSet<u32> = (0..200_000).map(|_| idents.next(v6(), v6(), UDP)).collect();
        assert_eq!(seen.len(), 200_000);
        // So it is at the end of the numbers, where the counter comes round.
        idents.v6 = u32::MAX - 500;
        let seen: BTreeSet<u32> = (0..1000).map(|_| idents.next(v6(), v6(), UDP)).collect();
        assert_eq!(seen.len(), 1000);
    }

    // RFC 7739 4-1: neither a counter nor one that all destinations share.
    #[test]
    fn the_next_one_follows_from_nothing_that_others_see() {
        let idents = |key, dst: IpAddr| -> Vec<u32> {
            let mut idents = Identifications::new([key; 16]);
            (0..300).map(|_| idents.next(if dst.is_ipv4() { v4(1) } else { v6() }, dst, UDP)).collect()
        };
        for dst in [v4(2), v6()] {
            let one = idents(1, dst);
            let steps: BTreeSet<u32> = one.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
            assert!(steps.len() > 290, "{} different steps", steps.len());
            let larger = one.windows(2).filter(|pair| pair[1] > pair[0]).count();
            assert!((110..190).contains(&larger), "{larger} of 299 go up");
            assert!(one.iter().zip(idents(2, dst)).filter(|(one, other)| **one == *other).count() < 5);
        }
        let same = |(one, other): (&u32, u32)| *one == other;
        assert!(idents(1, v4(2)).iter().zip(idents(1, v4(3))).filter(|pair| same(*pair)).count() < 5);
    }

    #[test]
    fn shards_of_a_host_have_none_in_common() {
        let first = Identifications::new([1; 16]);
        for (src, dst, each) in [(v4(1), v4(2), 65_536 / 4), (v6(), v6(), 10_000)] {
            let mut seen = BTreeSet::new();
            for shard in 0..4 {
                let mut idents = first.of_shard(shard, 4);
                seen.extend((0..each).map(|_| idents.next(src, dst, UDP)));
            }
            assert_eq!(seen.len(), 4 * each);
        }
    }
}
