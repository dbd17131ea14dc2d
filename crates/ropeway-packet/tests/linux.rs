//! Packets that Linux sent: read, understood, and written again byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop"
)]

mod corpus;
mod exercise;

use bytes::Bytes;
use corpus::Captured;
use ropeway_packet::{
    ChecksumMode, FastOpen, Fragment, IcmpMessage, IpPacket, IpParams, Payload, Protocol, SeqNum, TcpFlags,
    TcpOptions, TcpSegment, Timestamps, UnreachableKind, emit_tcp, icmp, ip, parse_tcp, udp,
};

fn packet(name: &str) -> Vec<u8> {
    let found = corpus::packets().into_iter().find(|packet| packet.name == name);
    found.unwrap_or_else(|| panic!("no packet {name}")).bytes
}

fn segment(name: &str) -> TcpSegment {
    let bytes = packet(name);
    parse_tcp(&bytes, ip::parse(&bytes).unwrap(), true).unwrap()
}

/// What makes the same IP header. The flow label is not kept in [`IpPacket`]; it stands at the start.
fn params(ip: &IpPacket, bytes: &[u8]) -> IpParams {
    let flow_label = u32::from_be_bytes([0, bytes[1] & 0x0f, bytes[2], bytes[3]]);
    IpParams {
        src: ip.src,
        dst: ip.dst,
        protocol: ip.protocol,
        hop_limit: ip.hop_limit,
        traffic_class: ip.traffic_class,
        dont_fragment: ip.dont_fragment,
        ident: u16::try_from(ip.ident).unwrap(),
        flow_label: if ip.src.is_ipv6() { flow_label } else { 0 },
    }
}

/// The SYN of a connect() to port 80 on Linux 6.18, MTU 1500, but for what differs from one connection to the next.
#[test]
fn syn_byte_for_byte() {
    let syn = [
        0x45, 0x00, 0x00, 0x3c, 0xe8, 0xeb, 0x40, 0x00, 0x40, 0x06, 0x3d, 0xbc, 0x0a, 0x09, 0x00,
        0x01, //
        0x0a, 0x09, 0x00, 0x02, 0xda, 0x3a, 0x00, 0x50, 0x34, 0x32, 0x8d, 0xc7, 0x00, 0x00, 0x00,
        0x00, //
        0xa0, 0x02, 0xfa, 0xf0, 0xb6, 0xb4, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08,
        0x0a, //
        0x0a, 0x60, 0xdb, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x0a,
    ];
    let params = IpParams {
        src: "10.9.0.1".parse().unwrap(),
        dst: "10.9.0.2".parse().unwrap(),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0xe8eb,
        flow_label: 0,
    };
    let header = ropeway_packet::TcpHeader {
        src_port: 0xda3a,
        dst_port: 80,
        seq: SeqNum::new(0x3432_8dc7),
        flags: TcpFlags::SYN,
        window: 64_240,
        options: TcpOptions {
            mss: Some(1460),
            window_scale: Some(10),
            sack_permitted: true,
            timestamps: Some(Timestamps { tsval: 0x0a60_db5e, tsecr: 0 }),
            ..TcpOptions::default()
        },
        ..ropeway_packet::TcpHeader::default()
    };
    assert_eq!(emit_tcp(&params, &header, &Payload::new(), ChecksumMode::Full)[..], syn);
    let parsed = parse_tcp(&syn, ip::parse(&syn).unwrap(), true).unwrap();
    assert_eq!(parsed.tcp, header);
}

#[test]
fn every_tcp_segment_is_written_as_linux_did() {
    let mut count = 0;
    for Captured { name, bytes } in corpus::packets() {
        let ip = ip::parse(&bytes).unwrap();
        let Ok(segment) = parse_tcp(&bytes, ip.clone(), true) else {
            continue;
        };
        assert!(!segment.malformed_options, "{name}");
        let payload = Payload::from(Bytes::copy_from_slice(&bytes[segment.payload]));
        let mut again = emit_tcp(&params(&ip, &bytes), &segment.tcp, &payload, ChecksumMode::Full).to_vec();
        again.extend(payload.to_vec());
        assert_eq!(again, bytes, "{name}");
        count += 1;
    }
    assert_eq!(count, 14);
}

#[test]
fn every_packet_is_exercised() {
    for Captured { name, bytes } in corpus::packets() {
        assert_eq!(exercise::exercise(&bytes), !name.contains("fragment"), "{name}");
        let mut repaired = bytes.clone();
        exercise::repair(&mut repaired);
        assert!(repaired == bytes, "{name} was right before");
    }
}

#[test]
fn handshakes() {
    for family in ["v4", "v6"] {
        let mss = if family == "v4" { 1460 } else { 1440 };
        for (name, flags) in [("syn", TcpFlags::SYN), ("syn_ack", TcpFlags::SYN | TcpFlags::ACK)] {
            let tcp = segment(&format!("{family}_{name}")).tcp;
            assert_eq!(tcp.flags, flags);
            assert_eq!(tcp.options.mss, Some(mss));
            assert!(tcp.options.sack_permitted);
            assert!(tcp.options.timestamps.is_some() && tcp.options.window_scale.is_some());
        }
        let request = segment(&format!("{family}_syn_fast_open_request")).tcp.options;
        assert_eq!(request.fast_open, Some(FastOpen::REQUEST));
    }
}

#[test]
fn data_out_of_order_is_acknowledged_selectively() {
    for family in ["v4", "v6"] {
        let tcp = segment(&format!("{family}_ack_with_sack")).tcp;
        let blocks = [(6001, 6101), (4001, 4101), (2001, 2101)];
        assert_eq!(
            tcp.options.sack.as_slice(),
            blocks.map(|(start, end)| (SeqNum::new(start), SeqNum::new(end)))
        );
        assert_eq!(tcp.ack, SeqNum::new(1001));
    }
}

#[test]
fn data_fin_and_rst() {
    for family in ["v4", "v6"] {
        let bytes = packet(&format!("{family}_data"));
        let data = segment(&format!("{family}_data"));
        assert_eq!(&bytes[data.payload.clone()], b"odd");
        assert_eq!(data.tcp.segment_len(data.payload.len()), 3);
        let fin = segment(&format!("{family}_fin")).tcp;
        assert!(fin.flags.contains(TcpFlags::FIN));
        assert_eq!(fin.seq, data.tcp.seq + 3);
        let rst = segment(&format!("{family}_rst")).tcp;
        assert_eq!((rst.flags, rst.ack), (TcpFlags::RST | TcpFlags::ACK, SeqNum::new(2)));
    }
}

#[test]
fn datagrams_are_written_as_linux_did() {
    for family in ["v4", "v6"] {
        let bytes = packet(&format!("{family}_udp"));
        let ip = ip::parse(&bytes).unwrap();
        let datagram = udp::parse(&bytes, &ip, true).unwrap();
        assert_eq!(&bytes[datagram.payload.clone()], b"four");
        let header = datagram.header;
        let again =
            udp::emit(&params(&ip, &bytes), header.src_port, header.dst_port, &bytes[datagram.payload]);
        assert_eq!(again, Ok(bytes));
    }
}

#[test]
fn fragments_fit_together() {
    for family in ["v4", "v6"] {
        let first = packet(&format!("{family}_fragment_first"));
        let last = packet(&format!("{family}_fragment_last"));
        let (one, two) = (ip::parse(&first).unwrap(), ip::parse(&last).unwrap());
        assert_eq!(one.fragment, Some(Fragment { offset: 0, more: true }));
        let offset = u16::try_from(one.payload.len()).unwrap();
        assert_eq!(two.fragment, Some(Fragment { offset, more: false }));
        assert_eq!((one.ident, one.protocol), (two.ident, two.protocol));
        // Put together they are the datagram that was sent, checksum and all.
        let data = [&first[one.payload.clone()], &last[two.payload]].concat();
        let params = params(&IpPacket { ident: 0, ..one }, &first);
        let mut whole = vec![0; params.header_len()];
        params.emit(data.len(), &mut whole);
        whole.extend(data);
        let datagram = udp::parse(&whole, &ip::parse(&whole).unwrap(), true).unwrap();
        assert!(whole[datagram.payload.clone()].iter().all(|&byte| byte == b'y'));
        assert_eq!(datagram.payload.len(), 1600);
    }
}

#[test]
fn echoes() {
    for family in ["v4", "v6"] {
        let read = |name: &str| {
            let bytes = packet(&format!("{family}_{name}"));
            icmp::parse(&bytes, &ip::parse(&bytes).unwrap()).unwrap()
        };
        let IcmpMessage::EchoRequest { data, seq, .. } = read("echo_request") else { panic!("no request") };
        assert_eq!((data.len(), seq), (56, 1));
        assert!(matches!(read("echo_reply"), IcmpMessage::EchoReply { .. }));
    }
}

#[test]
fn port_unreachable() {
    for family in ["v4", "v6"] {
        let bytes = packet(&format!("{family}_port_unreachable"));
        let ip = ip::parse(&bytes).unwrap();
        let IcmpMessage::Unreachable { code, quote } = icmp::parse(&bytes, &ip).unwrap() else {
            panic!("another")
        };
        assert_eq!(code.kind, UnreachableKind::Port);
        let quoted = icmp::parse_quote(&bytes[quote.clone()]).unwrap();
        assert_eq!((quoted.ip.src, quoted.ip.dst), (ip.dst, ip.src));
        assert_eq!((quoted.ip.protocol, quoted.ports), (Protocol::UDP, Some((5002, 82))));
        assert_eq!(usize::try_from(quoted.ip.total_len).unwrap(), quote.len());
        // Ours is the same from the ICMP header on; Linux sets other IP fields.
        let kind = icmp::IcmpErrorKind::Unreachable(UnreachableKind::Port);
        let ours = icmp::emit_error(ip.src, ip.dst, kind, &bytes[quote], 64);
        assert_eq!(ours[ip.payload.clone()], bytes[ip.payload]);
    }
}
