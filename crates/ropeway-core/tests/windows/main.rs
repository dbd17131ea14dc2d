//! Windows and sizes: back-pressure, silly windows, Nagle, options, MSS and path MTU (RFC 9293 3.7, 3.8.6,
//! RFC 7323).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod back_pressure;
mod black_hole;
mod buffers;
#[path = "../common/mod.rs"]
mod common;
mod missing_timestamps;
mod mss;
mod mtu_attacks;
mod nagle;
mod options;
mod path;
mod path_mtu;
mod sequence_wrap;
mod silly_window;
mod timestamps;
mod trains;
mod tuning;
mod window_scale;
mod zero_window;
