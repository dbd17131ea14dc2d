//! The system calls that neither std nor tokio-tun offers. No other file of this crate has `unsafe`.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::name::InterfaceName;

/// A TUN device without the 4 bytes of packet information in front of each packet.
pub(super) const PLAIN_TUN: libc::c_int = libc::IFF_TUN | libc::IFF_NO_PI;

/// And with offload: a header before each packet that says what is left to do. tokio-tun asks for it only where a device of
/// several queues has it already, so it has several queues, of which one is used.
pub(super) const WITH_OFFLOAD: libc::c_int = libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// What `TUNSETIFF` is asked for on a file descriptor of [`open_node`]'s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Neither TUN nor TAP, which is refused with `EINVAL`, but not before the rights to make a device are
    /// looked at: so `EPERM` and `EINVAL` tell whether making one would succeed.
    MayCreate,
    /// A TUN device with these `IFF_*` flags: attaches to the persistent one of that name, if that is possible.
    Attach(libc::c_int),
    /// A TUN device with offload: makes one, or attaches to that of that name.
    WithOffload,
}

/// Opens `/dev/net/tun`.
pub(super) fn open_node() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")
}

/// The index of an interface in the network namespace of this thread, if there is one of that name.
pub(super) fn interface_index(name: &InterfaceName) -> Option<u32> {
    // SAFETY: the argument is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_c_str().as_ptr()) };
    (index != 0).then_some(index)
}

/// Asks the kernel to connect `node` with the device `name`. Gives the name that it has, without a pattern.
pub(super) fn set_interface(node: &File, name: &InterfaceName, probe: Probe) -> io::Result<InterfaceName> {
    let mut request = interface_request();
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_c_str().to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = match probe {
        Probe::MayCreate => libc::IFF_NO_PI,
        Probe::Attach(flags) => PLAIN_TUN | flags,
        Probe::WithOffload => PLAIN_TUN | WITH_OFFLOAD,
    };
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or_default();
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(node.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let name: Vec<u8> =
        request.ifr_name.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    InterfaceName::new(&String::from_utf8_lossy(&name)).map_err(io::Error::from)
}

/// The `IFF_*` flags of the device that `tun` is connected with.
pub(super) fn interface_flags(tun: &impl AsRawFd) -> io::Result<libc::c_int> {
    let mut request = interface_request();
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: TUNGETIFF has set the flags; they are plain bits.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags.cast_unsigned()))
}

/// Likewise, with its name in the network namespace that it is in.
pub(super) fn interface(tun: &impl AsRawFd) -> io::Result<(String, libc::c_int)> {
    let mut request = interface_request();
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: TUNGETIFF has set the flags; they are plain bits.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let name: Vec<u8> =
        request.ifr_name.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    Ok((String::from_utf8_lossy(&name).into_owned(), libc::c_int::from(flags.cast_unsigned())))
}

/// Makes reads and writes return at once.
pub(super) fn set_nonblocking(file: &File) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    check(flags)?;
    // SAFETY: F_SETFL takes its flags by value.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

/// Datagrams that were not cut (linux/if_tun.h, since Linux 6.2).
const TUN_F_USO4: libc::c_uint = 0x20;
const TUN_F_USO6: libc::c_uint = 0x40;

/// Whether the kernel may give us TCP segments and datagrams that it has merged or not cut, and leave their checksums to us. This
/// belongs to the device: a persistent one may still have what the program before us asked for.
pub(super) fn set_offload(tun: &impl AsRawFd, on: bool) -> io::Result<()> {
    let bits = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    if !on {
        return set_offload_bits(tun, 0);
    }
    // An older kernel knows nothing of datagrams.
    set_offload_bits(tun, bits | TUN_F_USO4 | TUN_F_USO6).or_else(|_| set_offload_bits(tun, bits))
}

fn set_offload_bits(tun: &impl AsRawFd, bits: libc::c_uint) -> io::Result<()> {
    let bits = libc::c_ulong::from(bits);
    // SAFETY: TUNSETOFFLOAD takes its bits by value and touches no memory of ours.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, bits) })
}

/// Whether a queue of a device with several gets packets.
pub(super) fn set_queue(queue: &File, attached: bool) -> io::Result<()> {
    let mut request = interface_request();
    let flag = if attached { libc::IFF_ATTACH_QUEUE } else { libc::IFF_DETACH_QUEUE };
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flag).unwrap_or_default();
    // SAFETY: TUNSETQUEUE reads one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETQUEUE, &raw const request) })
}

/// The header before each packet is of so many bytes.
pub(super) fn set_header_len(tun: &impl AsRawFd, len: usize) -> io::Result<()> {
    let len = libc::c_int::try_from(len).unwrap_or_default();
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which outlives the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
}

/// A routing socket of the network namespace of this thread.
pub(super) fn netlink_route_socket() -> io::Result<File> {
    // SAFETY: the call takes no pointers.
    let fd =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    check(fd)?;
    // SAFETY: the descriptor was opened just now, and nothing else knows it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Registers a duplicate of `tun`'s descriptor with the runtime, to be told of errors and of nothing else.
///
/// # Panics
///
/// If the runtime of this thread has no I/O driver, as every socket of Tokio's.
pub(super) fn watch_for_errors(tun: &impl AsRawFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `tun` keeps its descriptor open, and is borrowed for longer than this lives.
    let fd = unsafe { BorrowedFd::borrow_raw(tun.as_raw_fd()) }.try_clone_to_owned()?;
    // Errors are always told. A TUN device never has priority data, so with this interest no packet wakes us.
    // SAFETY: the `AsyncFd` owns the only handle of this descriptor, which so stays open and the same.
    unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }.map_err(io::Error::from)
}

/// A handle of our own for what `tun` has opened.
pub(super) fn duplicate(tun: &impl AsRawFd) -> io::Result<File> {
    // SAFETY: `tun` keeps its descriptor open, and is borrowed for longer than this lives.
    let fd = unsafe { BorrowedFd::borrow_raw(tun.as_raw_fd()) }.try_clone_to_owned()?;
    Ok(File::from(fd))
}

/// Waits for something to read, or room to write, until it is dropped.
///
/// # Panics
///
/// If the runtime of this thread has no I/O driver, as every socket of Tokio's.
pub(super) fn watch(queue: Arc<File>) -> io::Result<AsyncFd<Arc<File>>> {
    // SAFETY: the `AsyncFd` owns a share of the file, whose descriptor so stays open and the same.
    unsafe { AsyncFd::register(queue) }.map_err(io::Error::from)
}

fn interface_request() -> libc::ifreq {
    // SAFETY: `ifreq` consists of integers, and of unions of integers and pointers: all zero is a value of it.
    unsafe { mem::zeroed() }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
