//! Garbage: random and mutated packets, random calls, random steps of time. Nothing panics, nothing grows
//! without bound, and an honest connection beside it all does not notice.
//!
//! A few seconds by default; `ROPEWAY_SOAK=<factor>` runs so many times as long. A failure names its seed.
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
mod honest;
mod mangle;
mod packets;
mod storm;

use common::*;

fn soak() -> u64 {
    std::env::var("ROPEWAY_SOAK").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Runs a test with many seeds, and says which one failed.
fn seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let only = std::env::var("ROPEWAY_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in 0..count * soak() {
        if only.is_some_and(|only: u64| only != seed) {
            continue;
        }
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("with ROPEWAY_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}
