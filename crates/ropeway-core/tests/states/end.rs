//! What a connection is after its end, and what its application is told (RFC 9293 3.6, 3.10.7.4).

use std::time::Duration;

use ropeway_core::{ConnectionId, KeepAlive, Readiness, State};

use crate::common::*;

/// A connection in LAST-ACK or CLOSING, whose keep-alive would come after ten seconds.
fn about_to_end(state: State) -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| {
        let (idle, interval) = (Duration::from_secs(10), Duration::from_secs(1));
        options.keep_alive = Some(KeepAlive { idle, interval, count: 2 });
    });
    if state == State::LastAck {
        lab.send(fin());
        lab.expect(ack().ack(2));
        lab.shutdown_write(id);
        lab.expect(fin().seq(1).ack(2));
    } else {
        lab.shutdown_write(id);
        lab.expect(fin().seq(1).ack(1));
        lab.send(fin().ack(1));
        lab.expect(ack().seq(2).ack(2));
    }
    lab.assert_state(id, state);
    lab.events.clear();
    (lab, id)
}

#[test]
fn nothing_goes_off_after_the_last_acknowledgement() {
    let (mut lab, id) = about_to_end(State::LastAck);
    lab.send(ack().ack(2));
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::FIN_ACKED | Readiness::WRITE_CLOSED));
    lab.at(120_000);
    lab.quiet();
    assert_eq!(lab.next_deadline(), None);
    assert_eq!(lab.stack.take_error(id), None);
}

#[test]
fn a_connection_in_time_wait_sends_no_keep_alives_and_does_not_fail() {
    let (mut lab, id) = about_to_end(State::Closing);
    lab.send(ack().ack(2));
    lab.assert_state(id, State::TimeWait);
    assert!(lab.told(id, Readiness::FIN_ACKED | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED));
    lab.at(120_000);
    lab.quiet();
    assert_eq!(lab.next_deadline(), None);
    assert_eq!(lab.stack.take_error(id), None);
}
