//! SACK-permitted in both SYNs, or no SACK (RFC 2018 2).

use ropeway_core::{StackConfig, SynCookieMode};

use crate::common::*;
use crate::{SACK, STAMPED};

/// Says whether a gap is told of.
#[track_caller]
fn assert_reports(lab: &mut Lab, reports: bool) {
    let nxt = lab.flow.nxt;
    lab.send(some(100).seq(nxt + 100));
    let blocks = [(nxt + 100, nxt + 200)];
    lab.expect(ack().ack(nxt).sack(if reports { &blocks } else { &[] }));
}

fn off(config: &mut StackConfig) {
    config.sack = false;
}

// RFC 2018 4-4
#[test]
fn sack_is_used_if_both_syns_permit_it() {
    for v6 in [false, true] {
        for active in [false, true] {
            for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
                let mut lab = Lab::with(|config| config.sack = ours).v6_if(v6);
                let peer = Peer { sack: theirs, ..SACK };
                let id = if active { lab.connected(peer) } else { lab.accepted(peer) };
                assert_eq!(lab.info(id).sack, ours && theirs);
                assert_reports(&mut lab, ours && theirs);
            }
        }
    }
}

// RFC 2018 2-1
#[test]
fn a_syn_offers_it_and_a_syn_ack_answers_it() {
    for sack in [false, true] {
        let mut lab = Lab::with(|config| config.sack = sack);
        lab.connect();
        lab.expect(syn().sack_ok(sack));
        lab.at(1000);
        lab.expect(syn().sack_ok(sack));
        for offered in [false, true] {
            let mut lab = Lab::with(|config| config.sack = sack);
            lab.listen();
            lab.send(syn().mss(1460).sack_ok(offered));
            lab.expect(syn_ack().sack_ok(sack && offered));
            // Its queue remembers it.
            lab.at(1000);
            lab.expect(syn_ack().sack_ok(sack && offered));
            lab.send(syn().mss(1460).sack_ok(offered));
            lab.expect(syn_ack().sack_ok(sack && offered));
        }
    }
}

// RFC 2018 2-1, RFC 2018 4-4: only a SYN can permit it.
#[test]
fn permission_outside_a_syn_is_no_permission() {
    let (mut lab, id) = established();
    lab.send(some(10).options(&[1, 1, 4, 2]));
    assert!(!lab.info(id).sack);
    assert_reports(&mut lab, false);
}

// RFC 2018 2-1, RFC 2018 4-4
#[test]
fn a_simultaneous_open_agrees_on_it() {
    for (ours, theirs) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::with(|config| config.sack = ours);
        let id = lab.connect();
        lab.expect(syn().seq(0).sack_ok(ours));
        lab.send(syn().mss(1460).sack_ok(theirs));
        lab.expect(syn_ack().seq(0).ack(1).sack_ok(ours && theirs));
        lab.send(syn_ack().seq(0).ack(1).mss(1460).sack_ok(theirs));
        lab.drain();
        assert_eq!(lab.info(id).sack, ours && theirs);
        assert_reports(&mut lab, ours && theirs);
    }
}

#[test]
fn data_with_the_syn_of_a_simultaneous_open_is_not_told_of_before_it_is_taken() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn().mss(1460).sack_ok(true).bytes(b"early"));
    lab.expect(syn_ack().seq(0).ack(1).sack(&[]));
    lab.send(ack().seq(1));
    lab.expect(ack().ack(6).sack(&[]));
    assert_eq!(lab.read(id, 10), b"early");
}

// Whoever decides before the SYN-ACK can see it, and takes as long as it likes.
#[test]
fn a_syn_that_waits_for_a_decision_keeps_its_offer() {
    for (ours, theirs) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::with(|config| config.sack = ours);
        lab.local = addr("93.184.216.34:443");
        let options = lab.stack.config().socket.clone();
        let listener = lab.stack.listen_any(16, options).unwrap();
        lab.send(syn().mss(1460).sack_ok(theirs));
        let incoming = lab.stack.poll_incoming(listener).unwrap();
        assert_eq!(incoming.syn.sack, ours && theirs);
        lab.at(50_000);
        assert!(lab.stack.accept_incoming(lab.ts(), &incoming));
        lab.collect();
        lab.expect(syn_ack().sack_ok(ours && theirs));
        lab.send(ack());
        assert_reports(&mut lab, ours && theirs);
    }
}

fn cookies(config: &mut StackConfig) {
    config.syn_cookies = SynCookieMode::Always;
}

// RFC 2018 2-1: what a cookie cannot remember is not agreed on.
#[test]
fn a_cookie_remembers_it_in_our_timestamp() {
    for v6 in [false, true] {
        for (peer, sack) in [(STAMPED, true), (SACK, false), (Peer { sack: false, ..STAMPED }, false)] {
            let mut lab = Lab::with(cookies).v6_if(v6);
            let listener = lab.listen();
            lab.flow.ts = peer.ts.then_some(1000);
            lab.send(syn().mss(1460).sack_ok(peer.sack));
            lab.expect(syn_ack().sack_ok(sack));
            lab.send(ack());
            let id = lab.accept(listener).unwrap();
            assert_eq!(lab.info(id).sack, sack);
            assert_reports(&mut lab, sack);
        }
    }
}

#[test]
fn a_cookie_of_a_stack_without_sack_or_timestamps_promises_none() {
    for change in [off, |config: &mut StackConfig| config.timestamps = false] {
        let mut lab = Lab::with(|config| {
            cookies(config);
            change(config);
        });
        let listener = lab.listen();
        lab.flow.ts = Some(1000);
        lab.send(syn().mss(1460).sack_ok(true));
        lab.expect(syn_ack().sack_ok(false));
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        assert!(!lab.info(id).sack);
        assert_reports(&mut lab, false);
    }
}

// As far as a cookie can tell: the peer never says again that it permits SACK.
#[test]
fn an_echo_that_is_missing_takes_sack_with_it() {
    let mut lab = Lab::with(cookies);
    let listener = lab.listen();
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1460).sack_ok(true));
    lab.expect(syn_ack().sack_ok(true));
    lab.flow.ts = None;
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert!(!lab.info(id).sack);
    assert_reports(&mut lab, false);
}

#[test]
fn what_is_half_open_or_in_time_wait_reports_nothing() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460).sack_ok(true));
    lab.expect(syn_ack().sack_ok(true));
    // Out of the window: acknowledged, and not held.
    lab.send(some(100).seq(100_000));
    lab.expect(ack().ack(1).sack(&[]));
    let mut lab = Lab::new();
    let id = lab.accepted(SACK);
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(2));
    lab.expect(ack().ack(2).sack(&[]));
    lab.send(fin().seq(1).ack(2));
    lab.expect(ack().ack(2).sack(&[]));
}
