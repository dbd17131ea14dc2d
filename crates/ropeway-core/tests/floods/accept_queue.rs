//! The accept queue overflows: what Linux does by default, and what `abort_on_overflow` makes of it.

use ropeway_core::ListenerId;

use crate::common::*;

/// A listener with room for two. 4001 and 4002 wait to be accepted; 4000 has its SYN-ACK, and is current.
fn full(abort: bool) -> (Lab, ListenerId) {
    let mut lab = Lab::with(|config| config.abort_on_overflow = abort);
    let listener = lab.listen_with(1, |_| {});
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for port in [4001, 4002] {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    lab.switch(4000);
    (lab, listener)
}

#[test]
fn an_overflow_is_only_a_delay() {
    let (mut lab, listener) = full(false);
    lab.send(data("early").seq(1));
    lab.quiet();
    assert_eq!((lab.counters().accept_queue_overflows, lab.half_open()), (1, 1));
    lab.at(1000);
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(ack().seq(6));
    lab.quiet();
    assert!(lab.accept(listener).is_some());
    lab.at(3000);
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(data("early").seq(1));
    assert!(lab.accept(listener).is_some());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read_all(id), b"early");
    assert_eq!(lab.accept(listener), None);
}

#[test]
fn syns_are_dropped_while_nobody_accepts() {
    let (mut lab, listener) = full(false);
    lab.switch(4003);
    lab.send(syn().mss(1460));
    lab.quiet();
    assert_eq!((lab.counters().accept_queue_overflows, lab.half_open()), (1, 1));
    assert!(lab.accept(listener).is_some());
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
}

#[test]
fn abort_on_overflow_resets_the_final_ack() {
    let (mut lab, _) = full(true);
    lab.send(ack().seq(1));
    lab.expect(rst().seq(1));
    assert_eq!((lab.counters().accept_queue_overflows, lab.half_open()), (1, 0));
}

#[test]
fn abort_on_overflow_resets_the_syn() {
    let (mut lab, _) = full(true);
    lab.switch(4003);
    lab.send(syn().mss(1460));
    lab.expect(rst_ack().seq(0).ack(1));
}

/// Handshakes go on although nobody polls accept; each has its data.
#[test]
fn accept_need_not_be_polled() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(64, |_| {});
    for port in 5000..5064 {
        lab.switch(port);
        lab.handshake(Peer::default());
        lab.send(data(port.to_string()));
    }
    lab.run_to(secs(1));
    lab.drain();
    for port in 5000..5064_u16 {
        let id = lab.accept(listener).unwrap();
        assert_eq!(lab.read_all(id), port.to_string().as_bytes(), "in the order of completion");
    }
}

#[test]
fn a_peer_that_resets_while_it_waits_is_accepted_as_reset_or_not_at_all() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(1, |_| {});
    lab.handshake(Peer::default());
    lab.send(rst());
    if let Some(id) = lab.accept(listener) {
        assert!(lab.stack.recv(lab.ts(), id, 1).is_err());
        lab.close(id);
    }
    lab.assert_empty();
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.accept(listener).is_some(), "its place is free");
}

/// `max_connections`: beyond it SYNs are dropped, and a handshake that is under way waits.
#[test]
fn the_most_connections_are_the_most() {
    let mut lab = Lab::with(|config| config.max_connections = 2);
    let listener = lab.listen();
    lab.switch(4003);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for port in [4001, 4002] {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let id = lab.accept(listener).unwrap();
    lab.switch(4004);
    lab.send(syn().mss(1460));
    lab.quiet();
    lab.switch(4003);
    lab.send(ack().seq(1));
    lab.quiet();
    assert_eq!((lab.stack.sizes().connections, lab.half_open()), (2, 1));
    lab.stack.abort(lab.ts(), id);
    lab.close(id);
    lab.drain();
    lab.send(ack().seq(1));
    assert_eq!((lab.stack.sizes().connections, lab.half_open()), (2, 0));
}
