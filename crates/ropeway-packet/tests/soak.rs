//! No input makes the codec panic: packets of Linux, mangled, and plain noise.
//!
//! By default this takes a second or two. For a soak:
//!
//! ```sh
//! ROPEWAY_SOAK_PACKETS=10000000 CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
//!     cargo test --release -p ropeway-packet --test soak
//! ```
//!
//! (Overflow checks make a wrapped sum a panic, as in a debug build. Ten million packets took 7 s.)
//! `ROPEWAY_SOAK_SEED` starts another sequence; a failure prints the seed and the packet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop"
)]

mod corpus;
mod exercise;

use std::panic::{AssertUnwindSafe, catch_unwind};

use exercise::{exercise, repair};

const DEFAULT_PACKETS: u64 = 200_000;

/// SplitMix64: enough, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Numbers that matter turn up more often than chance would have them.
        const OFTEN: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 8, 10, 34, 43, 44, 58, 60, 128, 255];
        let byte = self.next().to_le_bytes()[0];
        if self.below(2) == 0 { OFTEN[usize::from(byte % 16)] } else { byte }
    }
}

fn mangle(random: &mut Random, packet: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        // The headers are where it is worth it.
        let reach = if random.below(8) == 0 { packet.len() } else { packet.len().min(100) };
        let at = random.below(reach);
        match random.below(8) {
            0 => packet.truncate(at),
            1 => packet.extend((0..random.below(64)).map(|_| random.byte()).collect::<Vec<_>>()),
            2 => {
                let inserted: Vec<u8> = (0..random.below(3) * 4).map(|_| random.byte()).collect();
                packet.splice(at..at, inserted);
            }
            3 => {
                let end = (at + random.below(12)).min(packet.len());
                packet.drain(at.min(end)..end);
            }
            4 => {
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            _ => {
                let value = random.byte();
                if let Some(byte) = packet.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
}

fn noise(random: &mut Random) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..random.below(120)).map(|_| random.byte()).collect();
    if let Some(first) = packet.first_mut() {
        *first = [0x45, 0x46, 0x4f, 0x60, *first][random.below(5)];
    }
    packet
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

#[test]
fn no_packet_panics() {
    let packets = number("ROPEWAY_SOAK_PACKETS").unwrap_or(DEFAULT_PACKETS);
    let seed = number("ROPEWAY_SOAK_SEED").unwrap_or(1);
    let corpus = corpus::packets();
    let mut random = Random(seed);
    let mut good = 0_u64;
    for count in 0..packets {
        let mut packet = if random.below(8) == 0 {
            noise(&mut random)
        } else {
            let mut packet = corpus[random.below(corpus.len())].bytes.clone();
            mangle(&mut random, &mut packet);
            packet
        };
        if random.below(4) != 0 {
            repair(&mut packet);
        }
        match catch_unwind(AssertUnwindSafe(|| exercise(&packet))) {
            Ok(accepted) => good += u64::from(accepted),
            Err(_) => panic!("seed {seed}, packet {count}: {packet:02x?}"),
        }
    }
    println!("{packets} packets, {good} of them good");
    // If hardly any gets through, this tests little.
    assert!(good > packets / 10, "only {good} of {packets} packets were good");
}
