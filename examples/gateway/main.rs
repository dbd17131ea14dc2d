//! A gateway: a network namespace or a virtual machine reaches the world through this program's ordinary sockets, as by slirp4netns
//! or passt.
//!
//! Without arguments it makes a namespace as its guest, and prints how to run something there. docs/GATEWAY.md and `--help` tell
//! the rest.

#[cfg(target_os = "linux")]
mod program;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    program::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("gateway: namespaces and TUN devices are Linux's");
    ExitCode::FAILURE
}
