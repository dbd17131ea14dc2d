//! The headers of IPv4 and IPv6.

use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::Ipv6Packet;
use ropeway_packet::{IpError, IpPacket};
use smoltcp::wire;

use super::checksum::{is_right, is_same};

pub(super) fn v4(bytes: &[u8], ours: &Result<IpPacket, IpError>) {
    let pnet = pnet_accepts_v4(bytes);
    // A fragment that cannot be part of any datagram is refused here and looked at by neither of them.
    assert!(ours.is_ok() || !pnet || is_bad_fragment(bytes), "pnet takes {bytes:02x?}: {ours:?}");
    assert!(ours.is_err() || pnet, "pnet refuses {bytes:02x?}: {ours:?}");
    let smoltcp = wire::Ipv4Packet::new_checked(bytes).ok().filter(|packet| {
        let sum = is_right(&bytes[..usize::from(packet.header_len())], 0);
        is_same(sum, packet.verify_checksum());
        packet.version() == 4 && sum
    });
    assert_eq!(smoltcp.is_some(), pnet, "smoltcp and pnet disagree on {bytes:02x?}");
    if let Ok(ours) = ours {
        same_v4(bytes, ours);
    }
}

pub(super) fn v6(bytes: &[u8], ours: &Result<IpPacket, IpError>) {
    // Neither walks extension headers: a packet that has some may be refused for what stands in them.
    let smoltcp = wire::Ipv6Packet::new_checked(bytes).is_ok();
    let extended = bytes.get(6).is_some_and(|next| matches!(next, 0 | 43 | 44 | 51 | 60));
    assert!(ours.is_ok() || !smoltcp || extended, "smoltcp takes {bytes:02x?}: {ours:?}");
    assert!(ours.is_err() || smoltcp, "smoltcp refuses {bytes:02x?}: {ours:?}");
    if let Ok(ours) = ours {
        same_v6(bytes, ours);
    }
}

/// pnet reads fields and judges nothing: these are the rules of RFC 791 and RFC 1122 3.2.1.2, in its terms.
fn pnet_accepts_v4(bytes: &[u8]) -> bool {
    let Some(pnet) = Ipv4Packet::new(bytes) else { return false };
    let header_len = usize::from(pnet.get_header_length()) * 4;
    let total_len = usize::from(pnet.get_total_length());
    header_len >= 20
        && header_len <= total_len
        && total_len <= bytes.len()
        && ipv4::checksum(&pnet) == pnet.get_checksum()
        // Its checksum never is what RFC 1071's one's complement calls minus zero.
        || pnet.get_checksum() == u16::MAX && header_len >= 20 && header_len <= total_len
            && total_len <= bytes.len() && ipv4::checksum(&pnet) == 0
}

fn is_bad_fragment(bytes: &[u8]) -> bool {
    let pnet = Ipv4Packet::new(bytes).expect("it was accepted");
    let end = usize::from(pnet.get_total_length());
    let len = end - usize::from(pnet.get_header_length()) * 4;
    let more = pnet.get_flags() & 1 != 0;
    let offset = usize::from(pnet.get_fragment_offset()) * 8;
    more && !len.is_multiple_of(8) || offset > 0 && offset + end > 65_535
}

fn same_v4(bytes: &[u8], ours: &IpPacket) {
    let pnet = Ipv4Packet::new(bytes).expect("20 bytes");
    let smoltcp = wire::Ipv4Packet::new_unchecked(bytes);
    let header_len = usize::from(pnet.get_header_length()) * 4;
    let range = header_len..usize::from(pnet.get_total_length());
    assert_eq!(ours.payload, range);
    assert_eq!(ours.payload, usize::from(smoltcp.header_len())..usize::from(smoltcp.total_len()));
    assert_eq!((ours.src, ours.dst), (pnet.get_source().into(), pnet.get_destination().into()));
    assert_eq!((ours.src, ours.dst), (smoltcp.src_addr().into(), smoltcp.dst_addr().into()));
    assert_eq!(ours.protocol.0, pnet.get_next_level_protocol().0);
    assert_eq!(ours.protocol.0, u8::from(smoltcp.next_header()));
    assert_eq!((ours.hop_limit, ours.hop_limit), (pnet.get_ttl(), smoltcp.hop_limit()));
    assert_eq!(ours.traffic_class, pnet.get_dscp() << 2 | pnet.get_ecn());
    assert_eq!(ours.traffic_class, smoltcp.dscp() << 2 | smoltcp.ecn());
    assert_eq!(ours.ident, u32::from(pnet.get_identification()));
    assert_eq!(ours.ident, u32::from(smoltcp.ident()));
    assert_eq!(ours.dont_fragment, pnet.get_flags() & 2 != 0);
    assert_eq!(ours.dont_fragment, smoltcp.dont_frag());
    assert_eq!(ours.has_options, header_len > 20);
    let fragment = ours.fragment.map_or((0, false), |fragment| (fragment.offset, fragment.more));
    assert_eq!(fragment, (pnet.get_fragment_offset() * 8, pnet.get_flags() & 1 != 0));
    assert_eq!(fragment, (smoltcp.frag_offset(), smoltcp.more_frags()));
}

fn same_v6(bytes: &[u8], ours: &IpPacket) {
    let pnet = Ipv6Packet::new(bytes).expect("40 bytes");
    let smoltcp = wire::Ipv6Packet::new_unchecked(bytes);
    assert_eq!(ours.payload.end, 40 + usize::from(pnet.get_payload_length()));
    assert_eq!(ours.payload.end, smoltcp.total_len());
    assert_eq!((ours.src, ours.dst), (pnet.get_source().into(), pnet.get_destination().into()));
    assert_eq!((ours.src, ours.dst), (smoltcp.src_addr().into(), smoltcp.dst_addr().into()));
    assert_eq!((ours.hop_limit, ours.hop_limit), (pnet.get_hop_limit(), smoltcp.hop_limit()));
    assert_eq!(ours.traffic_class, pnet.get_traffic_class());
    assert_eq!(ours.traffic_class, smoltcp.traffic_class());
    assert!(ours.dont_fragment);
    if !ours.has_options {
        assert_eq!(ours.payload.start, 40);
        assert_eq!((ours.ident, ours.fragment), (0, None));
        assert_eq!(ours.protocol.0, pnet.get_next_header().0);
        assert_eq!(ours.protocol.0, u8::from(smoltcp.next_header()));
    }
}
