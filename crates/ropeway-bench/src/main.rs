//! Measures ropeway side by side with other stacks: in one run, in turns, as ratios.
//!
//! A machine's speed changes from minute to minute, above all when neighbours share it, so no figure here
//! stands alone: the stacks take turns, each round gives a ratio, and the median of the ratios counts.
//! docs/PERFORMANCE.md has the method and what came out.
#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod all;
mod carry;
mod cli;
#[cfg(target_os = "linux")]
mod flood;
mod grid;
#[cfg(target_os = "linux")]
mod instructions;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod meter;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod serve;
mod steps;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tun;
mod wire;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
use cli::{Common, StackKind};

fn main() -> ExitCode {
    cli::run()
}
