//! ICMP, and ICMPv6.

use std::net::IpAddr;
use std::ops::Range;

use ropeway_packet::{IcmpMessage, IpPacket, icmp};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire;

use super::be16;
use super::checksum::{is_right, is_right_with_pseudo_header, is_same};

pub(super) fn v4(bytes: &[u8], ip: &IpPacket, message: &[u8]) {
    let ours = icmp::parse(bytes, ip);
    if message.len() < 8 {
        assert!(ours.is_err());
        return;
    }
    let smoltcp = wire::Icmpv4Packet::new_unchecked(message);
    let good = is_right(message, 0);
    is_same(good, smoltcp.verify_checksum());
    assert_eq!(ours.is_ok(), good, "{bytes:02x?}: {ours:?}");
    let pnet = pnet_packet::icmp::IcmpPacket::new(message).expect("8 bytes");
    let Ok(ours) = ours else { return };
    let kind = (pnet.get_icmp_type().0, pnet.get_icmp_code().0);
    assert_eq!(kind, (u8::from(smoltcp.msg_type()), smoltcp.msg_code()));
    let repr = wire::Icmpv4Repr::parse(&smoltcp, &ChecksumCapabilities::ignored());
    match ours {
        IcmpMessage::EchoRequest { ident, seq, data } => {
            assert_eq!(kind.0, 8);
            same_echo(bytes, (ident, seq, data), &smoltcp);
            assert_eq!(matches!(repr, Ok(wire::Icmpv4Repr::EchoRequest { .. })), kind.1 == 0);
        }
        IcmpMessage::EchoReply { ident, seq, data } => {
            assert_eq!(kind.0, 0);
            same_echo(bytes, (ident, seq, data), &smoltcp);
            assert_eq!(matches!(repr, Ok(wire::Icmpv4Repr::EchoReply { .. })), kind.1 == 0);
        }
        IcmpMessage::Unreachable { code, quote } => {
            assert_eq!(kind, (3, code.raw));
            same_quote(bytes, quote, &repr);
        }
        IcmpMessage::PacketTooBig { mtu, quote } => {
            assert_eq!(kind, (3, 4));
            assert_eq!(mtu, u32::from(be16(&message[6..])));
            same_quote(bytes, quote, &repr);
        }
        IcmpMessage::TimeExceeded { code, quote } => {
            assert_eq!(kind, (11, code));
            same_quote(bytes, quote, &repr);
        }
        IcmpMessage::ParameterProblem { code, pointer, .. } => {
            assert_eq!((kind, pointer), ((12, code), u32::from(message[4])));
        }
        IcmpMessage::SourceQuench { .. } => assert_eq!(kind.0, 4),
        IcmpMessage::Other { kind: number, code } => {
            assert_eq!(kind, (number, code));
            assert!(repr.is_err(), "smoltcp knows {message:02x?}");
        }
    }
}

fn same_echo(bytes: &[u8], ours: (u16, u16, Range<usize>), smoltcp: &wire::Icmpv4Packet<&[u8]>) {
    assert_eq!((ours.0, ours.1), (smoltcp.echo_ident(), smoltcp.echo_seq_no()));
    assert_eq!(&bytes[ours.2], smoltcp.data());
}

/// Whom the quoted packet was from and to. smoltcp wants eight bytes behind its header, and a quote that is as
/// long as it says; here a router that quotes less is understood too (RFC 1812 4.3.2.3).
fn same_quote(bytes: &[u8], quote: Range<usize>, repr: &Result<wire::Icmpv4Repr<'_>, wire::Error>) {
    let Ok(wire::Icmpv4Repr::DstUnreachable { header, .. } | wire::Icmpv4Repr::TimeExceeded { header, .. }) =
        repr
    else {
        return;
    };
    // RFC 4884 cuts the quote to the length that the message gives, which smoltcp does not look at.
    if let Some(quoted) = icmp::parse_quote(&bytes[quote])
        && quoted.ip.src.is_ipv4()
    {
        let theirs: (IpAddr, IpAddr) = (header.src_addr.into(), header.dst_addr.into());
        assert_eq!((quoted.ip.src, quoted.ip.dst), theirs);
        assert_eq!(quoted.ip.protocol.0, u8::from(header.next_header));
    }
}

pub(super) fn v6(bytes: &[u8], ip: &IpPacket, message: &[u8]) {
    let ours = icmp::parse(bytes, ip);
    if message.len() < 8 {
        assert!(ours.is_err());
        return;
    }
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else { return };
    let smoltcp = wire::Icmpv6Packet::new_unchecked(message);
    let good = is_right_with_pseudo_header(ip, message);
    is_same(good, smoltcp.verify_checksum(&src, &dst));
    assert_eq!(ours.is_ok(), good, "{bytes:02x?}: {ours:?}");
    let Ok(ours) = ours else { return };
    let kind = (u8::from(smoltcp.msg_type()), smoltcp.msg_code());
    match ours {
        IcmpMessage::EchoRequest { ident, seq, data } => {
            assert_eq!(kind.0, 128);
            assert_eq!((ident, seq), (smoltcp.echo_ident(), smoltcp.echo_seq_no()));
            assert_eq!(&bytes[data], smoltcp.payload());
        }
        IcmpMessage::EchoReply { ident, seq, data } => {
            assert_eq!(kind.0, 129);
            assert_eq!((ident, seq), (smoltcp.echo_ident(), smoltcp.echo_seq_no()));
            assert_eq!(&bytes[data], smoltcp.payload());
        }
        IcmpMessage::Unreachable { code, quote } => {
            assert_eq!(kind, (1, code.raw));
            assert!(bytes[quote].len() <= smoltcp.payload().len());
        }
        IcmpMessage::PacketTooBig { mtu, quote } => {
            assert_eq!((kind.0, mtu), (2, smoltcp.pkt_too_big_mtu()));
            assert_eq!(&bytes[quote], smoltcp.payload());
        }
        IcmpMessage::TimeExceeded { code, .. } => assert_eq!(kind, (3, code)),
        IcmpMessage::ParameterProblem { code, pointer, quote } => {
            assert_eq!((kind, pointer), ((4, code), smoltcp.param_problem_ptr()));
            assert_eq!(&bytes[quote], smoltcp.payload());
        }
        IcmpMessage::SourceQuench { .. } => panic!("ICMPv6 has no source quench"),
        IcmpMessage::Other { kind: number, code } => {
            assert_eq!(kind, (number, code));
            assert!(!matches!(number, 1..=4 | 128 | 129), "{message:02x?}");
        }
    }
}
