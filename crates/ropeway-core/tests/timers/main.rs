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
mod thinning;
mod user_timeout;
