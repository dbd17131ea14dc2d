//! Simulated networks for tests: real TCP under Tokio's paused clock.
//!
//! ```
//! use ropeway::net::{TcpListener, TcpStream}; // was: use tokio::net::{TcpListener, TcpStream};
//! use ropeway_sim::Net;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> std::io::Result<()> { // #[tokio::test(start_paused = true)]
//! let net = Net::new();
//! let [server, client] = net.add_hosts(["server", "client"]);
//! server.spawn(async {
//!     let listener = TcpListener::bind("0.0.0.0:80").await?;
//!     let (mut stream, _) = listener.accept().await?;
//!     stream.write_all(b"hello").await
//! });
//! client.link().update(|pipe| pipe.loss = 0.3.into());
//! let said = client.run(async {
//!     let mut stream = TcpStream::connect("server:80").await?;
//!     let mut said = String::new();
//!     stream.read_to_string(&mut said).await?;
//!     Ok::<_, std::io::Error>(said)
//! });
//! assert_eq!(said.await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! Each [`Host`] has a ropeway stack of its own: the TCP that runs in production, with its retransmissions, its
//! congestion control and its TIME-WAIT. [`Link`]s between hosts and [`Router`]s delay, lose, reorder, duplicate and
//! corrupt packets. The [guide] goes from `Cargo.toml` and a first test to partitions, crashes and rules for single packets.
//!
//! # Determinism
//!
//! All chance comes from one seed, and so do the hosts' initial sequence numbers and ports. The same seed gives the
//! same packets at the same moments, to the byte. `ROPEWAY_SEED` replays a run.
//!
//! That holds as far as the code under test allows it: it must not depend on the wall clock, on threads, on the
//! order of a `HashMap`, or on `tokio::select!` without `biased`, which draws from a source of its own.
//!
//! # When a test fails
//!
//! A test that panics while it holds the network leaves its records in `target/ropeway-sim` (or `ROPEWAY_SIM_DIR`): all
//! packets, the drawn connections, and what befell the network; where, and the seed, is printed.
//!
//! A test fails, too, when a service of a host has failed ([`Host::spawn`]), when nothing can happen any more
//! ([`NetBuilder::patience`]), when time has no end ([`NetBuilder::time_limit`]), and when something that was
//! [expected](Net::expect) has not happened.
//!
//! # What to know
//!
//! - `connect` tries all addresses of a name in turn, as always: hosts have an IPv4 and an IPv6 address. The IPv4 one
//!   comes first.
//! - Tasks spawned by `tokio::spawn` from a future that runs on a host belong to the host. Tasks that those spawn can
//!   use the sockets they are given, but to open one by themselves they have to be spawned by [`spawn`]: whose they are
//!   cannot be known, and is not guessed.
//! - What runs on threads, such as `spawn_blocking` and `tokio::fs`, is not simulated: how long it takes, and so what
//!   happens meanwhile, differs from run to run.
//! - Time passes when all tasks wait. One that spins, by `yield_now` in a loop, stops it, and fails the test.
//! - A simulation is mostly as fast as the code it runs; in debug builds, that is Tokio, too. To have it optimised:
//!
//!   ```toml
//!   [profile.dev.package.tokio]
//!   opt-level = 2
//!   ```

#![forbid(unsafe_code)]

pub mod adapters;
mod change;
mod clock;
mod engine;
mod host;
pub mod ladder;
mod link;
mod net;
pub mod pair;
#[doc(hidden)]
pub mod pipe;
mod record;
mod rules;
mod seed;
mod shared;
mod stamp;
mod tasks;
mod world;

pub use change::changed;
pub use host::{BootTask, Host, HostBuilder, HostTask, TaskError};
pub use link::{CoDel, Discipline, Limit, Link, Loss, Pipe, Queue, Rate};
pub use net::{AsNode, LinkHandle, Net, NetBuilder, Router, spawn, spawn_local};
pub use record::Cause;
pub use ropeway_packet::{IpParams, TcpFlags, TcpHeader};
pub use rules::{Action, Expectation, Replacement, Rule, Segment, Segments};
#[cfg(feature = "tracing-subscriber")]
pub use stamp::SimTime;
pub use stamp::Stamp;

pub mod guide {
    #![doc = include_str!("../SIMULATION.md")]
}
