use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{EcnCodepoint, IpPacket, IpParams, Payload, Protocol, ip};

fn params(is_v4: bool) -> IpParams {
    let address = |last: u8| match is_v4 {
        true => std::net::Ipv4Addr::new(192, 0, 2, last).into(),
        false => std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into(),
    };
    IpParams {
        src: address(1),
        dst: address(2),
        protocol: Protocol::UDP,
        hop_limit: 61,
        traffic_class: 0xb9,
        dont_fragment: false,
        ident: 0,
        flow_label: 0x12345,
    }
}

fn packet_of(params: &IpParams, upper: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; params.header_len()];
    params.emit(upper.len(), &mut packet);
    [packet, upper.to_vec()].concat()
}

fn filled(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// An IPv4 packet with options.
fn with_options(options: &[u8], upper: &[u8]) -> Vec<u8> {
    let mut packet = packet_of(&params(true), &[options, upper].concat());
    packet[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let header_len = 20 + options.len();
    crate::ip::v4::finish(&mut packet[..header_len]);
    packet
}

fn cut(packet: &[u8], mtu: u16, ident: u32) -> Vec<Vec<u8>> {
    // In parts, as payloads come.
    let (one, other) = packet.split_at(packet.len() / 3);
    let payload: Payload = [one, other].into_iter().map(Bytes::copy_from_slice).collect();
    let pieces = split(&payload, mtu, ident).expect("it can be cut");
    let said = pieces.len();
    let packets: Vec<_> = pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat()).collect();
    assert_eq!(packets.len(), said);
    packets
}

fn marks_of(packets: &[Vec<u8>]) -> Marks {
    let fields = packets.iter().map(|packet| EcnCodepoint::of(ip::parse(packet).unwrap().traffic_class));
    fields.fold(Marks::default(), Marks::with)
}

/// The slow way: by their places, whatever their order.
fn join(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut parsed: Vec<(IpPacket, &Vec<u8>)> =
        packets.iter().map(|packet| (ip::parse(packet).unwrap(), packet)).collect();
    parsed.sort_by_key(|(ip, _)| ip.fragment.unwrap().offset);
    let len = parsed.iter().map(|(ip, _)| ip.payload.len()).sum();
    let mut whole = whole_headers(parsed[0].1, len, marks_of(packets)).unwrap();
    let header_len = whole.len();
    for (number, (ip, packet)) in parsed.iter().enumerate() {
        let place = ip.fragment.unwrap();
        assert_eq!(usize::from(place.offset), whole.len() - header_len);
        assert_eq!(place.more, number + 1 < parsed.len());
        whole.extend_from_slice(&packet[ip.payload.clone()]);
    }
    whole
}

proptest! {
    // RFC 791 3.2-3, RFC 8200 4.5-12, RFC 5722 4-2
    #[test]
    fn what_is_cut_fits_and_makes_the_same_datagram_in_any_order(
        is_v4: bool, len in 1usize..20_000, mtu in 76u16..3000, ident: u32, turn in 0usize..300,
    ) {
        let ident = if is_v4 { ident & 0xffff } else { ident };
        let packet = packet_of(&params(is_v4), &filled(len));
        prop_assume!(packet.len() > usize::from(mtu));
        let mut pieces = cut(&packet, mtu, ident);
        for (number, piece) in pieces.iter().enumerate() {
            let ip = ip::parse(piece).unwrap();
            prop_assert!(piece.len() <= usize::from(mtu));
            prop_assert!(piece.len() + 8 > usize::from(mtu) || number + 1 == pieces.len(), "as long as can be");
            prop_assert_eq!((ip.ident, ip.protocol, ip.hop_limit, ip.traffic_class), (ident, Protocol::UDP, 61, 0xb9));
        }
        let count = pieces.len();
        pieces.rotate_left(turn % count);
        let mut expected = packet;
        if is_v4 {
            expected[4..6].copy_from_slice(&u16::try_from(ident).unwrap().to_be_bytes());
            crate::ip::v4::finish(&mut expected[..20]);
        }
        prop_assert_eq!(join(&pieces), expected);
    }

    // RFC 791 3.2: a router may cut a fragment again.
    #[test]
    fn fragments_of_ipv4_are_cut_again(len in 2000usize..9000, first in 600u16..1500, second in 68u16..590) {
        let packet = packet_of(&params(true), &filled(len));
        let once = cut(&packet, first, 7);
        let twice: Vec<_> = once.iter().flat_map(|piece| cut(piece, second, 7)).collect();
        prop_assert!(twice.iter().all(|piece| piece.len() <= usize::from(second)));
        prop_assert_eq!(join(&twice), join(&once));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), mtu: u16, len in 0usize..70_000) {
        let mut bytes = bytes;
        for first in [0x45, 0x60] {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let payload = Payload::from(Bytes::from(bytes.clone()));
            if let Some(pieces) = split(&payload, mtu, 1) {
                for (header, data) in pieces.take(20_000) {
                    prop_assert!(header.len() + data.len() <= usize::from(mtu));
                }
            }
            let _ = whole_headers(&bytes, len, Marks::default());
            let _ = crate::icmp::is_error(&bytes);
        }
    }
}

#[test]
fn a_packet_that_fits_is_one_piece() {
    let v4 = packet_of(&params(true), &filled(100));
    let [piece] = &cut(&v4, 1500, 5)[..] else { panic!() };
    assert_eq!(ip::parse(piece).unwrap().fragment, None);
    // RFC 6946: an atomic fragment.
    let [piece] = &cut(&packet_of(&params(false), &filled(100)), 1500, 5)[..] else { panic!() };
    let ip = ip::parse(piece).unwrap();
    assert_eq!((ip.fragment, ip.ident, ip.payload), (None, 5, 48..148));
    assert_eq!(cut(&packet_of(&params(false), &[]), 1280, 5).len(), 1);
}

#[test]
fn what_carries_nothing_is_refused() {
    let payload = |packet: Vec<u8>| Payload::from(Bytes::from(packet));
    let (v4, v6) =
        (payload(packet_of(&params(true), &filled(100))), payload(packet_of(&params(false), &filled(100))));
    assert!(split(&v4, 27, 1).is_none() && split(&v4, 28, 1).is_some());
    assert!(split(&v6, 55, 1).is_none() && split(&v6, 56, 1).is_some());
    for garbage in [vec![], vec![0x45; 10], vec![0x60; 10], vec![0x25; 60]] {
        assert!(split(&payload(garbage), 1500, 1).is_none());
    }
    // RFC 8200 4.5: only the source of an IPv6 packet cuts it.
    let piece = cut(&v6.to_vec(), 100, 1).remove(0);
    assert!(split(&payload(piece), 60, 1).is_none());
}

// RFC 791 3.1-1: an option says itself whether it goes along.
#[test]
fn options_are_copied_to_later_fragments_if_they_say_so() {
    let (copied, not) = ([0x94, 4, 0, 0], [0x44, 4, 5, 0]);
    let options = [&copied[..], &[1], &not, &[1, 1, 0]].concat();
    let pieces = cut(&with_options(&options, &filled(300)), 200, 9);
    assert_eq!(pieces[0][20..32], options[..]);
    for piece in &pieces[1..] {
        assert_eq!((piece[0], &piece[20..24]), (0x46, &copied[..]));
        assert!(ip::parse(piece).unwrap().has_options);
    }
    // The whole has those of the first.
    let whole = join(&pieces);
    assert_eq!((whole[0], &whole[20..32], &whole[32..]), (0x48, &options[..], &filled(300)[..]));
}

/// Hop-by-hop options and a routing header are for those on the way, destination options are not (RFC 8200 4.5-11,
/// RFC 8200 4.5-2).
#[test]
fn ipv6_headers_that_routers_see_stand_in_each_fragment() {
    let hop_by_hop = [Protocol::IPV6_DESTINATION_OPTIONS.0, 0, 1, 4, 0, 0, 0, 0];
    let destination = [Protocol::UDP.0, 0, 1, 4, 0, 0, 0, 0];
    let upper = [&hop_by_hop[..], &destination, &filled(500)].concat();
    let packet = packet_of(&IpParams { protocol: Protocol::HOP_BY_HOP, ..params(false) }, &upper);
    let pieces = cut(&packet, 200, 3);
    for piece in &pieces {
        assert_eq!((piece[6], piece[40], piece[48]), (0, Protocol::IPV6_FRAGMENT.0, 60));
    }
    assert_eq!(ip::parse(&pieces[0]).unwrap().protocol, Protocol::IPV6_DESTINATION_OPTIONS);
    assert_eq!(join(&pieces), packet);
}

// RFC 791 3.1, RFC 8200 4.5: no datagram is longer than 65535 bytes, whatever its fragments say.
#[test]
fn what_is_too_long_when_put_together_has_no_header() {
    for is_v4 in [true, false] {
        let first = cut(&packet_of(&params(is_v4), &filled(2000)), 1280, 3).remove(0);
        let most = if is_v4 { 65_515 } else { 65_535 };
        let whole = whole_headers(&first, most, Marks::default()).unwrap();
        let bytes = [&whole[..], &filled(most)].concat();
        assert_eq!(ip::parse(&bytes).unwrap().payload.len(), most);
        assert_eq!(whole_headers(&first, most + 1, Marks::default()), None);
        let later = cut(&packet_of(&params(is_v4), &filled(2000)), 1280, 3).remove(1);
        assert_eq!(whole_headers(&later, 2000, Marks::default()), None);
        let whole = packet_of(&params(is_v4), &filled(20));
        assert_eq!(whole_headers(&whole, 20, Marks::default()), None, "it is no fragment");
    }
}

// RFC 7112 5-2, RFC 8200 4.5-6
#[test]
fn a_first_fragment_has_all_headers_or_is_told_from_one_that_has() {
    let options = |next: Protocol| [next.0, 0, 1, 4, 0, 0, 0, 0].to_vec();
    let mut tcp = vec![0; 60];
    tcp[12] = 0xf0;
    for (first, chain, reaches_from) in [
        (Protocol::UDP, filled(200), 8),
        (Protocol::TCP, [tcp.clone(), filled(200)].concat(), 64),
        (Protocol::ICMPV6, filled(200), 8),
        (Protocol::IPV6_NO_NEXT_HEADER, filled(200), 8),
        (Protocol(132), filled(200), 8),
        (Protocol::IPV6_DESTINATION_OPTIONS, [options(Protocol::UDP), filled(200)].concat(), 16),
        (Protocol::IPV6_DESTINATION_OPTIONS, [options(Protocol::TCP), tcp, filled(200)].concat(), 72),
        (Protocol::IPV6_DESTINATION_OPTIONS, [options(Protocol(132)), filled(200)].concat(), 16),
    ] {
        for carried in [8, 16, 24, 32, 56, 64, 72, 80] {
            let packet = packet_of(&IpParams { protocol: first, ..params(false) }, &chain);
            let pieces = cut(&packet, 48 + carried, 1);
            let ip = ip::parse(&pieces[0]).unwrap();
            let has = has_all_headers(&pieces[0], &ip);
            assert_eq!(has, carried >= reaches_from, "{first:?} with {carried} bytes");
        }
    }
    let piece = cut(&packet_of(&params(true), &filled(64)), 28, 1).remove(0);
    assert!(has_all_headers(&piece, &ip::parse(&piece).unwrap()), "not asked of IPv4");
}

// RFC 3168 5.3-1, RFC 3168 5.3-2, RFC 3168 5.3-3
#[test]
fn a_mark_on_a_fragment_is_one_on_the_datagram() {
    use EcnCodepoint::{Ce, Ect0, Ect1, NotEct};
    for is_v4 in [true, false] {
        for (fields, expected) in [
            ([Ect0, Ect0, Ect0], Some(Ect0)),
            ([Ect0, Ce, Ect0], Some(Ce)),
            ([Ce, Ect1, Ect1], Some(Ce)),
            ([Ect1, Ect0, Ect0], Some(Ect1)),
            ([NotEct, NotEct, NotEct], Some(NotEct)),
            ([NotEct, Ect0, Ect0], Some(NotEct)),
            ([NotEct, Ect0, Ce], None),
            ([Ce, NotEct, NotEct], None),
        ] {
            let cuts = fields.map(|field| {
                let params = IpParams { traffic_class: field.within(0xb8), ..params(is_v4) };
                cut(&packet_of(&params, &filled(200)), if is_v4 { 100 } else { 128 }, 3)
            });
            let pieces: Vec<_> = cuts.iter().enumerate().map(|(at, pieces)| pieces[at].clone()).collect();
            let whole = whole_headers(&pieces[0], 200, marks_of(&pieces));
            let class = whole.map(|whole| ip::parse(&[whole, filled(200)].concat()).unwrap().traffic_class);
            assert_eq!(class, expected.map(|field| field.within(0xb8)), "{fields:?}");
        }
    }
}
