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
mod acceptability;
mod close;
#[path = "../common/mod.rs"]
mod common;
mod end;
mod fin;
mod handshake;
mod listen;
mod lost;
mod segment_arrives;
mod simultaneous_open;
mod syn_sent;
mod time_wait;

use common::*;
use ropeway_core::{ListenerId, State};

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
