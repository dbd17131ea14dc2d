//! The codec against two others that nobody here wrote: each field reads the same, and what they accept is
//! accepted. Where they differ on purpose, the exception stands at its place with its reason.

use std::net::IpAddr;

use pnet_packet::Packet;
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpOptionNumbers as numbers;
use ropeway_packet::{
    IcmpMessage, IpPacket, ParsedTcp, Protocol, SackBlocks, TcpHeader, TcpOptions, icmp, ip, parse_tcp, udp,
};
use smoltcp::phy::ChecksumCapabilities;
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
    let ours = ip::parse(bytes);
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => {
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
            if let Ok(ours) = &ours {
                same_v4(bytes, ours);
            }
        }
        Some(6) => {
            // Neither walks extension headers: a packet that has some may be refused for what stands in them.
            let smoltcp = wire::Ipv6Packet::new_checked(bytes).is_ok();
            let extended = bytes.get(6).is_some_and(|next| matches!(next, 0 | 43 | 44 | 51 | 60));
            assert!(ours.is_ok() || !smoltcp || extended, "smoltcp takes {bytes:02x?}: {ours:?}");
            assert!(ours.is_err() || smoltcp, "smoltcp refuses {bytes:02x?}: {ours:?}");
            if let Ok(ours) = &ours {
                same_v6(bytes, ours);
            }
        }
        _ => assert!(ours.is_err(), "a version that is neither 4 nor 6: {bytes:02x?}"),
    }
    let Ok(ours) = ours else { return };
    if ours.fragment.is_some() {
        // Whole datagrams only, in all three.
        assert!(parse_tcp(bytes, ours.clone(), true).is_err() && udp::parse(bytes, &ours, true).is_err());
        return;
    }
    let payload = &bytes[ours.payload.clone()];
    match ours.protocol {
        Protocol::TCP => tcp(bytes, &ours, payload),
        Protocol::UDP => udp(bytes, &ours, payload),
        Protocol::ICMP if ours.src.is_ipv4() => icmp_v4(bytes, &ours, payload),
        Protocol::ICMPV6 if ours.src.is_ipv6() => icmp_v6(bytes, &ours, payload),
        _ => {}
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
    let len = usize::from(pnet.get_total_length()) - usize::from(pnet.get_header_length()) * 4;
    let more = pnet.get_flags() & 1 != 0;
    (more && !len.is_multiple_of(8)) || usize::from(pnet.get_fragment_offset()) * 8 + len > 65_535
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

/// Whether the checksum in `bytes` is right: RFC 1071, word by word. `start`: the sum of what goes before.
fn is_right(bytes: &[u8], start: u64) -> bool {
    let mut sum = start;
    for word in bytes.chunks(2) {
        sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum == 0xffff
}

/// The same with the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
fn is_right_with_pseudo_header(ip: &IpPacket, bytes: &[u8]) -> bool {
    let words = |octets: &[u8]| -> u64 { octets.chunks(2).map(|word| u64::from(be16(word))).sum() };
    let addresses = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => words(&src.octets()) + words(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => words(&src.octets()) + words(&dst.octets()),
        _ => unreachable!("one family"),
    };
    is_right(bytes, addresses + u64::from(ip.protocol.0) + bytes.len() as u64)
}

/// What smoltcp says of a checksum. Under a fuzzer it calls every checksum right.
fn is_same(ours: bool, theirs: bool) {
    assert!(cfg!(fuzzing) || ours == theirs, "smoltcp says {theirs} of a checksum");
}

fn addresses(ours: &IpPacket) -> (wire::IpAddress, wire::IpAddress) {
    (ours.src.into(), ours.dst.into())
}

fn tcp(bytes: &[u8], ip: &IpPacket, segment: &[u8]) {
    let ours = parse_tcp(bytes, ip.clone(), true);
    let (src, dst) = addresses(ip);
    let Ok(smoltcp) = wire::TcpPacket::new_checked(segment) else {
        assert!(ours.is_err(), "smoltcp refuses {bytes:02x?}: {ours:?}");
        return;
    };
    let good = is_right_with_pseudo_header(ip, segment);
    is_same(good, smoltcp.verify_checksum(&src, &dst));
    assert_eq!(ours.is_ok(), good, "checksum of {bytes:02x?}: {ours:?}");
    let Ok(ours) = ours else { return };
    let header = &ours.tcp;
    same_tcp_fixed(segment, header, &smoltcp);
    assert_eq!(&bytes[ours.payload.clone()], smoltcp.payload());
    let repr = wire::TcpRepr::parse(&smoltcp, &src, &dst, &ChecksumCapabilities::ignored());
    let parsed = ParsedTcp {
        header: *header,
        header_len: usize::from(smoltcp.header_len()),
        malformed_options: ours.malformed_options,
    };
    match repr {
        Ok(repr) => {
            // To smoltcp, Fast Open (34) is unknown whatever its length, and so are timestamps (8) of a wrong
            // one. RFC 9293 3.1 MUST-7 wants illegal lengths noticed.
            let strange = parsed.malformed_options && has_unknown(segment, &parsed, &[8, 34]);
            assert!(!parsed.malformed_options || strange, "smoltcp takes the options of {segment:02x?}");
            same_tcp_options(header, &repr);
        }
        // smoltcp refuses port 0, mixtures of SYN, FIN, RST and PSH, and options with illegal lengths: here
        // these are for the connection to judge (RFC 9293 3.10.7), and SYN-only options are not looked at
        // elsewhere.
        Err(_) => {
            let flags = header.flags.bits() & 0x0f;
            let plain = flags & 7 == 0 || (flags & 7).count_ones() == 1;
            let ports = header.src_port != 0 && header.dst_port != 0;
            let options = parsed.malformed_options || !header.flags.contains(ropeway_packet::TcpFlags::SYN);
            assert!(!plain || !ports || options, "smoltcp refuses {segment:02x?}");
        }
    }
    same_options_as_pnet(segment, &parsed);
}

fn same_tcp_fixed(segment: &[u8], header: &TcpHeader, smoltcp: &wire::TcpPacket<&[u8]>) {
    let pnet = pnet_packet::tcp::TcpPacket::new(segment).expect("20 bytes");
    assert_eq!((header.src_port, header.dst_port), (pnet.get_source(), pnet.get_destination()));
    assert_eq!((header.src_port, header.dst_port), (smoltcp.src_port(), smoltcp.dst_port()));
    assert_eq!((header.seq.get(), header.ack.get()), (pnet.get_sequence(), pnet.get_acknowledgement()));
    let seqs = (smoltcp.seq_number().0.cast_unsigned(), smoltcp.ack_number().0.cast_unsigned());
    assert_eq!((header.seq.get(), header.ack.get()), seqs);
    assert_eq!((header.window, header.urgent), (pnet.get_window(), pnet.get_urgent_ptr()));
    assert_eq!((header.window, header.urgent), (smoltcp.window_len(), smoltcp.urgent_at()));
    assert_eq!(usize::from(pnet.get_data_offset()) * 4, usize::from(smoltcp.header_len()));
    // The lowest reserved bit is AE, once NS; the other three are ignored (RFC 9293 3.1).
    let flags = header.flags.bits();
    assert_eq!(flags, u16::from(pnet.get_reserved() & 1) << 8 | u16::from(pnet.get_flags()));
    let theirs = [
        smoltcp.fin(),
        smoltcp.syn(),
        smoltcp.rst(),
        smoltcp.psh(),
        smoltcp.ack(),
        smoltcp.urg(),
        smoltcp.ece(),
        smoltcp.cwr(),
        smoltcp.ns(),
    ];
    for (bit, theirs) in theirs.into_iter().enumerate() {
        assert_eq!(flags & (1 << bit) != 0, theirs, "flag {bit} of {segment:02x?}");
    }
}

fn same_tcp_options(header: &TcpHeader, repr: &wire::TcpRepr<'_>) {
    let ours = &header.options;
    if header.flags.contains(ropeway_packet::TcpFlags::SYN) {
        assert_eq!(ours.mss, repr.max_seg_size);
        // RFC 7323 2.3: above 14 counts as 14; here the caller's WindowScale does that.
        assert_eq!(ours.window_scale.map(|shift| shift.min(14)), repr.window_scale);
        assert_eq!(ours.sack_permitted, repr.sack_permitted);
    } else {
        assert_eq!((ours.mss, ours.window_scale, ours.sack_permitted), (None, None, false));
    }
    let timestamps = repr.timestamp.map(|theirs| (theirs.tsval, theirs.tsecr));
    assert_eq!(ours.timestamps.map(|ours| (ours.tsval, ours.tsecr)), timestamps);
    // smoltcp keeps three blocks.
    let theirs = repr.sack_ranges.iter().flatten().copied();
    let ours = ours.sack.as_slice().iter().map(|(start, end)| (start.get(), end.get()));
    assert!(ours.take(3).eq(theirs), "SACK blocks");
}

/// Whether an option of these kinds is there that smoltcp does not understand.
fn has_unknown(segment: &[u8], parsed: &ParsedTcp, kinds: &[u8]) -> bool {
    let mut rest = &segment[20..parsed.header_len];
    while let Ok((next, option)) = wire::TcpOption::parse(rest) {
        match option {
            wire::TcpOption::EndOfList => return false,
            wire::TcpOption::Unknown { kind, .. } if kinds.contains(&kind) => return true,
            _ => rest = next,
        }
    }
    false
}

/// pnet walks past the end of the list and cuts what is too long, so well-formed lists are compared, and those
/// before their end.
fn same_options_as_pnet(segment: &[u8], parsed: &ParsedTcp) {
    if parsed.malformed_options {
        return;
    }
    let pnet = pnet_packet::tcp::TcpPacket::new(segment).expect("20 bytes");
    let syn = parsed.header.flags.contains(ropeway_packet::TcpFlags::SYN);
    let mut theirs = TcpOptions::default();
    for option in pnet.get_options_iter() {
        let value = option.payload();
        match option.get_number() {
            numbers::EOL => break,
            numbers::MSS if syn => theirs.mss = Some(be16(value)),
            numbers::WSCALE if syn => theirs.window_scale = value.first().copied(),
            numbers::SACK_PERMITTED if syn => theirs.sack_permitted = true,
            numbers::TIMESTAMPS => {
                theirs.timestamps =
                    Some(ropeway_packet::Timestamps { tsval: be32(&value[..4]), tsecr: be32(&value[4..8]) });
            }
            numbers::SACK => {
                theirs.sack = SackBlocks::EMPTY;
                for block in value.chunks_exact(8) {
                    let number = |bytes| ropeway_packet::SeqNum::new(be32(bytes));
                    theirs.sack.push((number(&block[..4]), number(&block[4..])));
                }
            }
            _ => {}
        }
    }
    let ours = TcpOptions { fast_open: None, ..parsed.header.options };
    assert_eq!(ours, theirs, "options of {segment:02x?}");
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().expect("two bytes"))
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn udp(bytes: &[u8], ip: &IpPacket, datagram: &[u8]) {
    let ours = udp::parse(bytes, ip, true);
    let (src, dst) = addresses(ip);
    let Ok(smoltcp) = wire::UdpPacket::new_checked(datagram) else {
        assert!(ours.is_err(), "smoltcp refuses {bytes:02x?}: {ours:?}");
        return;
    };
    // Without a checksum it is taken over IPv4 only (RFC 8200 8.1).
    let missing = smoltcp.checksum() == 0;
    let right = is_right_with_pseudo_header(ip, &datagram[..usize::from(smoltcp.len())]);
    is_same(right || missing, smoltcp.verify_checksum(&src, &dst) || missing);
    let good = if missing { ip.src.is_ipv4() } else { right };
    assert_eq!(ours.is_ok(), good, "{bytes:02x?}: {ours:?}");
    let repr = wire::UdpRepr::parse(&smoltcp, &src, &dst, &ChecksumCapabilities::ignored());
    // smoltcp refuses port 0 as a destination: here that is for who looks for a socket.
    assert_eq!(repr.is_ok(), smoltcp.dst_port() != 0, "{bytes:02x?}");
    let Ok(ours) = ours else { return };
    let pnet = pnet_packet::udp::UdpPacket::new(datagram).expect("8 bytes");
    let header = (ours.header.src_port, ours.header.dst_port, ours.header.len);
    assert_eq!(header, (pnet.get_source(), pnet.get_destination(), pnet.get_length()));
    assert_eq!(header, (smoltcp.src_port(), smoltcp.dst_port(), smoltcp.len()));
    assert_eq!(&bytes[ours.payload], smoltcp.payload());
}

fn icmp_v4(bytes: &[u8], ip: &IpPacket, message: &[u8]) {
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

fn same_echo(bytes: &[u8], ours: (u16, u16, std::ops::Range<usize>), smoltcp: &wire::Icmpv4Packet<&[u8]>) {
    assert_eq!((ours.0, ours.1), (smoltcp.echo_ident(), smoltcp.echo_seq_no()));
    assert_eq!(&bytes[ours.2], smoltcp.data());
}

/// Whom the quoted packet was from and to. smoltcp wants eight bytes behind its header, and a quote that is as
/// long as it says; here a router that quotes less is understood too (RFC 1812 4.3.2.3).
fn same_quote(bytes: &[u8], quote: std::ops::Range<usize>, repr: &Result<wire::Icmpv4Repr<'_>, wire::Error>) {
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

fn icmp_v6(bytes: &[u8], ip: &IpPacket, message: &[u8]) {
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
