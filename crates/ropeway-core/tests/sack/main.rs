//! Selective acknowledgements (RFC 2018), and what is told of duplicates (RFC 2883).
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
mod duplicates;
mod negotiation;
mod receive;

use common::{Lab, Peer};
use ropeway_core::{ConnectionId, StackConfig};

/// A peer that permits SACK.
const SACK: Peer = Peer { mss: Some(1460), ws: None, ts: false, sack: true, win: 65_535 };

/// One that has timestamps, too.
const STAMPED: Peer = Peer { ts: true, ..SACK };

/// A connection that such a peer has opened.
fn accepted() -> (Lab, ConnectionId) {
    accepted_with(|_| {})
}

fn accepted_with(change: impl FnOnce(&mut StackConfig)) -> (Lab, ConnectionId) {
    let mut lab = Lab::with(change);
    let id = lab.accepted(SACK);
    (lab, id)
}
