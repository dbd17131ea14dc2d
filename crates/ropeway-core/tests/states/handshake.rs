//! The three-way handshake (RFC 9293 3.5), and what its segments may bring with them: data and a FIN.

use ropeway_core::{Readiness, RecvError, State};

use crate::common::*;
use crate::half_open;

// RFC 9293 3.10.7.4 R-10
#[test]
fn passive_open_then_the_peer_closes_first() {
    let (mut lab, id) = established();
    lab.assert_state(id, State::Established);
    lab.send(fin());
    lab.expect(ack().seq(1).ack(2));
    lab.assert_state(id, State::CloseWait);
    assert!(lab.told(id, Readiness::READABLE | Readiness::READ_CLOSED));
    assert!(lab.read(id, 10).is_empty());
    lab.close(id);
    lab.expect(fin().seq(1).ack(2));
    lab.send(ack().ack(2));
    lab.quiet();
    lab.assert_empty();
}

// RFC 9293 3.10.7.3 R-03
#[test]
fn active_open_tells_of_its_success() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0).mss(1460));
    assert!(!lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    assert!(lab.told(id, Readiness::WRITABLE));
    assert!(lab.stack.is_connected(id));
    assert_eq!(lab.stack.take_error(id), None);
}

// RFC 9293 3.10.7.3: an acceptable SYN-ACK may bring data and even a FIN.
#[test]
fn data_and_fin_with_the_syn_ack() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack().mss(1460).bytes(b"early").fin());
    lab.expect(ack().seq(1).ack(7));
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"early");
    assert!(lab.read(id, 100).is_empty());
}

// RFC 9293 3.4: what lies beyond the window is not taken, not even with the SYN-ACK.
#[test]
fn data_with_the_syn_ack_beyond_the_window_is_cut_off() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.recv_buffer = 10).unwrap();
    lab.expect(syn().seq(0).win(10));
    lab.send(syn_ack().mss(1460).bytes(pattern(0, 100)));
    lab.expect(ack().seq(1).ack(11).win(0));
    assert_eq!(lab.info(id).unread, 10);
    assert_eq!(lab.read(id, 1000), pattern(0, 10));
}

#[test]
fn data_on_the_handshakes_third_segment() {
    let (mut lab, listener) = half_open();
    lab.send(data(b"GET /"));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 100), b"GET /");
    lab.after(40);
    lab.expect(ack().seq(1).ack(6));
}

#[test]
fn the_third_segment_is_lost_and_data_completes_the_handshake() {
    let (mut lab, listener) = half_open();
    // The bare ACK is lost, and so is the first of two segments.
    lab.send(data(b"world").seq(6));
    lab.expect(ack().ack(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::WouldBlock);
    lab.send(data(b"hello").seq(1));
    lab.expect(ack().ack(11));
    assert_eq!(lab.read(id, 100), b"helloworld");
}

#[test]
fn a_fin_completes_the_handshake() {
    let (mut lab, listener) = half_open();
    lab.send(data(b"bye").fin());
    lab.expect(ack().ack(5));
    let id = lab.accept(listener).unwrap();
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"bye");
    assert!(lab.read(id, 100).is_empty());
}

#[test]
fn data_written_before_the_connection_is_open_goes_with_the_third_segment() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0).len(0));
    lab.write(id, b"GET /");
    lab.quiet();
    lab.send(syn_ack().mss(1460));
    lab.expect(data(b"GET /").seq(1).ack(1));
    lab.quiet();
}

// RFC 9293 3.10.7.2: data in a SYN is either kept or sent again; never half of both.
#[test]
fn data_in_the_syn_reaches_the_application_once() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).bytes(b"first"));
    let answer = lab.next_tcp();
    let acked = answer.tcp.ack.get();
    assert!(acked == 1 || acked == 6, "half of the data is acknowledged");
    lab.flow.nxt = 1;
    lab.send(data(b"first").seq(1).ack(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 100), b"first");
}
