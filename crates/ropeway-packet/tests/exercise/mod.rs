//! What must hold for any bytes whatever. The soak and the fuzzer both drive this.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken promise shall stop the test; not every user repairs"
)]

use std::net::IpAddr;

use bytes::Bytes;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use ropeway_packet::{
    Checksum, ChecksumMode, IcmpErrorKind, IcmpMessage, IpPacket, IpParams, ParsedTcp, Payload, Protocol,
    SackBlocks, TcpHeader, TcpOptions, TcpSegment, UdpDatagram, UnreachableKind, checksum, emit_tcp, icmp,
    ip, parse_tcp, udp,
};

/// Parses `bytes` in every way there is. Returns whether they are a good packet up to the transport's checksum.
///
/// # Panics
///
/// If the codec breaks one of its promises.
pub(crate) fn exercise(bytes: &[u8]) -> bool {
    icmp::parse_quote(bytes);
    if let Ok(parsed) = TcpHeader::parse(bytes) {
        check_tcp(bytes, &parsed);
    }
    ip::protocol_offset(bytes);
    let ip = match ip::parse(bytes) {
        Ok(ip) => ip,
        Err(error) => {
            // Every error has a text, and its pointer lies in the packet.
            assert!(!error.to_string().is_empty());
            let (_, pointer) = error.parameter_problem(false).unwrap_or_default();
            assert!(usize::try_from(pointer).unwrap() <= bytes.len());
            return false;
        }
    };
    check_ip(bytes, &ip);

    let mut good = false;
    if let Ok(segment) = parse_tcp(bytes, ip.clone(), false) {
        let verified = parse_tcp(bytes, ip.clone(), true).is_ok();
        let payload = &bytes[ip.payload.clone()];
        assert_eq!(verified, checksum::verify(ip.src, ip.dst, Protocol::TCP, payload));
        let range = segment.payload.clone();
        assert!(ip.payload.start + 20 <= range.start && range.end == ip.payload.end);
        if verified {
            check_whole_segment(bytes, segment);
        }
        good |= verified;
    }
    if let Ok(datagram) = udp::parse(bytes, &ip, false) {
        assert_eq!(datagram.payload.len() + 8, usize::from(datagram.header.len));
        check_udp(&ip, &datagram, &bytes[datagram.payload.clone()]);
        good |= udp::parse(bytes, &ip, true).is_ok();
    }
    if let Ok(message) = icmp::parse(bytes, &ip) {
        check_icmp(bytes, &ip, message);
        good = true;
    }
    good
}

fn check_ip(bytes: &[u8], ip: &IpPacket) {
    assert_eq!(ip.src.is_ipv4(), ip.dst.is_ipv4());
    assert!(bytes.get(ip.payload.clone()).is_some(), "{ip:?}");
    let protocol_at = ip::protocol_offset(bytes).expect("a packet that parses has a protocol");
    assert_eq!(bytes[protocol_at], ip.protocol.0);
    let IpPacket { src, dst, hop_limit, traffic_class, .. } = *ip;
    let (fixed_len, end) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let pnet = Ipv4Packet::new(bytes).expect("20 bytes");
            assert_eq!((pnet.get_source(), pnet.get_destination()), (src, dst));
            assert_eq!((pnet.get_ttl(), pnet.get_next_level_protocol().0), (hop_limit, ip.protocol.0));
            assert_eq!(pnet.get_dscp() << 2 | pnet.get_ecn(), traffic_class);
            (20, usize::from(pnet.get_total_length()))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let pnet = Ipv6Packet::new(bytes).expect("40 bytes");
            assert_eq!((pnet.get_source(), pnet.get_destination()), (src, dst));
            assert_eq!((pnet.get_hop_limit(), pnet.get_traffic_class()), (hop_limit, traffic_class));
            (40, 40 + usize::from(pnet.get_payload_length()))
        }
        _ => unreachable!("one family"),
    };
    assert_eq!(ip.payload.end, end);
    assert_eq!(ip.payload.start > fixed_len, ip.has_options);
    // What was read can be written and read again, as a whole datagram without options.
    let params = params(ip, Protocol::TCP);
    let mut packet = vec![0; params.header_len()];
    params.emit(ip.payload.len(), &mut packet);
    packet.extend_from_slice(&bytes[ip.payload.clone()]);
    // Only IPv6 keeps its extension headers outside the fixed header.
    if let Ok(again) = ip::parse(&packet) {
        assert_eq!((again.src, again.dst, again.payload.len()), (src, dst, ip.payload.len()));
        assert_eq!((again.hop_limit, again.traffic_class), (hop_limit, traffic_class));
    } else {
        assert!(ip.payload.len() > 65_515, "{ip:?}");
    }
}

fn check_tcp(segment: &[u8], parsed: &ParsedTcp) {
    let ParsedTcp { header, header_len, .. } = *parsed;
    assert!((20..=60).contains(&header_len) && header_len % 4 == 0 && header_len <= segment.len());
    let pnet = TcpPacket::new(segment).expect("20 bytes");
    assert_eq!((pnet.get_source(), pnet.get_destination()), (header.src_port, header.dst_port));
    assert_eq!((pnet.get_sequence(), pnet.get_acknowledgement()), (header.seq.get(), header.ack.get()));
    assert_eq!((pnet.get_window(), pnet.get_urgent_ptr()), (header.window, header.urgent));
    assert_eq!(u16::from(pnet.get_flags()), header.flags.bits() & 0xff);

    // What was read can be written, and is read again as it was, but for SACK blocks without room.
    let mut out = [0; 60];
    let len = header.emit(&mut out);
    assert_eq!(len, header.len());
    let again = TcpHeader::parse(&out[..len]).expect("our own header");
    assert!(!again.malformed_options && again.header_len == len);
    let without_sack = |header: TcpHeader| TcpHeader {
        options: TcpOptions { sack: SackBlocks::EMPTY, ..header.options },
        ..header
    };
    assert_eq!(without_sack(again.header), without_sack(header));
    assert!(header.options.sack.as_slice().starts_with(again.header.options.sack.as_slice()));
}

/// A segment that was received is sent again, and is the same, but for SACK blocks without room.
fn check_whole_segment(bytes: &[u8], segment: TcpSegment) {
    let TcpSegment { ip, mut tcp, payload, .. } = segment;
    tcp.options.sack = SackBlocks::EMPTY;
    let data = &bytes[payload];
    if data.len() > 60_000 {
        // With a longer header than it came with, it might exceed a packet.
        return;
    }
    let payload = Payload::from(Bytes::copy_from_slice(data));
    let mut packet = emit_tcp(&params(&ip, Protocol::TCP), &tcp, &payload, ChecksumMode::Full).to_vec();
    packet.extend_from_slice(data);
    let again =
        parse_tcp(&packet, ip::parse(&packet).expect("our own packet"), true).expect("our own segment");
    assert!(!again.malformed_options);
    assert_eq!((again.ip.src, again.ip.dst), (ip.src, ip.dst));
    assert_eq!((again.ip.hop_limit, again.ip.traffic_class), (ip.hop_limit, ip.traffic_class));
    assert_eq!(again.tcp, tcp);
    assert_eq!(&packet[again.payload], data);
}

fn check_udp(ip: &IpPacket, datagram: &UdpDatagram, data: &[u8]) {
    let (src_port, dst_port) = (datagram.header.src_port, datagram.header.dst_port);
    let packet = udp::emit(&params(ip, Protocol::UDP), src_port, dst_port, data);
    let packet = packet.expect("as long as one that fitted");
    let again = udp::parse(&packet, &ip::parse(&packet).expect("our own packet"), true);
    let again = again.expect("our own datagram");
    assert_eq!(again.header, datagram.header);
    assert_eq!(&packet[again.payload], data);
}

/// The header of a packet like this one, without its options.
fn params(ip: &IpPacket, protocol: Protocol) -> IpParams {
    IpParams {
        src: ip.src,
        dst: ip.dst,
        protocol,
        hop_limit: ip.hop_limit,
        traffic_class: ip.traffic_class,
        dont_fragment: ip.dont_fragment,
        ident: u16::try_from(ip.ident & 0xffff).unwrap(),
        flow_label: 0,
    }
}

fn check_echo(bytes: &[u8], ip: &IpPacket, message: &IcmpMessage) {
    let (emit, ident, seq, data): (fn(_, _, _, _, &[u8], _) -> _, _, _, _) = match message {
        IcmpMessage::EchoRequest { ident, seq, data } => (icmp::emit_echo_request, *ident, *seq, data),
        IcmpMessage::EchoReply { ident, seq, data } => (icmp::emit_echo_reply, *ident, *seq, data),
        _ => return,
    };
    let packet: Vec<u8> = emit(ip.src, ip.dst, ident, seq, &bytes[data.clone()], ip.hop_limit);
    let again = icmp::parse(&packet, &ip::parse(&packet).expect("our own packet")).expect("our own message");
    match (message, &again) {
        (IcmpMessage::EchoRequest { .. }, IcmpMessage::EchoRequest { ident: i, seq: s, data: d })
        | (IcmpMessage::EchoReply { .. }, IcmpMessage::EchoReply { ident: i, seq: s, data: d }) => {
            assert_eq!((*i, *s, &packet[d.clone()]), (ident, seq, &bytes[data.clone()]));
        }
        _ => panic!("{message:?} became {again:?}"),
    }
}

fn check_icmp(bytes: &[u8], ip: &IpPacket, message: IcmpMessage) {
    check_echo(bytes, ip, &message);
    let range = match message {
        IcmpMessage::EchoRequest { data, .. } | IcmpMessage::EchoReply { data, .. } => data,
        IcmpMessage::Unreachable { quote, .. }
        | IcmpMessage::PacketTooBig { quote, .. }
        | IcmpMessage::TimeExceeded { quote, .. }
        | IcmpMessage::ParameterProblem { quote, .. }
        | IcmpMessage::SourceQuench { quote } => quote,
        IcmpMessage::Other { .. } => return,
    };
    icmp::parse_quote(bytes.get(range).expect("a range in the packet"));
    // Anything can be quoted in turn.
    for address in [IpAddr::from([192, 0, 2, 1]), IpAddr::from([1_u16; 8])] {
        let kind = IcmpErrorKind::Unreachable(UnreachableKind::Protocol);
        let error = icmp::emit_error(address, address, kind, bytes, 1);
        let ip = ip::parse(&error).expect("our own packet");
        assert!(icmp::parse(&error, &ip).is_ok());
    }
}

/// Makes the lengths and checksums of a mangled packet right, as far as it has any, so that it gets past them.
pub(crate) fn repair(bytes: &mut [u8]) {
    let len = bytes.len();
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) if len >= 20 => {
            let header_len = (usize::from(bytes[0] & 0x0f) * 4).clamp(20, len);
            let total_len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
            bytes[2..4].copy_from_slice(&total_len);
            bytes[10..12].fill(0);
            let sum = sum(&bytes[..header_len], Checksum::new());
            bytes[10..12].copy_from_slice(&sum);
        }
        Some(6) if len >= 40 => {
            let payload_len = u16::try_from(len - 40).unwrap_or(u16::MAX).to_be_bytes();
            bytes[4..6].copy_from_slice(&payload_len);
        }
        _ => return,
    }
    let Ok(ip) = ip::parse(bytes) else { return };
    if ip.fragment.is_some() {
        return;
    }
    let field = match ip.protocol {
        Protocol::TCP => 16,
        Protocol::UDP => 6,
        Protocol::ICMP | Protocol::ICMPV6 => 2,
        _ => return,
    };
    let payload = &mut bytes[ip.payload.clone()];
    if payload.len() < field + 2 {
        return;
    }
    payload[field..field + 2].fill(0);
    let payload_len = u32::try_from(payload.len()).unwrap();
    let start = match ip.protocol {
        Protocol::ICMP => Checksum::new(),
        protocol => checksum::pseudo_header(ip.src, ip.dst, protocol, payload_len),
    };
    let sum = sum(payload, start);
    payload[field..field + 2].copy_from_slice(&sum);
}

fn sum(bytes: &[u8], mut start: Checksum) -> [u8; 2] {
    start.add_bytes(bytes);
    start.finish().to_be_bytes()
}
