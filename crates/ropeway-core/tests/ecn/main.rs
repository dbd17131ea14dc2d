//! Explicit Congestion Notification (RFC 3168, RFC 9768): what is agreed on, which packets may be marked, and what becomes of marks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod accurate;
mod classic;
#[path = "../common/mod.rs"]
mod common;
mod middleboxes;
mod negotiation;

use common::*;
use ropeway_core::{ConnectionId, EcnMode, StackConfig};

/// All sockets use ECN like that.
fn mode(mode: EcnMode) -> impl FnOnce(&mut StackConfig) {
    move |config| config.socket.ecn = mode
}

/// A connection with ECN that the lab has opened.
fn accepted() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, roomy);
    lab.send(syn().mss(1460).ece().cwr());
    lab.expect(syn_ack().ece().seq(0).ack(1).not_ect());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    (lab, id)
}
