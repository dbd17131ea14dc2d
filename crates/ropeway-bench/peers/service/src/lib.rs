//! What each stack that is measured serves, and how it is asked to.
//!
//! A stack under test is a process, in a network namespace that has been made for the run. Its command line is an [`Order`].
//! It says [`ready`] on its standard output once it listens, and serves until it is killed. All measuring is done at the
//! other end.

mod datagrams;
mod device;
mod tasks;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

use clap::{Parser, ValueEnum};

pub use datagrams::{Datagrams, Received, serve_datagrams};
pub use device::Device;
pub use tasks::serve;

/// The name of the TUN device that a stack makes, where it is not given one.
pub const DEVICE: &str = "ropebench0";
/// The kernel's end.
pub const KERNEL_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The end of the stack under test.
pub const STACK_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Of both ends' network.
pub const PREFIX_LEN: u8 = 24;
/// The device's MTU in bytes.
pub const MTU: u16 = 1500;
/// Where the stack listens.
pub const PORT: u16 = 2000;
/// What an application reads or writes at a time.
pub const APPLICATION_BUFFER: usize = 128 * 1024;

/// What to do with every connection, or with datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Read, and forget.
    Sink,
    /// Write all the time.
    Source,
    /// Both of these at once.
    Both,
    /// Send back what comes.
    Echo,
    /// Answer requests of HTTP/1.1 with a kilobyte.
    Http,
    /// Read datagrams, and tell their sender how many there were.
    UdpSink,
    /// Send datagrams all the time to the sender of the first one that comes.
    UdpSource,
}

/// What a stack is asked to do.
#[derive(Parser, Clone, Debug)]
pub struct Order {
    /// What to do.
    #[arg(value_enum)]
    pub task: Task,
    /// The size of each socket buffer, in bytes.
    #[arg(long)]
    pub buffer: usize,
    /// How many connections will be open at once.
    #[arg(long)]
    pub connections: usize,
    /// The stack makes its device itself, with offload. Otherwise the standard input is the device, without.
    #[arg(long)]
    pub offload: bool,
    /// Bytes of data in a datagram.
    #[arg(long, default_value_t = 1200)]
    pub datagram: u16,
}

/// Datagrams in a train: the kernel merges no more of them (`UDP_MAX_SEGMENTS` before Linux 6.11).
const TRAIN: usize = 64;
/// Bytes of data that fit into a packet, about.
const LONGEST: usize = 65_000;

impl Order {
    /// What the command line says.
    pub fn from_command_line() -> Self {
        Self::parse()
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(STACK_ADDRESS, PORT)
    }

    /// Whether it is one for UDP.
    pub fn has_datagrams(&self) -> bool {
        matches!(self.task, Task::UdpSink | Task::UdpSource)
    }

    /// Bytes of data that are sent with one call: a datagram, or a train of them.
    pub fn sent_at_once(&self) -> usize {
        let size = usize::from(self.datagram);
        if self.offload { size * TRAIN.min(LONGEST / size.max(1)) } else { size }
    }
}

/// Says that connections may come.
///
/// # Errors
///
/// Nobody listens any more.
pub fn ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()
}
