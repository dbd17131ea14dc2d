use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use pnet_packet::util;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{ChecksumMode, IpParams, Payload, TcpHeader, emit_tcp, icmp, udp};

fn sum(bytes: &[u8]) -> Checksum {
    let mut sum = Checksum::new();
    sum.add_bytes(bytes);
    sum
}

#[test]
fn the_example_of_rfc_1071() {
    // RFC 1071 3
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(sum(&bytes).fold(), 0xddf2);
    assert_eq!(sum(&bytes).finish(), !0xddf2);
}

#[test]
fn edges() {
    assert_eq!(Checksum::new().fold(), 0);
    assert_eq!(Checksum::new().finish(), 0xffff);
    assert_eq!(sum(&[0xab]).fold(), 0xab00);
    // The greatest sums there are: every carry comes round.
    for len in [1, 2, 3, 4, 31, 32, 33, 1460, 65_535] {
        let bytes = vec![0xff; len];
        let expected = if len % 2 == 0 { 0xffff } else { 0xff00 };
        assert_eq!(sum(&bytes).fold(), expected, "{len} bytes");
    }
    let mut huge = Checksum { sum: u64::MAX, odd: false };
    assert_eq!(huge.fold(), 0xffff);
    huge.sum -= 1;
    assert_eq!(huge.fold(), 0xfffe);
}

#[test]
fn the_example_of_rfc_1624() {
    // RFC 1624 4: a field changes from 0x5555 to 0x3285 under the checksum 0xdd2f.
    assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn verify_knows_which_protocols_have_a_pseudo_header() {
    let (src, dst) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let mut echo = [8, 0, 0, 0, 0, 1, 0, 1, 0x61];
    let checksum = sum(&echo).finish().to_be_bytes();
    echo[2..4].copy_from_slice(&checksum);
    assert!(verify(src, dst, Protocol::ICMP, &echo));
    assert!(!verify(src, dst, Protocol::TCP, &echo));
    echo[8] ^= 1;
    assert!(!verify(src, dst, Protocol::ICMP, &echo));
}

/// A UDP datagram or an ICMP message in a packet.
fn packet(is_v4: bool, protocol: Protocol, data: &[u8]) -> Vec<u8> {
    let (src, dst): (IpAddr, IpAddr) = if is_v4 {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    } else {
        ([1_u16; 8].into(), [2_u16; 8].into())
    };
    let params = IpParams {
        src,
        dst,
        protocol,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    match protocol {
        Protocol::UDP => udp::emit(&params, 1, 2, data).unwrap(),
        Protocol::TCP => {
            let payload = Payload::from(Bytes::copy_from_slice(data));
            let mut packet = emit_tcp(&params, &TcpHeader::default(), &payload, ChecksumMode::Full).to_vec();
            packet.extend_from_slice(data);
            packet
        }
        _ => icmp::emit_echo_request(src, dst, 1, 2, data, 64),
    }
}

#[test]
fn a_partial_checksum_is_found() {
    for is_v4 in [true, false] {
        let start = if is_v4 { 20 } else { 40 };
        for (protocol, offset) in [(Protocol::TCP, 16), (Protocol::UDP, 6)] {
            let packet = packet(is_v4, protocol, b"data");
            assert_eq!(Partial::of(&packet), Some(Partial { start, offset }));
            assert_eq!(Partial::of(&packet[..usize::from(start)]), Some(Partial { start, offset }));
        }
        let echo = Partial::of(&packet(is_v4, Protocol::ICMP, b"data"));
        // ICMP for IPv4 has no pseudo-header.
        assert_eq!(echo, (!is_v4).then_some(Partial { start, offset: 2 }));
    }
    let mut options = packet(true, Protocol::TCP, b"data");
    options[0] = 0x47;
    assert_eq!(Partial::of(&options), Some(Partial { start: 28, offset: 16 }));
    for nothing in [&[][..], &[0x45; 9], &[0x60; 6], &[0x44; 40], &[0x50; 40]] {
        assert_eq!(Partial::of(nothing), None);
    }
}

#[test]
fn what_has_no_partial_checksum_is_left_alone() {
    let fragment = {
        let mut packet = packet(true, Protocol::UDP, b"eight by");
        packet[6] = 0x20;
        packet[10..12].fill(0);
        let checksum = sum(&packet[..20]).finish().to_be_bytes();
        packet[10..12].copy_from_slice(&checksum);
        packet
    };
    let short = {
        let mut packet = packet(false, Protocol::UDP, b"");
        packet[5] = 7;
        packet
    };
    for mut packet in [packet(true, Protocol::ICMP, b"data"), fragment, short, vec![], vec![0x45; 30]] {
        let before = packet.clone();
        assert_eq!(Partial::prepare(&mut packet), None);
        assert_eq!(packet, before);
    }
}

#[test]
fn a_partial_checksum_beyond_the_packet_changes_nothing() {
    for (start, offset) in [(39, 0), (40, 0), (23, 16), (0, 39), (u16::MAX, u16::MAX)] {
        let mut packet = [7; 40];
        assert!(!Partial { start, offset }.complete(&mut packet));
        assert_eq!(packet, [7; 40]);
    }
    assert!(Partial { start: 38, offset: 0 }.complete(&mut [7; 40]));
    // RFC 768: a computed zero is sent as all ones.
    let mut ones = [0xff; 4];
    assert!(Partial { start: 0, offset: 0 }.complete(&mut ones));
    assert_eq!(ones, [0xff; 4]);
}

proptest! {
    #[test]
    fn what_was_left_to_the_device_is_completed(
        is_v4: bool,
        protocol in prop::sample::select(vec![Protocol::TCP, Protocol::UDP, Protocol::ICMPV6]),
        data in vec(any::<u8>(), 0..600),
    ) {
        prop_assume!(!is_v4 || protocol != Protocol::ICMPV6);
        let complete = packet(is_v4, protocol, &data);
        let mut packet = complete.clone();
        let partial = Partial::prepare(&mut packet).unwrap();
        prop_assert_eq!(Some(partial), Partial::of(&complete));
        prop_assert!(partial.complete(&mut packet));
        let at = usize::from(partial.start + partial.offset);
        // The two zeros verify alike.
        if complete[at..at + 2] == [0, 0] {
            packet[at..at + 2].fill(0);
        }
        prop_assert_eq!(packet, complete);
    }

    #[test]
    fn equals_pnet(bytes in vec(any::<u8>(), 1..1500)) {
        // The word to skip lies behind the end. (Of no bytes pnet says 0.)
        prop_assert_eq!(sum(&bytes).finish(), util::checksum(&bytes, usize::MAX));
    }

    #[test]
    fn parts_of_any_length_sum_like_the_whole(
        bytes in vec(any::<u8>(), 0..1500),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (mut parts, mut copied) = (Checksum::new(), Checksum::new());
        let mut to = vec![0; bytes.len()];
        for pair in cuts.windows(2) {
            let part = pair[0]..pair[1];
            parts.add_bytes(&bytes[part.clone()]);
            prop_assert_eq!(copied.add_copy(&bytes[part.clone()], &mut to[part.clone()]), part.len());
        }
        prop_assert_eq!(parts.fold(), sum(&bytes).fold());
        prop_assert_eq!(copied.fold(), sum(&bytes).fold());
        prop_assert_eq!(to, bytes);
    }

    #[test]
    fn fields_sum_like_their_bytes(before in vec(any::<u8>(), 0..9), short: u16, long: u32) {
        let mut fields = sum(&before);
        fields.add_u16(short);
        fields.add_u32(long);
        let mut bytes = before;
        bytes.extend(short.to_be_bytes());
        bytes.extend(long.to_be_bytes());
        prop_assert_eq!(fields.fold(), sum(&bytes).fold());
    }

    #[test]
    fn an_update_equals_a_new_sum(mut bytes in vec(any::<u8>(), 2..64), new: u16) {
        let before = sum(&bytes).finish();
        let old = u16::from_be_bytes([bytes[0], bytes[1]]);
        bytes[..2].copy_from_slice(&new.to_be_bytes());
        let expected = sum(&bytes).finish();
        let updated = update_u16(before, old, new);
        // All zero bytes sum to 0, which no sum of others does: the two zeros are one value.
        prop_assert!(updated == expected || (updated ^ expected) == 0xffff && [0, 0xffff].contains(&updated));
    }

    #[test]
    fn pseudo_header_of_v4_equals_pnet(src: [u8; 4], dst: [u8; 4], body in vec(any::<u8>(), 0..100)) {
        let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::from(dst));
        let numbers = pnet_packet::ip::IpNextHeaderProtocols::Tcp;
        let expected = util::ipv4_checksum(&body, usize::MAX, &[], &src, &dst, numbers);
        let len = u32::try_from(body.len()).unwrap();
        let mut ours = pseudo_header(src.into(), dst.into(), Protocol::TCP, len);
        ours.add_bytes(&body);
        prop_assert_eq!(ours.finish(), expected);
    }

    #[test]
    fn pseudo_header_of_v6_equals_pnet(src: [u8; 16], dst: [u8; 16], body in vec(any::<u8>(), 0..100)) {
        let (src, dst) = (Ipv6Addr::from(src), Ipv6Addr::from(dst));
        let numbers = pnet_packet::ip::IpNextHeaderProtocols::Udp;
        let expected = util::ipv6_checksum(&body, usize::MAX, &[], &src, &dst, numbers);
        let len = u32::try_from(body.len()).unwrap();
        let mut ours = pseudo_header(src.into(), dst.into(), Protocol::UDP, len);
        ours.add_bytes(&body);
        prop_assert_eq!(ours.finish(), expected);
    }
}
