//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};

use crate::MacAddr;

/// Bytes of a packet.
pub(crate) const LEN: usize = 28;

/// Ethernet, IPv4, and the lengths of their addresses.
const PREAMBLE: [u8; 6] = [0, 1, 8, 0, 6, 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Request,
    Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) operation: Operation,
    pub(crate) sender_mac: MacAddr,
    pub(crate) sender: Ipv4Addr,
    pub(crate) target_mac: MacAddr,
    pub(crate) target: Ipv4Addr,
}

impl Packet {
    // RFC 826 3-1
    /// Reads a packet; what follows it is padding. `None` if it is about other kinds of addresses, or asks for something else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.get(..LEN)?.strip_prefix(&PREAMBLE)?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk::<6>()?;
        let (target, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            operation: match operation {
                [0, 1] => Operation::Request,
                [0, 2] => Operation::Reply,
                _ => return None,
            },
            sender_mac: MacAddr::new(*sender_mac),
            sender: Ipv4Addr::from(*sender),
            target_mac: MacAddr::new(*target_mac),
            target: Ipv4Addr::from(*target),
        })
    }

    pub(crate) fn emit(&self, to: &mut BytesMut) {
        to.put_slice(&PREAMBLE);
        to.put_u16(match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        });
        to.put_slice(&self.sender_mac.octets());
        to.put_slice(&self.sender.octets());
        to.put_slice(&self.target_mac.octets());
        to.put_slice(&self.target.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Packet {
        Packet {
            operation: Operation::Request,
            sender_mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
            sender: Ipv4Addr::new(10, 0, 2, 2),
            target_mac: MacAddr::new([0; 6]),
            target: Ipv4Addr::new(10, 0, 2, 15),
        }
    }

    #[test]
    fn a_packet_is_read_as_it_was_written_padding_or_not() {
        let reply = Packet { operation: Operation::Reply, ..request() };
        for packet in [request(), reply] {
            let mut bytes = BytesMut::new();
            packet.emit(&mut bytes);
            assert_eq!(bytes.len(), LEN);
            assert_eq!(Packet::parse(&bytes), Some(packet));
            bytes.put_bytes(0, 18);
            assert_eq!(Packet::parse(&bytes), Some(packet));
        }
    }

    // RFC 826 3-1
    #[test]
    fn whatever_is_not_ipv4_over_ethernet_is_not_read() {
        let mut bytes = BytesMut::new();
        request().emit(&mut bytes);
        for at in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            assert_eq!(Packet::parse(&wrong), None, "byte {at}");
        }
        for len in 0..LEN {
            assert_eq!(Packet::parse(&bytes[..len]), None, "{len} bytes");
        }
    }
}
