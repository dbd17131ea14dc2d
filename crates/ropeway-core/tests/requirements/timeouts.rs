//! Giving up (RFC 9293 3.8.3, 3.10.8).

use std::time::Duration;

use ropeway_core::{ConnectionError, ConnectionId, State};

use crate::common::*;

// RFC 9293 3.8.3 MUST-22: "including notification of the application layer"
#[test]
fn r1_of_a_syn_is_told_too() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    for (n, seconds) in (1..).zip([1, 3, 7, 15]) {
        lab.at_us(secs(seconds));
        lab.expect(syn());
        assert_eq!(lab.stack.take_error(id).is_some(), n == 3, "after {n} retransmissions");
        lab.assert_state(id, State::SynSent);
    }
}

/// A connection in a state in which the peer owes an acknowledgement, from now on.
fn waiting(state: State) -> (Lab, ConnectionId) {
    let (mut lab, id) = match state {
        State::SynSent | State::SynReceived => {
            let mut lab = Lab::new();
            let id = lab.connect();
            lab.expect(syn());
            (lab, id)
        }
        _ => established(),
    };
    match state {
        State::SynReceived => {
            lab.send(syn().mss(1460));
            lab.expect(syn_ack());
        }
        State::CloseWait | State::LastAck => {
            lab.send(fin());
            lab.expect(ack().ack(2));
        }
        _ => {}
    }
    if matches!(state, State::Established | State::CloseWait) {
        lab.write(id, b"x");
        lab.expect(data(b"x"));
    } else if state.is_synchronized() {
        lab.shutdown_write(id);
        lab.expect(fin());
        if state == State::Closing {
            lab.send(fin().ack(1));
            lab.expect(ack().ack(2));
        }
    }
    lab.assert_state(id, state);
    (lab, id)
}

// RFC 9293 3.10.8 R-12: "for any state if the user timeout expires"
#[test]
fn the_user_timeout_ends_a_connection_in_every_state() {
    for state in [
        State::SynSent,
        State::SynReceived,
        State::Established,
        State::CloseWait,
        State::FinWait1,
        State::Closing,
        State::LastAck,
    ] {
        let (mut lab, id) = waiting(state);
        lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(4321)));
        lab.run_to(ms(4321) - 1);
        assert!(!lab.drain().is_empty(), "{state}: it is retransmitted until then");
        lab.assert_state(id, state);
        lab.at(4321);
        lab.quiet();
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut), "{state}");
        lab.close(id);
        lab.assert_empty();
    }
}

// While the window was closed, the user timeout ran; once it has opened, that time does not count any more.
#[test]
fn the_user_timeout_counts_anew_when_the_window_has_opened() {
    let (mut lab, id) = shut_out();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_secs(5)));
    lab.write(id, b"bcd");
    lab.run_to(secs(3));
    assert!(!lab.drain().is_empty(), "it is probed for");
    lab.send(ack().ack(2).win(1000));
    lab.expect(data(b"bcd"));
    lab.run_to(secs(8) - 1);
    lab.assert_state(id, State::Established);
    lab.drain();
    lab.at_us(secs(8));
    lab.assert_state(id, State::Closed);
}

// The time that the handshake took is not the data's.
#[test]
fn the_user_timeout_counts_anew_when_the_connection_is_open() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.user_timeout = Some(Duration::from_secs(5))).unwrap();
    lab.run_to(secs(4));
    assert_eq!(lab.drain().len(), 3, "SYNs at 0, 1 and 3 s");
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.run_to(secs(9) - 1);
    lab.assert_state(id, State::Established);
    lab.drain();
    lab.at_us(secs(9));
    lab.assert_state(id, State::Closed);
}
