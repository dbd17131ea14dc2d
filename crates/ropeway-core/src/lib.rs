//! The TCP of [ropeway](https://docs.rs/ropeway), without I/O, without a clock, without an async runtime.
//!
//! [`Stack`] is the one door. Time, randomness and packets come in from outside, packets, events and the
//! next deadline go out: whoever holds a `Stack` can run it over a device, over a simulated network, or
//! step by step in a test, and the same input gives the same output to the byte.
//!
//! ```
//! use std::sync::Arc;
//! use ropeway_core::{Event, Stack, StackConfig, SocketOptions, Timestamp};
//!
//! // A stack always has its loopback addresses, so it can talk to itself.
//! let now = Timestamp::from_micros(1_000_000);
//! let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
//! let listener = stack.listen("127.0.0.1:80".parse()?, 16, SocketOptions::default())?;
//! let client = stack.connect(now, None, "127.0.0.1:80".parse()?, SocketOptions::default())?;
//! while stack.poll_transmit(now).is_some() {}
//! let (server, _) = stack.accept(now, listener)?.expect("the handshake is complete");
//! stack.send(now, client, b"hello", Default::default())?;
//! while stack.poll_transmit(now).is_some() {}
//! assert_eq!(stack.recv(now, server, 100)?.to_vec(), b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod buffer;
mod config;
pub mod congestion;
mod deadlines;
mod demux;
mod divert;
mod ecn;
mod error;
mod event;
pub mod events;
mod icmp;
mod info;
mod ip;
mod ledger;
mod options;
mod packet_pool;
mod pages;
mod parts;
mod policy;
mod ports;
mod probe;
mod queue;
mod recovery;
mod slab;
mod spare;
mod stack;
mod stats;
mod steering;
mod tcp;
mod time;
mod transmit;
mod tuple_list;
mod tuple_slab;
mod udp;

pub use ropeway_packet as packet;

pub use config::{
    BufferRange, IpCidr, MtuProbing, ParseIpCidrError, StackConfig, SynCookieMode, TimeWaitReuse,
};
pub use congestion::{Algorithm, UnknownAlgorithm};
pub use divert::DivertOptions;
pub use ecn::{EcnFeedback, EcnMode, EcnOption};
pub use error::{
    ConnectError, ConnectionError, DatagramError, GroupError, ListenError, PacketError, RecvError, SendError,
    ShutdownError, UnknownId,
};
pub use event::{ConnectionId, Event, ListenerId, Readiness};
pub use info::{MtuSearch, SenderLimit, TcpInfo};
pub use ledger::MemoryUse;
pub use options::{AckThinning, KeepAlive, SocketOptions};
pub use packet_pool::PacketPool;
/// For the crate ropeway, whose wakers live in such a table too.
#[doc(hidden)]
pub use pages::Pages;
pub use policy::{EchoPolicy, PortPolicy};
pub use probe::ProbeOutcome;
pub use stack::{BindingId, Stack, TableSizes};
pub use stats::Counters;
pub use steering::Steering;
pub use tcp::connection::SendFlags;
pub use tcp::connection::state::{Cause, IllegalTransition, State, next};
pub use tcp::fast_open::FastOpenFailure;
pub use tcp::fast_open::keys::FastOpenKeys;
pub use tcp::listen::incoming::{Accepted, Incoming, Rejection, SynOptions};
pub use time::Timestamp;
pub use transmit::{Received, RxChecksum, Transmit};
pub use udp::datagram::{Datagram, DatagramTrain, Outgoing, UdpId, UdpInfo};
pub use udp::options::UdpOptions;
