//! The same tests twice: over `tokio::net`, which is the kernel, and over `ropeway::net`.
//!
//! What holds for both is what a program may rely on when it changes its imports. Each body is compiled once
//! for either, with `net` and `tcp` in scope; those of ropeway run on the loopback stack of their own
//! runtime, which nobody has made.

#![cfg(target_os = "linux")]
// One file as two modules is the point.
#![allow(clippy::duplicate_mod)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod kernel;
mod ropeway;
