//! Services as somebody else would have written them: only the import of the sockets is changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod axum_service;
mod hyper_service;
mod line_service;
mod proxy;
mod tls;
mod tonic_service;

use std::time::Duration;

use ropeway_sim::{Link, Net};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// A network on which a round trip takes 40 ms and all goes well.
fn clean() -> Net {
    Net::builder().default_link(Link::new().delay(MS(10))).build()
}

/// The same, but a tenth of all packets is lost on each link, and some come late or twice.
fn troubled() -> Net {
    let link = Link::new().delay(MS(10)).jitter(MS(2)).loss(0.1).reorder(0.05).duplicate(0.02);
    Net::builder().default_link(link).build()
}

/// Bytes that are wrong if any of them is lost, doubled or elsewhere.
fn body(len: usize) -> Vec<u8> {
    (0..u32::MAX).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}
