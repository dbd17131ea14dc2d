use pnet_packet::ipv6::Ipv6Packet;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{packet, params};
use crate::ip::*;
use crate::{IpError, OptionReport};

/// Pads a header with one PadN option, or none if it is whole.
const PAD_4: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// A packet whose payload starts with a header of kind `first`.
fn chain(first: Protocol, payload: &[u8]) -> Vec<u8> {
    let params = IpParams { protocol: first, ..params("2001:db8::1", "2001:db8::2") };
    packet(&params, payload)
}

/// An extension header of 8 bytes: what follows, its length field, and the rest.
fn header(next: Protocol, len: u8, rest: [u8; 6]) -> Vec<u8> {
    [&[next.0, len][..], &rest].concat()
}

fn fragment(next: Protocol, place: u16, ident: u32) -> Vec<u8> {
    [&[next.0, 0][..], &place.to_be_bytes(), &ident.to_be_bytes()].concat()
}

#[test]
fn every_field() {
    let bytes = chain(Protocol::TCP, &[7; 24]);
    let expected = IpPacket {
        src: "2001:db8::1".parse().unwrap(),
        dst: "2001:db8::2".parse().unwrap(),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0b1011_0110,
        payload: 40..64,
        fragment: None,
        dont_fragment: true,
        ident: 0,
        has_options: false,
    };
    assert_eq!(parse(&bytes), Ok(expected));
    assert_eq!(bytes[..8], [0x6b, 0x6a, 0xbc, 0xde, 0, 24, 6, 64]);
    assert_eq!(protocol_offset(&bytes), Some(6));
}

#[test]
fn flow_label_has_20_bits() {
    let params = IpParams { flow_label: u32::MAX, traffic_class: 0, ..params("::1", "::2") };
    assert_eq!(packet(&params, &[])[..4], [0x60, 0x0f, 0xff, 0xff]);
}

#[test]
fn truncated_anywhere() {
    let payload = [
        header(Protocol::IPV6_DESTINATION_OPTIONS, 0, PAD_4),
        header(Protocol::IPV6_ROUTING, 0, PAD_4),
        header(Protocol::AUTHENTICATION, 0, [253, 0, 0, 0, 0, 0]),
        header(Protocol::IPV6_FRAGMENT, 0, [0; 6]),
        fragment(Protocol::TCP, 0, 1),
        vec![7; 20],
    ]
    .concat();
    let whole = chain(Protocol::HOP_BY_HOP, &payload);
    let parsed = parse(&whole).unwrap();
    assert_eq!((parsed.protocol, parsed.payload.start), (Protocol::TCP, 80));
    assert!(parsed.has_options);
    assert_eq!(protocol_offset(&whole), Some(72));
    for len in 0..whole.len() {
        assert_eq!(parse(&whole[..len]), Err(IpError::Truncated), "{len} bytes");
    }
    // A length field that ends within the chain is no better.
    for len in 0..40 {
        let cut = chain(Protocol::HOP_BY_HOP, &payload[..len]);
        let padded = [cut, vec![0; 100]].concat();
        assert_eq!(parse(&padded), Err(IpError::Truncated), "{len} bytes");
    }
}

#[test]
fn payload_length_bounds_the_payload() {
    let mut bytes = chain(Protocol::UDP, &[7; 24]);
    bytes[5] = 10;
    assert_eq!(parse(&bytes).unwrap().payload, 40..50);
    bytes[5] = 25;
    assert_eq!(parse(&bytes), Err(IpError::Truncated));
    bytes[5] = 0;
    assert_eq!(parse(&bytes).unwrap().payload, 40..40);
}

#[test]
fn jumbograms_are_refused() {
    // RFC 2675: payload length 0, and the real one in a hop-by-hop option that is not understood here.
    let jumbo = header(Protocol::TCP, 0, [0xc2, 4, 0, 1, 0, 0]);
    let mut bytes = chain(Protocol::HOP_BY_HOP, &[&jumbo[..], &[7; 20]].concat());
    let error = IpError::UnrecognizedOption { offset: 42, report: OptionReport::UnlessMulticast };
    assert_eq!(parse(&bytes), Err(error));
    bytes[4..6].fill(0);
    assert_eq!(parse(&bytes), Err(IpError::Truncated));
}

#[test]
fn long_headers_are_passed() {
    for (kind, units) in [
        (Protocol::HOP_BY_HOP, 8),
        (Protocol::IPV6_DESTINATION_OPTIONS, 8),
        (Protocol::IPV6_ROUTING, 8),
        (Protocol::AUTHENTICATION, 4),
    ] {
        for len in [1_u8, 2, 200, 255] {
            let bytes = usize::from(len) * units + 8;
            let mut extension = vec![0; bytes];
            extension[0] = Protocol::UDP.0;
            extension[1] = len;
            let parsed = parse(&chain(kind, &[&extension[..], &[7; 8]].concat())).unwrap();
            assert_eq!(parsed.payload, 40 + bytes..48 + bytes, "{kind:?} {len}");
            assert_eq!(parse(&chain(kind, &extension[..bytes - 1])), Err(IpError::Truncated));
        }
    }
}

#[test]
fn options() {
    use OptionReport::{Always, Silent, UnlessMulticast};
    let unknown = |report| Err(IpError::UnrecognizedOption { offset: 50, report });
    let bad = |offset| Err(IpError::BadOption { offset });
    for (rest, expected) in [
        ([0, 0, 0, 0, 0, 0], Ok(())),
        ([1, 0, 1, 0, 1, 0], Ok(())),
        (PAD_4, Ok(())),
        // Router alert (RFC 2711) is one of those that may be skipped.
        ([5, 2, 0, 0, 1, 0], Ok(())),
        ([0x3e, 4, 9, 9, 9, 9], Ok(())),
        ([0x40, 4, 9, 9, 9, 9], unknown(Silent)),
        ([0x80, 4, 9, 9, 9, 9], unknown(Always)),
        ([0xc9, 4, 9, 9, 9, 9], unknown(UnlessMulticast)),
        ([1, 5, 0, 0, 0, 0], bad(51)),
        ([1, 255, 0, 0, 0, 0], bad(51)),
        ([0, 0, 0, 0, 0, 1], bad(56)),
        ([0x3e, 3, 0, 0, 0, 5], bad(56)),
    ] {
        // In either header, the second of two.
        let payload = [
            header(Protocol::IPV6_DESTINATION_OPTIONS, 0, PAD_4),
            header(Protocol::TCP, 0, rest),
            vec![7; 20],
        ]
        .concat();
        let found = parse(&chain(Protocol::IPV6_DESTINATION_OPTIONS, &payload));
        assert_eq!(found.map(|_| ()), expected, "{rest:?}");
    }
}

#[test]
fn who_is_told_of_an_option() {
    let problem =
        |report, multicast| IpError::UnrecognizedOption { offset: 42, report }.parameter_problem(multicast);
    assert_eq!(problem(OptionReport::Silent, false), None);
    assert_eq!(problem(OptionReport::Always, false), Some((2, 42)));
    assert_eq!(problem(OptionReport::Always, true), Some((2, 42)));
    assert_eq!(problem(OptionReport::UnlessMulticast, false), Some((2, 42)));
    assert_eq!(problem(OptionReport::UnlessMulticast, true), None);
    assert_eq!(IpError::BadRoutingHeader { offset: 42 }.parameter_problem(false), Some((0, 42)));
    assert_eq!(IpError::BadRoutingHeader { offset: 42 }.parameter_problem(true), None);
    assert_eq!(IpError::UnrecognizedNextHeader { offset: 6 }.parameter_problem(false), Some((1, 6)));
}

#[test]
fn hop_by_hop_options_stand_first() {
    let payload = [header(Protocol::HOP_BY_HOP, 0, PAD_4), header(Protocol::TCP, 0, PAD_4)].concat();
    let misplaced = |first| parse(&chain(first, &payload)).unwrap_err();
    let error = IpError::UnrecognizedNextHeader { offset: 40 };
    assert_eq!(misplaced(Protocol::IPV6_DESTINATION_OPTIONS), error);
    assert_eq!(misplaced(Protocol::HOP_BY_HOP), error);
}

#[test]
fn routing_headers() {
    // RFC 8200 4.4, RFC 5095: without segments left it is ignored, with any the packet is discarded.
    for kind in [0, 2, 3, 4, 253] {
        let with = |left| {
            let rest = [kind, left, 0, 0, 0, 0];
            parse(&chain(Protocol::IPV6_ROUTING, &header(Protocol::TCP, 0, rest)))
        };
        assert_eq!(with(0).unwrap().protocol, Protocol::TCP);
        assert_eq!(with(1), Err(IpError::BadRoutingHeader { offset: 42 }));
        assert_eq!(with(255), Err(IpError::BadRoutingHeader { offset: 42 }));
    }
}

#[test]
fn chains_end() {
    let chain_of = |count| {
        let mut payload = header(Protocol::IPV6_DESTINATION_OPTIONS, 0, PAD_4).repeat(count);
        let at = payload.len() - 8;
        payload[at] = Protocol::IPV6_NO_NEXT_HEADER.0;
        parse(&chain(Protocol::IPV6_DESTINATION_OPTIONS, &payload))
    };
    assert_eq!(chain_of(MAX_EXTENSION_HEADERS).unwrap().protocol, Protocol::IPV6_NO_NEXT_HEADER);
    assert_eq!(chain_of(MAX_EXTENSION_HEADERS + 1), Err(IpError::TooManyExtensions));
    assert_eq!(chain_of(8000), Err(IpError::TooManyExtensions));
    // Atomic fragments count as well.
    let atomic = fragment(Protocol::IPV6_FRAGMENT, 0, 1).repeat(20);
    assert_eq!(parse(&chain(Protocol::IPV6_FRAGMENT, &atomic)), Err(IpError::TooManyExtensions));
}

#[test]
fn fragments_end_the_walk() {
    // What the fragment header names may be another extension header: it belongs to the reassembled payload.
    let body = header(Protocol::TCP, 0, [0x80, 4, 0, 0, 0, 0]);
    for (place, expected) in [
        (0x0001, Fragment { offset: 0, more: true }),
        (0x0009, Fragment { offset: 8, more: true }),
        (0x0578, Fragment { offset: 0x578, more: false }),
        // The reserved bits mean nothing; pnet takes one of them for part of the offset.
        (0x000f, Fragment { offset: 8, more: true }),
    ] {
        let head = fragment(Protocol::IPV6_DESTINATION_OPTIONS, place, 0x0102_0304);
        let parsed = parse(&chain(Protocol::IPV6_FRAGMENT, &[head, body.clone()].concat())).unwrap();
        assert_eq!(parsed.fragment, Some(expected));
        assert_eq!(parsed.ident, 0x0102_0304);
        assert_eq!(parsed.protocol, Protocol::IPV6_DESTINATION_OPTIONS);
        assert_eq!(parsed.payload, 48..56);
    }
}

#[test]
fn fragments_are_not_nested() {
    for inner in [Protocol::IPV6_FRAGMENT, Protocol::HOP_BY_HOP] {
        let body = header(Protocol::TCP, 0, PAD_4);
        let with = |place| {
            let payload = [fragment(inner, place, 1), body.clone()].concat();
            parse(&chain(Protocol::IPV6_FRAGMENT, &payload))
        };
        let error = IpError::UnrecognizedNextHeader { offset: 40 };
        assert_eq!(with(0x0001), Err(error));
        // RFC 8200 4.5: only the first fragment's next header counts.
        assert_eq!(with(0x0009).unwrap().protocol, inner);
    }
}

#[test]
fn atomic_fragments_are_whole() {
    // RFC 6946; here with the reserved bits set.
    for place in [0, 0b110] {
        let mut payload = [fragment(Protocol::TCP, place, 9), vec![7; 21]].concat();
        // Not a length, but a reserved byte.
        payload[1] = 0xff;
        let parsed = parse(&chain(Protocol::IPV6_FRAGMENT, &payload)).unwrap();
        assert_eq!(parsed.fragment, None);
        assert_eq!((parsed.protocol, parsed.payload), (Protocol::TCP, 48..69));
        assert_eq!(parsed.ident, 9);
        assert!(parsed.has_options);
    }
}

#[test]
fn fragments_that_no_datagram_has() {
    let with = |place, len| {
        parse(&chain(Protocol::IPV6_FRAGMENT, &[fragment(Protocol::TCP, place, 1), vec![7; len]].concat()))
    };
    // RFC 8200 4.5: the pointers of the two parameter problems.
    assert_eq!(with(0x0001, 15), Err(IpError::BadFragment { offset: 4 }));
    assert_eq!(with(0xfff8, 8), Err(IpError::BadFragment { offset: 42 }));
    assert_eq!(with(0xfff8, 7).unwrap().fragment, Some(Fragment { offset: 65_528, more: false }));
    assert_eq!(IpError::BadFragment { offset: 42 }.parameter_problem(false), Some((0, 42)));
}

prop_compose! {
    fn any_params()(
        src: [u8; 16], dst: [u8; 16], protocol in 61..=255_u8, hop_limit: u8, traffic_class: u8, flow_label in 0..1_u32 << 20,
    ) -> IpParams {
        IpParams {
            src: src.into(), dst: dst.into(), protocol: Protocol(protocol), hop_limit, traffic_class,
            dont_fragment: true, ident: 0, flow_label,
        }
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(params in any_params(), payload in vec(any::<u8>(), 0..64), padding in 0..8_usize) {
        let mut bytes = packet(&params, &payload);
        bytes.resize(bytes.len() + padding, 0);
        let IpParams { src, dst, protocol, hop_limit, traffic_class, .. } = params;
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!(&parsed, &IpPacket {
            src, dst, protocol, hop_limit, traffic_class, payload: 40..40 + payload.len(), fragment: None,
            dont_fragment: true, ident: 0, has_options: false,
        });
        prop_assert_eq!(&bytes[parsed.payload], &payload[..]);
    }

    #[test]
    fn pnet_reads_the_same(params in any_params(), len in 0..2000_usize) {
        let mut bytes = [0; 40];
        params.emit(len, &mut bytes);
        let pnet = Ipv6Packet::new(&bytes).unwrap();
        prop_assert_eq!(pnet.get_version(), 6);
        prop_assert_eq!(pnet.get_traffic_class(), params.traffic_class);
        prop_assert_eq!(pnet.get_flow_label(), params.flow_label);
        prop_assert_eq!(usize::from(pnet.get_payload_length()), len);
        prop_assert_eq!(pnet.get_next_header().0, params.protocol.0);
        prop_assert_eq!(pnet.get_hop_limit(), params.hop_limit);
        prop_assert_eq!(IpAddr::from(pnet.get_source()), params.src);
        prop_assert_eq!(IpAddr::from(pnet.get_destination()), params.dst);
    }
}
