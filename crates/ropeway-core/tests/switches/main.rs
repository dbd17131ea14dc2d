//! Linux's switches that are options of a socket here: what each changes, and that it changes nothing else (docs/OPTIONS.md).
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
mod defer_accept;
mod extensions;
mod fin_wait;
mod recovery;
mod synack_retries;
mod timeouts;
mod window_clamp;
