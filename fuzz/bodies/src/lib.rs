//! What each fuzz target does with an input.
//!
//! libFuzzer runs these by way of `fuzz/fuzz_targets`; `tests/bounded.rs` runs them on stable, over the kept
//! corpus, the kept crashes and some seeded random inputs.
//!
//! | target | input | what is held against what |
//! |---|---|---|
//! | [`parse`] | a packet | what is parsed, emitted and parsed again stays the same |
//! | [`differential`] | a packet | ropeway-packet against pnet_packet and smoltcp |
//! | [`ethernet`] | what stations on a link send, and what a stack does | what must be so whatever comes |
//! | [`fragments`] | fragments of a few datagrams | a reassembly that is slow and simple |
//! | [`stack`] | what a network and an application do to a stack | both streams, byte for byte |
//! | [`train`] | packets of a batch | what is merged, against a slow definition; what is cut, against the packets |
//! | [`pair`] | what a link and two programs do | two stacks against a byte pipe |

mod differential;
mod ethernet;
#[path = "../../../crates/ropeway-packet/tests/exercise/mod.rs"]
mod exercise;
mod fragments;
mod modern;
pub mod pack;
mod pair;
pub mod reach;
mod stack;
mod story;
mod train;
mod wide;

pub use differential::differential;
pub use ethernet::ethernet;
pub use fragments::fragments;
pub use pair::pair;
pub use stack::stack;
pub use story::tell_stories;
pub use train::train;

/// Any bytes as a packet, as they are and with their lengths and checksums made right.
///
/// # Panics
///
/// If the codec breaks one of its promises.
pub fn parse(bytes: &[u8]) {
    exercise::exercise(bytes);
    let mut repaired = bytes.to_vec();
    exercise::repair(&mut repaired);
    if repaired != bytes {
        exercise::exercise(&repaired);
    }
}
