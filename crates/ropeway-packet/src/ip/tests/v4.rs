use pnet_packet::ipv4::{self, Ipv4Packet};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{packet, params};
use crate::ip::*;
use crate::{Checksum, IpError};

/// The header of a packet with a payload of 40 bytes, changed by `change`, its checksum made right again.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet(&params("192.0.2.1", "198.51.100.2"), &[7; 40]);
    change(&mut bytes);
    let header_len = (usize::from(bytes[0] & 0x0f) * 4).min(bytes.len());
    bytes[10..12].fill(0);
    let mut checksum = Checksum::new();
    checksum.add_bytes(&bytes[..header_len]);
    bytes[10..12].copy_from_slice(&checksum.finish().to_be_bytes());
    bytes
}

fn set_total_length(bytes: &mut [u8], len: u16) {
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
}

fn set_fragment(bytes: &mut [u8], place: u16) {
    bytes[6..8].copy_from_slice(&place.to_be_bytes());
}

#[test]
fn every_field() {
    let expected = IpPacket {
        src: IpAddr::from([192, 0, 2, 1]),
        dst: IpAddr::from([198, 51, 100, 2]),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0b1011_0110,
        payload: 20..60,
        fragment: None,
        dont_fragment: true,
        ident: 0x1234,
        has_options: false,
    };
    assert_eq!(parse(&changed(|_| ())), Ok(expected));
}

#[test]
fn truncated_anywhere() {
    let bytes = changed(|_| ());
    for len in 0..bytes.len() {
        assert_eq!(parse(&bytes[..len]), Err(IpError::Truncated), "{len} bytes");
    }
}

#[test]
fn header_length() {
    for words in 0..5 {
        let bytes = changed(|bytes| bytes[0] = 0x40 | words);
        assert_eq!(parse(&bytes), Err(IpError::BadHeaderLength), "{words} words");
    }
    // Options are passed over, whatever they are: RFC 9293 3.9.2 MUST-50.
    for words in 6..=15 {
        let parsed = parse(&changed(|bytes| bytes[0] = 0x40 | words)).unwrap();
        assert_eq!(parsed.payload, usize::from(words) * 4..60);
        assert!(parsed.has_options);
    }
    let bytes = changed(|bytes| {
        bytes[0] = 0x4f;
        set_total_length(bytes, 59);
    });
    assert_eq!(parse(&bytes), Err(IpError::BadTotalLength));
}

#[test]
fn total_length() {
    for len in 0..20 {
        let bytes = changed(|bytes| set_total_length(bytes, len));
        assert_eq!(parse(&bytes), Err(IpError::BadTotalLength), "{len} bytes");
    }
    // What stands behind the end is padding of the link.
    for len in 20..=60 {
        let parsed = parse(&changed(|bytes| set_total_length(bytes, len))).unwrap();
        assert_eq!(parsed.payload, 20..usize::from(len));
    }
    for len in [61, 1500, u16::MAX] {
        let bytes = changed(|bytes| set_total_length(bytes, len));
        assert_eq!(parse(&bytes), Err(IpError::Truncated), "{len} bytes");
    }
}

#[test]
fn checksum() {
    let good = changed(|bytes| bytes[0] = 0x46);
    assert!(parse(&good).is_ok());
    // Each bit of the header, options included, but for the four that say IPv4.
    for bit in 4..24 * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(parse(&bytes).is_err(), "bit {bit}");
    }
    // The payload is not covered.
    let mut bytes = good;
    bytes[24] ^= 1;
    assert!(parse(&bytes).is_ok());
}

#[test]
fn fragments() {
    let whole = |place| parse(&changed(|bytes| set_fragment(bytes, place))).unwrap();
    assert_eq!(whole(0).fragment, None);
    assert!(!whole(0).dont_fragment);
    assert!(whole(0x4000).dont_fragment);
    // The reserved bit means nothing.
    assert_eq!(whole(0x8000).fragment, None);
    assert_eq!(whole(0x2000).fragment, Some(Fragment { offset: 0, more: true }));
    assert_eq!(whole(0x2003).fragment, Some(Fragment { offset: 24, more: true }));
    assert_eq!(whole(0x0003).fragment, Some(Fragment { offset: 24, more: false }));
}

#[test]
fn fragments_that_no_datagram_has() {
    // Not the last, and not a multiple of 8 bytes.
    let odd = changed(|bytes| {
        set_fragment(bytes, 0x2000);
        set_total_length(bytes, 59);
    });
    assert_eq!(parse(&odd), Err(IpError::BadFragment { offset: 2 }));
    // "Ping of death": beyond 65535 bytes.
    let beyond = changed(|bytes| set_fragment(bytes, 0x1fff));
    assert_eq!(parse(&beyond), Err(IpError::BadFragment { offset: 6 }));
    let with_length = |len| {
        changed(|bytes| {
            set_fragment(bytes, 0x1ffd);
            set_total_length(bytes, len);
        })
    };
    assert_eq!(parse(&with_length(23)).unwrap().fragment, Some(Fragment { offset: 65_512, more: false }));
    assert_eq!(parse(&with_length(24)), Err(IpError::BadFragment { offset: 6 }));
}

#[test]
fn errors_are_silent() {
    for error in [IpError::BadChecksum, IpError::BadTotalLength, IpError::BadVersion(5)] {
        assert_eq!(error.parameter_problem(false), None);
    }
    assert_eq!(protocol_offset(&changed(|_| ())), Some(9));
    assert_eq!(protocol_offset(&[0x45]), None);
}

prop_compose! {
    fn any_params()(
        src: [u8; 4], dst: [u8; 4], protocol: u8, hop_limit: u8, traffic_class: u8, dont_fragment: bool, ident: u16,
    ) -> IpParams {
        IpParams {
            src: src.into(), dst: dst.into(), protocol: Protocol(protocol), hop_limit, traffic_class, dont_fragment,
            ident, flow_label: 0,
        }
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(params in any_params(), payload in vec(any::<u8>(), 0..64), padding in 0..8_usize) {
        let mut bytes = packet(&params, &payload);
        bytes.resize(bytes.len() + padding, 0);
        let IpParams { src, dst, protocol, hop_limit, traffic_class, dont_fragment, ident, .. } = params;
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!(&parsed, &IpPacket {
            src, dst, protocol, hop_limit, traffic_class, payload: 20..20 + payload.len(), fragment: None,
            dont_fragment, ident: ident.into(), has_options: false,
        });
        prop_assert_eq!(&bytes[parsed.payload], &payload[..]);
    }

    #[test]
    fn pnet_reads_the_same(params in any_params(), len in 0..2000_usize) {
        let mut bytes = [0; 20];
        params.emit(len, &mut bytes);
        let pnet = Ipv4Packet::new(&bytes).unwrap();
        prop_assert_eq!(pnet.get_version(), 4);
        prop_assert_eq!(pnet.get_header_length(), 5);
        prop_assert_eq!(usize::from(pnet.get_total_length()), 20 + len);
        prop_assert_eq!(pnet.get_dscp() << 2 | pnet.get_ecn(), params.traffic_class);
        prop_assert_eq!(pnet.get_identification(), params.ident);
        prop_assert_eq!(pnet.get_flags(), if params.dont_fragment { 2 } else { 0 });
        prop_assert_eq!(pnet.get_fragment_offset(), 0);
        prop_assert_eq!(pnet.get_ttl(), params.hop_limit);
        prop_assert_eq!(pnet.get_next_level_protocol().0, params.protocol.0);
        prop_assert_eq!(IpAddr::from(pnet.get_source()), params.src);
        prop_assert_eq!(IpAddr::from(pnet.get_destination()), params.dst);
        prop_assert_eq!(pnet.get_checksum(), ipv4::checksum(&pnet));
    }

    #[test]
    fn pnet_agrees_on_any_header_that_is_accepted(mut bytes in vec(any::<u8>(), 60..100)) {
        bytes[0] = 0x45 + bytes[0] % 11;
        bytes[2] = 0;
        let bytes = changed(|packet| *packet = bytes);
        if let Ok(ours) = parse(&bytes) {
            let pnet = Ipv4Packet::new(&bytes).unwrap();
            let header_len = usize::from(pnet.get_header_length()) * 4;
            prop_assert_eq!(ours.payload, header_len..usize::from(pnet.get_total_length()));
            prop_assert_eq!(ours.ident, u32::from(pnet.get_identification()));
            prop_assert_eq!(ours.protocol.0, pnet.get_next_level_protocol().0);
            prop_assert_eq!(ours.hop_limit, pnet.get_ttl());
            prop_assert_eq!(ours.dont_fragment, pnet.get_flags() & 2 != 0);
            let place = ours.fragment.unwrap_or(Fragment { offset: 0, more: false });
            prop_assert_eq!(place.offset, pnet.get_fragment_offset() * 8);
            prop_assert_eq!(place.more, pnet.get_flags() & 1 != 0);
        }
    }
}
