//! ICMP errors, true and forged.

use ropeway_core::packet::{IcmpErrorKind, UnreachableKind};
use ropeway_core::{ConnectionError, DatagramError, Event, Readiness, RecvError};

use crate::common::*;
use crate::{FAMILIES, datagram};

const CLOSED: IcmpErrorKind = IcmpErrorKind::Unreachable(UnreachableKind::Port);

// RFC 1122 4.1.3.3-1, RFC 1122 3.2.2-2
#[test]
fn a_closed_port_is_told_once_to_whoever_calls_first() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bound_to(&format!("{own}:99"), &format!("{peer}:53"));
        let asked = |lab: &mut Lab| {
            lab.say(id, b"?").unwrap();
            let sent = lab.next_packet();
            lab.icmp_error(CLOSED, &sent);
            assert!(lab.stack.udp_readiness(id).contains(Readiness::ERROR));
        };
        asked(&mut lab);
        let Some(Event::Udp(of, gained)) = lab.events.pop() else { panic!() };
        assert!(of == id && gained.contains(Readiness::ERROR));
        assert_eq!(lab.stack.udp_recv(id), Err(RecvError::Failed(ConnectionError::Refused)));
        lab.heard_nothing(id);
        asked(&mut lab);
        assert_eq!(lab.say(id, b"?"), Err(DatagramError::Failed(ConnectionError::Refused)));
        asked(&mut lab);
        assert_eq!(lab.stack.udp_take_error(id), Some(ConnectionError::Refused));
        assert_eq!(lab.stack.udp_take_error(id), None);
        // What has come is not lost.
        lab.send_packet(datagram(&format!("{peer}:53"), &format!("{own}:99"), b"late"));
        asked(&mut lab);
        assert_eq!(lab.stack.udp_peek(id), Err(RecvError::Failed(ConnectionError::Refused)));
        assert_eq!(lab.heard(id).payload, b"late"[..]);
    }
}

// RFC 1122 3.2.2.1-2, RFC 1122 3.2.2.1-3, RFC 1122 4.1.3.3-1, RFC 8085 5.2-2
#[test]
fn errors_that_may_pass_are_told_to_those_who_ask_for_them() {
    for (kind, error, lasts) in [
        (UnreachableKind::Host, ConnectionError::HostUnreachable, false),
        (UnreachableKind::Network, ConnectionError::NetworkUnreachable, false),
        (UnreachableKind::Protocol, ConnectionError::ProtocolUnreachable, true),
        (UnreachableKind::AdminProhibited, ConnectionError::Prohibited, true),
    ] {
        for all_errors in [false, true] {
            let mut lab = Lab::new();
            let id = lab.bound_to("10.0.0.2:99", "10.0.0.1:53");
            lab.stack.udp_update_options(id, |options| options.all_errors = all_errors).unwrap();
            lab.say(id, b"?").unwrap();
            let sent = lab.next_packet();
            lab.icmp_error(IcmpErrorKind::Unreachable(kind), &sent);
            let told = Some(error).filter(|_| lasts || all_errors);
            assert_eq!(lab.stack.udp_take_error(id), told, "{kind:?}");
        }
    }
}

#[test]
fn a_socket_that_is_not_connected_hears_of_none() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:99");
    lab.say_to(id, "10.0.0.1:53", b"?").unwrap();
    let sent = lab.next_packet();
    lab.icmp_error(CLOSED, &sent);
    lab.heard_nothing(id);
    lab.say_to(id, "10.0.0.1:53", b"?").unwrap();
}

/// Whoever is not on the path has not seen what was sent: RFC 8085 5.2-1.
#[test]
fn an_error_about_what_was_never_sent_is_a_forgery() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let (from, to) = (format!("{own}:99"), format!("{peer}:53"));
        let id = lab.bound_to(&from, &to);
        lab.icmp_error(CLOSED, &datagram(&from, &to, b"?"));
        assert_eq!(lab.stack.udp_take_error(id), None, "nothing was sent yet");
        lab.say(id, b"?").unwrap();
        let sent = lab.next_packet();
        lab.icmp_error(CLOSED, &datagram(&from, &to, b"!"));
        lab.icmp_error(CLOSED, &datagram(&from, &to, b"longer"));
        lab.icmp_error(CLOSED, &datagram(&from, &format!("{peer}:54"), b"?"));
        assert_eq!(lab.stack.udp_take_error(id), None);
        assert_eq!(lab.stack.counters().icmp_ignored, 4);
        lab.icmp_error(CLOSED, &sent);
        assert_eq!(lab.stack.udp_take_error(id), Some(ConnectionError::Refused));
    }
}

/// Errors are believed long after, too: what the packet was labelled with is known to nobody else.
#[test]
fn an_error_may_come_after_a_thousand_more_datagrams() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bound_to(&format!("{own}:99"), &format!("{peer}:53"));
        lab.say(id, b"the first").unwrap();
        let sent = lab.next_packet();
        for n in 0..1000u32 {
            lab.say(id, &n.to_be_bytes()).unwrap();
            lab.next_packet();
        }
        lab.icmp_error(CLOSED, &sent);
        assert_eq!(lab.stack.udp_take_error(id), Some(ConnectionError::Refused));
    }
}

// RFC 8085 3.2-1, RFC 1191 6.3, RFC 8201 5.2
#[test]
fn a_router_that_refuses_what_was_sent_lowers_the_path_mtu_and_a_liar_does_not() {
    for (own, peer, headers) in [("10.0.0.2", "10.0.0.1", 28), ("[fd00::2]", "[fd00::1]", 48)] {
        let mut lab = Lab::new();
        let (from, to) = (format!("{own}:99"), format!("{peer}:53"));
        let id = lab.bind(&from);
        let too_big = IcmpErrorKind::PacketTooBig { mtu: 1400 };
        let remote = addr(&to).ip();
        lab.icmp_error(too_big, &datagram(&from, &to, &[7; 1400]));
        assert_eq!(lab.stack.path_mtu(remote), 1500, "nothing was sent");
        lab.say_to(id, &to, &[7; 1450]).unwrap();
        let sent = lab.next_packet();
        lab.icmp_error(too_big, &datagram(&from, &to, &[8; 1450]));
        assert_eq!(lab.stack.path_mtu(remote), 1500, "something else was sent");
        lab.icmp_error(IcmpErrorKind::PacketTooBig { mtu: 1499 }, &sent);
        assert_eq!(lab.stack.path_mtu(remote), 1500, "it would have passed");
        lab.icmp_error(too_big, &sent);
        assert_eq!(lab.stack.path_mtu(remote), 1400);
        lab.stack.udp_update_options(id, |options| options.dont_fragment = true).unwrap();
        assert_eq!(lab.say_to(id, &to, &vec![7; 1401 - headers]), Err(DatagramError::TooLong));
        lab.say_to(id, &to, &vec![7; 1400 - headers]).unwrap();
        assert_eq!(lab.next_packet().len(), 1400);
    }
}

#[test]
fn an_answer_to_a_closed_port_of_ours_is_an_error_too() {
    let mut lab = Lab::new();
    let id = lab.bound_to("127.0.0.1:0", "127.0.0.1:9");
    lab.say(id, b"?").unwrap();
    lab.collect();
    assert_eq!(lab.stack.udp_recv(id), Err(RecvError::Failed(ConnectionError::Refused)));
}
