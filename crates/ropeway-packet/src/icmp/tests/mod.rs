mod quotes;
mod sent;

use super::*;
use crate::{ChecksumMode, Fragment, IpParams, Payload, SeqNum, TcpFlags, TcpHeader, emit_tcp, ip};

fn addrs(is_v4: bool) -> (IpAddr, IpAddr) {
    let (src, dst) = if is_v4 { ("192.0.2.1", "192.0.2.2") } else { ("2001:db8::1", "2001:db8::2") };
    (src.parse().unwrap(), dst.parse().unwrap())
}

fn params(is_v4: bool) -> IpParams {
    let (src, dst) = addrs(is_v4);
    IpParams {
        src,
        dst,
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    }
}

/// A TCP segment from the first address to the second, in whole.
fn tcp_packet(is_v4: bool) -> Vec<u8> {
    let tcp = TcpHeader {
        src_port: 4000,
        dst_port: 80,
        seq: SeqNum::new(0x0102_0304),
        flags: TcpFlags::SYN,
        ..TcpHeader::default()
    };
    emit_tcp(&params(is_v4), &tcp, &Payload::new(), ChecksumMode::Full).to_vec()
}

fn read(packet: &[u8]) -> IcmpMessage {
    parse(packet, &ip::parse(packet).unwrap()).unwrap()
}

/// An ICMP message with this header and body, from a router.
fn message(is_v4: bool, header: [u8; 8], body: &[u8]) -> Vec<u8> {
    let (dst, src) = addrs(is_v4);
    let protocol = if is_v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(body);
    let len = u32::try_from(bytes.len()).unwrap();
    let mut sum =
        if is_v4 { checksum::Checksum::new() } else { checksum::pseudo_header(src, dst, protocol, len) };
    sum.add_bytes(&bytes);
    bytes[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    let params = IpParams { src, dst, protocol, ..params(is_v4) };
    let mut packet = vec![0; params.header_len()];
    params.emit(bytes.len(), &mut packet);
    packet.extend(bytes);
    packet
}

fn kind_of(is_v4: bool, code: u8) -> UnreachableKind {
    let kind = if is_v4 { 3 } else { 1 };
    match read(&message(is_v4, [kind, code, 0, 0, 0, 0, 0, 0], &[])) {
        IcmpMessage::Unreachable { code: UnreachableCode { kind, raw }, .. } => {
            assert_eq!(raw, code);
            kind
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unreachable_codes_of_v4() {
    use UnreachableKind::{AdminProhibited, Host, Network, Other, Port, Protocol, SourceRouteFailed};
    let kinds = [
        (0, Network),
        (1, Host),
        (2, Protocol),
        (3, Port),
        (5, SourceRouteFailed),
        (6, Network),
        (7, Host),
        (8, Host),
        (9, AdminProhibited),
        (10, AdminProhibited),
        (11, Network),
        (12, Host),
        (13, AdminProhibited),
        (14, AdminProhibited),
        (15, AdminProhibited),
        (16, Other(16)),
        (255, Other(255)),
    ];
    for (code, kind) in kinds {
        assert_eq!(kind_of(true, code), kind, "code {code}");
    }
}

#[test]
fn unreachable_codes_of_v6() {
    use UnreachableKind::{AdminProhibited, Host, Network, Other, Port, SourceRouteFailed};
    let kinds = [
        (0, Network),
        (1, AdminProhibited),
        (2, Host),
        (3, Host),
        (4, Port),
        (5, AdminProhibited),
        (6, AdminProhibited),
        (7, SourceRouteFailed),
        (8, Other(8)),
        (255, Other(255)),
    ];
    for (code, kind) in kinds {
        assert_eq!(kind_of(false, code), kind, "code {code}");
    }
}

#[test]
fn path_mtu() {
    // RFC 1191 4: the lower half of the word; RFC 4443 3.2: the whole of it.
    let v4 = message(true, [3, 4, 0, 0, 0, 0, 5, 0xdc], &[1; 28]);
    assert_eq!(read(&v4), IcmpMessage::PacketTooBig { mtu: 1500, quote: 28..56 });
    let old = message(true, [3, 4, 0, 0, 0, 0, 0, 0], &[1; 28]);
    assert_eq!(read(&old), IcmpMessage::PacketTooBig { mtu: 0, quote: 28..56 });
    let v6 = message(false, [2, 0, 0, 0, 0, 1, 0, 0], &[1; 48]);
    assert_eq!(read(&v6), IcmpMessage::PacketTooBig { mtu: 65_536, quote: 48..96 });
}

#[test]
fn the_other_errors() {
    let quote = [9; 28];
    let v4 = |header| read(&message(true, header, &quote));
    let v6 = |header| read(&message(false, header, &quote));
    assert_eq!(v4([11, 1, 0, 0, 0, 0, 0, 0]), IcmpMessage::TimeExceeded { code: 1, quote: 28..56 });
    assert_eq!(v6([3, 0, 0, 0, 0, 0, 0, 0]), IcmpMessage::TimeExceeded { code: 0, quote: 48..76 });
    assert_eq!(
        v4([12, 0, 0, 0, 20, 0, 0, 0]),
        IcmpMessage::ParameterProblem { code: 0, pointer: 20, quote: 28..56 }
    );
    assert_eq!(
        v6([4, 1, 0, 0, 0, 0, 1, 6]),
        IcmpMessage::ParameterProblem { code: 1, pointer: 262, quote: 48..76 }
    );
    assert_eq!(v4([4, 0, 0, 0, 0, 0, 0, 0]), IcmpMessage::SourceQuench { quote: 28..56 });
    // Redirect, neighbour solicitation, and numbers that mean something in the other family.
    assert_eq!(v4([5, 1, 0, 0, 0, 0, 0, 0]), IcmpMessage::Other { kind: 5, code: 1 });
    assert_eq!(v6([135, 0, 0, 0, 0, 0, 0, 0]), IcmpMessage::Other { kind: 135, code: 0 });
    assert_eq!(v4([128, 0, 0, 0, 0, 0, 0, 0]), IcmpMessage::Other { kind: 128, code: 0 });
    assert_eq!(v6([8, 0, 0, 0, 0, 0, 0, 0]), IcmpMessage::Other { kind: 8, code: 0 });
}

#[test]
fn extensions_are_no_part_of_the_quote() {
    // RFC 4884: the quote is padded to 128 bytes, and its length said.
    let body = [1; 128 + 12];
    let quote = |is_v4, header| match read(&message(is_v4, header, &body)) {
        IcmpMessage::Unreachable { quote, .. } | IcmpMessage::TimeExceeded { quote, .. } => quote,
        other => panic!("{other:?}"),
    };
    assert_eq!(quote(true, [3, 1, 0, 0, 0, 32, 0, 0]), 28..156);
    assert_eq!(quote(false, [3, 0, 0, 0, 16, 0, 0, 0]), 48..176);
    // A length beyond the message is not believed.
    assert_eq!(quote(true, [11, 0, 0, 0, 0, 255, 0, 0]), 28..168);
    assert_eq!(quote(false, [1, 0, 0, 0, 255, 0, 0, 0]), 48..188);
}

#[test]
fn what_is_refused() {
    for is_v4 in [true, false] {
        let (src, dst) = addrs(is_v4);
        let good = emit_echo_request(src, dst, 1, 2, b"odd", 64);
        let ip = ip::parse(&good).unwrap();
        assert!(parse(&good, &ip).is_ok());
        let start = ip.payload.start;
        for bit in start * 8..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(parse(&bytes, &ip), Err(IcmpError::BadChecksum), "bit {bit}");
        }
        for len in 0..8 {
            let short = IpPacket { payload: start..start + len, ..ip.clone() };
            assert_eq!(parse(&good, &short), Err(IcmpError::Truncated));
        }
        // A header that belongs to another packet does no harm.
        assert_eq!(parse(&good[..good.len() - 1], &ip), Err(IcmpError::Truncated));
        let fragment = IpPacket { fragment: Some(Fragment { offset: 0, more: true }), ..ip.clone() };
        assert_eq!(parse(&good, &fragment), Err(IcmpError::Fragment));
        // The other family's ICMP, and no ICMP at all.
        for protocol in [Protocol::TCP, if is_v4 { Protocol::ICMPV6 } else { Protocol::ICMP }] {
            let other = IpPacket { protocol, ..ip.clone() };
            assert_eq!(parse(&good, &other), Err(IcmpError::NotIcmp));
        }
    }
}
