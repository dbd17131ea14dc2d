//! SEGMENT ARRIVES in the synchronized states (RFC 9293 3.10.7.4, RFC 5961 3 to 5): which sequence numbers, resets,
//! SYNs and acknowledgements are taken, challenged or dropped.

use ropeway_core::{ConnectionError, RecvError, SendError, State};

use crate::SYNCHRONIZED;
use crate::common::*;

// RFC 9293 3.10.7.4 R-05
#[test]
fn reset_at_the_very_next_number_ends_the_connection() {
    for state in SYNCHRONIZED {
        for with_data in [false, true] {
            let (mut lab, id) = in_state(state);
            // SHLD-2: a RST may carry data.
            lab.send(if with_data { rst().bytes(b"go away") } else { rst() });
            lab.quiet();
            lab.assert_state(id, State::Closed);
            // Where both sides had closed it ends what is over anyway, silently. That CLOSE-WAIT says EPIPE is Linux's.
            let error = match state {
                State::Closing | State::LastAck => None,
                State::CloseWait => Some(ConnectionError::BrokenPipe),
                _ => Some(ConnectionError::Reset),
            };
            assert_eq!(lab.stack.take_error(id), error, "in {state}");
            lab.close(id);
            lab.assert_empty();
            lab.at(100_000);
        }
    }
}

// MUST-12
#[test]
fn reset_is_told_apart_from_a_normal_close() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(b"half a"));
    lab.send(rst());
    assert_eq!(lab.read(id, 100), b"half a");
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap().len(), 0);
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
}

// RFC 9293 3.10.7.4 R-05
#[test]
fn reset_elsewhere_in_the_window_is_challenged() {
    for state in SYNCHRONIZED {
        for offset in [1, 1000, 65534] {
            let (mut lab, id) = in_state(state);
            let nxt = lab.flow.nxt;
            if nxt == 2 && offset > 60_000 {
                continue;
            }
            lab.send(rst().seq(nxt + offset));
            lab.expect(ack().seq(lab.flow.seen).ack(nxt));
            lab.assert_state(id, state);
        }
    }
}

// RFC 9293 3.10.7.4 R-05, RFC 5961 3.2-1
#[test]
fn reset_outside_the_window_is_dropped_silently() {
    for state in SYNCHRONIZED {
        for offset in [u32::MAX, 0x8000_0000, 600_000] {
            let (mut lab, id) = in_state(state);
            lab.send(rst().seq(lab.flow.nxt.wrapping_add(offset)));
            lab.quiet();
            lab.assert_state(id, state);
        }
    }
}

// RFC 9293 3.10.7.4 R-06
#[test]
fn syn_in_a_synchronized_state_is_challenged_wherever_it_lies() {
    for state in SYNCHRONIZED {
        for seq in [0, 1, 5, 1_000_000, u32::MAX] {
            for with_ack in [false, true] {
                let (mut lab, id) = in_state(state);
                let (nxt, seen) = (lab.flow.nxt, lab.flow.seen);
                lab.send(if with_ack { syn_ack().seq(seq) } else { syn().seq(seq) });
                lab.expect(ack().seq(seen).ack(nxt));
                lab.assert_state(id, state);
            }
        }
    }
}

// RFC 9293 3.10.7.4 R-08
#[test]
fn ack_of_what_was_never_sent_is_answered_and_dropped() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        let (seen, nxt) = (lab.flow.seen, lab.flow.nxt);
        lab.send(data(b"evil").ack(seen + 1).seq(nxt));
        lab.expect(ack().seq(seen).ack(nxt));
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, 0, "{state}");
    }
}

// RFC 9293 3.10.7.4 R-08
#[test]
fn old_acks_change_nothing() {
    let (mut lab, id) = in_state(State::Established);
    lab.write(id, &pattern(0, 3000));
    lab.drain();
    lab.send(ack().ack(3001));
    let before = lab.info(id);
    for old in [1, 1461, 3000] {
        lab.send(ack().ack(old).win(1));
    }
    // Not even one that comes with something new.
    lab.send(some(100));
    lab.send(some(10).ack(1).win(1));
    lab.quiet();
    let after = lab.info(id);
    assert_eq!((after.unacked, after.snd_wnd, after.cwnd), (before.unacked, before.snd_wnd, before.cwnd));
}

// RFC 5961 5.2, MAY-12
#[test]
fn ack_older_than_the_largest_window_is_challenged_and_its_data_dropped() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    for round in 0..3u32 {
        lab.write(id, &pattern(0, 1000));
        lab.drain();
        lab.send(ack().ack(1 + 1000 * (round + 1)));
    }
    lab.send(data(b"evil").seq(1).ack(2000));
    lab.expect(ack().ack(1));
    assert_eq!(lab.info(id).unread, 0);
    lab.send(data(b"good").seq(1).ack(2001));
    assert_eq!(lab.info(id).unread, 4);
}

// RFC 9293 3.10.7.4 R-08
// RFC 9293 3.10.7.4: "if the ACK bit is off, drop the segment and return"
#[test]
fn segments_without_ack_are_dropped() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        lab.send(bare().len(5));
        lab.send(fin().without_ack().seq(lab.flow.nxt - 5));
        lab.quiet();
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, 0);
    }
}

// RFC 9293 3.10.7.4 R-04
#[test]
fn segments_outside_the_window_are_answered_and_dropped() {
    for (seq, len) in [(600_000, 10), (0x8000_0000, 10), (u32::MAX - 20, 10), (600_000, 0)] {
        let (mut lab, id) = in_state(State::Established);
        lab.send(some(len).seq(seq));
        lab.expect(ack().seq(1).ack(1));
        assert_eq!(lab.info(id).unread, 0);
    }
}

#[test]
fn segments_that_reach_into_the_window_are_trimmed() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(pattern(0, 100)));
    lab.after(40);
    lab.expect(ack().ack(101));
    // The second half is new.
    lab.send(data(pattern(50, 100)).seq(51));
    lab.after(40);
    lab.expect(ack().ack(151));
    assert_eq!(lab.read(id, 1000), pattern(0, 150));
}
