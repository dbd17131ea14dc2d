//! Fragments that no datagram has.

use super::*;

/// The code and the pointer of the parameter problem that a packet is answered with.
fn problem(lab: &mut Lab, packet: &[u8]) -> (u8, u32) {
    lab.send_packet(packet.to_vec());
    let answer = lab.next_packet();
    let parsed = ip::parse(&answer).unwrap();
    let IcmpMessage::ParameterProblem { code, pointer, quote } = icmp::parse(&answer, &parsed).unwrap()
    else {
        panic!("{answer:02x?}")
    };
    assert!(packet.starts_with(&answer[quote]));
    lab.quiet();
    (code, pointer)
}

// RFC 7112 5-2, RFC 8200 4.5-6, RFC 7112 5-3
#[test]
fn a_first_fragment_without_all_headers_is_refused() {
    let mut lab = Lab::new();
    // The flags of TCP stand in the second one.
    let segment = Lab::new().v6().packet(&syn());
    let pieces = cut(&segment, 56, 9);
    assert_eq!(problem(&mut lab, &pieces[0]), (3, 0));
    assert_eq!(lab.stack.memory().fragments, 0);
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let chain = [options(60), options(60), options(6)].concat();
    let (src, dst) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let upper = [&chain, &segment[40..]].concat();
    let packet = ip_packet(src, dst, Protocol::IPV6_DESTINATION_OPTIONS, &upper);
    for mtu in [56, 64, 72, 80] {
        assert_eq!(problem(&mut lab, &cut(&packet, mtu, 10)[0]), (3, 0));
    }
    assert_eq!(lab.stack.counters().malformed_ip, 5);
    // The others wait, and are given up.
    lab.send_packet(pieces[1].clone());
    lab.at(60_000);
    lab.quiet();
    assert_nothing_waits(&lab);
}

// RFC 8200 4.5-4, RFC 8200 4.5-5
#[test]
fn a_fragment_of_an_impossible_length_is_answered_over_ipv6() {
    let mut lab = Lab::new();
    let odd = piece(BOTH[1], Protocol::ICMPV6, (9, 0, true), &[128; 15]);
    assert_eq!(problem(&mut lab, &odd), (0, 4));
    let long = piece(BOTH[1], Protocol::UDP, (9, 65_528, false), &[0; 8]);
    assert_eq!(problem(&mut lab, &long), (0, 42));
    // Not about what may be an ICMP error, and not to nobody.
    lab.send_packet(piece(BOTH[1], Protocol::ICMPV6, (9, 0, true), &[1; 15]));
    for (src, dst) in
        [("::", "fd00::2"), ("ff02::1", "fd00::2"), ("fd00::2", "fd00::2"), ("fd00::1", "fd00::3")]
    {
        lab.send_packet(piece((true, src, dst), Protocol::UDP, (9, 0, true), &[128; 15]));
    }
    lab.quiet();
    let mut lab = Lab::new();
    lab.send_packet(piece(BOTH[0], Protocol::ICMP, (9, 0, true), &[8; 15]));
    lab.send_packet(piece(BOTH[0], Protocol::ICMP, (9, 65_528, false), &[0; 8]));
    lab.quiet();
    assert_eq!((lab.stack.counters().malformed_ip, lab.stack.memory().fragments), (2, 0));
}

// RFC 8200 4-1, RFC 8200 4.2-1: the same answers to whatever else is wrong with the headers.
// RFC 1122 3.2.2.5-2
#[test]
fn misplaced_headers_and_unknown_options_are_answered() {
    let mut lab = Lab::new();
    let (src, dst) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let with = |option: u8| [Protocol::UDP.0, 0, option, 4, 0, 0, 0, 0, 1, 2, 3, 4, 0, 8, 0, 0];
    let packet = |option| ip_packet(src, dst, Protocol::IPV6_DESTINATION_OPTIONS, &with(option));
    assert_eq!(problem(&mut lab, &packet(0x80)), (2, 42));
    assert_eq!(problem(&mut lab, &packet(0xc0)), (2, 42));
    lab.send_packet(packet(0x40));
    lab.quiet();
    let misplaced = [Protocol::HOP_BY_HOP.0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        problem(&mut lab, &ip_packet(src, dst, Protocol::IPV6_DESTINATION_OPTIONS, &misplaced)),
        (1, 40)
    );
    let routing = [Protocol::UDP.0, 0, 7, 1, 0, 0, 0, 0];
    assert_eq!(problem(&mut lab, &ip_packet(src, dst, Protocol::IPV6_ROUTING, &routing)), (0, 42));
}

#[test]
fn empty_fragments_begin_nothing() {
    for ends in BOTH {
        let mut lab = Lab::new();
        for (offset, more) in [(0, true), (80, true), (80, false)] {
            lab.send_packet(piece(ends, Protocol::UDP, (9, offset, more), &[]));
            lab.drain();
        }
        assert_eq!((lab.stack.counters().malformed_ip, lab.stack.memory().fragments), (3, 0));
    }
}

/// The first fragment's options count for the length of the whole, too.
#[test]
fn a_datagram_that_is_too_long_with_its_options_is_dropped() {
    let mut lab = Lab::new();
    lab.silent = true;
    let packet = echo(BOTH[0], 65_507);
    let pieces = cut(&packet, 1500, 9);
    let first = &pieces[0];
    let mut with_options = [&first[..20], &[1, 1, 1, 0], &first[20..]].concat();
    with_options[0] = 0x46;
    let len = with_options.len() as u16;
    with_options[2..4].copy_from_slice(&len.to_be_bytes());
    fix_ip_checksum(&mut with_options);
    pieces[1..].iter().for_each(|piece| lab.inject(piece.clone()));
    lab.inject(with_options);
    lab.quiet();
    assert_eq!((lab.stack.counters().malformed_ip, lab.stack.counters().datagrams_reassembled), (1, 0));
    assert_nothing_waits(&lab);
}

/// A fragment header within what fragments carry.
#[test]
fn there_are_no_fragments_of_fragments() {
    let mut lab = Lab::new();
    let inner = [&[Protocol::UDP.0, 0, 0, 1, 0, 0, 0, 5], &[7; 64][..]].concat();
    let upper = [&[Protocol::IPV6_FRAGMENT.0, 0, 1, 4, 0, 0, 0, 0], &inner[..]].concat();
    for (offset, more) in [(0, true), (40, false)] {
        let data = if more { &upper[..40] } else { &upper[40..] };
        lab.send_packet(piece(BOTH[1], Protocol::IPV6_DESTINATION_OPTIONS, (9, offset, more), data));
    }
    lab.quiet();
    assert_eq!((lab.stack.counters().datagrams_reassembled, lab.stack.counters().malformed_ip), (1, 1));
    assert_nothing_waits(&lab);
}

/// Fragments from where nothing can come from, or to where nobody is, do not wait.
#[test]
fn what_is_not_for_us_does_not_wait() {
    let mut lab = Lab::new();
    for (src, dst) in [
        ("10.0.0.1", "10.0.0.9"),
        ("10.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "224.0.0.1"),
        ("10.0.0.2", "10.0.0.2"),
        ("127.0.0.1", "10.0.0.2"),
        ("0.0.0.0", "10.0.0.2"),
    ] {
        lab.send_packet(piece((false, src, dst), Protocol::TCP, (9, 80, true), &[7; 80]));
    }
    for (src, dst) in [("fd00::1", "fd00::9"), ("fd00::1", "::1"), ("fd00::2", "fd00::2"), ("::", "fd00::2")]
    {
        lab.send_packet(piece((true, src, dst), Protocol::TCP, (9, 80, true), &[7; 80]));
    }
    lab.quiet();
    assert_eq!((lab.stack.memory().fragments, lab.stack.counters().fragments), (0, 0));
}
