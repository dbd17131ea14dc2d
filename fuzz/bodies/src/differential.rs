//! The codec against two others that nobody here wrote: each field reads the same, and what they accept is
//! accepted. Where they differ on purpose, the exception stands at its place with its reason.

mod checksum;
mod icmp;
mod ip;
mod tcp;
mod udp;

use ropeway_packet::{IpPacket, Protocol, parse_tcp};
use smoltcp::wire;

use crate::exercise::repair;

/// The packet `bytes`, as it is and with its lengths and checksums made right, through all three codecs.
///
/// # Panics
///
/// If they disagree.
pub fn differential(bytes: &[u8]) {
    compare(bytes);
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    if repaired != bytes {
        compare(&repaired);
    }
}

fn compare(bytes: &[u8]) {
    let ours = ropeway_packet::ip::parse(bytes);
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => ip::v4(bytes, &ours),
        Some(6) => ip::v6(bytes, &ours),
        _ => assert!(ours.is_err(), "a version that is neither 4 nor 6: {bytes:02x?}"),
    }
    let Ok(ours) = ours else { return };
    if ours.fragment.is_some() {
        // Whole datagrams only, in all three.
        assert!(
            parse_tcp(bytes, ours.clone(), true).is_err()
                && ropeway_packet::udp::parse(bytes, &ours, true).is_err()
        );
        return;
    }
    let payload = &bytes[ours.payload.clone()];
    match ours.protocol {
        Protocol::TCP => tcp::segment(bytes, &ours, payload),
        Protocol::UDP => udp::datagram(bytes, &ours, payload),
        Protocol::ICMP if ours.src.is_ipv4() => icmp::v4(bytes, &ours, payload),
        Protocol::ICMPV6 if ours.src.is_ipv6() => icmp::v6(bytes, &ours, payload),
        _ => {}
    }
}

fn addresses(ours: &IpPacket) -> (wire::IpAddress, wire::IpAddress) {
    (ours.src.into(), ours.dst.into())
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().expect("two bytes"))
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}
