//! Endings that lose data: somebody is told of each (RFC 9293 3.6 MUST-12).

use std::net::Shutdown;

use ropeway_core::{ConnectionError, ConnectionId, SendFlags, State};

use crate::common::*;

/// Both sides have closed, and `unacknowledged` bytes of ours wait for an acknowledgement, with the FIN behind them.
fn both_closed(state: State, unacknowledged: usize, v6: bool) -> (Lab, ConnectionId) {
    let mut lab = Lab::new().v6_if(v6);
    let id = lab.accepted_with(Peer::default(), roomy);
    if state == State::LastAck {
        lab.send(fin());
        lab.expect(ack());
    }
    if unacknowledged > 0 {
        lab.write(id, &pattern(0, unacknowledged));
    }
    lab.shutdown_write(id);
    lab.drain();
    if state == State::Closing {
        // Its acknowledgement is of nothing new.
        lab.send(fin().ack(1));
        lab.drain();
    }
    lab.assert_state(id, state);
    (lab, id)
}

// MUST-12
#[test]
fn a_reset_after_both_have_closed_is_an_error_if_data_was_lost() {
    for state in [State::LastAck, State::Closing] {
        for v6 in [false, true] {
            for len in [1, 100_000] {
                let (mut lab, id) = both_closed(state, len, v6);
                lab.send(rst());
                lab.assert_state(id, State::Closed);
                assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Reset), "{state} {len}");
                assert_eq!(lab.stack.counters().bytes_lost, len as u64);
            }
        }
    }
}

#[test]
fn a_reset_after_part_of_the_data_was_acknowledged_is_an_error() {
    for state in [State::LastAck, State::Closing] {
        let (mut lab, id) = both_closed(state, 5000, false);
        lab.send(ack().ack(2001));
        lab.drain();
        lab.send(rst());
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Reset));
        assert_eq!(lab.stack.counters().bytes_lost, 3000);
    }
}

#[test]
fn a_reset_after_both_have_closed_is_silent_if_only_the_fin_is_unacknowledged() {
    for state in [State::LastAck, State::Closing] {
        for len in [0, 1000] {
            let (mut lab, id) = both_closed(state, len, false);
            if len > 0 {
                lab.send(ack().ack(1 + len as u32));
            }
            lab.send(rst());
            lab.assert_state(id, State::Closed);
            assert_eq!(lab.stack.take_error(id), None, "{state} {len}");
            assert_eq!(lab.stack.counters().bytes_lost, 0);
        }
    }
}

/// The device takes no more of a stack's last words: who had more to say is reset, and who has ended with a FIN is not.
#[test]
fn being_cut_off_resets_only_those_who_had_more_to_say() {
    for settled in [true, false] {
        let (mut lab, id) = established();
        if !settled {
            lab.write(id, &pattern(0, 100));
            lab.drain();
        }
        assert!(!lab.stack.wind_up(lab.ts()));
        if settled {
            lab.collect();
            lab.expect(fin().seq(1));
        }
        assert!(!lab.stack.cut_off(lab.ts()));
        lab.collect();
        if !settled {
            lab.expect(rst_ack().seq(101));
        }
        lab.quiet();
        assert_eq!(lab.stack.counters().bytes_lost, if settled { 0 } else { 100 });
    }
}

/// Nobody holds the connection any more: the counter is all that can tell.
#[test]
fn an_orphan_that_loses_data_is_counted() {
    for reset in [false, true] {
        let (mut lab, id) = established();
        lab.write(id, &pattern(0, 3000));
        lab.close(id);
        lab.drain();
        if reset {
            lab.send(rst());
        } else {
            lab.run_to(secs(3600));
        }
        lab.drain();
        lab.assert_empty();
        assert_eq!(lab.stack.counters().bytes_lost, 3000);
    }
}

#[test]
fn closing_before_the_connection_is_open_tells_of_what_was_written() {
    for written in [false, true] {
        let (mut lab, id) = in_state(State::SynSent);
        if written {
            lab.stack.send(lab.ts(), id, b"queued", SendFlags::default()).unwrap();
        }
        lab.stack.shutdown(lab.ts(), id, Shutdown::Write).unwrap();
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), written.then_some(ConnectionError::Aborted));
        assert_eq!(lab.stack.counters().bytes_lost, if written { 6 } else { 0 });
    }
}
