use std::net::IpAddr;

use pnet_packet::tcp::{self as pnet, TcpPacket};

use super::*;
use crate::checksum::pseudo_header;
use crate::{ip, parse_tcp, udp};

fn cut(params: &IpParams, header: &TcpHeader, payload: &Payload, size: u16) -> Vec<Vec<u8>> {
    let split = split(&headers_of(params, header, payload), payload, size).unwrap();
    split.map(|cut| whole(&cut)).collect()
}

fn flags_of(packets: &[Vec<u8>]) -> Vec<TcpFlags> {
    let tcp = |packet: &Vec<u8>| parse_tcp(packet, ip::parse(packet).unwrap(), true).unwrap().tcp;
    packets.iter().map(|packet| tcp(packet).flags).collect()
}

#[test]
fn push_and_fin_stand_on_the_last_and_cwr_on_the_first() {
    const ACK: TcpFlags = TcpFlags::ACK;
    let all = ACK | TcpFlags::PSH | TcpFlags::FIN | TcpFlags::CWR | TcpFlags::ECE;
    let header = TcpHeader { flags: all, ..header() };
    let payload = Payload::from(Bytes::from(data(250)));
    let ends = TcpFlags::PSH | TcpFlags::FIN;
    for is_v4 in [true, false] {
        let headers = headers_of(&params(is_v4), &header, &payload);
        // RFC 3168 6.1: ECE is repeated until CWR comes, CWR is said once.
        let classic: Vec<_> = split(&headers, &payload, 100).unwrap().map(|cut| whole(&cut)).collect();
        let ece = ACK | TcpFlags::ECE;
        assert_eq!(flags_of(&classic), [ece | TcpFlags::CWR, ece, ece | ends]);
        // RFC 9768 3.2.2: the three bits are one number.
        let accurate: Vec<_> =
            split(&headers, &payload, 100).unwrap().accurate_ecn().map(|cut| whole(&cut)).collect();
        let ace = ece | TcpFlags::CWR;
        assert_eq!(flags_of(&accurate), [ace, ace, ace | ends]);
    }
    let header = TcpHeader { flags: ACK | TcpFlags::AE, ..header };
    let headers = headers_of(&params(true), &header, &payload);
    let pushed: Vec<_> = split(&headers, &payload, 100).unwrap().push().map(|cut| whole(&cut)).collect();
    let ae = ACK | TcpFlags::AE;
    assert_eq!(flags_of(&pushed), [ae, ae, ae | TcpFlags::PSH]);
}

#[test]
fn what_fits_into_one_segment_makes_one() {
    for (len, flags) in [(0, TcpFlags::ACK), (0, TcpFlags::SYN), (100, TcpFlags::ACK | TcpFlags::URG)] {
        let header = TcpHeader { flags, ..header() };
        let data = data(len);
        let payload = Payload::from(Bytes::from(data.clone()));
        for is_v4 in [true, false] {
            let params = params(is_v4);
            assert_eq!(cut(&params, &header, &payload, 100), [packet(&params, &header, &data)]);
        }
    }
}

#[test]
fn a_train_may_be_longer_than_a_packet() {
    let data = data(65_535);
    let payload = Payload::from(Bytes::from(data.clone()));
    for is_v4 in [true, false] {
        let params = IpParams { dont_fragment: false, ident: 65_530, ..params(is_v4) };
        for size in [1, 536, 1448, 65_000] {
            let packets = cut(&params, &header(), &payload, size);
            assert_eq!(packets.len(), 65_535_usize.div_ceil(size.into()));
            assert_eq!(packets, one_by_one(&params, &header(), &data, size.into()), "{size}");
        }
    }
}

#[test]
fn identifications_count_where_routers_may_fragment() {
    let payload = Payload::from(Bytes::from(data(250)));
    for (dont_fragment, expected) in [(true, [65_535, 65_535, 65_535]), (false, [65_535, 0, 1])] {
        let params = IpParams { dont_fragment, ident: 65_535, ..params(true) };
        let packets = cut(&params, &header(), &payload, 100);
        let idents: Vec<u32> = packets.iter().map(|packet| ip::parse(packet).unwrap().ident).collect();
        assert_eq!(idents, expected);
    }
}

#[test]
fn a_partial_checksum_is_the_pseudo_header_sum_of_each_segment() {
    let payload = Payload::from(Bytes::from(data(250)));
    for is_v4 in [true, false] {
        let params = params(is_v4);
        let headers = headers_of(&params, &header(), &payload);
        let partial = split(&headers, &payload, 100).unwrap().checksum(ChecksumMode::Partial);
        for (mut cut, full) in partial.zip(split(&headers, &payload, 100).unwrap()) {
            let at = params.header_len() + 16;
            let len = u32::try_from(cut.len() - params.header_len()).unwrap();
            let sum = pseudo_header(params.src, params.dst, Protocol::TCP, len).fold();
            assert_eq!(cut.headers[at..at + 2], sum.to_be_bytes());
            cut.headers.as_mut()[at..at + 2].copy_from_slice(&full.headers[at..at + 2]);
            assert_eq!(whole(&cut), whole(&full));
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let payload = Payload::from(Bytes::from(data(250)));
    let refused = |headers: &[u8], size| split(headers, &payload, size).map(|_| ()).unwrap_err();
    for is_v4 in [true, false] {
        let params = params(is_v4);
        let headers = headers_of(&params, &header(), &payload);
        assert_eq!(refused(&headers, 0), SplitError::SegmentSize);
        for len in 0..headers.len() {
            assert_eq!(refused(&headers[..len], 100), SplitError::Headers, "{len}");
        }
        for flag in [TcpFlags::SYN, TcpFlags::RST, TcpFlags::URG] {
            let header = TcpHeader { flags: TcpFlags::ACK | flag, ..header() };
            let headers = headers_of(&params, &header, &payload);
            assert_eq!(refused(&headers, 100), SplitError::Flags);
        }
        let at = if is_v4 { 9 } else { 6 };
        for protocol in [Protocol::ICMP, Protocol::IPV6_DESTINATION_OPTIONS, Protocol::IPV6_FRAGMENT] {
            let mut headers = headers.clone();
            headers.as_mut()[at] = protocol.0;
            assert_eq!(refused(&headers, 100), SplitError::Headers);
        }
        let mut short = headers.clone();
        short.as_mut()[params.header_len() + 12] = 0x40;
        assert_eq!(refused(&short, 100), SplitError::Headers);
    }
    let headers = headers_of(&params(true), &header(), &payload);
    for (at, byte) in [(0, 0x46), (0, 0x50), (6, 0x20), (7, 1)] {
        let mut headers = headers.clone();
        headers.as_mut()[at] = byte;
        assert_eq!(refused(&headers, 100), SplitError::Headers);
    }
    let long = Payload::from(Bytes::from(data(70_000)));
    assert_eq!(split(&headers, &long, 65_535).unwrap_err(), SplitError::SegmentSize);
    assert!(split(&headers, &long, 65_535 - 52).is_ok());
    for error in [SplitError::Headers, SplitError::SegmentSize, SplitError::Flags] {
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_buffer_that_is_too_short_takes_nothing() {
    let payload = Payload::from(Bytes::from(data(250)));
    let headers = headers_of(&params(true), &header(), &payload);
    let mut split = split(&headers, &payload, 100).unwrap();
    let mut out = [0; 200];
    assert_eq!(split.fill(&mut out[..151]), None);
    assert_eq!(split.len(), 3);
    assert_eq!(split.fill(&mut out[..152]), Some(152));
    assert_eq!(split.fill(&mut out), Some(152));
    assert_eq!(split.fill(&mut out[..101]), None);
    assert_eq!(split.fill(&mut out[..102]), Some(102));
    assert_eq!((split.fill(&mut out), split.len()), (None, 0));
}

proptest! {
    #[test]
    fn each_segment_is_what_the_serialiser_makes(
        (params, header) in any_train(),
        data in vec(any::<u8>(), 0..2000),
        cuts in any_cuts(),
        size in 1_u16..1500,
    ) {
        let payload = parts(&data, &cuts);
        let expected = one_by_one(&params, &header, &data, size.into());
        let headers = headers_of(&params, &header, &payload);
        let mut split = split(&headers, &payload, size).unwrap();
        prop_assert_eq!(split.len(), expected.len());
        let listed: Vec<_> = split.clone().map(|cut| whole(&cut)).collect();
        prop_assert_eq!(&listed, &expected);
        for cut in split.clone() {
            prop_assert_eq!(cut.payload.to_payload().to_vec(), cut.payload.collect::<Vec<_>>().concat());
        }
        let mut out = vec![0xa5; 1700];
        for packet in &expected {
            let len = split.fill(&mut out).unwrap();
            prop_assert_eq!(&out[..len], &packet[..]);
        }
        prop_assert_eq!(split.fill(&mut out), None);
    }

    #[test]
    fn each_datagram_is_what_the_serialiser_makes(
        (params, _) in any_train(),
        data in vec(any::<u8>(), 0..2000),
        cuts in any_cuts(),
        size in 1_u16..1500,
        partial: bool,
    ) {
        let payload = parts(&data, &cuts);
        let whole_of = udp::emit(&params, 4000, 53, &data).unwrap();
        let headers = &whole_of[..params.header_len() + udp::HEADER_LEN];
        let chunks: Vec<&[u8]> = if data.is_empty() { vec![&data] } else { data.chunks(size.into()).collect() };
        let split = split(headers, &payload, size).unwrap();
        prop_assert_eq!(split.len(), chunks.len());
        let mode = if partial { ChecksumMode::Partial } else { ChecksumMode::Full };
        for ((index, chunk), cut) in chunks.into_iter().enumerate().zip(split.checksum(mode)) {
            let step = if params.dont_fragment { 0 } else { u16::try_from(index).unwrap() };
            let params = IpParams { ident: params.ident.wrapping_add(step), ..params };
            let mut packet = whole(&cut);
            if partial {
                let partial = crate::checksum::Partial::of(&packet).unwrap();
                prop_assert!(partial.complete(&mut packet));
            }
            prop_assert_eq!(packet, udp::emit(&params, 4000, 53, chunk).unwrap());
        }
    }

    #[test]
    fn pnet_computes_the_same_checksums(
        (params, header) in any_train(),
        data in vec(any::<u8>(), 0..2000),
        size in 1_u16..1500,
    ) {
        for packet in cut(&params, &header, &Payload::from(Bytes::from(data)), size) {
            let tcp = TcpPacket::new(&packet[params.header_len()..]).unwrap();
            let expected = match (params.src, params.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => pnet::ipv4_checksum(&tcp, &src, &dst),
                (IpAddr::V6(src), IpAddr::V6(dst)) => pnet::ipv6_checksum(&tcp, &src, &dst),
                _ => unreachable!("one family"),
            };
            prop_assert_eq!(tcp.get_checksum(), expected);
            if params.src.is_ipv4() {
                let ip = pnet_packet::ipv4::Ipv4Packet::new(&packet).unwrap();
                prop_assert_eq!(ip.get_checksum(), pnet_packet::ipv4::checksum(&ip));
            }
        }
    }
}
