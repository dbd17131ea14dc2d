//! Urgent data (RFC 9293 3.8.5, RFC 6093).

use ropeway_core::packet::TcpFlags;
use ropeway_core::{ConnectionId, Readiness, SendFlags, State};

use crate::common::*;

/// Writes bytes of which the last is the last urgent one; all of them must be taken.
fn write_urgent(lab: &mut Lab, id: ConnectionId, bytes: &[u8]) {
    let urgent = SendFlags { urgent: true, ..SendFlags::default() };
    assert_eq!(lab.stack.send(lab.ts(), id, bytes, urgent), Ok(bytes.len()));
    lab.collect();
}

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
    write_urgent(&mut lab, id, b"stop!");
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
    write_urgent(&mut lab, id, &pattern(0, 2500));
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
    let id = lab.accepted_with(Peer { win: 1000, ..Peer::default() }, roomy);
    write_urgent(&mut lab, id, &pattern(0, 100_000));
    lab.expect(some(1000).urg(65_535));
}
