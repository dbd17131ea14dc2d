//! Initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323 5.4) and flow labels (RFC 6437): nobody can guess
//! them, and none of them tells anything of the others.

use std::cell::Cell;
use std::hash::Hasher;
use std::net::IpAddr;

use ropeway_packet::{FourTuple, Protocol, SeqNum};
use siphasher::sip::SipHasher24;

use crate::time::Timestamp;

/// The secrets of one stack: 128 bits for each purpose.
#[derive(Clone)]
pub(crate) struct IsnGenerator {
    isn_key: [u8; 16],
    timestamp_key: [u8; 16],
    label_key: [u8; 16],
    /// The last addresses whose offset was asked for, and that offset: a handshake asks several times.
    last_offset: Cell<Option<((IpAddr, IpAddr), u32)>>,
}

impl std::fmt::Debug for IsnGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IsnGenerator { .. }")
    }
}

impl IsnGenerator {
    pub(crate) fn new(isn_key: [u8; 16], timestamp_key: [u8; 16], label_key: [u8; 16]) -> Self {
        Self { isn_key, timestamp_key, label_key, last_offset: Cell::new(None) }
    }

    /// `ISN = M + F(local, remote, secret)`: M ticks every 4 µs (RFC 9293 3.4.1 MUST-8, MUST-9, SHLD-1;
    /// RFC 6528 3-1).
    pub(crate) fn isn(&self, tuple: &FourTuple, now: Timestamp) -> SeqNum {
        SeqNum::new(low_u32(now.as_micros() / 4)) + low_u32(hash_tuple(&self.isn_key, tuple))
    }

    /// An ISN for a tuple that is taken over from TIME-WAIT: beyond all that the old connection sent, `snd_nxt` being
    /// its end, and beyond a window that was not scaled, as in Linux (RFC 9293 3.6.1 MAY-2).
    pub(crate) fn isn_beyond(&self, tuple: &FourTuple, now: Timestamp, snd_nxt: SeqNum) -> SeqNum {
        let (isn, least) = (self.isn(tuple, now), snd_nxt + (u32::from(u16::MAX) + 2));
        if isn.at_or_after(least) { isn } else { least }
    }

    /// What this connection adds to the millisecond clock in its timestamps (RFC 7323 7-1). It depends on the
    /// addresses, so that timestamps of successive connections of one pair still rise (RFC 6191).
    pub(crate) fn timestamp_offset(&self, tuple: &FourTuple) -> u32 {
        let addresses = (tuple.local_addr, tuple.remote_addr);
        if let Some((last, offset)) = self.last_offset.get()
            && last == addresses
        {
            return offset;
        }
        let without_ports = FourTuple { local_port: 0, remote_port: 0, ..*tuple };
        let offset = low_u32(hash_tuple(&self.timestamp_key, &without_ports));
        self.last_offset.set(Some((addresses, offset)));
        offset
    }

    /// The label of all packets of a flow, whichever room of the stack sends them (RFC 6437 3). IPv4 has none.
    pub(crate) fn flow_label(&self, protocol: Protocol, tuple: &FourTuple) -> u32 {
        if tuple.is_ipv4() {
            return 0;
        }
        let mut hasher = SipHasher24::new_with_key(&self.label_key);
        with_packed(tuple, |packed| hasher.write(packed));
        hasher.write_u8(protocol.0);
        // Zero would say that the packet is of no flow.
        (low_u32(hasher.finish()) & 0x000f_ffff).max(1)
    }

    /// The identification of the IPv4 packets of a UDP flow, as hard to guess. It tells packets that are quoted from those that
    /// were never sent; where routers may not fragment, it means nothing else (RFC 6864 4.1).
    pub(crate) fn ident(&self, tuple: &FourTuple) -> u16 {
        let mut hasher = SipHasher24::new_with_key(&self.label_key);
        with_packed(tuple, |packed| hasher.write(packed));
        let [low, high, ..] = hasher.finish().to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

/// The low half of a hash or a clock.
#[allow(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) const fn low_u32(value: u64) -> u32 {
    value as u32
}

/// A keyed hash of the four-tuple (SipHash-2-4; RFC 6528 3-2).
pub(crate) fn hash_tuple(key: &[u8; 16], tuple: &FourTuple) -> u64 {
    with_packed(tuple, |packed| SipHasher24::new_with_key(key).hash(packed))
}

/// Gives a tuple in one piece to whoever hashes it: 12 bytes for IPv4, 36 for IPv6.
#[inline]
pub(crate) fn with_packed<R>(tuple: &FourTuple, hash: impl FnOnce(&[u8]) -> R) -> R {
    let ports = (u32::from(tuple.local_port) << 16 | u32::from(tuple.remote_port)).to_be_bytes();
    match (tuple.local_addr, tuple.remote_addr) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            // A hasher reads eight bytes at a time: it would wait for several stores to come together.
            let addresses = u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits());
            let mut packed = [0; 12];
            let (a, b) = packed.split_at_mut(8);
            a.copy_from_slice(&addresses.to_be_bytes());
            b.copy_from_slice(&ports);
            hash(&packed)
        }
        (local, remote) => {
            let mut packed = [0; 36];
            let (a, rest) = packed.split_at_mut(16);
            let (b, c) = rest.split_at_mut(16);
            a.copy_from_slice(&to_v6(local));
            b.copy_from_slice(&to_v6(remote));
            c.copy_from_slice(&ports);
            hash(&packed)
        }
    }
}

fn to_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(remote_port: u16) -> FourTuple {
        FourTuple::new(
            "10.0.0.2:80".parse().unwrap(),
            (std::net::Ipv4Addr::new(10, 0, 0, 1), remote_port).into(),
        )
    }

    // RFC 9293 3.4.1 MUST-8, RFC 6528 3-1
    #[test]
    fn isn_rises_by_one_every_four_microseconds() {
        let generator = IsnGenerator::new([1; 16], [2; 16], [9; 16]);
        let at = |micros| generator.isn(&tuple(1000), Timestamp::from_micros(micros));
        assert_eq!(at(4_000_000).since(at(4)), 999_999);
        assert_eq!(at(7), at(4));
    }

    // RFC 9293 3.4.1 MUST-9, RFC 6528 3-2
    #[test]
    fn isn_of_another_tuple_or_secret_is_elsewhere() {
        let now = Timestamp::from_micros(1_000_000);
        let one = IsnGenerator::new([1; 16], [2; 16], [9; 16]);
        let other = IsnGenerator::new([3; 16], [2; 16], [9; 16]);
        assert_ne!(one.isn(&tuple(1000), now), one.isn(&tuple(1001), now));
        assert_ne!(one.isn(&tuple(1000), now), other.isn(&tuple(1000), now));
    }

    // RFC 7323 7-1
    #[test]
    fn timestamp_offsets_differ_by_pair_of_addresses_and_secret() {
        let one = IsnGenerator::new([1; 16], [2; 16], [9; 16]);
        let other = IsnGenerator::new([1; 16], [3; 16], [9; 16]);
        let elsewhere = FourTuple { remote_addr: "10.0.0.3".parse().unwrap(), ..tuple(1000) };
        assert_eq!(one.timestamp_offset(&tuple(1000)), one.timestamp_offset(&tuple(1001)));
        assert_ne!(one.timestamp_offset(&tuple(1000)), one.timestamp_offset(&elsewhere));
        assert_ne!(one.timestamp_offset(&tuple(1000)), other.timestamp_offset(&tuple(1000)));
    }
    #[test]
    fn a_flow_label_has_twenty_bits_and_differs_by_flow_and_secret() {
        let one = IsnGenerator::new([1; 16], [2; 16], [9; 16]);
        let other = IsnGenerator::new([1; 16], [2; 16], [8; 16]);
        let ends = |port| {
            FourTuple::new("[fd00::2]:80".parse().unwrap(), ([0xfd00, 0, 0, 0, 0, 0, 0, 1], port).into())
        };
        let label = |port| one.flow_label(Protocol::TCP, &ends(port));
        assert!((0..1000).map(label).all(|label| (1..1 << 20).contains(&label)));
        assert_ne!(label(1000), label(1001));
        assert_ne!(label(1000), other.flow_label(Protocol::TCP, &ends(1000)));
        assert_ne!(label(1000), one.flow_label(Protocol::UDP, &ends(1000)));
        assert_eq!(one.flow_label(Protocol::TCP, &tuple(1000)), 0);
    }
}
