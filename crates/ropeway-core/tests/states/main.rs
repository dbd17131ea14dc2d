//! Every state and every way between two of them (RFC 9293 3.3.2, 3.5, 3.6, 3.10).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod abort;
mod close;
#[path = "../common/mod.rs"]
mod common;
mod fin;
mod handshake;
mod listen;
mod segment_arrives;
mod simultaneous_open;
mod syn_sent;
mod time_wait;

use common::*;
use ropeway_core::{ConnectionId, ListenerId, State};

/// A connection in a state, reached by the shortest way. The application still holds it.
fn in_state(state: State) -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = match state {
        State::SynSent => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            id
        }
        State::SynReceived => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            lab.send(syn().mss(1460));
            lab.expect(syn_ack().seq(0).ack(1));
            id
        }
        _ => lab.accepted(Peer::default()),
    };
    match state {
        State::SynSent | State::SynReceived | State::Established => {}
        State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
            lab.shutdown_write(id);
            lab.expect(fin().seq(1).ack(1));
            match state {
                State::FinWait1 => {}
                State::Closing => {
                    lab.send(fin().ack(1));
                    lab.expect(ack().seq(2).ack(2));
                }
                _ => lab.send(ack().ack(2)),
            }
            if state == State::TimeWait {
                lab.send(fin().ack(2));
                lab.expect(ack().seq(2).ack(2));
            }
        }
        State::CloseWait | State::LastAck => {
            lab.send(fin());
            lab.expect(ack().seq(1).ack(2));
            if state == State::LastAck {
                lab.shutdown_write(id);
                lab.expect(fin().seq(1).ack(2));
            }
        }
        State::Closed | State::Listen => panic!("no connection is in {state}"),
    }
    lab.assert_state(id, state);
    lab.events.clear();
    (lab, id)
}

/// A listener that has answered a SYN: an entry in the SYN queue, and no connection yet. Both ends are at 1.
fn half_open() -> (Lab, ListenerId) {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().seq(0).ack(1));
    (lab, listener)
}

/// The states of a connection in which both ends agree on sequence numbers, TIME-WAIT excepted.
const SYNCHRONIZED: [State; 6] =
    [State::Established, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];
