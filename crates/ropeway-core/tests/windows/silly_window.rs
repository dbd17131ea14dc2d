//! Silly windows, avoided by the sender (RFC 9293 3.8.6.2.1) and by the receiver (3.8.6.2.2).

use crate::common::*;

// MUST-39
#[test]
fn the_window_opens_by_a_segment_or_half_the_buffer_never_by_less() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 5840);
    lab.send_all((0..4).map(|_| some(1460)));
    lab.expect(ack().ack(5841).win(0));
    for _ in 0..14 {
        lab.read(id, 100);
        lab.quiet();
    }
    // A probe of the peer's gets no crumb either.
    lab.send(some(1).seq(5841));
    lab.expect(ack().ack(5841).win(0));
    lab.read(id, 59);
    lab.quiet();
    lab.read(id, 1);
    lab.expect(ack().ack(5841).win(1460));
    // The same with a buffer smaller than two segments.
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    lab.send(some(1000));
    lab.after(40);
    lab.expect(ack().win(0));
    lab.read(id, 499);
    lab.quiet();
    lab.read(id, 1);
    lab.expect(ack().win(500));
}

// MUST-38
#[test]
fn the_sender_does_not_fill_crumbs_of_a_window() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.at(100);
    lab.flow.win = 100;
    lab.send(ack());
    lab.quiet();
    // 3.8.6.2.1 (4): the override timeout.
    lab.run_to(ms(400));
    let sent = lab.drain();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].tcp.as_ref().unwrap().payload.len(), 100);
    lab.flow.win = 1460;
    lab.send(ack());
    lab.expect(data(pattern(100, 1460)).seq(102));
}

// MUST-38 (3): half of the largest window there ever was is worth a segment.
#[test]
fn half_of_the_largest_window_is_no_crumb() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    lab.write(id, &pattern(0, 3000));
    lab.expect(data(pattern(0, 1000)));
    lab.send(ack().win(499));
    lab.quiet();
    lab.send(ack().win(500));
    lab.expect(data(pattern(1000, 500)));
}

#[test]
fn a_peer_with_a_window_of_one_byte_gets_bytes() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1, ..Peer::default() });
    lab.write(id, b"abc");
    for byte in [b"a", b"b", b"c"] {
        lab.expect(data(byte));
        lab.send(ack());
    }
    lab.quiet();
}
