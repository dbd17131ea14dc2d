use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use pnet_packet::tcp::{self as pnet, TcpPacket};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Fragment, SeqNum, TcpFlags, TcpOptions, Timestamps, ip};

fn params(is_v4: bool) -> IpParams {
    let (src, dst) = if is_v4 { ("192.0.2.1", "192.0.2.2") } else { ("2001:db8::1", "2001:db8::2") };
    IpParams {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        // Overridden: it says what emit_tcp writes anyway.
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 2,
        dont_fragment: true,
        ident: 7,
        flow_label: 9,
    }
}

fn header() -> TcpHeader {
    TcpHeader {
        src_port: 1000,
        dst_port: 2000,
        seq: SeqNum::new(1),
        ack: SeqNum::new(2),
        flags: TcpFlags::ACK,
        window: 3,
        urgent: 0,
        options: TcpOptions { timestamps: Some(Timestamps { tsval: 4, tsecr: 5 }), ..TcpOptions::default() },
    }
}

fn packet(params: &IpParams, tcp: &TcpHeader, payload: &Payload) -> Vec<u8> {
    let mut bytes = emit_tcp(params, tcp, payload, ChecksumMode::Full).to_vec();
    bytes.extend(payload.to_vec());
    bytes
}

fn parts(parts: &[&'static [u8]]) -> Payload {
    parts.iter().map(|part| Bytes::from_static(part)).collect()
}

#[test]
fn payload_is_its_bytes() {
    let whole = Payload::from(Bytes::from_static(b"abcdef"));
    let cut = parts(&[b"", b"ab", b"", b"cde", b"f", b""]);
    assert_eq!(whole, cut);
    assert_eq!(cut.parts().map(Bytes::len).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!((cut.len(), cut.is_empty()), (6, false));
    assert_eq!(cut.to_vec(), b"abcdef");
    assert_eq!(cut.clone().into_bytes(), whole.clone().into_bytes());
    assert_ne!(cut, parts(&[b"abcdeF"]));
    assert_ne!(cut, parts(&[b"abcde"]));
    let empty = Payload::from(Bytes::new());
    assert_eq!((empty.parts().count(), empty.is_empty()), (0, true));
    assert_eq!(empty, Payload::new());
}

#[test]
fn slices_are_the_parts_of_a_range() {
    let payload = parts(&[b"ab", b"cde", b"f"]);
    let whole = payload.to_vec();
    for start in 0..8 {
        for end in start..9 {
            let slices = payload.slices(start..end);
            let expected = &whole[start.min(6)..end.min(6)];
            assert_eq!((slices.len(), slices.is_empty()), (expected.len(), expected.is_empty()));
            assert!(slices.clone().all(|slice| !slice.is_empty()));
            assert_eq!(slices.clone().collect::<Vec<_>>().concat(), expected);
            assert_eq!(slices.to_payload().to_vec(), expected);
        }
    }
    let part = Bytes::from(vec![1, 2, 3]);
    let shared = Payload::from(part.clone()).slices(1..3).to_payload().into_bytes();
    assert_eq!(shared.as_ptr(), part[1..].as_ptr());
    assert!(Payload::new().slices(0..1).next().is_none());
}

#[test]
fn one_part_is_not_copied() {
    let bytes = Bytes::from(vec![1, 2, 3]);
    let payload = Payload::from(bytes.clone());
    assert_eq!(payload.into_bytes().as_ptr(), bytes.as_ptr());
}

#[test]
fn four_tuples() {
    let local: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let remote: SocketAddr = "192.0.2.2:4000".parse().unwrap();
    let tuple = FourTuple::new(local, remote);
    assert_eq!((tuple.local(), tuple.remote()), (local, remote));
    assert_eq!(tuple.reversed(), FourTuple::new(remote, local));
    assert_eq!(tuple.reversed().reversed(), tuple);
    assert!(tuple.is_ipv4());
    assert_eq!(format!("{tuple} {tuple:?}"), [tuple.to_string(), tuple.to_string()].join(" "));
    assert_eq!(tuple.to_string(), "192.0.2.1:80 <-> 192.0.2.2:4000");
    let v6 = FourTuple::new("[::1]:80".parse().unwrap(), "[::2]:4000".parse().unwrap());
    assert_eq!(v6.to_string(), "[::1]:80 <-> [::2]:4000");
    assert!(!v6.is_ipv4());
}

#[test]
fn headers_have_room_for_the_longest() {
    let mut sack = crate::SackBlocks::EMPTY;
    while sack.push((SeqNum::new(1), SeqNum::new(2))) {}
    let longest = TcpHeader { options: TcpOptions { sack, ..header().options }, ..header() };
    for is_v4 in [true, false] {
        let params = params(is_v4);
        let headers = emit_tcp(&params, &longest, &Payload::new(), ChecksumMode::Full);
        assert_eq!(headers.len(), params.header_len() + 60);
        assert_eq!(headers.as_ref(), &headers[..]);
        assert_eq!(format!("{headers:?}"), format!("{:?}", headers.to_vec()));
    }
}

// RFC 9293 3.1 MUST-2
#[test]
fn partial_checksum_is_the_pseudo_header_sum() {
    let payload = parts(&[b"odd", b"even"]);
    for is_v4 in [true, false] {
        let params = params(is_v4);
        let full = packet(&params, &header(), &payload);
        let partial = emit_tcp(&params, &header(), &payload, ChecksumMode::Partial);
        let at = params.header_len();
        let len = u32::try_from(full.len() - at).unwrap();
        let sum = pseudo_header(params.src, params.dst, Protocol::TCP, len).fold();
        assert_eq!(partial[at + 16..at + 18], sum.to_be_bytes());
        // The device sums header and data, that field included, and puts the complement there.
        let mut device = crate::Checksum::new();
        device.add_bytes(&partial[at..]);
        device.add_bytes(&payload.to_vec());
        assert_eq!(full[at + 16..at + 18], device.finish().to_be_bytes());
        assert_eq!(full[..at + 16], partial[..at + 16]);
    }
}

#[test]
fn segments_are_found_and_verified() {
    for is_v4 in [true, false] {
        let params = params(is_v4);
        let good = packet(&params, &header(), &parts(&[b"hello"]));
        let ip = ip::parse(&good).unwrap();
        let segment = parse_tcp(&good, ip.clone(), true).unwrap();
        assert_eq!(segment.ip, ip);
        assert_eq!(segment.tcp, header());
        assert_eq!(&good[segment.payload], b"hello");
        assert!(!segment.malformed_options);
        let start = params.header_len();
        for bit in start * 8..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(parse_tcp(&bytes, ip.clone(), true).is_err(), "bit {bit}");
        }
        let mut bytes = good.clone();
        bytes[start] ^= 1;
        assert_eq!(parse_tcp(&bytes, ip.clone(), true), Err(TcpError::BadChecksum));
        assert!(parse_tcp(&bytes, ip.clone(), false).is_ok());
        // A header that belongs to another packet does no harm.
        assert_eq!(parse_tcp(&good[..good.len() - 1], ip, true), Err(TcpError::Truncated));
    }
}

#[test]
fn padding_of_the_link_is_no_data() {
    let mut bytes = packet(&params(true), &header(), &Payload::new());
    bytes.extend([0xaa; 6]);
    let segment = parse_tcp(&bytes, ip::parse(&bytes).unwrap(), true).unwrap();
    assert_eq!(segment.payload, 52..52);
}

#[test]
fn other_packets_are_refused() {
    let bytes = packet(&params(true), &header(), &Payload::new());
    let ip = ip::parse(&bytes).unwrap();
    let udp = IpPacket { protocol: Protocol::UDP, ..ip.clone() };
    assert_eq!(parse_tcp(&bytes, udp, true), Err(TcpError::NotTcp));
    let fragment = IpPacket { fragment: Some(Fragment { offset: 0, more: true }), ..ip };
    assert_eq!(parse_tcp(&bytes, fragment, true), Err(TcpError::Fragment));
}

#[test]
fn a_super_segment_has_its_whole_length() {
    // What a device with segmentation offload is given: lengths of the whole, up to 64 KiB.
    let payload = Payload::from(Bytes::from(vec![1; 65_000]));
    for is_v4 in [true, false] {
        let bytes = packet(&params(is_v4), &header(), &payload);
        let segment = parse_tcp(&bytes, ip::parse(&bytes).unwrap(), true).unwrap();
        assert_eq!(segment.payload.len(), 65_000);
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(is_v4: bool, data in vec(vec(any::<u8>(), 0..40), 0..5), seq: u32, window: u16) {
        let params = params(is_v4);
        let tcp = TcpHeader { seq: SeqNum::new(seq), window, ..header() };
        let payload: Payload = data.iter().cloned().map(Bytes::from).collect();
        let bytes = packet(&params, &tcp, &payload);
        let segment = parse_tcp(&bytes, ip::parse(&bytes).unwrap(), true).unwrap();
        prop_assert_eq!(segment.ip.protocol, Protocol::TCP);
        prop_assert_eq!(segment.ip.traffic_class, params.traffic_class);
        prop_assert_eq!(segment.tcp, tcp);
        prop_assert_eq!(&bytes[segment.payload], &data.concat()[..]);
    }

    // RFC 9293 3.1 MUST-2
    #[test]
    fn pnet_computes_the_same_checksum(is_v4: bool, data in vec(vec(any::<u8>(), 0..40), 0..5)) {
        let params = params(is_v4);
        let payload: Payload = data.into_iter().map(Bytes::from).collect();
        let bytes = packet(&params, &header(), &payload);
        let tcp = TcpPacket::new(&bytes[params.header_len()..]).unwrap();
        let expected = match (params.src, params.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => pnet::ipv4_checksum(&tcp, &src, &dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => pnet::ipv6_checksum(&tcp, &src, &dst),
            _ => unreachable!("one family"),
        };
        prop_assert_eq!(tcp.get_checksum(), expected);
    }
}
