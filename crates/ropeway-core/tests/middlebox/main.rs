//! Boxes on the way that strip, zero, flip, set or reflect a bit or an option, in one direction or both, in one kind of segment
//! or all: the transfer is complete all the same, in time, and without slowing down for ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod boxes;
#[path = "../common/mod.rs"]
mod common;
mod fast_open;
mod probes;
mod transfers;
