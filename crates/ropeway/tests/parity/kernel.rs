//! The bodies over `tokio::net`.

use tokio::net::{self, tcp};

#[path = "common.rs"]
mod common;
#[path = "datagrams.rs"]
mod datagrams;
#[path = "errors.rs"]
mod errors;
#[path = "listeners.rs"]
mod listeners;
#[path = "mapped.rs"]
mod mapped;
#[path = "options.rs"]
mod options;
#[path = "readiness.rs"]
mod readiness;
#[path = "runtimes.rs"]
mod runtimes;
#[path = "streams.rs"]
mod streams;
#[path = "surface.rs"]
mod surface;
#[path = "udp.rs"]
mod udp;
