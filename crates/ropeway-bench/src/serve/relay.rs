//! ropeway's gateway as a process that `all` measures, as slirp4netns and pasta are.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use ropeway::device::tun::TunDevice;
use ropeway::{IpCidr, Stack};
use ropeway_bench_service::ready;
use ropeway_gateway::{Gateway, HostSockets, Map};

use crate::link::{DEVICE, KERNEL_ADDRESS, PREFIX_LEN, STACK_ADDRESS};
use crate::sys;

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
    let mut settings = ropeway_gateway::Settings::default();
    // The gateway's own address is the host, as it is with slirp4netns and pasta.
    settings.maps.push(Map::address(STACK_ADDRESS.into(), Ipv4Addr::LOCALHOST.into()));
    let gateway = Gateway::new(stack, settings, HostSockets::new())?;
    ready()?;
    gateway.run().await
}

#[cfg(test)]
mod tests;
