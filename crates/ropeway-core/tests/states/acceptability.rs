//! First, check the sequence number (RFC 9293 3.10.7.4): how much of a segment counts that is not all new.

use ropeway_core::State;

use crate::common::*;

/// What the stack's next segment of data echoes.
fn echoed(lab: &mut Lab, id: ropeway_core::ConnectionId) -> u32 {
    lab.drain();
    lab.write(id, b"?");
    lab.next_tcp().tcp.options.timestamps.unwrap().tsecr
}

// RFC 9293 3.10.7.4 first, MUST-66
#[test]
fn into_a_closed_window_only_what_is_next_gets_through() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    lab.write(id, b"hello");
    lab.expect(data(b"hello"));
    lab.send(some(1000).ack(1));
    lab.after(40);
    lab.expect(ack().ack(1001).win(0));
    lab.send(data(b"x").seq(1002).ack(6));
    lab.expect(ack().ack(1001));
    assert_eq!(lab.info(id).unacked, 5, "one byte further on: not even its acknowledgement counts");
    lab.send(data(b"x").seq(1001).ack(6));
    lab.expect(ack().ack(1001));
    assert_eq!(lab.info(id).unacked, 0, "the byte is not taken, but its acknowledgement is");
}

// RFC 9293 3.10.7.4 first: what lies before the window is cut off, and only that.
#[test]
fn a_fin_counts_that_comes_with_nothing_but_old_data() {
    let (mut lab, id) = established();
    lab.send(data(b"hello"));
    lab.send(data(b"hello").seq(1).fin());
    lab.expect(ack().ack(7));
    lab.assert_state(id, State::CloseWait);
}

// RFC 9293 3.10.7.4 first: a FIN takes a place in the window behind the data, and not beyond it.
#[test]
fn a_fin_that_just_fits_counts_and_one_beyond_the_window_does_not() {
    for (len, state) in [(999, State::CloseWait), (1000, State::Established)] {
        let mut lab = Lab::new();
        let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
        lab.send(some(len).fin());
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, len);
        lab.drain();
    }
}

// RFC 7323 5.2-2, and Linux: our acknowledgement was lost, and the peer measures from its retransmission.
#[test]
fn only_the_last_segment_repeated_refreshes_the_echo() {
    const OLD: u32 = 1000;
    const NEW: u32 = 1500;
    let repeated: [(&str, Seg, u32); 7] = [
        ("the last segment", data(b"def").seq(4), NEW),
        ("both", data(b"abcdef").seq(1), NEW),
        ("an earlier one", data(b"abc").seq(1), OLD),
        ("the last one, with a SYN", data(b"def").seq(3).syn().ack(1), OLD),
        ("the last one, with a RST", data(b"def").seq(4).rst().ack(1), OLD),
        (
            "the last one, with an old acknowledgement",
            data(b"def").seq(4).ack(0u32.wrapping_sub(100_000)),
            OLD,
        ),
        ("the last one, with an acknowledgement of the future", data(b"def").seq(4).ack(1000), OLD),
    ];
    for (what, segment, expected) in repeated {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts: true, ..Peer::default() });
        lab.send(data(b"abc"));
        lab.send(data(b"def"));
        lab.drain();
        lab.run_to(ms(500));
        lab.drain();
        lab.send(segment);
        assert_eq!(echoed(&mut lab, id), expected, "{what}");
    }
}
