//! Tokio's readiness types and the core's.

use ropeway_core::Readiness;
use tokio::io::{Interest, Ready};

use crate::waiters::{read_interest, write_interest};

/// Which readiness a task with that interest waits for.
pub(crate) fn wanted(interest: Interest) -> Readiness {
    let mut wanted = Readiness::EMPTY;
    if interest.is_readable() {
        wanted |= read_interest();
    }
    if interest.is_writable() {
        wanted |= write_interest();
    }
    if interest.is_error() {
        wanted |= Readiness::ERROR;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if interest.is_priority() {
        wanted |= Readiness::PRIORITY | Readiness::READ_CLOSED;
    }
    wanted
}

/// What of `readiness` was asked for, in Tokio's terms.
pub(crate) fn ready(readiness: Readiness, wanted: Readiness) -> Ready {
    const BITS: &[(Readiness, Ready)] = &[
        (Readiness::READABLE, Ready::READABLE),
        (Readiness::WRITABLE, Ready::WRITABLE),
        (Readiness::READ_CLOSED, Ready::READ_CLOSED),
        (Readiness::WRITE_CLOSED, Ready::WRITE_CLOSED),
        (Readiness::ERROR, Ready::ERROR),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        (Readiness::PRIORITY, Ready::PRIORITY),
    ];
    BITS.iter()
        .filter(|(bit, _)| readiness.contains(*bit) && wanted.contains(*bit))
        .fold(Ready::EMPTY, |ready, (_, bit)| ready | *bit)
}
