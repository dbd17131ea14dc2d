//! Nagle's algorithm (RFC 9293 3.7.4), what overrides it, and PSH (3.9.1.2).

use ropeway_core::SenderLimit;

use crate::common::*;

// SHLD-7
#[test]
fn nagle_holds_a_small_segment_while_another_is_unacknowledged() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one").push());
    lab.write(id, b"two");
    lab.write(id, b"three");
    lab.quiet();
    assert_eq!(lab.info(id).limited_by, SenderLimit::SmallSegment);
    lab.at(30);
    lab.send(ack());
    lab.expect(data(b"twothree").push());
}

// RFC 9293 A.3 (Minshall): the small end of a large write does not wait.
#[test]
fn nagle_does_not_hold_the_end_of_a_large_write() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 3000));
    lab.expect(some(1460).no_push());
    lab.expect(some(1460).no_push());
    lab.expect(some(80).push());
    lab.write(id, b"x");
    lab.quiet();
    lab.send(ack().ack(2921));
    lab.quiet();
    lab.send(ack());
    lab.expect(data(b"x"));
}

#[test]
fn nagle_lets_full_segments_go() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.write(id, &pattern(0, 1459));
    lab.quiet();
    lab.write(id, &pattern(1459, 1));
    lab.expect(data(pattern(0, 1460)));
}

// MUST-17
#[test]
fn nodelay_sends_at_once() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.nodelay = true);
    for n in 0..10u32 {
        lab.write(id, b"x");
        lab.expect(data(b"x").seq(1 + n).push());
    }
}

#[test]
fn nodelay_switched_on_lets_go_what_nagle_held() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one"));
    lab.write(id, b"two");
    lab.quiet();
    lab.set(id, |options| options.nodelay = true);
    lab.expect(data(b"two"));
}

#[test]
fn close_lets_go_what_nagle_held() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one"));
    lab.write(id, b"two");
    lab.shutdown_write(id);
    lab.expect(data(b"two").fin().push());
}

/// Write, write, read: the second write waits for the delayed acknowledgement of the first, and no longer.
#[test]
fn nagle_against_delayed_acknowledgements_costs_one_delay() {
    let mut pair = Pair::with(|_, config| config.quick_acks = 0);
    pair.converse_with(
        &[Op::Send(10), Op::Pause(1), Op::Send(20), Op::Recv(5), Op::Close],
        &[Op::Recv(30), Op::Send(5), Op::RecvEof, Op::Close],
        |_| {},
        // A larger buffer would be announced at the first read, and the acknowledgement with it.
        |options| options.recv_buffer = 65_535,
    );
    for (at, received) in [(41, 10), (43, 30)] {
        pair.run_to(ms(at));
        if pair.programs[1].received() != received {
            pair.fail(&format!("{} bytes received", pair.programs[1].received()));
        }
    }
    pair.live(secs(5));
}

// MUST-61
#[test]
fn push_stands_on_the_last_byte_there_is() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 2920));
    lab.expect(some(1460).no_push());
    lab.expect(some(1460).push());
}

// SHLD-27, SHLD-28
#[test]
fn small_writes_are_collected_into_full_segments() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for n in 0..292 {
        lab.stack.send(lab.ts(), id, &pattern(n * 10, 10), Default::default()).unwrap();
    }
    lab.collect();
    lab.expect(data(pattern(0, 1460)));
    lab.expect(data(pattern(1460, 1460)));
    lab.quiet();
}

/// As Linux's `TCP_NAGLE_PUSH` when a writer has to wait for room: nothing can join it.
#[test]
fn a_full_send_buffer_counts_as_a_full_segment() {
    for cork in [false, true] {
        let mut lab = Lab::new();
        let id = lab.accepted_with(Peer::default(), |options| options.send_buffer = 1000);
        lab.write(id, b"x");
        lab.expect(data(b"x"));
        lab.set(id, |options| options.cork = cork);
        lab.write(id, &pattern(0, 998));
        lab.quiet();
        lab.write(id, b"y");
        lab.expect(some(999).push());
        // What is acknowledged makes room, and what fills it again counts again.
        lab.send(ack().ack(501));
        lab.write(id, &pattern(0, 499));
        lab.quiet();
        lab.write(id, b"z");
        lab.expect(some(500));
    }
}

/// With two full segments in flight an acknowledgement comes at once, and takes the rest along.
#[test]
fn a_full_send_buffer_of_many_segments_makes_no_small_ones() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.send_buffer = 4000);
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.write(id, &pattern(0, 3999));
    lab.expect(some(1460));
    lab.expect(some(1460));
    lab.quiet();
    lab.send(ack());
    lab.expect(some(1079));
}
