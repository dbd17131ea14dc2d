//! The harness of the tests that cross crate borders: ropeway on one side of a TUN device, the Linux kernel
//! and programs that know nothing of us on the other.
//!
//! ```no_run
//! use ropeway_tests::namespace;
//!
//! #[test]
//! fn the_kernel_answers() {
//!     namespace::run(async || {
//!         // sockets of tokio::net, devices and programs are all in a namespace of their own
//!     });
//! }
//! ```

pub mod http;
#[cfg(target_os = "linux")]
pub mod link;
#[cfg(target_os = "linux")]
pub mod middlebox;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod pattern;
pub mod programs;
pub mod script;
