//! The link that a stack and the kernel share: a TUN device in a network namespace of its own, from which no route
//! leads anywhere else.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;

use ropeway::IpCidr;
use ropeway::device::tun::{TunBuilder, TunDevice};
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

pub(crate) use ropeway_bench_service::{DEVICE, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS};

/// Packets that wait for the stack, of whichever kind, before the kernel drops some.
pub(crate) const TX_QUEUE_LEN: u16 = 1000;
const STACK_CPU: usize = 1;
const PEER_CPU: usize = 0;

/// Whether the two ends have a CPU each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    two: bool,
    /// The stack has all of them.
    all: bool,
}

impl Cpus {
    /// The same, and the stack has every CPU: also that of the other end.
    pub(crate) fn all(self) -> Self {
        Self { all: true, ..self }
    }

    /// Has a command's process run on the stack's CPU.
    pub(crate) fn pin_child(self, command: &mut Command) {
        sys::pin_child(command, self.stack());
    }

    /// Moves the calling thread, and those it starts from now on, to the stack's CPU.
    pub(crate) fn pin_stack(self) -> io::Result<()> {
        sys::pin_to(self.stack())
    }

    fn stack(self) -> Option<usize> {
        (self.two && !self.all).then_some(STACK_CPU)
    }
}

/// Moves the process into a network namespace of its own, and the calling thread to the CPU of the kernel's end.
/// Call it before any thread exists.
///
/// Nothing outside of the namespace changes; it ends with the process.
pub(crate) fn prepare() -> io::Result<Cpus> {
    sys::enter_network_namespace().map_err(|error| {
        let hint = "a network namespace is needed: run as root or allow user namespaces";
        io::Error::new(error.kind(), format!("{error}; {hint}"))
    })?;
    silence()?;
    let two = thread::available_parallelism().is_ok_and(|cpus| cpus.get() >= 2);
    if two {
        sys::pin_to(Some(PEER_CPU))?;
    } else {
        eprintln!("one CPU for both ends: only CPU time per byte says anything here");
    }
    Ok(Cpus { two, all: false })
}

/// Keeps the calling thread's namespace quiet: what crosses its devices is what the run sends.
pub(crate) fn silence() -> io::Result<()> {
    // These paths show the namespace of the thread that opens them. A kernel without IPv6 lacks the first.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    // What is for nobody here is dropped, and not sent on. A new namespace may inherit the machine's setting.
    const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
    // Where it is off already, nothing needs to be written, which a container may forbid.
    if fs::read_to_string(FORWARD)?.trim() == "0" { Ok(()) } else { fs::write(FORWARD, "0") }
}

/// A device, up, whose kernel side in the calling thread's namespace has `address`, and in which so many packets
/// wait for the stack before the kernel drops some.
pub(crate) fn tun_device(address: Ipv4Addr, tx_queue_len: u32, offload: bool) -> TunBuilder {
    TunDevice::builder()
        .name(DEVICE)
        .mtu(MTU)
        .address(IpCidr::new(address.into(), PREFIX_LEN))
        .tx_queue_len(tx_queue_len)
        .offload(offload)
        .up()
}

/// A socket of the kernel's end, about to connect.
pub(crate) fn kernel_socket() -> io::Result<Socket> {
    kernel_socket_with(b"cubic")
}

/// A socket of the kernel's with this congestion control.
pub(crate) fn kernel_socket_with(congestion: &[u8]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Before the connection is made: a socket that starts with BBR keeps its pacing.
    socket.set_tcp_congestion(congestion)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// The kernel's counts of packets on the device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceCounts {
    /// From the kernel to the stack.
    pub(crate) to_stack: u64,
    /// From the stack to the kernel.
    pub(crate) from_stack: u64,
    /// Lost on the way to the stack because the device's queue was full.
    pub(crate) dropped: u64,
}

impl DeviceCounts {
    /// What the kernel wanted to send to the stack.
    pub(crate) fn offered(self) -> u64 {
        self.to_stack + self.dropped
    }
}

/// Reads [`DeviceCounts`], wherever its thread has gone since.
pub(crate) struct DeviceTable(File);

impl DeviceTable {
    /// Shows the network namespace that the calling thread is in now.
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/net/dev").map(Self)
    }

    /// The counts of the device at this moment; zeroes if it is gone.
    pub(crate) fn read(&mut self) -> io::Result<DeviceCounts> {
        let mut table = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut table)?;
        let counts = table.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'));
        let mut counts =
            counts.unwrap_or_default().split_whitespace().skip(1).map(|count| count.parse().unwrap_or(0));
        let mut after = |skipped: usize| counts.nth(skipped).unwrap_or_default();
        Ok(DeviceCounts { from_stack: after(0), to_stack: after(7), dropped: after(1) })
    }
}

/// A counter of the kernel's TCP in the calling thread's namespace, from `/proc/net/snmp`.
pub(crate) fn tcp_counter(name: &str) -> io::Result<u64> {
    counter("snmp", "Tcp: ", name)
}

/// A counter of `/proc/net/snmp` or `/proc/net/netstat` in the calling thread's namespace; 0 if there is none.
pub(crate) fn counter(table: &str, group: &str, name: &str) -> io::Result<u64> {
    let table = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
    let mut lines = table.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    Ok(columns.find_map(|(column, value)| (column == name).then(|| value.parse().ok())?).unwrap_or_default())
}
