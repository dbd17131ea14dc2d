//! Probing the TCP ports of others: open, closed or filtered (`examples/portscan.rs`).

use ropeway_core::packet::UnreachableKind;
use ropeway_core::{ConnectionError, ConnectionId, Event, ProbeOutcome, Readiness};

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
