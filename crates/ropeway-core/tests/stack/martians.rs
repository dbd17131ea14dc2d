//! What is dropped before any connection sees it (martians, packets for others, damage), and what is
//! taken although it is odd (IP options, padding, reserved addresses, port 0, a TTL of 0).

use ropeway_core::packet::icmp::emit_echo_request;
use ropeway_core::{SocketOptions, State};

use crate::common::*;
use crate::{datagram, ip_of, segment};

// MUST-57, MUST-63, RFC 1122 3.2.1.3
#[test]
fn syns_from_and_to_nobody_are_dropped_silently() {
    let mut lab = Lab::new();
    lab.stack.listen(addr("0.0.0.0:80"), 16, SocketOptions::default()).unwrap();
    lab.stack.listen(addr("[fd00::2]:80"), 16, SocketOptions::default()).unwrap();
    for dst in ["10.0.0.255:80", "255.255.255.255:80", "224.0.0.5:80"] {
        lab.send_packet(segment("10.0.0.1:4000", dst, &syn()));
        lab.send_packet(segment("10.0.0.1:4000", dst, &ack()));
    }
    assert_eq!(lab.stack.counters().broadcast_segments, 6);
    lab.send_packet(segment("[fd00::1]:4000", "[ff02::1]:80", &syn()));
    for src in ["0.0.0.0:4000", "255.255.255.255:4000", "224.0.0.5:4000", "10.0.0.255:4000", "127.0.0.1:4000"]
    {
        lab.send_packet(segment(src, "10.0.0.2:80", &syn()));
    }
    for src in ["[::]:4000", "[ff02::1]:4000", "[::1]:4000"] {
        lab.send_packet(segment(src, "[fd00::2]:80", &syn()));
    }
    lab.quiet();
    lab.assert_empty();
}

#[test]
fn the_land_attack_finds_nobody() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send_packet(segment("10.0.0.2:80", "10.0.0.2:80", &syn()));
    lab.send_packet(segment("10.0.0.2:4000", "10.0.0.2:80", &syn()));
    lab.quiet();
    lab.assert_empty();
    assert_eq!(lab.stack.counters().martian_sources, 2);
}

#[test]
fn packets_for_others_are_dropped() {
    let mut lab = Lab::new();
    lab.send_packet(segment("10.0.0.1:4000", "10.0.0.3:80", &syn()));
    lab.send_packet(segment("10.0.0.1:4000", "127.0.0.1:80", &syn()));
    lab.send_packet(segment("[fd00::1]:4000", "[::1]:80", &syn()));
    lab.send_packet(emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.3"), 1, 1, b"x", 64));
    lab.quiet();
    assert_eq!(lab.stack.counters().not_ours, 4);
}

#[test]
fn a_packet_does_not_vouch_for_the_next_when_our_addresses_have_changed() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(Peer::default());
        let (own, peer) = (lab.local.ip(), lab.remote.ip());
        let cidr = |ip: std::net::IpAddr| format!("{ip}/24").parse().unwrap();
        lab.input(data(b"one"));
        lab.stack.remove_address(own);
        lab.input(data(b"two"));
        assert_eq!(lab.stack.counters().not_ours, 1);
        lab.stack.add_address(cidr(own));
        lab.stack.add_address(cidr(peer));
        lab.input(data(b"two").seq(4));
        assert_eq!(lab.stack.counters().martian_sources, 1);
        lab.stack.remove_address(peer);
        lab.input(data(b"two").seq(4));
        lab.drain();
        assert_eq!(lab.read(id, 100), b"onetwo");
    }
}

// MUST-3
#[test]
fn what_is_damaged_is_counted_and_nothing_else() {
    let (mut lab, id) = established();
    lab.send(data(b"x").bad_checksum());
    assert_eq!(lab.stack.counters().bad_checksums, 1);
    // Cut at every length.
    let whole = lab.packet(&data(b"hello").seq(1));
    for len in 0..whole.len() {
        lab.send_packet(whole[..len].to_vec());
    }
    // Cut, but the IP header says so.
    for len in 20..whole.len() {
        let mut packet = whole[..len].to_vec();
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        fix_ip_checksum(&mut packet);
        lab.send_packet(packet);
    }
    // A data offset that lies.
    for offset in [0u8, 1, 4, 15] {
        let mut packet = whole.clone();
        packet[32] = offset << 4;
        lab.send_packet(packet);
    }
    lab.quiet();
    lab.assert_state(id, State::Established);
    assert_eq!(lab.info(id).unread, 0);
    lab.send_packet(whole);
    assert_eq!(lab.info(id).unread, 5);
}

// MUST-50
#[test]
fn ip_options_are_ignored() {
    let mut lab = Lab::new();
    lab.listen();
    let plain = segment("10.0.0.1:4000", "10.0.0.2:80", &syn());
    let mut packet = plain[..20].to_vec();
    packet[0] = 0x47;
    packet.extend_from_slice(&[1, 1, 1, 0x83, 3, 4, 1, 0]);
    packet.extend_from_slice(&plain[20..]);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    fix_ip_checksum(&mut packet);
    lab.send_packet(packet);
    lab.expect(syn_ack());
}

/// A link may pad short frames.
#[test]
fn padding_behind_the_packet_is_not_data() {
    let (mut lab, id) = established();
    let mut packet = lab.packet(&data(b"hi"));
    packet.resize(60, 0xaa);
    lab.send_packet(packet);
    assert_eq!(lab.read(id, 100), b"hi");
}

/// As in Linux: nothing is wrong with a reserved address but that nobody has it yet, and the hop limit is for routers
/// (RFC 1122 3.2.1.7: "MUST NOT discard a datagram just because it was received with TTL less than 2"; RFC 8200 3).
#[test]
fn what_is_odd_and_harmless_is_taken() {
    let mut lab = Lab::new();
    lab.stack.listen(addr("[::]:80"), 64, SocketOptions::default()).unwrap();
    for (src, dst) in [
        ("240.0.0.1:4000", "10.0.0.2"),
        ("255.255.255.254:4000", "10.0.0.2"),
        ("0.1.2.3:4000", "10.0.0.2"),
        ("10.0.0.0:4000", "10.0.0.2"),
        ("10.0.0.1:0", "10.0.0.2"),
        ("[::10.0.0.1]:4000", "[fd00::2]"),
        ("[64:ff9b::1]:4000", "[fd00::2]"),
        ("[fd00::1]:0", "[fd00::2]"),
    ] {
        lab.send_packet(segment(src, &format!("{dst}:80"), &syn()));
        let answer = lab.next_tcp();
        assert_eq!(answer.tcp.flags, syn_ack().flags, "to {src}");
        assert_eq!((answer.ip.dst, answer.tcp.dst_port), (addr(src).ip(), addr(src).port()));
        lab.send_packet(segment(src, &format!("{dst}:81"), &syn()));
        assert_eq!(lab.next_tcp().tcp.flags, rst_ack().flags, "from {src}");
        lab.send_packet(datagram(src, &format!("{dst}:81"), b"x"));
        lab.next_packet();
    }
    for (hops, port) in [(0, 5000), (1, 5001)] {
        let mut packet = segment(&format!("10.0.0.1:{port}"), "10.0.0.2:80", &syn());
        packet[8] = hops;
        fix_ip_checksum(&mut packet);
        lab.send_packet(packet);
        assert_eq!(lab.next_tcp().tcp.flags, syn_ack().flags, "{hops} hops left");
        let mut packet = segment(&format!("[fd00::1]:{port}"), "[fd00::2]:80", &syn());
        packet[7] = hops;
        lab.send_packet(packet);
        assert_eq!(lab.next_tcp().tcp.flags, syn_ack().flags, "{hops} hops left");
    }
    assert_eq!(lab.stack.counters().martian_sources, 0);
}

/// No socket has port 0 (RFC 6335 6), so it is closed, to `listen_any` too: nobody could go on to there.
#[test]
fn port_0_is_closed() {
    let mut lab = Lab::new();
    let any = lab.stack.listen_any(16, SocketOptions::default()).unwrap();
    for (src, dst) in [
        ("10.0.0.1:4000", "10.0.0.2:0"),
        ("10.0.0.1:0", "10.0.0.2:0"),
        ("[fd00::1]:4000", "[fd00::2]:0"),
        ("[fd00::1]:0", "[fd00::2]:0"),
    ] {
        lab.send_packet(segment(src, dst, &syn().seq(7)));
        let reset = lab.next_tcp().tcp;
        assert_eq!((reset.flags, reset.ack.get()), (rst_ack().flags, 8));
        lab.send_packet(datagram(src, dst, b"x"));
        assert!(parse(&lab.next_packet()).is_none(), "an ICMP error");
    }
    // An address that is not ours has no closed ports either.
    lab.send_packet(segment("10.0.0.1:4000", "93.184.216.34:0", &syn()));
    lab.quiet();
    assert!(lab.stack.poll_incoming(any).is_none());
    lab.assert_empty();
    assert_eq!((lab.stack.counters().resets_sent, lab.stack.counters().udp_no_port), (4, 4));
}

/// `::ffff:10.0.0.1` is a name for an IPv4 peer inside a program (RFC 4291 2.5.5.2). On the wire it is a forgery:
/// a program that trusts an IPv4 network would trust it, and one that connects to where a peer wanted to go would
/// connect to its own 127.0.0.1. Linux drops it as a source.
#[test]
fn an_ipv4_address_in_an_ipv6_header_is_nobody() {
    let mut lab = Lab::new();
    lab.stack.listen(addr("[::]:80"), 16, SocketOptions::default()).unwrap();
    lab.stack.listen_any(16, SocketOptions::default()).unwrap();
    for src in ["[::ffff:10.0.0.1]:4000", "[::ffff:127.0.0.1]:4000", "[::ffff:10.0.0.2]:4000"] {
        lab.send_packet(segment(src, "[fd00::2]:80", &syn()));
        lab.send_packet(segment(src, "[fd00::2]:81", &syn()));
        lab.send_packet(datagram(src, "[fd00::2]:81", b"x"));
        lab.send_packet(emit_echo_request(addr(src).ip(), ip_of("fd00::2"), 1, 1, b"x", 64));
    }
    assert_eq!(lab.stack.counters().martian_sources, 12);
    for dst in ["[::ffff:127.0.0.1]:80", "[::ffff:10.0.0.2]:80", "[::ffff:93.184.216.34]:443"] {
        lab.send_packet(segment("[fd00::1]:4000", dst, &syn()));
        lab.send_packet(datagram("[fd00::1]:4000", dst, b"x"));
    }
    assert_eq!(lab.stack.counters().not_ours, 6);
    lab.quiet();
    lab.assert_empty();
}

/// The same sources and destinations as for a single listener, and none of them reaches the program's decision.
#[test]
fn listen_any_is_not_asked_about_what_cannot_be() {
    let mut lab = Lab::new();
    let any = lab.stack.listen_any(16, SocketOptions::default()).unwrap();
    for src in ["0.0.0.0:4000", "255.255.255.255:4000", "224.0.0.5:4000", "127.0.0.1:4000", "10.0.0.2:4000"] {
        lab.send_packet(segment(src, "93.184.216.34:443", &syn()));
    }
    for dst in ["0.0.0.0:443", "255.255.255.255:443", "224.0.0.5:443", "127.0.0.1:443", "10.0.0.255:443"] {
        lab.send_packet(segment("10.0.0.1:4000", dst, &syn()));
    }
    for src in ["[::]:4000", "[::1]:4000", "[ff02::1]:4000", "[fd00::2]:4000"] {
        lab.send_packet(segment(src, "[2001:db8::1]:443", &syn()));
    }
    for dst in ["[::]:443", "[::1]:443", "[ff02::1]:443"] {
        lab.send_packet(segment("[fd00::1]:4000", dst, &syn()));
    }
    lab.quiet();
    assert!(lab.stack.poll_incoming(any).is_none());
    lab.assert_empty();
    // Reserved is not impossible.
    lab.send_packet(segment("240.0.0.1:4000", "240.0.0.2:443", &syn()));
    assert!(lab.stack.poll_incoming(any).is_some());
}
