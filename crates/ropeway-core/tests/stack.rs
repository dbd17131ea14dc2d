//! What the stack does around its connections: closed ports, UDP and ICMP, backlogs, ports, loopback, urgent
//! data (RFC 9293 3.8.5, 3.9, 3.10.7.1, RFC 1122).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::net::{IpAddr, SocketAddr};

use common::*;
use ropeway_core::packet::icmp::{emit_echo_request, emit_error};
use ropeway_core::packet::{IcmpErrorKind, IcmpMessage, Protocol, TcpFlags, UnreachableKind, icmp, ip, udp};
use ropeway_core::{
    ConnectError, ConnectionError, ConnectionId, ListenError, Readiness, RecvError, SendFlags, SocketOptions,
    State, SynCookieMode,
};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip_of(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A TCP segment from anywhere to anywhere.
fn segment(src: &str, dst: &str, seg: &Seg) -> Vec<u8> {
    let (src, dst) = (address(src), address(dst));
    let header =
        header((src.port(), dst.port()), seg, seg.seq.unwrap_or(0), seg.ack.unwrap_or(0), 1000, None);
    tcp_packet(src.ip(), dst.ip(), &header, None, &seg.payload())
}

fn datagram(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    let (src, dst) = (address(src), address(dst));
    let params = ip_params(src.ip(), dst.ip(), Protocol::UDP);
    udp::emit(&params, src.port(), dst.port(), data).unwrap()
}

fn sharing(reuse_addr: bool, reuse_port: bool) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.reuse_addr = reuse_addr;
    options.reuse_port = reuse_port;
    options
}

fn established() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    (lab, id)
}

// ---- packets that belong to nobody

#[test]
fn closed_ports_reset_over_ipv6_too() {
    let mut lab = Lab::new().v6();
    lab.send(syn().seq(77));
    lab.expect(rst_ack().seq(0).ack(78));
    lab.send(rst().seq(77));
    lab.quiet();
}

// RFC 1122 4.1.3.1, RFC 4443 3.1
#[test]
fn a_datagram_to_a_closed_port_gets_port_unreachable_with_its_beginning() {
    for (src, dst) in [("10.0.0.1:5000", "10.0.0.2:53"), ("[fd00::1]:5000", "[fd00::2]:53")] {
        let mut lab = Lab::new();
        let packet = datagram(src, dst, b"anybody there?");
        lab.send_packet(packet.clone());
        let answer = lab.next_packet();
        let ip = ip::parse(&answer).unwrap();
        assert_eq!((ip.src, ip.dst), (address(dst).ip(), address(src).ip()));
        let IcmpMessage::Unreachable { code, quote } = icmp::parse(&answer, &ip).unwrap() else { panic!() };
        assert_eq!(code.kind, UnreachableKind::Port);
        assert_eq!(&answer[quote], &packet[..]);
        lab.quiet();
    }
}

// RFC 1812 4.3.2.3: as much as fits, and what is sent must fit into the device's MTU too.
#[test]
fn an_icmp_error_is_no_longer_than_the_mtu() {
    for mtu in [68, 100, 576, 1500] {
        let mut lab = Lab::with(|config| config.mtu = mtu);
        let packet = datagram("10.0.0.1:5000", "10.0.0.2:53", &pattern(0, usize::from(mtu) - 28));
        lab.send_packet(packet.clone());
        let answer = lab.next_packet();
        assert_eq!(answer.len(), usize::from(mtu).min(576));
        let ip = ip::parse(&answer).unwrap();
        let IcmpMessage::Unreachable { quote, .. } = icmp::parse(&answer, &ip).unwrap() else { panic!() };
        assert!(packet.starts_with(&answer[quote]));
    }
}

// RFC 1122 3.2.2, RFC 4443 2.4 e
#[test]
fn no_icmp_error_about_broadcasts_multicasts_fragments_and_errors() {
    let mut lab = Lab::new();
    for dst in ["10.0.0.255:53", "255.255.255.255:53", "224.0.0.1:53", "10.0.0.9:53", "127.0.0.1:53"] {
        lab.send_packet(datagram("10.0.0.1:5000", dst, b"hello"));
    }
    for src in ["0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "127.0.0.1:1", "10.0.0.2:1", "10.0.0.255:1"]
    {
        lab.send_packet(datagram(src, "10.0.0.2:53", b"hello"));
    }
    lab.send_packet(datagram("[fd00::1]:1", "[ff02::1]:53", b"hello"));
    for src in ["[::]:1", "[::1]:1", "[ff02::1]:1", "[fd00::2]:1"] {
        lab.send_packet(datagram(src, "[fd00::2]:53", b"hello"));
    }
    lab.quiet();
    assert_eq!(lab.stack.counters().martian_sources, 10);
    // A later fragment of a datagram, and an ICMP error that quotes an ICMP error.
    let mut fragment = datagram("10.0.0.1:5000", "10.0.0.2:53", &[0; 64]);
    fragment[6] = 0;
    fragment[7] = 2;
    fix_ip_checksum(&mut fragment);
    lab.send_packet(fragment);
    let about = datagram("10.0.0.2:7", "10.0.0.1:8", b"x");
    let error =
        emit_error(ip_of("10.0.0.1"), ip_of("10.0.0.2"), IcmpErrorKind::TimeExceeded { code: 0 }, &about, 64);
    lab.send_packet(error.clone());
    let second =
        emit_error(ip_of("10.0.0.1"), ip_of("10.0.0.2"), IcmpErrorKind::TimeExceeded { code: 0 }, &error, 64);
    lab.send_packet(second);
    lab.quiet();
}

// RFC 1812 4.3.2.8, RFC 4443 2.4 f
#[test]
fn icmp_errors_are_limited_in_rate() {
    let mut lab = Lab::with(|config| config.icmp_errors_per_second = 5);
    for _ in 0..20 {
        lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    }
    assert_eq!(lab.drain().len(), 5);
    assert_eq!(lab.stack.counters().icmp_rate_limited, 15);
    lab.at(1000);
    lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    assert_eq!(lab.drain().len(), 1);
}

#[test]
fn an_unknown_protocol_gets_protocol_unreachable() {
    for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let mut lab = Lab::new();
        lab.send_packet(ip_packet(ip_of(src), ip_of(dst), Protocol(132), &[0; 40]));
        let answer = lab.next_packet();
        let parsed = ip::parse(&answer).unwrap();
        match icmp::parse(&answer, &parsed).unwrap() {
            IcmpMessage::Unreachable { code, .. } => assert_eq!(code.kind, UnreachableKind::Protocol),
            IcmpMessage::ParameterProblem { code, pointer, .. } => assert_eq!((code, pointer), (1, 6)),
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.stack.counters().unknown_protocol, 1);
    }
}

// RFC 1122 3.2.2.6, RFC 4443 4.2
#[test]
fn echo_requests_are_answered_as_they_are() {
    for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        for len in [0, 1, 56, 1400] {
            let mut lab = Lab::new();
            let payload = pattern(0, len);
            lab.send_packet(emit_echo_request(ip_of(src), ip_of(dst), 0x1234, 7, &payload, 64));
            let answer = lab.next_packet();
            let parsed = ip::parse(&answer).unwrap();
            assert_eq!((parsed.src, parsed.dst), (ip_of(dst), ip_of(src)));
            let IcmpMessage::EchoReply { ident, seq, data } = icmp::parse(&answer, &parsed).unwrap() else {
                panic!()
            };
            assert_eq!((ident, seq), (0x1234, 7));
            assert_eq!(&answer[data], &payload[..]);
        }
    }
    let mut lab = Lab::with(|config| config.echo_replies = false);
    lab.send_packet(emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.2"), 1, 1, b"x", 64));
    lab.send_packet(emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.255"), 1, 1, b"x", 64));
    lab.quiet();
}

// MUST-57, MUST-63, RFC 1122 3.2.1.3
#[test]
fn syns_from_and_to_nobody_are_dropped_silently() {
    let mut lab = Lab::new();
    lab.stack.listen(address("0.0.0.0:80"), 16, SocketOptions::default()).unwrap();
    lab.stack.listen(address("[fd00::2]:80"), 16, SocketOptions::default()).unwrap();
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

// ---- SYN options in Linux's order and padding

#[test]
fn the_options_of_a_syn_stand_as_linux_writes_them() {
    let options = |packet: &[u8]| packet[40..20 + usize::from(packet[32] >> 4) * 4].to_vec();
    let mut lab = Lab::new();
    lab.connect();
    let all = options(&lab.next_packet());
    assert_eq!((&all[..8], &all[16..]), (&[2, 4, 5, 0xb4, 1, 1, 8, 10][..], &[1, 3, 3, 7][..]));
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.connect();
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4, 1, 3, 3, 7]);
    let mut lab = Lab::with(|config| config.window_scaling = false);
    lab.connect();
    let all = options(&lab.next_packet());
    assert_eq!((&all[..8], all.len()), (&[2, 4, 5, 0xb4, 1, 1, 8, 10][..], 16));
    let mut lab = Lab::with(|config| {
        config.window_scaling = false;
        config.timestamps = false;
    });
    lab.connect();
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4]);
    // The SYN-ACK has what both have.
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1000).ws(2));
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4, 1, 3, 3, 7]);
}

// RFC 6528, MUST-8, MUST-9; RFC 9293 3.4.1 SHLD-1, RFC 6528 3-1
#[test]
fn initial_sequence_numbers_move_with_the_clock_and_differ_by_tuple() {
    let mut lab = Lab::new();
    lab.listen();
    let isn = |lab: &mut Lab, port| {
        lab.switch(port);
        lab.flow.nxt = 0;
        lab.send(syn());
        let isn = lab.next_tcp().tcp.seq.get();
        lab.send(rst().seq(1));
        isn
    };
    let first = isn(&mut lab, 5000);
    assert_eq!(isn(&mut lab, 5000), first);
    let other = isn(&mut lab, 5001);
    assert!(other.wrapping_sub(first) > 100_000 && first.wrapping_sub(other) > 100_000);
    lab.at(4000);
    assert_eq!(isn(&mut lab, 5000).wrapping_sub(first), 1_000_000);
}

// ---- ICMP errors for connections (RFC 9293 3.9.2.2, RFC 5461, RFC 5927)

fn icmp_about(lab: &mut Lab, kind: IcmpErrorKind, about: &[u8]) {
    let (from, to) = (lab.remote.ip(), lab.local.ip());
    lab.send_packet(emit_error(from, to, kind, about, 64));
}

// RFC 9293 3.9.2.2 MUST-54, SHLD-26
#[test]
fn hard_errors_end_an_attempt_to_connect() {
    for v6 in [false, true] {
        for (kind, error) in [
            (UnreachableKind::Port, ConnectionError::Refused),
            (UnreachableKind::Protocol, ConnectionError::ProtocolUnreachable),
        ] {
            if v6 && kind == UnreachableKind::Protocol {
                continue;
            }
            let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
            let id = lab.connect();
            let syn = lab.next_packet();
            icmp_about(&mut lab, IcmpErrorKind::Unreachable(kind), &syn);
            lab.assert_state(id, State::Closed);
            assert!(lab.told(id, Readiness::WRITABLE));
            assert_eq!(lab.stack.take_error(id), Some(error));
            lab.close(id);
            lab.assert_empty();
        }
    }
}

// MUST-56
#[test]
fn soft_errors_do_not_end_an_attempt_but_tell_why_it_failed() {
    for v6 in [false, true] {
        for (kind, error) in [
            (IcmpErrorKind::Unreachable(UnreachableKind::Network), ConnectionError::NetworkUnreachable),
            (IcmpErrorKind::Unreachable(UnreachableKind::Host), ConnectionError::HostUnreachable),
            (IcmpErrorKind::Unreachable(UnreachableKind::AdminProhibited), ConnectionError::Prohibited),
            (IcmpErrorKind::TimeExceeded { code: 0 }, ConnectionError::HostUnreachable),
            (IcmpErrorKind::ParameterProblem { code: 0, pointer: 1 }, ConnectionError::ProtocolUnreachable),
        ] {
            let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
            let id = lab.connect_with(|options| options.syn_retries = 1).unwrap();
            let packet = lab.next_packet();
            icmp_about(&mut lab, kind, &packet);
            lab.assert_state(id, State::SynSent);
            lab.at(1000);
            lab.expect(syn());
            lab.at(3000);
            lab.assert_state(id, State::Closed);
            assert_eq!(lab.stack.take_error(id), Some(error), "{kind:?}");
        }
    }
}

// RFC 9293 3.9.2.2 MUST-56
#[test]
fn no_icmp_error_ends_an_established_connection() {
    for v6 in [false, true] {
        for kind in [
            IcmpErrorKind::Unreachable(UnreachableKind::Port),
            IcmpErrorKind::Unreachable(UnreachableKind::Network),
            IcmpErrorKind::Unreachable(UnreachableKind::Host),
            IcmpErrorKind::TimeExceeded { code: 0 },
            IcmpErrorKind::TimeExceeded { code: 1 },
            IcmpErrorKind::ParameterProblem { code: 0, pointer: 9 },
        ] {
            let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
            let id = lab.accepted(Peer::default());
            lab.write(id, b"hello");
            let packet = lab.next_packet();
            icmp_about(&mut lab, kind, &packet);
            lab.quiet();
            lab.assert_state(id, State::Established);
            // SHLD-25, MUST-47
            assert!(lab.stack.take_error(id).is_some(), "{kind:?}");
            assert_eq!(lab.stack.take_error(id), None);
            lab.send(ack());
        }
    }
}

// MUST-55
#[test]
fn source_quench_is_dropped() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 14_600));
    let packet = lab.next_packet();
    lab.drain();
    let cwnd = lab.info(id).cwnd;
    icmp_about(&mut lab, IcmpErrorKind::TimeExceeded { code: 0 }, &packet);
    lab.stack.take_error(id);
    // Type 4.
    let mut quench =
        emit_error(lab.remote.ip(), lab.local.ip(), IcmpErrorKind::TimeExceeded { code: 0 }, &packet, 64);
    let sum = u16::from_be_bytes([quench[22], quench[23]]);
    let sum = ropeway_core::packet::checksum::update_u16(sum, 11 << 8, 4 << 8);
    quench[20] = 4;
    quench[22..24].copy_from_slice(&sum.to_be_bytes());
    lab.send_packet(quench);
    lab.quiet();
    assert_eq!(lab.stack.take_error(id), None);
    assert_eq!(lab.info(id).cwnd, cwnd);
}

// RFC 9293 3.9.2.2 MUST-54
#[test]
fn errors_about_what_we_did_not_send_are_ignored() {
    let mut lab = Lab::new();
    let id = lab.connect();
    let packet = lab.next_packet().to_vec();
    for at in [15, 19, 20, 21, 22, 23, 24, 25, 27] {
        let mut forged = packet.clone();
        forged[at] ^= 0x10;
        icmp_about(&mut lab, IcmpErrorKind::Unreachable(UnreachableKind::Port), &forged);
        lab.assert_state(id, State::SynSent);
    }
    assert_eq!(lab.stack.counters().icmp_ignored, 9);
    for len in 0..28 {
        icmp_about(&mut lab, IcmpErrorKind::Unreachable(UnreachableKind::Port), &packet[..len]);
        lab.assert_state(id, State::SynSent);
    }
    // Eight bytes of the segment are all that RFC 792 promises.
    icmp_about(&mut lab, IcmpErrorKind::Unreachable(UnreachableKind::Port), &packet[..28]);
    lab.assert_state(id, State::Closed);
}

// ---- backlogs

#[test]
fn a_full_accept_queue_drops_syns_as_linux_does() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    let listener = lab.listen_with(2, |_| {});
    for port in [5000, 5001] {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    lab.switch(5002);
    lab.send(syn());
    lab.quiet();
    assert_eq!(lab.stack.counters().accept_queue_overflows, 1);
    assert!(lab.stack.accept(lab.ts(), listener).unwrap().is_some());
    lab.at(1000);
    lab.handshake(Peer::default());
    assert!(lab.stack.accept(lab.ts(), listener).unwrap().is_some());
    assert_eq!(lab.stack.accept(lab.ts(), listener).unwrap().unwrap().1.port(), 5002);
    assert!(lab.stack.accept(lab.ts(), listener).unwrap().is_none());
}

// Linux drops the final ACK, and its SYN-ACK asks for it again.
#[test]
fn a_final_ack_that_finds_the_accept_queue_full_can_come_again() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    let listener = lab.listen_with(2, |_| {});
    for port in [5000, 5001] {
        lab.switch(port);
        lab.send(syn());
        lab.expect(syn_ack());
    }
    // The queue fills up with one more while both are half-open.
    for port in [5000, 5001] {
        lab.switch(port);
        lab.send(ack());
    }
    lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    lab.switch(5002);
    lab.send(syn());
    lab.expect(syn_ack());
    lab.switch(5003);
    lab.send(syn());
    lab.expect(syn_ack());
    lab.switch(5002);
    lab.send(ack());
    lab.switch(5003);
    lab.send(data(b"hello"));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 1);
    assert_eq!(lab.stack.counters().accept_queue_overflows, 1);
    lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    lab.at(1000);
    lab.expect(syn_ack());
    lab.send(ack());
    assert_eq!(lab.stack.sizes().half_open, 0);
    lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(from.port(), 5003);
    lab.send(data(b"hello").seq(1));
    assert_eq!(lab.read(id, 10), b"hello");
}

#[test]
fn a_full_syn_queue_drops_syns_if_there_are_no_cookies() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    lab.listen_with(3, |_| {});
    for port in 5000..5003 {
        lab.switch(port);
        lab.send(syn());
        lab.expect(syn_ack());
    }
    lab.switch(5003);
    lab.send(syn());
    lab.quiet();
    assert_eq!(lab.stack.counters().syn_queue_overflows, 1);
    assert_eq!(lab.stack.sizes().half_open, 3);
    lab.switch(5001);
    lab.send(ack());
    lab.switch(5003);
    lab.send(syn());
    lab.expect(syn_ack());
}

// RFC 4987 3.6
#[test]
fn a_full_syn_queue_answers_with_cookies_that_cost_nothing() {
    for (ws, ts) in [(None, false), (Some(7), true), (None, true), (Some(7), false)] {
        let mut lab = Lab::new();
        let listener = lab.listen_with(1, |_| {});
        lab.send(syn());
        lab.expect(syn_ack());
        lab.switch(5001);
        lab.flow.ts = ts.then_some(777);
        let offered = Seg { ws, ..syn().mss(1460) };
        lab.send(offered);
        lab.expect(syn_ack().ack(1).mss(1460));
        assert_eq!(lab.stack.sizes().half_open, 1, "the cookie has no entry");
        lab.send(data(b"hello"));
        assert_eq!(lab.stack.counters().cookies_accepted, 1);
        let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        assert_eq!(from.port(), 5001);
        assert_eq!(lab.read(id, 100), b"hello");
        let info = lab.info(id);
        assert_eq!(info.timestamps, ts);
        assert_eq!(info.snd_wscale, ws.filter(|_| ts));
        // A cookie tells nothing about the round trip.
        assert!(info.srtt.as_millis() <= 1, "srtt {:?}", info.srtt);
    }
}

#[test]
fn a_forged_cookie_is_reset() {
    let mut lab = Lab::new();
    lab.listen_with(1, |_| {});
    lab.send(syn());
    lab.expect(syn_ack());
    lab.switch(5001);
    lab.send(syn());
    lab.expect(syn_ack());
    for wrong in [0, 2, 77, u32::MAX] {
        lab.send(ack().ack(wrong));
        lab.expect(rst().seq(wrong));
    }
    lab.send(ack().ack(1).seq(2));
    lab.expect(rst().seq(1));
    lab.send(ack().ack(1));
    lab.quiet();
    assert_eq!(lab.stack.counters().cookies_accepted, 1);
}

#[test]
fn handshakes_go_on_though_nobody_accepts() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(100, |_| {});
    for port in 5000..5050 {
        lab.switch(port);
        lab.handshake(Peer::default());
        lab.send(data(b"early"));
        lab.run_to(lab.now + ms(40));
        lab.expect(ack().ack(6));
    }
    assert_eq!(lab.stack.sizes().connections, 50);
    for port in 5000..5050 {
        let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        assert_eq!(from.port(), port);
        assert_eq!(lab.read(id, 100), b"early");
    }
}

#[test]
fn accept_tells_with_an_event() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    assert!(!lab.stack.is_acceptable(listener));
    lab.handshake(Peer::default());
    assert!(lab.events.contains(&ropeway_core::Event::Acceptable(listener)));
    assert!(lab.stack.is_acceptable(listener));
}

#[test]
fn max_connections_is_kept() {
    let mut lab = Lab::with(|config| config.max_connections = 3);
    lab.listen_with(100, |_| {});
    for port in 5000..5010 {
        lab.switch(port);
        lab.input(syn());
        lab.collect();
        if !lab.out.is_empty() {
            lab.expect(syn_ack());
            lab.send(ack());
        }
    }
    assert_eq!(lab.stack.sizes().connections, 3);
    let refused = lab.stack.connect(lab.ts(), None, address("10.0.0.1:80"), SocketOptions::default());
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
}

// ---- ports and addresses (RFC 9293 3.9.1.1)

// RFC 9293 3.9.1.1 MUST-41
#[test]
fn what_can_be_listened_on() {
    let mut lab = Lab::new();
    let mut listen = |text: &str, change: fn(&mut SocketOptions)| {
        let mut options = SocketOptions::default();
        change(&mut options);
        lab.stack.listen(address(text), 16, options)
    };
    assert!(listen("10.0.0.2:80", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.2:80", |_| {}), Err(ListenError::AddressInUse));
    assert_eq!(listen("10.0.0.2:80", |o| o.reuse_addr = true), Err(ListenError::AddressInUse));
    assert_eq!(listen("0.0.0.0:80", |_| {}), Err(ListenError::AddressInUse));
    assert_eq!(listen("[::]:80", |_| {}), Err(ListenError::AddressInUse));
    assert!(listen("127.0.0.1:80", |_| {}).is_ok());
    assert!(listen("[fd00::2]:80", |_| {}).is_ok());
    assert!(listen("10.0.0.2:81", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.3:80", |_| {}), Err(ListenError::AddressNotAvailable));
    assert_eq!(listen("[fd00::3]:80", |_| {}), Err(ListenError::AddressNotAvailable));
    assert!(listen("0.0.0.0:82", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.2:82", |_| {}), Err(ListenError::AddressInUse));
    assert!(listen("10.0.0.2:83", |o| o.reuse_port = true).is_ok());
    assert!(listen("10.0.0.2:83", |o| o.reuse_port = true).is_ok());
    assert_eq!(listen("10.0.0.2:83", |_| {}), Err(ListenError::AddressInUse));
}

// MUST-41, MUST-42
#[test]
fn listening_beside_connections_with_the_same_port() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    let reuse = sharing(true, false);
    let listener = lab.stack.listen(lab.local, 16, reuse).unwrap();
    // The attempt is not disturbed, and neither is the listener by it.
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.assert_state(id, State::Established);
    assert!(!lab.stack.is_acceptable(listener));
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(listener));
}

#[test]
fn a_listener_may_come_back_while_its_connections_wait_if_it_says_so() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    lab.stack.close_listener(lab.ts(), listener);
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(2));
    lab.expect(ack());
    assert_eq!(lab.stack.sizes().time_wait, 1);
    assert_eq!(lab.stack.listen(lab.local, 16, SocketOptions::default()), Err(ListenError::AddressInUse));
    let reuse = sharing(true, false);
    assert!(lab.stack.listen(lab.local, 16, reuse).is_ok());
}

#[test]
fn bindings_reserve_a_port() {
    let mut lab = Lab::new();
    let options = SocketOptions::default();
    let (binding, local) = lab.stack.bind(address("10.0.0.2:0"), &options).unwrap();
    assert!((32768..=60999).contains(&local.port()));
    assert_eq!(lab.stack.bind(local, &options).unwrap_err(), ListenError::AddressInUse);
    assert_eq!(lab.stack.listen(local, 1, options.clone()), Err(ListenError::AddressInUse));
    assert_eq!(lab.stack.sizes().bindings, 1);
    lab.stack.release_binding(binding);
    lab.stack.release_binding(binding);
    assert!(lab.stack.listen(local, 1, options).is_ok());
    assert_eq!(lab.stack.sizes().bindings, 0);
}

#[test]
fn connecting_to_what_cannot_be_reached_fails_at_once() {
    let mut lab = Lab::new();
    let mut connect = |local: Option<&str>, remote: &str| {
        lab.stack.connect(lab.ts(), local.map(address), address(remote), SocketOptions::default())
    };
    // MUST-46
    for remote in ["10.0.0.255:80", "255.255.255.255:80", "224.0.0.1:80", "[ff02::1]:80", "10.0.0.1:0"] {
        assert_eq!(connect(None, remote), Err(ConnectError::InvalidRemote), "{remote}");
    }
    assert_eq!(connect(Some("10.0.0.3:0"), "10.0.0.1:80"), Err(ConnectError::AddressNotAvailable));
    assert_eq!(connect(Some("[fd00::2]:0"), "10.0.0.1:80"), Err(ConnectError::FamilyMismatch));
    assert_eq!(connect(Some("127.0.0.1:0"), "10.0.0.1:80"), Err(ConnectError::NetworkUnreachable));
    assert!(connect(Some("10.0.0.2:0"), "10.0.0.1:80").is_ok());
    assert!(connect(Some("0.0.0.0:0"), "10.0.0.1:80").is_ok());
    assert!(connect(Some("10.0.0.2:7777"), "10.0.0.1:80").is_ok());
    assert_eq!(connect(Some("10.0.0.2:7777"), "10.0.0.1:80"), Err(ConnectError::AddressInUse));
    assert!(
        connect(Some("10.0.0.2:7777"), "10.0.0.1:81").is_ok(),
        "another remote port is another connection"
    );
    let mut lab = Lab::with(|config| config.addresses = vec!["10.0.0.2/24".parse().unwrap()]);
    let none = lab.stack.connect(lab.ts(), None, address("[fd00::1]:80"), SocketOptions::default());
    assert_eq!(none, Err(ConnectError::NetworkUnreachable));
}

// RFC 6056
#[test]
fn ephemeral_ports_are_all_used_before_there_are_none() {
    let mut lab = Lab::with(|config| config.ephemeral_ports = 50_000..=50_009);
    let mut connect =
        |remote: &str| lab.stack.connect(lab.ts(), None, address(remote), SocketOptions::default());
    let ids: Vec<_> = (0..10).map(|_| connect("10.0.0.1:80").unwrap()).collect();
    assert_eq!(connect("10.0.0.1:80"), Err(ConnectError::PortsExhausted));
    // Towards another they are free.
    assert!(connect("10.0.0.1:81").is_ok());
    let mut ports: Vec<u16> = ids.iter().map(|id| lab.stack.tuple(*id).unwrap().local_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (50_000..=50_009).collect::<Vec<u16>>());
    lab.stack.close(lab.ts(), ids[3]);
    assert!(lab.stack.connect(lab.ts(), None, address("10.0.0.1:80"), SocketOptions::default()).is_ok());
    // Listeners and bindings run out too.
    let mut lab = Lab::with(|config| config.ephemeral_ports = 50_000..=50_004);
    for _ in 0..5 {
        lab.stack.listen(address("10.0.0.2:0"), 1, SocketOptions::default()).unwrap();
    }
    assert_eq!(
        lab.stack.listen(address("10.0.0.2:0"), 1, SocketOptions::default()),
        Err(ListenError::PortsExhausted)
    );
    assert_eq!(
        lab.stack.bind(address("10.0.0.2:0"), &SocketOptions::default()).unwrap_err(),
        ListenError::PortsExhausted
    );
    assert_eq!(
        lab.stack.connect(lab.ts(), None, address("10.0.0.1:80"), SocketOptions::default()),
        Err(ConnectError::PortsExhausted)
    );
}

#[test]
fn the_most_specific_listener_gets_the_syn() {
    let mut lab = Lab::new();
    let any6 = lab.stack.listen(address("[::]:80"), 16, SocketOptions::default()).unwrap();
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(any6), "a listener on :: takes IPv4 too");
    lab.stack.close_listener(lab.ts(), any6);
    lab.collect();
    lab.drain();
    let port = |reuse: bool| sharing(false, reuse);
    let any4 = lab.stack.listen(address("0.0.0.0:80"), 16, port(true)).unwrap();
    let exact = lab.stack.listen(address("10.0.0.2:80"), 16, port(true)).unwrap();
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(exact) && !lab.stack.is_acceptable(any4));
}

#[test]
fn listeners_that_share_a_port_share_the_load() {
    let mut lab = Lab::new();
    let options = sharing(false, true);
    let listeners: Vec<_> =
        (0..4).map(|_| lab.stack.listen(lab.local, 1000, options.clone()).unwrap()).collect();
    for port in 5000..5400 {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let mut counts = Vec::new();
    for listener in listeners {
        let mut count = 0;
        while lab.stack.accept(lab.ts(), listener).unwrap().is_some() {
            count += 1;
        }
        counts.push(count);
    }
    assert_eq!(counts.iter().sum::<i32>(), 400);
    assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
}

// ---- loopback

/// Runs a client and a server within one stack; nothing must leave it.
fn converse_within(lab: &mut Lab, local: &str, from: Option<&str>) -> (ConnectionId, ConnectionId) {
    let listener = lab.stack.listen(address(local), 16, SocketOptions::default()).unwrap();
    let client =
        lab.stack.connect(lab.ts(), from.map(address), address(local), SocketOptions::default()).unwrap();
    lab.collect();
    lab.quiet();
    lab.assert_state(client, State::Established);
    let (server, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    let bytes = pattern(0, 3_000_000);
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < bytes.len() {
        if sent < bytes.len() {
            sent += lab.stack.send(lab.ts(), client, &bytes[sent..], SendFlags::default()).unwrap_or(0);
        }
        lab.collect();
        match lab.stack.recv(lab.ts(), server, 1_000_000) {
            Ok(payload) => got.extend(payload.to_vec()),
            Err(RecvError::WouldBlock) => {
                let at = lab.next_deadline().expect("a timer");
                lab.run_to(at.max(lab.now));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    lab.quiet();
    assert!(got == bytes);
    assert!(lab.now < secs(2), "it took {} us", lab.now);
    (client, server)
}

#[test]
fn loopback_connections_never_leave_the_stack() {
    for (local, from) in [
        ("127.0.0.1:80", None),
        ("127.1.2.3:80", None),
        ("127.0.0.1:80", Some("127.9.9.9:0")),
        ("[::1]:80", None),
        ("10.0.0.2:80", None),
        ("10.0.0.2:80", Some("127.0.0.1:0")),
        ("[fd00::2]:80", None),
    ] {
        let mut lab = Lab::new();
        let (client, server) = converse_within(&mut lab, local, from);
        lab.close(client);
        assert!(lab.read(server, 10).is_empty());
        lab.close(server);
        lab.quiet();
        assert_eq!(lab.stack.sizes().time_wait, 1);
        lab.run_to(lab.now + secs(61));
        lab.quiet();
        lab.assert_empty();
    }
}

/// With the checksum left to the device, packets that never reach one are good all the same.
#[test]
fn loopback_works_with_checksum_offload() {
    let mut lab = Lab::with(|config| config.tx_checksum_offload = true);
    let (client, server) = converse_within(&mut lab, "127.0.0.1:80", None);
    lab.abort(client);
    lab.close(client);
    lab.close(server);
    lab.assert_empty();
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
    let mut lab = Lab::new();
    let remote = address("[::ffff:10.0.0.1]:80");
    let id = lab.stack.connect(lab.ts(), None, remote, SocketOptions::default()).unwrap();
    lab.collect();
    let segment = lab.next_tcp();
    assert_eq!((segment.ip.src, segment.ip.dst), (ip_of("10.0.0.2"), ip_of("10.0.0.1")));
    assert_eq!(lab.stack.tuple(id).unwrap().remote(), address("10.0.0.1:80"));
}

/// Two ends that disagree answer each other for ever, unless somebody counts (RFC 5961 7).
#[test]
fn an_acknowledgement_storm_dies_down() {
    let (mut lab, _) = established();
    let mut answers = 0;
    for _ in 0..10_000 {
        lab.input(ack().seq(5_000_000));
        answers += lab.drain().len();
        lab.now += 100;
    }
    assert!(answers <= 202, "{answers} in a second");
}

// RFC 6437 2: the same label on all packets of a flow
#[test]
fn the_flow_label_of_a_connection_does_not_change() {
    let mut lab = Lab::new().v6();
    let id = lab.accepted(Peer::default());
    lab.write(id, &pattern(0, 5000));
    lab.shutdown_write(id);
    let labels: Vec<u32> = lab
        .drain()
        .iter()
        .map(|sent| u32::from_be_bytes(sent.packet[..4].try_into().unwrap()) & 0xf_ffff)
        .collect();
    assert!(labels.len() >= 4);
    assert!(labels.iter().all(|label| *label == labels[0] && *label != 0), "{labels:x?}");
}

#[test]
fn a_closed_port_on_loopback_refuses() {
    for remote in ["127.0.0.1:81", "[::1]:81", "10.0.0.2:81", "0.0.0.0:81", "[::]:81"] {
        let mut lab = Lab::new();
        let id = lab.stack.connect(lab.ts(), None, address(remote), SocketOptions::default()).unwrap();
        lab.collect();
        lab.quiet();
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Refused));
    }
}

#[test]
fn a_connection_to_itself() {
    for own in ["127.0.0.1:5000", "10.0.0.2:5000", "[::1]:5000"] {
        let mut lab = Lab::new();
        let id =
            lab.stack.connect(lab.ts(), Some(address(own)), address(own), SocketOptions::default()).unwrap();
        lab.collect();
        lab.quiet();
        lab.assert_state(id, State::Established);
        for n in 0..5 {
            lab.write(id, &pattern(n * 50_000, 50_000));
            let mut got = Vec::new();
            while got.len() < 50_000 {
                match lab.stack.recv(lab.ts(), id, 100_000) {
                    Ok(payload) => got.extend(payload.to_vec()),
                    Err(_) => {
                        let at = lab.next_deadline().expect("a timer");
                        lab.run_to(at.max(lab.now));
                    }
                }
                lab.collect();
            }
            assert!(got == pattern(n * 50_000, 50_000));
        }
        lab.shutdown_write(id);
        assert!(lab.read(id, 10).is_empty());
        lab.close(id);
        lab.run_to(lab.now + secs(200));
        lab.quiet();
        lab.assert_empty();
    }
}

#[test]
fn loopback_survives_an_abort_and_a_reset() {
    let mut lab = Lab::new();
    let (client, server) = converse_within(&mut lab, "127.0.0.1:80", None);
    lab.abort(client);
    assert_eq!(lab.stack.recv(lab.ts(), server, 1).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    lab.close(client);
    lab.close(server);
    lab.assert_empty();
    assert_eq!(lab.next_deadline().filter(|at| *at <= lab.now), None);
}

// ---- urgent data (RFC 9293 3.8.5, RFC 6093)

// MUST-30, MUST-31, MUST-32, MUST-33, MUST-62
#[test]
fn urgent_data_is_told_and_stays_in_the_stream() {
    let (mut lab, id) = established();
    lab.send(data(b"abc!def").urg(4));
    assert!(lab.told(id, Readiness::PRIORITY));
    assert_eq!(lab.stack.urgent_remaining(id), Some(4));
    assert_eq!(lab.read(id, 3), b"abc");
    assert_eq!(lab.stack.urgent_remaining(id), Some(1));
    assert_eq!(lab.read(id, 1), b"!");
    assert_eq!(lab.stack.urgent_remaining(id), None);
    assert_eq!(lab.read(id, 10), b"def");
    assert!(!lab.stack.readiness(id).contains(Readiness::PRIORITY));
}

// RFC 9293 3.8.5 R-14
#[test]
fn the_urgent_pointer_only_moves_forward() {
    let (mut lab, id) = established();
    lab.send(data(b"0123456789").urg(8));
    assert_eq!(lab.stack.urgent_remaining(id), Some(8));
    lab.events.clear();
    lab.send(data(b"x").urg(1).seq(1));
    lab.drain();
    assert_eq!(lab.stack.urgent_remaining(id), Some(8));
    assert!(!lab.told(id, Readiness::PRIORITY));
    // One that is nearer, although not read yet, does not count either.
    lab.send(ack().urg(100));
    lab.send(ack().urg(2));
    assert_eq!(lab.stack.urgent_remaining(id), Some(110));
    lab.events.clear();
    // MUST-32: it advances, and that is told.
    lab.send(data(b"more").seq(11).urg(103));
    assert_eq!(lab.stack.urgent_remaining(id), Some(113));
    assert!(lab.told(id, Readiness::PRIORITY));
    lab.drain();
}

// RFC 9293 3.8.5 R-14
// RFC 6093 6, and pointers that make no sense
#[test]
fn odd_urgent_pointers_break_nothing() {
    // Zero points before the segment: nothing is urgent.
    let (mut lab, id) = established();
    lab.send(data(b"abc").urg(0));
    assert_eq!(lab.stack.urgent_remaining(id), None);
    assert_eq!(lab.read(id, 10), b"abc");
    // Without URG the pointer means nothing.
    let mut plain = data(b"abc").urg(2);
    plain.flags = TcpFlags::ACK;
    lab.send(plain);
    assert_eq!(lab.stack.urgent_remaining(id), None);
    lab.drain();
    // Far beyond what was sent.
    lab.send(data(b"x").urg(65_535));
    assert_eq!(lab.stack.urgent_remaining(id), Some(65_535 + 3));
    lab.drain();
    // In a segment without data: the pointer is about what follows.
    let (mut lab, id) = established();
    lab.send(ack().urg(5));
    assert!(lab.told(id, Readiness::PRIORITY));
    assert_eq!(lab.stack.urgent_remaining(id), Some(5));
    lab.send(data(b"12345"));
    lab.read(id, 5);
    assert_eq!(lab.stack.urgent_remaining(id), None);
}

// RFC 9293 3.4 R-13
#[test]
fn the_urgent_pointer_crosses_the_wrap() {
    let mut lab = Lab::new();
    lab.flow.isn = u32::MAX - 3;
    let id = lab.accepted(Peer::default());
    lab.send(data(b"0123456789").urg(10));
    assert_eq!(lab.stack.urgent_remaining(id), Some(10));
    lab.read(id, 9);
    assert_eq!(lab.stack.urgent_remaining(id), Some(1));
    lab.read(id, 1);
    assert_eq!(lab.stack.urgent_remaining(id), None);
}

// MUST-66
#[test]
fn urgent_and_reset_are_heard_while_the_window_is_closed() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 100);
    lab.send(some(100));
    lab.after(40);
    lab.expect(ack().win(0));
    lab.send(data(b"!").urg(1));
    lab.expect(ack().win(0));
    assert!(lab.told(id, Readiness::PRIORITY));
    assert_eq!(lab.stack.urgent_remaining(id), Some(101));
    // Acknowledgements too.
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.send(some(1).seq(101));
    lab.drain();
    assert_eq!(lab.info(id).unacked, 0);
    lab.send(rst().seq(101));
    lab.assert_state(id, State::Closed);
}

// RFC 9293 3.8.5 MUST-30, MUST-62
#[test]
fn urgent_data_is_sent_with_its_pointer() {
    let (mut lab, id) = established();
    let urgent = SendFlags { urgent: true, ..SendFlags::default() };
    lab.stack.send(lab.ts(), id, b"stop!", urgent).unwrap();
    lab.collect();
    let mut want = data(b"stop!").seq(1).urg(5);
    want.flags |= TcpFlags::URG;
    lab.expect(want);
    // What follows is not urgent.
    lab.send(ack());
    lab.write(id, b"go on");
    lab.expect(data(b"go on").seq(6));
}

// MUST-31: any length; the pointer is told before the bytes can be sent.
#[test]
fn urgent_data_longer_than_the_window_is_announced_ahead() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    let urgent = SendFlags { urgent: true, ..SendFlags::default() };
    lab.stack.send(lab.ts(), id, &pattern(0, 2500), urgent).unwrap();
    lab.collect();
    lab.expect(data(pattern(0, 1000)).seq(1).urg(2500));
    lab.send(ack());
    lab.expect(data(pattern(1000, 1000)).seq(1001).urg(1500));
    lab.send(ack());
    lab.expect(data(pattern(2000, 500)).seq(2001).urg(500));
    lab.send(ack());
    lab.write(id, b"x");
    lab.expect(data(b"x"));
}

// RFC 9293 3.8.5 MUST-31
// RFC 9293 3.8.5: more than the pointer can say
#[test]
fn urgent_data_farther_than_the_pointer_reaches() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    let urgent = SendFlags { urgent: true, ..SendFlags::default() };
    lab.stack.send(lab.ts(), id, &pattern(0, 100_000), urgent).unwrap();
    lab.collect();
    lab.expect(some(1000).urg(65_535));
}

// ---- other things of the door

#[test]
fn the_same_input_gives_the_same_output() {
    let run = || {
        let mut lab = Lab::new();
        let mut all = Vec::new();
        lab.listen_with(2, |_| {});
        for n in 0..20u64 {
            let id =
                lab.stack.connect(lab.ts(), None, address("10.0.0.1:80"), SocketOptions::default()).unwrap();
            lab.inject(segment(&format!("10.0.0.1:{}", 5000 + n), "10.0.0.2:80", &syn()));
            lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
            if n % 3 == 0 {
                lab.close(id);
            }
            lab.run_to(lab.now + ms(n * 37));
            all.extend(lab.drain().into_iter().map(|sent| (sent.at, sent.packet)));
        }
        all
    };
    assert_eq!(run(), run());
}

#[test]
fn an_address_can_come_and_go() {
    let mut lab = Lab::new();
    lab.stack.add_address("10.0.0.7/24".parse().unwrap());
    lab.local.set_ip(ip_of("10.0.0.7"));
    let id = lab.accepted(Peer::default());
    lab.stack.remove_address(ip_of("10.0.0.7"));
    lab.send(data(b"x"));
    lab.quiet();
    assert_eq!(lab.info(id).unread, 0);
    assert_eq!(
        lab.stack.listen(address("10.0.0.7:81"), 1, SocketOptions::default()),
        Err(ListenError::AddressNotAvailable)
    );
}

#[test]
fn a_stale_id_finds_nothing() {
    let (mut lab, id) = established();
    lab.abort(id);
    lab.drain();
    lab.close(id);
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.info(lab.ts(), id).is_err());
    assert_eq!(lab.stack.recv(lab.ts(), id, 1).unwrap_err(), RecvError::NotConnected);
    lab.close(id);
    lab.abort(id);
    assert_eq!(lab.stack.sizes().connections, 1);
}

#[test]
fn many_connections_are_told_apart() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(1000, |_| {});
    let mut ids = Vec::new();
    for port in 5000..5200u16 {
        lab.switch(port);
        lab.flow.isn = u32::from(port) * 7919;
        lab.handshake(Peer::default());
        ids.push(lab.stack.accept(lab.ts(), listener).unwrap().unwrap().0);
    }
    for (n, id) in ids.iter().enumerate() {
        lab.switch(5000 + n as u16);
        lab.send(data(pattern(n * 1000, 100)));
        lab.write(*id, &pattern(n * 500, 50));
        lab.expect(data(pattern(n * 500, 50)).seq(1).ack(101));
        lab.send(ack());
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(lab.read(*id, 1000), pattern(n * 1000, 100));
    }
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
