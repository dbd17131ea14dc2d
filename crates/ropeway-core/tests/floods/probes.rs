//! Probing others: open, closed or filtered (`examples/portscan.rs`).

use ropeway_core::packet::{Protocol, UnreachableKind, udp};
use ropeway_core::{ConnectionError, ConnectionId, Event, ProbeOutcome, Readiness, UdpProbeId};

use crate::common::*;

fn tcp() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let mut options = lab.stack.config().socket.clone();
    options.syn_retries = 2;
    lab.local.set_port(5000);
    lab.remote.set_port(80);
    let id = lab.stack.probe_tcp(lab.ts(), Some(lab.local), lab.remote, options).unwrap();
    lab.collect();
    (lab, id)
}

#[track_caller]
fn assert_outcome(mut lab: Lab, id: ConnectionId, want: ProbeOutcome) {
    assert_eq!(lab.stack.tcp_probe_outcome(id), Some(want));
    assert!(lab.events.iter().any(|event| matches!(event, Event::Ready(ready, _) if *ready == id)));
    assert_ne!(lab.stack.readiness(id), Readiness::EMPTY);
    lab.close(id);
    lab.quiet();
    lab.assert_empty();
    assert_eq!(lab.stack.poll_timeout(), None);
}

#[test]
fn an_open_port_is_told_by_syn_ack_and_gets_a_reset_and_no_ack() {
    let (mut lab, id) = tcp();
    lab.expect(syn().seq(0));
    assert_eq!(lab.stack.tcp_probe_outcome(id), None);
    lab.send(syn_ack().mss(1460).ack(1));
    lab.expect(rst().seq(1));
    lab.quiet();
    assert_outcome(lab, id, ProbeOutcome::Open);
}

#[test]
fn a_closed_port_is_told_by_reset() {
    let (mut lab, id) = tcp();
    lab.expect(syn());
    lab.send(rst_ack().seq(0).ack(1));
    assert_outcome(lab, id, ProbeOutcome::Closed);
}

#[test]
fn a_guessed_answer_is_no_answer() {
    let (mut lab, id) = tcp();
    lab.expect(syn());
    lab.send(rst_ack().seq(0).ack(2));
    lab.send(rst().seq(0));
    lab.quiet();
    lab.send(syn_ack().ack(99));
    lab.expect(rst().seq(99));
    assert_eq!(lab.stack.tcp_probe_outcome(id), None);
}

#[test]
fn a_port_that_says_nothing_is_filtered() {
    let (mut lab, id) = tcp();
    lab.expect(syn());
    for at in [1000, 3000] {
        lab.at(at);
        lab.expect(syn());
    }
    lab.at(7000);
    assert_outcome(lab, id, ProbeOutcome::Filtered(ConnectionError::TimedOut));
}

/// nmap: ICMP unreachable of any kind means filtered.
#[test]
fn a_port_that_icmp_speaks_for_is_filtered() {
    for (kind, error) in [
        (UnreachableKind::AdminProhibited, ConnectionError::Prohibited),
        (UnreachableKind::Host, ConnectionError::HostUnreachable),
        (UnreachableKind::Port, ConnectionError::Refused),
    ] {
        let (mut lab, id) = tcp();
        let syn = lab.next_packet();
        lab.unreachable(kind, &syn);
        assert_outcome(lab, id, ProbeOutcome::Filtered(error));
    }
}

#[test]
fn a_probe_that_is_ended_early_leaves_nothing() {
    let (mut lab, id) = tcp();
    lab.expect(syn());
    lab.close(id);
    lab.drain();
    lab.assert_empty();
    lab.send(syn_ack().ack(1));
    lab.expect(rst().seq(1));
}

fn udp_probe() -> (Lab, UdpProbeId, Vec<u8>) {
    let mut lab = Lab::new();
    lab.remote.set_port(53);
    let id = lab.stack.probe_udp(lab.ts(), lab.remote, b"?").unwrap();
    let sent = lab.next_packet().to_vec();
    lab.quiet();
    (lab, id, sent)
}

#[track_caller]
fn assert_udp_outcome(lab: &mut Lab, id: UdpProbeId, want: ProbeOutcome) {
    assert_eq!(lab.stack.udp_probe_outcome(id), Some(want));
    assert_eq!(lab.events, [Event::Probed(id)]);
    lab.quiet();
    lab.stack.end_udp_probe(id);
    assert_eq!(lab.stack.udp_probe_outcome(id), None);
}

#[test]
fn a_udp_port_is_closed_or_filtered_by_icmp() {
    for (kind, outcome) in [
        (UnreachableKind::Port, ProbeOutcome::Closed),
        (UnreachableKind::AdminProhibited, ProbeOutcome::Filtered(ConnectionError::Prohibited)),
        (UnreachableKind::Host, ProbeOutcome::Filtered(ConnectionError::HostUnreachable)),
    ] {
        let (mut lab, id, sent) = udp_probe();
        lab.unreachable(kind, &sent);
        assert_udp_outcome(&mut lab, id, outcome);
    }
}

#[test]
fn a_udp_port_is_open_if_it_answers() {
    let (mut lab, id, sent) = udp_probe();
    let own_port = u16::from_be_bytes([sent[20], sent[21]]);
    let ip = ip_params(lab.remote.ip(), lab.local.ip(), Protocol::UDP);
    // An answer from elsewhere is none.
    lab.send_packet(udp::emit(&ip, 54, own_port, b"!").unwrap());
    lab.expect_unreachable(UnreachableKind::Port);
    assert_eq!(lab.stack.udp_probe_outcome(id), None);
    lab.send_packet(udp::emit(&ip, 53, own_port, b"!").unwrap());
    assert_udp_outcome(&mut lab, id, ProbeOutcome::Open);
}

#[test]
fn silence_of_a_udp_port_says_nothing() {
    let (mut lab, id, first) = udp_probe();
    lab.at(60_000);
    lab.stack.send_udp_probe(lab.ts(), id, b"?");
    assert_eq!(lab.next_packet(), first, "the same datagram again");
    assert_eq!((lab.stack.udp_probe_outcome(id), lab.stack.poll_timeout()), (None, None));
}
