//! Ethernet below [`ropeway`]: a [device](ropeway::device::Device) of Ethernet frames, for the guests of virtual machines, network
//! namespaces behind a TAP device, and real networks.
//!
//! A stack knows IP packets and nothing below. An [`EthernetDevice`] is the thin layer in between: it resolves addresses (ARP, RFC 826;
//! neighbor discovery, RFC 4861), answers for the stack's own, gives hosts addresses by DHCP (RFC 2131) and router advertisements (RFC
//! 4861, RFC 8106), and drops what does not belong on its link. Frames cross a [`Link`]:
//!
//! - [`StreamLink`]: a Unix stream socket with QEMU's framing (`-netdev stream`, as passt has it);
//! - [`DatagramLink`]: Unix datagram sockets, as libkrun and vfkit have them;
//! - `TapLink`: a TAP device of Linux;
//! - [`memory`]: between two devices of one process.
//!
//! # Examples
//!
//! A virtual machine whose network is this program. QEMU connects to the socket (`-netdev stream,id=n0,server=off,addr.type=unix,
//! addr.path=/run/vm.sock -device virtio-net,netdev=n0`), and its guest gets an address by DHCP:
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//! use ropeway::Stack;
//! use ropeway::net::TcpListener;
//! use ropeway_ethernet::{DhcpConfig, EthernetConfig, EthernetDevice, StreamLink};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let link = StreamLink::listen("/run/vm.sock")?;
//! let pool = Ipv4Addr::new(10, 0, 2, 15)..=Ipv4Addr::new(10, 0, 2, 30);
//! let config = EthernetConfig::new("52:55:0a:00:02:02".parse()?)
//!     .address("10.0.2.2/24".parse()?)
//!     .dhcp(DhcpConfig::new(pool));
//! let device = EthernetDevice::new(link, config);
//! let stack = Stack::builder().address("10.0.2.2/24".parse()?).device(device).build()?;
//! let listener = TcpListener::bind_on(&stack, "10.0.2.2:80").await?;
//! let (stream, guest) = listener.accept().await?;
//! println!("{guest} has come");
//! # Ok(())
//! # }
//! ```
//!
//! # What is trusted
//!
//! Nothing that comes by the link. Tables have fixed sizes, work has limits per second, and each drop is counted by its reason
//! ([`EthernetCounters`]). Addresses are learned from those who ask for us and from answers to our own questions, never from packets; a
//! station that claims the address of another gets it only if the other does not answer any more, and never one that DHCP has given to
//! another. Which stations are on the link is for the link to say: a station that forges the hardware address of another cannot be told
//! from it here.

#![forbid(unsafe_code)]

mod arp;
mod config;
mod counters;
mod device;
mod dhcp;
mod frame;
mod layer;
pub mod link;
mod mac;
mod ndp;
mod neighbors;
mod random;

pub use config::EthernetConfig;
pub use counters::EthernetCounters;
pub use device::{EthernetCountersHandle, EthernetDevice};
pub use dhcp::DhcpConfig;
pub use frame::FrameQueue;
pub use layer::EthernetLayer;
pub use link::Link;
pub use link::memory;
#[cfg(all(target_os = "linux", feature = "tap"))]
pub use link::tap::TapLink;
#[cfg(unix)]
pub use link::{datagram::DatagramLink, stream::StreamLink};
pub use mac::{MacAddr, ParseMacAddrError};
pub use ndp::RouterConfig;
