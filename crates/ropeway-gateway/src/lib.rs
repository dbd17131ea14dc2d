//! A gateway: whoever is behind a ropeway device (a network namespace, a virtual machine, a tunnel's client) reaches the world through
//! the ordinary sockets of the host, which needs no rights for that. slirp4netns and passt do the same.
//!
//! ```no_run
//! use ropeway::{Stack, device::tun::TunDevice};
//! use ropeway_gateway::{Gateway, HostSockets, Settings};
//!
//! # async fn example() -> std::io::Result<()> {
//! let device = TunDevice::attach("rope0")?;
//! let stack = Stack::builder().address("10.0.2.2/24".parse().unwrap()).device(device).build()?;
//! let mut settings = Settings::default();
//! settings.network.push("10.0.2.0/24".parse().unwrap());
//! let gateway = Gateway::new(stack, settings, HostSockets::new())?;
//! gateway.run().await
//! # }
//! ```
//!
//! - **TCP**: the outside's connection is made first. Then the guest gets its SYN-ACK, or else the error: a RST, or an ICMP error.
//!   Halves are closed one by one, a reset is passed on as a reset, and whoever is not read has to wait: what is on its way is bounded.
//! - **UDP**: a connected socket for each flow, until it is idle.
//! - **DNS**: queries to an address of the gateway go to the host's resolvers.
//! - **Echo requests** go on by unprivileged ICMP sockets, where the host allows them.
//! - **Forwards** lead from ports of the host to the guest.
//!
//! # What a guest must not reach
//!
//! The host's loopback, its own addresses, link-local addresses, groups and broadcasts are refused, whichever way they are written
//! (IPv4-mapped, NAT64, 6to4), unless they are [mapped](Settings::maps) or a [policy](Policy) redirects there. What counts is
//! the address that is really connected to: a name that a guest has resolved to `127.0.0.1` leads nowhere.
//!
//! A [`Gateway`] serves one guest: its [limits](Limits) are that guest's.

#![forbid(unsafe_code)]

mod address;
mod counters;
mod dns;
mod echo;
mod forward;
mod gateway;
mod outside;
mod policy;
mod rate;
mod relay;
mod settings;
mod tcp;
mod udp;

pub use address::is_forbidden;
pub use counters::GatewayCounters;
pub use dns::{resolvers_of, system_resolvers};
pub use gateway::Gateway;
pub use outside::{Datagrams, HostDatagrams, HostSockets, Outside, StackSockets, Stream};
pub use policy::{Flow, FlowKind, Policy, Verdict};
pub use settings::{DnsSettings, Forward, Limits, Map, ParseMapError, Settings};
