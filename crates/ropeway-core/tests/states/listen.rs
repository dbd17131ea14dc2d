//! CLOSED and LISTEN (RFC 9293 3.10.7.1, 3.10.7.2), and the SYN-RECEIVED that follows LISTEN: an entry in the SYN
//! queue, and no connection yet.

use ropeway_core::packet::SeqNum;
use ropeway_core::{ConnectionError, RecvError};

use crate::common::*;
use crate::half_open;

// RFC 7323 4.3 (2): the echo is of the latest SYN, or the peer measures a round trip of seconds.
#[test]
fn the_syn_ack_echoes_the_timestamp_of_the_latest_syn() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460).ts(1000, 0));
    lab.expect(syn_ack().ecr(1000));
    lab.at(900);
    lab.send(syn().mss(1460).ts(1900, 0));
    lab.expect(syn_ack().ecr(1900));
    // An old duplicate does not put it back.
    lab.send(syn().mss(1460).ts(1000, 0));
    lab.expect(syn_ack().ecr(1900));
}

// RFC 9293 3.10.4
#[test]
fn close_in_listen_forgets_handshakes_and_resets_who_waits() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.switch(4001);
    lab.send(syn());
    lab.expect(syn_ack());
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.stack.close_listener(lab.ts(), listener);
    lab.switch(4000);
    lab.collect();
    lab.expect(rst_ack().seq(1));
    lab.assert_empty();
    lab.switch(4001);
    lab.send(ack());
    lab.expect(rst().seq(1));
    lab.switch(4002);
    lab.send(syn());
    lab.expect(rst_ack().seq(0).ack(1));
    lab.at(100_000);
}

// RFC 9293 3.5 MUST-11, 3.10.7.4 R-07
// RFC 9293 3.10.7.4: "return to LISTEN ... the user need not be informed"
#[test]
fn reset_in_a_passive_syn_received_leads_back_to_listen() {
    let (mut lab, listener) = half_open();
    lab.send(rst().seq(5));
    lab.expect(ack().seq(1).ack(1));
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(rst().seq(700_000));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(rst().seq(1));
    lab.quiet();
    lab.assert_empty();
    assert!(!lab.stack.is_acceptable(listener));
    lab.at(100_000);
    lab.flow.nxt = 0;
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(listener));
}

#[test]
fn reset_of_a_connection_that_waits_in_the_accept_queue() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.send(data(b"hi"));
    lab.send(rst());
    // As Linux does: it is accepted all the same, and reading tells.
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 10), b"hi");
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    lab.close(id);
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 fourth: a passive SYN-RECEIVED goes back to LISTEN, or the SYN is answered again.
#[test]
fn the_syn_again_is_answered_with_the_same_syn_ack() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn());
    let first = lab.expect(syn_ack());
    lab.at(500);
    lab.send(syn());
    let second = lab.expect(syn_ack());
    assert_eq!(first.tcp.seq, second.tcp.seq);
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(ack());
    assert_eq!(lab.stack.sizes().half_open, 0);
    assert_eq!(lab.stack.sizes().connections, 1);
}

// RFC 9293 3.10.7.4 R-07
#[test]
fn a_peer_that_begins_anew_gets_through() {
    for seq in [1000, 500_000_000] {
        let (mut lab, listener) = half_open();
        // The peer has restarted: a new SYN from the same port.
        let mut answered = false;
        for _ in 0..3 {
            lab.flow.isn = seq;
            lab.flow.nxt = 0;
            lab.input(syn());
            lab.collect();
            if let Some(sent) = lab.out.pop_front() {
                let tcp = sent.tcp.unwrap().tcp;
                answered = tcp.flags.contains(ropeway_core::packet::TcpFlags::SYN)
                    && tcp.ack == SeqNum::new(seq + 1);
                if answered {
                    break;
                }
                // What a peer in SYN-SENT answers to an ACK that it does not understand.
                lab.flow.isn = 0;
                lab.input(rst().seq(tcp.ack.get()));
                lab.collect();
            }
        }
        assert!(answered, "isn {seq}: its SYN gets no SYN-ACK");
        lab.flow.isn = seq;
        lab.flow.nxt = 1;
        lab.flow.seen = 1;
        lab.send(ack());
        assert!(lab.stack.is_acceptable(listener), "isn {seq}");
    }
}

// RFC 9293 3.10.7.1 R-01
#[test]
fn closed_resets_everything_but_resets() {
    let mut lab = Lab::new();
    lab.send(syn().seq(100));
    lab.expect(rst_ack().seq(0).ack(101));
    lab.send(bare().seq(100).len(5));
    lab.expect(rst_ack().seq(0).ack(105));
    lab.send(fin().without_ack().seq(100));
    lab.expect(rst_ack().seq(0).ack(101));
    lab.send(some(7).seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(syn_ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(rst().seq(100));
    lab.send(rst_ack().seq(100).ack(500));
    lab.quiet();
}

// RFC 9293 3.10.7.2 R-02, 3.10.7.4 R-10
#[test]
fn listen_answers_only_syns() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(rst().seq(1));
    lab.send(syn().rst());
    lab.quiet();
    lab.send(ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(syn_ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(bare().seq(100).len(10));
    lab.send(fin().without_ack().seq(100));
    lab.quiet();
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 fifth, for SYN-RECEIVED
#[test]
fn half_open_resets_a_wrong_ack_and_stays() {
    let (mut lab, listener) = half_open();
    for wrong in [0, 2, 1_000_000] {
        lab.send(ack().ack(wrong));
        lab.expect(rst().seq(wrong));
        assert_eq!(lab.stack.sizes().half_open, 1);
    }
    // Old or out of window: an ACK.
    lab.send(ack().seq(700_000).ack(1));
    lab.expect(ack().seq(1).ack(1));
    lab.send(ack().seq(1).ack(1));
    assert!(lab.stack.is_acceptable(listener));
}

// RFC 7323 5.3: a third segment that is older than the SYN is none.
#[test]
fn an_old_duplicate_does_not_complete_a_handshake_with_timestamps() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ts(5000, 0));
    let tsval = lab.expect(syn_ack().ecr(5000)).tcp.options.timestamps.unwrap().tsval;
    lab.send(ack().ts(4999, tsval));
    lab.expect(ack().seq(1).ack(1).ecr(5000));
    assert_eq!(lab.accept(listener), None);
    lab.send(ack().ts(5000, tsval));
    lab.quiet();
    assert!(lab.accept(listener).is_some());
}

// Two half-open connections whose numbers do not agree must not answer each other for ever.
#[test]
fn a_half_open_connection_acknowledges_eight_stray_segments_after_each_syn_ack() {
    let (mut lab, _) = half_open();
    for at in [0, 1000, 3000] {
        lab.at(at);
        if at > 0 {
            lab.expect(syn_ack().seq(0).ack(1));
        }
        for _ in 0..8 {
            lab.send(ack().seq(1_000_000).ack(1));
            lab.expect(ack().seq(1).ack(1));
        }
        for _ in 0..3 {
            lab.send(ack().seq(1_000_000).ack(1));
            lab.quiet();
        }
    }
}

#[test]
fn a_third_segment_whose_data_begins_before_the_window_and_reaches_into_it_counts() {
    let (mut lab, listener) = half_open();
    lab.send(data(b"?new").seq(0).ack(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 10), b"new");
    // One byte is all before it.
    let (mut lab, listener) = half_open();
    lab.send(data(b"?").seq(0).ack(1));
    lab.expect(ack().seq(1).ack(1));
    assert_eq!(lab.accept(listener), None);
}
