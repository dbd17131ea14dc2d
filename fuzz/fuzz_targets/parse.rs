//! Any bytes as a packet, as they are and with their lengths and checksums made right.

#![no_main]

#[path = "../../crates/ropeway-packet/tests/exercise/mod.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise(bytes);
    let mut repaired = bytes.to_vec();
    exercise::repair(&mut repaired);
    exercise::exercise(&repaired);
});
