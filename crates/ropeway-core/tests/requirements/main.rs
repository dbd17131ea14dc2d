//! Rules of RFC 9293 and RFC 7323 that no other room of the tests is about; docs/COMPLIANCE.md lists them all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod addresses;
#[path = "../common/mod.rs"]
mod common;
mod log;
mod options;
mod reports;
mod sending;
mod timeouts;
mod timestamps;
mod urgent;
