//! TCP in user space, with the types of `tokio::net`.
//!
//! An application changes `use tokio::net::{TcpListener, TcpStream}` to
//! `use ropeway::net::{TcpListener, TcpStream}`, and its connections run on ropeway's TCP instead of the
//! kernel's: over a TUN device, over any packet tunnel that it hands to a [`Stack`], or in memory under
//! Tokio's paused clock.
//!
//! ```
//! use ropeway::net::{TcpListener, TcpStream}; // was: use tokio::net::{TcpListener, TcpStream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut client = TcpStream::connect(listener.local_addr()?).await?;
//! let (mut server, _) = listener.accept().await?;
//!
//! client.write_all(b"on belay?").await?;
//! let mut buf = [0; 9];
//! server.read_exact(&mut buf).await?;
//! assert_eq!(&buf, b"on belay?");
//! # Ok(())
//! # }
//! ```
//!
//! **Before `main` returns**, say so to the stack. The kernel goes on sending after a program has ended; ropeway lives
//! inside the program, and ends with its runtime. What the peers have not acknowledged by then is lost:
//!
//! ```
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let stack = ropeway::Stack::loopback()?;
//! stack.shutdown(Duration::from_secs(10)).await?; // returns when all that was written is acknowledged
//! # Ok(())
//! # }
//! ```
//!
//! Without that line, a runtime that is dropped tells all peers in one pass: a FIN if they have everything,
//! otherwise what the windows allow, then a RST; and the log has a warning with the counts. `process::exit`, an abort
//! and `Runtime::shutdown_background` may skip even that.
//!
//! - [`Stack`] says which addresses there are and which device carries the packets. A program that makes none
//!   gets the loopback addresses, on one stack for the whole process.
//! - [`net`] has the sockets.
//! - [`device`] has the devices, and the trait for more of them.
//! - [`manual`] is for those who run stacks by hand, as a simulation does.
//! - [`congestion`] has the congestion controls, and the trait for more of them.
//! - [`divert`] hands packets that no socket takes whole to the program.
//! - [`scan`] asks other hosts which of their ports are open.
//!
//! The state machines live in `ropeway-core`, which does no I/O, and the formats in `ropeway-packet`.
//!
//! # Time
//!
//! All timers follow Tokio's clock, paused or not. When it jumps, because the process was stopped or a test called
//! `tokio::time::advance`, all that was due on the way happens at once: retransmissions, timeouts, the end of TIME-WAIT.
//! On Linux this clock stands still while the machine is suspended (`CLOCK_MONOTONIC`), so after that no timeout has
//! passed, and connections go on. A peer that has given up meanwhile answers with a reset, or not at all: keep-alive
//! (`set_keepalive`) finds that out, as with the kernel's TCP. On systems whose monotonic clock counts sleep, a
//! suspension is a jump.
//!
//! # Events
//!
//! Each segment, and the sender's windows, round trips and rates after each change, are events of `tracing` with fields
//! of their own: [`events`] lists them.
//!
//! # Logs
//!
//! Through `tracing`: TRACE for each segment and each change of a sender, DEBUG for what deviates and for each change of
//! a connection's state (target `ropeway::state`), and for what is known of an error beyond its number; WARN when the
//! runtime ends before all is acknowledged, for a connection that would need a device where there is none, and for a clock that is
//! paused too late; ERROR for a device that failed. Why packets were dropped is counted: [`Stack::counters`].

#![deny(unsafe_code)]

mod clock;
pub mod device;
pub mod divert;
mod driver;
mod error;
mod loopback;
pub mod manual;
#[cfg(all(test, shuttle))]
mod models;
pub mod net;
pub mod scan;
mod shard;
mod stack;
mod sync;
mod wait;
mod waiters;

pub use error::StackEnded;
pub use ropeway_core::{
    AckThinning, Algorithm, BufferRange, ConnectError, ConnectionError, Counters, EchoPolicy, EcnFeedback,
    EcnMode, EcnOption, FastOpenFailure, FastOpenKeys, IpCidr, KeepAlive, MemoryUse, MtuProbing, PortPolicy,
    ProbeOutcome, SenderLimit, SocketOptions, StackConfig, State, SynCookieMode, TableSizes, TcpInfo,
    TimeWaitReuse,
};
pub use ropeway_core::{congestion, events, packet};
pub use stack::{Builder, EnterGuard, Stack};
