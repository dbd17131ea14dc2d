//! Two network namespaces, from which no route leads out, and the TUN devices of a path between them.
//!
//! The near one is the program's own. There are the kernel's near end, and the TUN device of a stack in user space, from
//! which the kernel forwards to the path's device: so a stack in user space has one hop more than the kernel. In the far
//! one there is only the kernel's far end. Both go with the program, however it ends.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::thread;

use crate::link;
use crate::sys::{self, Tun};

/// Packets that wait for the path, or for a stack, before the kernel drops some: more than any window here.
pub(crate) const TX_QUEUE_LEN: u16 = 20_000;
/// How far buffers grow that tune themselves, ropeway's and the kernel's: the kernel's own limit for senders is 4 MiB.
pub(crate) const LARGEST_BUFFER: usize = 32 * 1024 * 1024;
/// Of the network of a path.
pub(crate) const PREFIX_LEN: u8 = 24;
/// Of the half of it that lies behind the device of a stack in user space.
pub(crate) const STACK_PREFIX_LEN: u8 = 25;
/// Of every device, in bytes.
pub(crate) const MTU: u16 = 1500;

/// See the [module](self).
pub(crate) struct Net {
    far: File,
}

impl Net {
    /// Prepares both namespaces: the one of the calling thread, and another.
    pub(crate) fn new() -> io::Result<Self> {
        prepare()?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let made = thread::spawn(|| {
            sys::unshare_network()?;
            link::silence()?;
            prepare()?;
            File::open("/proc/thread-self/ns/net")
        });
        let far = made.join().map_err(|_| io::Error::other("a thread panicked"))??;
        Ok(Self { far })
    }

    /// Moves the calling thread to the far namespace.
    pub(crate) fn enter_far(&self) -> io::Result<()> {
        sys::enter_network(&self.far)
    }

    /// Makes the two devices of a path: the near one and the far one.
    pub(crate) fn devices(&self, lane: Lane) -> io::Result<(Tun, Tun)> {
        let near = tun(&format!("near{}", lane.0), lane.near())?;
        let far = thread::scope(|scope| {
            let make = || {
                self.enter_far()?;
                tun(&format!("far{}", lane.0), lane.far())
            };
            scope.spawn(make).join().map_err(|_| io::Error::other("a thread panicked"))?
        })?;
        Ok((near, far))
    }
}

/// Settings of the calling thread's namespace.
fn prepare() -> io::Result<()> {
    // What one connection has learned of a path must not help the next one.
    fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
    fs::write("/proc/sys/net/ipv4/tcp_rmem", format!("4096 131072 {LARGEST_BUFFER}"))?;
    fs::write("/proc/sys/net/ipv4/tcp_wmem", format!("4096 16384 {LARGEST_BUFFER}"))?;
    // Answers come through another device than the one that a route would take to their sender.
    fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")?;
    fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "0")
}

fn tun(name: &str, address: Ipv4Addr) -> io::Result<Tun> {
    Tun::new(name, address, PREFIX_LEN, MTU, TX_QUEUE_LEN, false)
}

/// One of the paths that are there at the same time: its number, which is in its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(pub(crate) u8);

impl Lane {
    /// The kernel's near end.
    pub(crate) fn near(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, self.0, 1)
    }

    /// The kernel's far end.
    pub(crate) fn far(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, self.0, 2)
    }

    /// The stack in user space.
    pub(crate) fn stack(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, self.0, 129)
    }

    /// The kernel's side of the device of the stack in user space.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, self.0, 130)
    }

    /// The name of the device of the stack in user space.
    pub(crate) fn stack_device(self) -> String {
        format!("stack{}", self.0)
    }
}
