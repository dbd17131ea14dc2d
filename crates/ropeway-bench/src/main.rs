//! Measures ropeway side by side with other stacks: in one run, in turns, as ratios.
//!
//! A machine's speed changes from minute to minute, above all when neighbours share it, so no figure here
//! stands alone: the stacks take turns, each round gives a ratio, and the median of the ratios counts.
//! docs/PERFORMANCE.md has the method and what came out.
#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod flood;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "what lossy, reordering and shared paths need is there before their cells")]
mod grid;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod meter;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tun;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
use cli::{Common, StackKind};

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    cli::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("ropeway-bench: this measures over Linux's TUN devices, and runs there only");
    ExitCode::FAILURE
}
