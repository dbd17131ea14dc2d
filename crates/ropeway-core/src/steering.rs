//! Which shard of a host has a flow, whatever queue of its device a packet comes in by.

use std::fmt;

use ropeway_packet::icmp::{self, IcmpMessage};
use ropeway_packet::{FourTuple, IpPacket, Protocol, ip};
use siphasher::sip::SipHasher13;

use crate::tcp::isn::{low_u32, with_packed};

/// Divides the flows of a host among its [shards](crate::Stack::shards).
///
/// A keyed hash of the four-tuple decides, so nobody outside can choose flows that meet in one shard. Both directions of a flow
/// have the same shard: a connection between two own addresses stays within it.
#[derive(Clone)]
pub struct Steering {
    key: [u8; 16],
    shards: usize,
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl Steering {
    pub(crate) fn new(key: [u8; 16], shards: usize) -> Self {
        Self { key, shards: shards.max(1) }
    }

    /// The number of the shard that has this flow.
    #[must_use]
    pub fn shard_of(&self, tuple: &FourTuple) -> usize {
        let (local, remote) = (tuple.local(), tuple.remote());
        let ordered = if local <= remote { *tuple } else { FourTuple::new(remote, local) };
        let hash = low_u32(with_packed(&ordered, |packed| SipHasher13::new_with_key(&self.key).hash(packed)));
        // The product is below `shards` << 32.
        usize::try_from((u64::from(hash) * self.shards as u64) >> 32).unwrap_or_default()
    }

    /// The number of the shard that is to take this packet; `None` if any may. An ICMP error belongs to the flow that it quotes.
    /// What is neither TCP nor UDP nor about these, and needs somebody who knows of it, is the first one's. Fragments meet in any shard,
    /// which then [gives on](crate::Stack::poll_passed_on) what they make.
    #[must_use]
    pub fn shard_of_packet(&self, packet: &[u8]) -> Option<usize> {
        let ip = ip::parse(packet).ok()?;
        if ip.fragment.is_some() {
            return Some(self.shard_of_fragment(&ip));
        }
        match ip.protocol {
            Protocol::TCP | Protocol::UDP => {
                let &[s0, s1, d0, d1] = packet.get(ip.payload.clone())?.first_chunk()?;
                let (from, to) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
                Some(self.shard_of(&FourTuple {
                    local_addr: ip.dst,
                    remote_addr: ip.src,
                    local_port: to,
                    remote_port: from,
                }))
            }
            Protocol::ICMP | Protocol::ICMPV6 => self.shard_of_icmp(packet, &ip),
            _ => None,
        }
    }

    /// All fragments of a datagram meet in one shard. Whose flow it is only the first one tells, and that may be the last to come.
    fn shard_of_fragment(&self, ip: &IpPacket) -> usize {
        let [i0, i1, i2, i3] = ip.ident.to_be_bytes();
        let protocol = if ip.src.is_ipv4() { ip.protocol.0 } else { 0 };
        let name = FourTuple {
            local_addr: ip.dst,
            remote_addr: ip.src,
            local_port: u16::from_be_bytes([i0 ^ protocol, i1]),
            remote_port: u16::from_be_bytes([i2, i3]),
        };
        self.shard_of(&name)
    }

    fn shard_of_icmp(&self, packet: &[u8], ip: &IpPacket) -> Option<usize> {
        let quote = match icmp::parse(packet, ip).ok()? {
            IcmpMessage::Unreachable { quote, .. }
            | IcmpMessage::PacketTooBig { quote, .. }
            | IcmpMessage::TimeExceeded { quote, .. }
            | IcmpMessage::ParameterProblem { quote, .. }
            | IcmpMessage::SourceQuench { quote } => quote,
            IcmpMessage::EchoRequest { .. } | IcmpMessage::EchoReply { .. } | IcmpMessage::Other { .. } => {
                return None;
            }
        };
        let quoted = icmp::parse_quote(packet.get(quote)?)?;
        let (local_port, remote_port) = quoted.ports?;
        if !matches!(quoted.ip.protocol, Protocol::TCP | Protocol::UDP) {
            return Some(0);
        }
        let (local_addr, remote_addr) = (quoted.ip.src, quoted.ip.dst);
        Some(self.shard_of(&FourTuple { local_addr, remote_addr, local_port, remote_port }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn flow(port: u16) -> FourTuple {
        FourTuple::new("10.0.0.1:80".parse().unwrap(), SocketAddr::new("10.0.0.9".parse().unwrap(), port))
    }

    #[test]
    fn both_directions_of_a_flow_have_the_same_shard() {
        let steering = Steering::new([3; 16], 7);
        for port in 1..1000 {
            let tuple = flow(port);
            let other_end = FourTuple::new(tuple.remote(), tuple.local());
            assert_eq!(steering.shard_of(&tuple), steering.shard_of(&other_end));
        }
    }

    #[test]
    fn flows_are_spread_evenly_and_otherwise_with_another_key() {
        let (steering, other) = (Steering::new([3; 16], 4), Steering::new([4; 16], 4));
        let mut count = [0; 4];
        let mut moved = 0;
        for port in 0..4000 {
            count[steering.shard_of(&flow(port))] += 1;
            moved += usize::from(steering.shard_of(&flow(port)) != other.shard_of(&flow(port)));
        }
        assert!(count.iter().all(|flows| (900..1100).contains(flows)), "{count:?}");
        assert!((2800..3200).contains(&moved), "{moved}");
    }
}
