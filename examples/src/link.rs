//! The links between ropeway and whoever is at the other end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use ropeway::device::Device;
use ropeway::device::memory::{self, MemoryDevice};
use ropeway::device::tap::Tap;
#[cfg(target_os = "linux")]
pub use ropeway::device::tun::TunCounters;
#[cfg(target_os = "linux")]
use ropeway::device::tun::{TunDevice, TunError};
use ropeway::{IpCidr, Stack, StackConfig};
use tokio::net::TcpListener as KernelListener;

use crate::namespace::Namespace;
#[cfg(not(target_os = "linux"))]
pub use crate::namespace::TunCounters;
#[cfg(not(target_os = "linux"))]
use crate::namespace::TunDevice;
use crate::site::Site;

/// The kernel's address on the examples' own link.
pub const KERNEL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
/// ropeway's address there.
pub const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
/// The port of the examples' web servers.
pub const PORT: u16 = 8080;
const PREFIX_LEN: u8 = 24;

/// Makes the TUN device `rope0` in the namespace of this process, with the kernel at its other end.
///
/// # Errors
///
/// Those of [`TunDevice::builder`].
#[cfg(target_os = "linux")]
pub fn tun(_in: &Namespace) -> io::Result<TunDevice> {
    TunDevice::builder().name("rope0").address(IpCidr::new(KERNEL, PREFIX_LEN)).up().build()
}

/// Attaches to the TUN device `name`; or, with rights, makes it, with `via` as the kernel's address on it.
///
/// # Errors
///
/// When there is no such device and it cannot be made: one line that says what to do.
#[cfg(target_os = "linux")]
pub fn attach_or_make(name: &str, address: IpCidr, via: Option<IpAddr>) -> io::Result<TunDevice> {
    let missing = match TunDevice::attach(name) {
        Err(error) if matches!(tun_error(&error), Some(TunError::NotFound { .. })) => error,
        other => return other,
    };
    let Some(via) = via else { return Err(missing) };
    if !address.contains(via) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the kernel's address {via} (--via) is not in the network of ours, {address} (--address)"
            ),
        ));
    }
    TunDevice::builder().name(name).address(IpCidr::new(via, address.prefix_len())).up().build()
}

#[cfg(target_os = "linux")]
fn tun_error(error: &io::Error) -> Option<&TunError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// There is no namespace to make a device in.
///
/// # Errors
///
/// None: there is nobody to call it.
#[cfg(not(target_os = "linux"))]
pub fn tun(place: &Namespace) -> io::Result<TunDevice> {
    match *place {}
}

/// There is no such device.
///
/// # Errors
///
/// Always: one line that says so.
#[cfg(not(target_os = "linux"))]
pub fn attach_or_make(name: &str, _: IpCidr, _: Option<IpAddr>) -> io::Result<TunDevice> {
    let told = format!("there is no {name}: TUN devices are Linux's; without --tun this runs in memory");
    Err(io::Error::new(io::ErrorKind::Unsupported, told))
}

/// A stack with one address on a device, whose packets `record` gets to see.
///
/// # Errors
///
/// Those of the stack's builder.
pub fn stack(
    device: impl Device,
    address: IpCidr,
    record: impl FnMut(SystemTime, &[u8]) + Send + 'static,
) -> io::Result<Stack> {
    stack_with(StackConfig::default(), device, address, record)
}

/// Likewise, with these settings.
///
/// # Errors
///
/// Those of the stack's builder.
pub fn stack_with(
    config: StackConfig,
    device: impl Device,
    address: IpCidr,
    mut record: impl FnMut(SystemTime, &[u8]) + Send + 'static,
) -> io::Result<Stack> {
    let device = Tap::new(device, move |_, time, packet: &[u8]| record(time, packet));
    Stack::builder().config(config).address(address).device(device).build()
}

/// ropeway's address on the examples' own link, with the network.
#[must_use]
pub fn own_address() -> IpCidr {
    IpCidr::new(OURS, PREFIX_LEN)
}

/// ropeway's stack on the examples' own link.
///
/// # Errors
///
/// Those of [`stack`].
pub fn own_stack(
    device: impl Device,
    record: impl FnMut(SystemTime, &[u8]) + Send + 'static,
) -> io::Result<Stack> {
    stack(device, own_address(), record)
}

/// A web server on the kernel's TCP, at the kernel's end of the link. It runs as long as the runtime does.
///
/// # Errors
///
/// When it cannot listen.
pub async fn serve_on_kernel(site: Site) -> io::Result<SocketAddr> {
    let listener = KernelListener::bind((KERNEL, PORT)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(site.clone().serve(stream));
        }
    });
    Ok(address)
}

/// In place of a TUN device and the kernel: memory, and another stack of ours with the web server. Gives our
/// end of the link.
///
/// # Errors
///
/// When the stack cannot be made, or cannot listen.
pub async fn serve_in_memory(site: Site) -> io::Result<(MemoryDevice, SocketAddr)> {
    let (ours, theirs) = memory::pair(1500);
    let stack = Stack::builder().address(IpCidr::new(KERNEL, PREFIX_LEN)).device(theirs).build()?;
    let listener = ropeway::net::TcpListener::bind_on(&stack, (KERNEL, PORT)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(site.clone().serve(stream));
        }
    });
    Ok((ours, address))
}
