use pnet_packet::udp as pnet;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ip;

fn params(src: &str, dst: &str) -> IpParams {
    IpParams {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: false,
        ident: 7,
        flow_label: 0,
    }
}

fn v4() -> IpParams {
    params("192.0.2.1", "192.0.2.2")
}

fn v6() -> IpParams {
    params("2001:db8::1", "2001:db8::2")
}

fn read(packet: &[u8]) -> Result<UdpDatagram, UdpError> {
    parse(packet, &ip::parse(packet).unwrap(), true)
}

#[test]
fn lengths_are_checked() {
    for params in [v4(), v6()] {
        let at = params.header_len();
        let good = emit(&params, 1, 2, b"hello").unwrap();
        let with_len = |len: u16| {
            let mut bytes = good.clone();
            bytes[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
            // A changed length is a wrong checksum too; it is judged last.
            read(&bytes)
        };
        for len in (0..8).chain(14..20).chain([u16::MAX]) {
            assert_eq!(with_len(len), Err(UdpError::BadLength), "{len}");
        }
        for len in 8..13 {
            assert_eq!(with_len(len), Err(UdpError::BadChecksum), "{len}");
        }
        assert_eq!(with_len(13).unwrap().payload, at + 8..at + 13);
        // An IP payload that ends within the header.
        for len in 0..8 {
            let mut bytes = good[..at + len].to_vec();
            IpParams { protocol: Protocol::UDP, ..params }.emit(len, &mut bytes);
            assert_eq!(read(&bytes), Err(UdpError::Truncated), "{len}");
        }
    }
}

#[test]
fn bytes_behind_the_datagram_are_ignored() {
    let mut bytes = emit(&v4(), 1, 2, b"hello").unwrap();
    bytes.extend_from_slice(b"trailer");
    v4().emit(20, &mut bytes);
    assert_eq!(read(&bytes).unwrap().payload, 28..33);
}

#[test]
fn checksum_is_verified() {
    for params in [v4(), v6()] {
        let at = params.header_len();
        let good = emit(&params, 1, 2, b"odd").unwrap();
        for bit in (at * 8..good.len() * 8).filter(|bit| !(at + 4..at + 6).contains(&(bit / 8))) {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(read(&bytes), Err(UdpError::BadChecksum), "bit {bit}");
            let ip = ip::parse(&bytes).unwrap();
            assert!(parse(&bytes, &ip, false).is_ok());
        }
    }
}

// RFC 8200 8.1-2
#[test]
fn no_checksum_is_a_matter_of_the_family() {
    let mut bytes = emit(&v4(), 1, 2, b"hello").unwrap();
    bytes[26..28].fill(0);
    assert!(read(&bytes).is_ok());
    let mut bytes = emit(&v6(), 1, 2, b"hello").unwrap();
    bytes[46..48].fill(0);
    assert_eq!(read(&bytes), Err(UdpError::MissingChecksum));
    let ip = ip::parse(&bytes).unwrap();
    assert_eq!(parse(&bytes, &ip, false), Err(UdpError::MissingChecksum));
}

// RFC 8200 8.1-1
#[test]
fn a_checksum_of_zero_is_sent_as_ones() {
    // Choose the payload so that the sum comes out as zero.
    let zeros = emit(&v4(), 1, 2, &[0, 0]).unwrap();
    let rest = [zeros[26], zeros[27]];
    let bytes = emit(&v4(), 1, 2, &rest).unwrap();
    assert_eq!(bytes[26..28], [0xff, 0xff]);
    assert!(read(&bytes).is_ok());
}

#[test]
fn other_packets_are_refused() {
    let mut bytes = emit(&v4(), 1, 2, b"eight by").unwrap();
    let mut ip = ip::parse(&bytes).unwrap();
    ip.protocol = Protocol::TCP;
    assert_eq!(parse(&bytes, &ip, true), Err(UdpError::NotUdp));
    ip.protocol = Protocol::UDP;
    ip.fragment = Some(crate::Fragment { offset: 0, more: true });
    assert_eq!(parse(&bytes, &ip, true), Err(UdpError::Fragment));
    // A header that belongs to another packet does no harm.
    ip.fragment = None;
    bytes.truncate(25);
    assert_eq!(parse(&bytes, &ip, true), Err(UdpError::Truncated));
}

#[test]
fn the_longest_datagrams() {
    for (params, longest) in [(v4(), 65_507), (v6(), 65_527)] {
        let bytes = emit(&params, 1, 2, &vec![1; longest]).unwrap();
        assert_eq!(bytes.len(), params.header_len() + 8 + longest);
        assert_eq!(read(&bytes).unwrap().payload.len(), longest);
        assert_eq!(emit(&params, 1, 2, &vec![1; longest + 1]), Err(UdpError::TooLong));
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(src_port: u16, dst_port: u16, payload in vec(any::<u8>(), 0..64), is_v4: bool) {
        let params = if is_v4 { v4() } else { v6() };
        let bytes = emit(&params, src_port, dst_port, &payload).unwrap();
        let datagram = read(&bytes).unwrap();
        let len = u16::try_from(8 + payload.len()).unwrap();
        prop_assert_eq!(datagram.header, UdpHeader { src_port, dst_port, len });
        prop_assert_eq!(&bytes[datagram.payload], &payload[..]);
    }

    #[test]
    fn pnet_agrees(src_port: u16, dst_port: u16, payload in vec(any::<u8>(), 0..64), is_v4: bool) {
        let params = if is_v4 { v4() } else { v6() };
        let bytes = emit(&params, src_port, dst_port, &payload).unwrap();
        let packet = UdpPacket::new(&bytes[params.header_len()..]).unwrap();
        prop_assert_eq!(packet.get_source(), src_port);
        prop_assert_eq!(packet.get_destination(), dst_port);
        prop_assert_eq!(usize::from(packet.get_length()), 8 + payload.len());
        let expected = match (params.src, params.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => pnet::ipv4_checksum(&packet, &src, &dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => pnet::ipv6_checksum(&packet, &src, &dst),
            _ => unreachable!("one family"),
        };
        prop_assert_eq!(packet.get_checksum(), if expected == 0 { u16::MAX } else { expected });
    }
}
