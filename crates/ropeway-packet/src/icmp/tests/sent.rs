use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn errors_that_are_sent_are_understood() {
    use UnreachableKind::{AdminProhibited, Host, Network, Other, Port, SourceRouteFailed};
    let mut kinds = [Network, Host, Port, SourceRouteFailed, AdminProhibited, Other(99)]
        .map(IcmpErrorKind::Unreachable)
        .to_vec();
    kinds.extend([
        IcmpErrorKind::PacketTooBig { mtu: 1400 },
        IcmpErrorKind::TimeExceeded { code: 1 },
        IcmpErrorKind::ParameterProblem { code: 0, pointer: 9 },
    ]);
    for is_v4 in [true, false] {
        let (src, dst) = addrs(is_v4);
        let offending = tcp_packet(is_v4);
        for &kind in &kinds {
            // The answer goes back to the sender.
            let packet = emit_error(dst, src, kind, &offending, 64);
            let ip = ip::parse(&packet).unwrap();
            assert_eq!((ip.src, ip.dst, ip.hop_limit), (dst, src, 64));
            let (understood, quote) = match parse(&packet, &ip).unwrap() {
                IcmpMessage::Unreachable { code, quote } => (IcmpErrorKind::Unreachable(code.kind), quote),
                IcmpMessage::PacketTooBig { mtu, quote } => (IcmpErrorKind::PacketTooBig { mtu }, quote),
                IcmpMessage::TimeExceeded { code, quote } => (IcmpErrorKind::TimeExceeded { code }, quote),
                IcmpMessage::ParameterProblem { code, pointer, quote } => {
                    (IcmpErrorKind::ParameterProblem { code, pointer }, quote)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(understood, kind);
            assert_eq!(packet[quote], offending);
        }
    }
}

#[test]
fn an_unknown_protocol_has_two_names() {
    let kind = IcmpErrorKind::Unreachable(UnreachableKind::Protocol);
    let (us, peer) = addrs(true);
    let code = UnreachableCode { kind: UnreachableKind::Protocol, raw: 2 };
    let packet = emit_error(us, peer, kind, &tcp_packet(true), 64);
    assert_eq!(read(&packet), IcmpMessage::Unreachable { code, quote: 28..68 });
    // RFC 4443 3.4: a parameter problem that points to the number, here in a destination-options header.
    let (us, peer) = addrs(false);
    let packet = emit_error(us, peer, kind, &tcp_packet(false), 64);
    assert_eq!(read(&packet), IcmpMessage::ParameterProblem { code: 1, pointer: 6, quote: 48..108 });
    let params = IpParams { protocol: Protocol::IPV6_DESTINATION_OPTIONS, ..params(false) };
    let mut offending = vec![0; 40];
    params.emit(8, &mut offending);
    offending.extend([253, 0, 1, 4, 0, 0, 0, 0]);
    let packet = emit_error(us, peer, kind, &offending, 64);
    assert_eq!(read(&packet), IcmpMessage::ParameterProblem { code: 1, pointer: 40, quote: 48..96 });
}

#[test]
fn fields_that_are_too_small_saturate() {
    let (us, peer) = addrs(true);
    let error = |kind| read(&emit_error(us, peer, kind, &[], 64));
    assert_eq!(
        error(IcmpErrorKind::PacketTooBig { mtu: 70_000 }),
        IcmpMessage::PacketTooBig { mtu: 65_535, quote: 28..28 }
    );
    assert_eq!(
        error(IcmpErrorKind::ParameterProblem { code: 0, pointer: 300 }),
        IcmpMessage::ParameterProblem { code: 0, pointer: 255, quote: 28..28 }
    );
}

#[test]
fn errors_quote_as_much_as_they_may() {
    for (is_v4, limit) in [(true, 576), (false, 1280)] {
        let (us, peer) = addrs(is_v4);
        let overhead = params(is_v4).header_len() + 8;
        for len in [0, 1, limit - overhead - 1, limit - overhead, limit - overhead + 1, 70_000] {
            let offending = vec![1; len];
            let packet = emit_error(us, peer, IcmpErrorKind::TimeExceeded { code: 0 }, &offending, 64);
            assert_eq!(packet.len(), (overhead + len).min(limit));
            let quote = overhead..packet.len();
            assert_eq!(read(&packet), IcmpMessage::TimeExceeded { code: 0, quote });
        }
    }
}

proptest! {
    #[test]
    fn echoes_return(is_v4: bool, ident: u16, seq: u16, data in vec(any::<u8>(), 0..64)) {
        let (us, peer) = addrs(is_v4);
        let request = emit_echo_request(us, peer, ident, seq, &data, 64);
        let body = params(is_v4).header_len() + 8..request.len();
        prop_assert_eq!(&request[body.clone()], &data[..]);
        prop_assert_eq!(read(&request), IcmpMessage::EchoRequest { ident, seq, data: body.clone() });
        let reply = emit_echo_reply(peer, us, ident, seq, &data, 64);
        prop_assert_eq!(read(&reply), IcmpMessage::EchoReply { ident, seq, data: body.clone() });
        prop_assert_eq!(&reply[body], &data[..]);
    }

    #[test]
    fn pnet_computes_the_same_checksum(is_v4: bool, ident: u16, data in vec(any::<u8>(), 0..64)) {
        let (us, peer) = addrs(is_v4);
        let packet = emit_echo_request(us, peer, ident, 0, &data, 64);
        let message = &packet[params(is_v4).header_len()..];
        let expected = match (us, peer) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let pnet = pnet_packet::icmpv6::Icmpv6Packet::new(message).unwrap();
                pnet_packet::icmpv6::checksum(&pnet, &src, &dst)
            }
            _ => pnet_packet::icmp::checksum(&pnet_packet::icmp::IcmpPacket::new(message).unwrap()),
        };
        prop_assert_eq!(u16::from_be_bytes([message[2], message[3]]), expected);
    }

    #[test]
    fn long_echoes_are_cut(extra in 0..100_usize) {
        let (us, peer) = addrs(true);
        let packet = emit_echo_request(us, peer, 1, 2, &vec![1; 65_480 + extra], 64);
        prop_assert_eq!(packet.len(), (65_508 + extra).min(65_535));
        prop_assert!(parse(&packet, &ip::parse(&packet).unwrap()).is_ok());
        // The length of an IPv6 packet does not count its header.
        let (us, peer) = addrs(false);
        let packet = emit_echo_request(us, peer, 1, 2, &vec![1; 65_500 + extra], 64);
        prop_assert_eq!(packet.len(), (65_548 + extra).min(65_575));
        prop_assert!(parse(&packet, &ip::parse(&packet).unwrap()).is_ok());
    }

    #[test]
    fn any_bytes_may_be_quoted(bytes in vec(any::<u8>(), 0..100), v6: bool) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if v6 { 0x60 } else { 0x40 | *first & 0x0f };
        }
        parse_quote(&bytes);
    }
}
