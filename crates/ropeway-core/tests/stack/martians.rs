//! What is dropped before any connection sees it (martians, packets for others, fragments, damage), and what is
//! taken although it is odd (IP options, padding, SYN with FIN).

use ropeway_core::packet::icmp::emit_echo_request;
use ropeway_core::{SocketOptions, State};

use crate::common::*;
use crate::{ip_of, segment};

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
fn fragments_are_counted() {
    let mut lab = Lab::new();
    lab.listen();
    for (offset, more) in [(0u8, 0x20u8), (3, 0x20), (6, 0)] {
        let mut packet = segment("10.0.0.1:4000", "10.0.0.2:80", &syn().len(20));
        packet[6] = more;
        packet[7] = offset;
        fix_ip_checksum(&mut packet);
        lab.send_packet(packet);
    }
    lab.quiet();
    assert_eq!(lab.stack.counters().fragments, 3);
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

// RFC 1122 4.2.3.9 and the house's own rule: a connection that probes is not a program that hangs.
#[test]
fn syn_and_fin_together_are_a_syn() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().fin().mss(1460));
    lab.flow.nxt = 1;
    lab.expect(syn_ack().ack(1));
    lab.send(ack().seq(1));
    assert!(lab.stack.is_acceptable(listener));
}
