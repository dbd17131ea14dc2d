//! The harness: a virtual clock, hand-made segments, and two stacks with a bad link between them.
//!
//! [`lab::Lab`] holds one stack against segments made by hand; its tests read like a packet trace.
//! [`Pair`], from ropeway-sim, holds two stacks against each other over links that lose, repeat, delay and spoil.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

pub mod lab;
pub mod wire;

#[allow(unused_imports, reason = "not every test file needs a lab")]
pub use lab::{Lab, Peer, established, in_state, roomy, shut_out};
#[allow(unused_imports, reason = "not every test file needs two stacks")]
pub use ropeway_sim::pair::{self, Fate, Op, Pair, ms, pattern, secs};
pub use wire::*;

/// Runs `test`, and fails if it is not done in so much real time: for what must not hang.
#[track_caller]
pub fn within(limit: std::time::Duration, test: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    assert!(wait.recv_timeout(limit).is_ok(), "it hangs, or it failed on its own thread");
}

/// A small generator of numbers that look random, the same in every run (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
