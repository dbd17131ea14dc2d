//! Every timer at its exact moment (RFC 9293 3.8, RFC 6298).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

#[path = "../common/mod.rs"]
mod common;
mod cork;
mod delayed_ack;
mod handshake;
mod keepalive;
mod persist;
mod retransmission;
mod user_timeout;

use common::*;
use ropeway_core::ConnectionId;

/// A connection whose peer has closed the window with nothing outstanding.
fn shut_out() -> (Lab, ConnectionId) {
    let (mut lab, id) = established();
    lab.write(id, b"a");
    lab.expect(data(b"a"));
    lab.send(ack().win(0));
    lab.flow.win = 0;
    (lab, id)
}
