//! A gateway: a guest's connections, to whatever address, go on as the host's own, as tun2socks has them.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;

use ropeway::device::tun::TunDevice;
use ropeway::net::tcp::{Incoming, Rejection};
use ropeway::{IpCidr, Stack};
use ropeway_bench_service::ready;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::link::{DEVICE, KERNEL_ADDRESS, PREFIX_LEN, STACK_ADDRESS};
use crate::sys;

/// Connections that may wait until the host's have been made.
const BACKLOG: usize = 1024;
/// What is copied at a time.
const COPY: usize = 64 * 1024;

/// What `relay` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The MTU of the guest's device.
    #[arg(long)]
    mtu: u16,
}

/// Relays until it is killed. It starts in the guest's network namespace, and the standard input is the host's.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let host = io::stdin().as_fd().try_clone_to_owned()?;
    super::on_tokio(relay(settings.mtu, host.into(), ready))
}

/// Relays from the calling thread's network namespace to that of `host`, where the thread is afterwards.
async fn relay(mtu: u16, host: File, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let address = IpCidr::new(KERNEL_ADDRESS.into(), PREFIX_LEN);
    let device = TunDevice::builder().name(DEVICE).mtu(mtu).address(address).up().build()?;
    sys::enter_network(&host)?;
    // It has no address: it stands for everybody behind it.
    let stack = Stack::builder().device(device).build()?;
    let listener = stack.listen_any(BACKLOG)?;
    ready()?;
    loop {
        // One that fails shows as an error at the guest.
        tokio::spawn(carry(listener.incoming().await?));
    }
}

/// The guest is let in when the host's connection stands. Either side may close its half first; if one breaks, so does the other:
/// its peer must not take what has come for all there is.
async fn carry(incoming: Incoming) -> io::Result<()> {
    let Ok(mut host) = TcpStream::connect(host_of(incoming.original_dst())).await else {
        return incoming.reject(Rejection::Reset);
    };
    host.set_nodelay(true)?;
    let mut guest = incoming.accept().await?;
    guest.set_nodelay(true)?;
    let copied = copy_bidirectional_with_sizes(&mut guest, &mut host, COPY, COPY).await;
    if copied.is_err() {
        // Whichever has broken does not mind.
        let _ = (guest.set_zero_linger(), host.set_zero_linger());
    }
    copied.map(drop)
}

/// The gateway's own address is the host, as it is with slirp4netns and pasta.
fn host_of(mut address: SocketAddr) -> SocketAddr {
    if address.ip() == IpAddr::from(STACK_ADDRESS) {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

#[cfg(test)]
mod tests;
