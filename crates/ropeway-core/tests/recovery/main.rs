//! Congestion control and loss recovery (RFC 5681, 6298, 6582, 6928, 3042).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod bbr;
mod bulk;
#[path = "../common/mod.rs"]
mod common;
mod congestion_window;
mod fast_retransmit;
mod timeout;
mod trains;
mod two_gigabytes;

use common::*;
use ropeway_core::{Algorithm, ConnectionId};

const MSS: usize = 1460;

/// Relative sequence number of the first byte of segment `n` of full ones.
const fn seg(n: u32) -> u32 {
    1 + n * MSS as u32
}

/// An established connection whose windows are those of RFC 5681.
fn reno() -> (Lab, ConnectionId) {
    let mut lab = Lab::with(|config| config.socket.congestion = Algorithm::NewReno);
    let id = lab.accepted(Peer::default());
    (lab, id)
}

/// `n` full segments are written and sent; only that many fit into the windows.
fn flight(lab: &mut Lab, id: ConnectionId, n: u32) {
    lab.write(id, &pattern(0, n as usize * MSS));
    for i in 0..n {
        lab.expect(data(pattern(i as usize * MSS, MSS)).seq(seg(i)));
    }
    lab.quiet();
}
