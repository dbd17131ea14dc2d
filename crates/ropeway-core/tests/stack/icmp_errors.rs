//! ICMP errors about connections: hard ones, soft ones, forged ones (RFC 9293 3.9.2.2, RFC 5461, RFC 5927).

use ropeway_core::packet::icmp::emit_error;
use ropeway_core::packet::{IcmpErrorKind, UnreachableKind};
use ropeway_core::{ConnectionError, Readiness, State};

use crate::common::*;

fn icmp_about(lab: &mut Lab, kind: IcmpErrorKind, about: &[u8]) {
    let (from, to) = (lab.remote.ip(), lab.local.ip());
    lab.send_packet(emit_error(from, to, kind, about, 64));
}

// RFC 9293 3.9.2.2 MUST-54, SHLD-26, RFC 1122 3.2.2-2, RFC 1122 3.2.2.1-2
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
            let mut lab = Lab::new().v6_if(v6);
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

// MUST-56, RFC 1122 3.2.2.1-3, RFC 1122 3.2.2.4-1, RFC 1122 3.2.2.5-1
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
            let mut lab = Lab::new().v6_if(v6);
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
            let mut lab = Lab::new().v6_if(v6);
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
