//! Packets that no socket waits for, and the answers to them: RST, ICMP errors, echo replies (RFC 9293 3.10.7.1,
//! RFC 1122 3.2.2, RFC 4443).

use ropeway_core::packet::checksum::Partial;
use ropeway_core::packet::icmp::{emit_echo_request, emit_error};
use ropeway_core::packet::{IcmpErrorKind, IcmpMessage, Protocol, UnreachableKind, icmp, ip};
use ropeway_core::{EchoPolicy, Received, RxChecksum};

use crate::common::*;
use crate::{datagram, ip_of};

#[test]
fn closed_ports_reset_over_ipv6_too() {
    let mut lab = Lab::new().v6();
    lab.send(syn().seq(77));
    lab.expect(rst_ack().seq(0).ack(78));
    lab.send(rst().seq(77));
    lab.quiet();
}

// RFC 1122 4.1.3.1-1, RFC 4443 3.1
// RFC 1122 3.2.2-1
#[test]
fn a_datagram_to_a_closed_port_gets_port_unreachable_with_its_beginning() {
    for (src, dst) in [("10.0.0.1:5000", "10.0.0.2:53"), ("[fd00::1]:5000", "[fd00::2]:53")] {
        let mut lab = Lab::new();
        let packet = datagram(src, dst, b"anybody there?");
        lab.send_packet(packet.clone());
        let answer = lab.next_packet();
        let ip = ip::parse(&answer).unwrap();
        assert_eq!((ip.src, ip.dst), (addr(dst).ip(), addr(src).ip()));
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

// RFC 1122 3.2.2-1
/// Whoever sent the datagram compares: a checksum that was left to the device is part of what he sent.
#[test]
fn an_icmp_error_quotes_a_datagram_with_its_checksum() {
    for (from, to) in [("10.0.0.1:5000", "10.0.0.2:53"), ("[fd00::1]:5000", "[fd00::2]:53")] {
        let mut lab = Lab::new();
        let complete = datagram(from, to, b"hello");
        let mut partial = complete.clone();
        Partial::prepare(&mut partial).unwrap();
        assert_ne!(partial, complete);
        let received = Received::alone(partial.into()).with_checksum(RxChecksum::Verified);
        lab.stack.handle_packet(lab.ts(), received);
        lab.collect();
        let answer = lab.next_packet();
        let ip = ip::parse(&answer).unwrap();
        let IcmpMessage::Unreachable { quote, .. } = icmp::parse(&answer, &ip).unwrap() else { panic!() };
        assert_eq!(answer[quote], complete);
    }
}

// RFC 1122 3.2.2, RFC 4443 2.4 e
// RFC 1122 3.2.2-3
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

// RFC 1122 3.2.2.1-1, RFC 8200 4-2
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
// RFC 1122 3.2.2.6-1
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
    let mut lab = Lab::with(|config| config.echo = EchoPolicy::Drop);
    lab.send_packet(emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.2"), 1, 1, b"x", 64));
    lab.send_packet(emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.255"), 1, 1, b"x", 64));
    lab.quiet();
}
