//! Makes a TUN device, or attaches to one that is there.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use ropeway_core::IpCidr;
use tokio::runtime::Handle;
use tokio_tun::Tun;

use super::TunDevice;
use super::busy::BusyPoll;
use super::error::TunError;
use super::name::InterfaceName;
use super::netlink::Interface;
use super::sys::{self, Probe};
use super::vnet;

/// The smallest IPv4 MTU (RFC 791 3.2), in bytes.
const LEAST_MTU: u16 = 68;
/// The smallest IPv6 MTU (RFC 8200 5), in bytes.
const LEAST_MTU_V6: u16 = 1280;
/// Packets that wait for us before the kernel drops some: a connection at its largest window, which is
/// 6 MiB in Linux as in ropeway, in packets of 1500 bytes. Linux's own 500 lose packets long before.
const TX_QUEUE_LEN: u32 = 5000;

/// The settings of a TUN device that is to be made; from [`TunDevice::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct TunBuilder {
    name: String,
    mtu: u16,
    tx_queue_len: u32,
    addresses: Vec<IpCidr>,
    up: bool,
    offload: bool,
    queues: NonZeroUsize,
    busy_poll: Duration,
}

impl TunBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "rope%d".to_owned(),
            mtu: 1500,
            tx_queue_len: TX_QUEUE_LEN,
            addresses: Vec::new(),
            up: false,
            offload: true,
            queues: NonZeroUsize::MIN,
            busy_poll: Duration::ZERO,
        }
    }

    /// The device's name: at most 15 visible ASCII characters, neither `/` nor `:`. `%d` in it stands for the
    /// first number that is free. `rope%d` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The longest packet it carries, in bytes, IP header included: 68 to 65535, with an IPv6 address at
    /// least 1280. 1500 by default.
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// Adds an address of the *kernel's* side of the link; the network of its prefix is routed to the device.
    /// The addresses of our side, others of the same network, are the stack's business. None by default.
    pub fn address(mut self, address: IpCidr) -> Self {
        self.addresses.push(address);
        self
    }

    /// How many packets wait in the kernel for us to read them, before it drops some. 5000 by default: a
    /// connection at its largest window.
    pub fn tx_queue_len(mut self, packets: u32) -> Self {
        self.tx_queue_len = packets;
        self
    }

    /// Brings the link up; without this it stays down, and carries nothing until somebody else does.
    pub fn up(mut self) -> Self {
        self.up = true;
        self
    }

    /// Whether packets of up to 64 KiB cross the device, that are cut to segments or merged from segments by whoever is behind
    /// it, and checksums that nobody has to compute. Bulk is several times faster. On by default.
    ///
    /// Where the kernel cannot do it, the device works without, and the log says so.
    pub fn offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }

    /// How many queues the device has for the [shards](crate::Builder::shards) of a stack. One by default.
    ///
    /// The kernel sends each flow to the queue that its packets came from last. A queue that no shard takes gets none.
    pub fn queues(mut self, queues: NonZeroUsize) -> Self {
        self.queues = queues;
        self
    }

    /// How long after a packet the device is looked at again and again, in turns with the runtime's other tasks, before the thread
    /// may sleep until the kernel wakes it; as Linux's `SO_BUSY_POLL` does for a socket. Zero by default.
    ///
    /// What comes within this time is taken sooner, since no thread has to be woken for it. That costs the time of a core: use it
    /// where there are cores to spare.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> std::io::Result<()> {
    /// use ropeway::device::tun::TunDevice;
    /// use std::time::Duration;
    ///
    /// let device = TunDevice::builder().busy_poll(Duration::from_micros(100)).up().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = time;
        self
    }

    /// Makes the device, in the network namespace of the calling thread. It is gone when the [`TunDevice`] is
    /// dropped; when this fails, it is gone at once.
    ///
    /// # Errors
    ///
    /// A [`TunError`] in an [`io::Error`]: `PermissionDenied` without `CAP_NET_ADMIN`, `AlreadyExists` for a
    /// name that is taken, `InvalidInput` for a name or an MTU that cannot be, `NotFound` where there is no
    /// `/dev/net/tun`, `Other` outside of a Tokio runtime, or what the kernel has against an address.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O driver, as every socket of Tokio's.
    pub fn build(self) -> io::Result<TunDevice> {
        let name = InterfaceName::new(&self.name)?;
        let v6 = self.addresses.iter().any(|address| address.address().is_ipv6());
        let least = if v6 { LEAST_MTU_V6 } else { LEAST_MTU };
        if self.mtu < least {
            return Err(TunError::InvalidMtu { mtu: self.mtu, least }.into());
        }
        check_may_create(&name)?;

        let queues = self.queues.get();
        let with_offload = if self.offload { open_with_offload(&name, queues)? } else { None };
        let offload = with_offload.is_some();
        let (tun, others) = match with_offload {
            Some(tuns) => tuns,
            None => open(&name, queues).map_err(|error| TunError::from_create(&name, error))?,
        };
        let name = InterfaceName::new(tun.name())?;
        // Somebody may have made a persistent device of that name since it was looked for.
        let is_new = flags(&tun)? & libc::IFF_PERSIST == 0;
        if !is_new {
            return Err(TunError::NameTaken { name: name.to_string() }.into());
        }
        clear_offload(&tun)?;
        self.configure(&name, v6)?;
        let others = others.iter().map(resting_queue).collect::<io::Result<_>>()?;
        let busy = BusyPoll::new(self.busy_poll);
        TunDevice::new(sys::duplicate(&tun)?, others, tun.name(), self.mtu, offload, busy, true)
    }

    fn configure(&self, name: &InterfaceName, v6: bool) -> Result<(), TunError> {
        let setting = |setting| move |source| TunError::Setting { name: name.to_string(), setting, source };
        let index = sys::interface_index(name).ok_or_else(|| TunError::Deleted { name: name.to_string() })?;
        let mut interface = Interface::open(index).map_err(setting("configuration"))?;
        silence(name, v6);
        interface.set_mtu(self.mtu).map_err(setting("MTU"))?;
        interface.set_tx_queue_len(self.tx_queue_len).map_err(setting("queue length"))?;
        for address in &self.addresses {
            interface.add_address(*address).map_err(|source| TunError::Address {
                name: name.to_string(),
                address: *address,
                source,
            })?;
        }
        if self.up {
            interface.set_up().map_err(setting("state \"up\""))?;
            // The kernel makes an IPv6 address work in the background.
            let v6 = self.addresses.iter().map(IpCidr::address).filter(IpAddr::is_ipv6);
            v6.for_each(|address| wait_until(|| interface.is_local(address).unwrap_or(true)));
        }
        Ok(())
    }
}

/// Attaches to a persistent device, and changes nothing about it. tokio-tun knows neither queues nor headers of a device that is
/// there: it would take a header off, and could not attach where there may be several queues.
pub(super) fn attach(name: &str) -> io::Result<TunDevice> {
    let name = InterfaceName::new(name)?;
    let not_found = || TunError::NotFound { name: name.to_string() };
    check_runtime()?;
    let index = sys::interface_index(&name).ok_or_else(not_found)?;
    let mut interface = Interface::open(index)?;
    let link = interface.link()?;
    let node = sys::open_node().map_err(TunError::from_open)?;
    // The kernel divides packets between all who are attached, by their flows: whoever is there would lose some.
    check_alone(&name, link.queues, 0)?;
    let keep = |has: bool, flag| if has { flag } else { 0 };
    let wanted = keep(link.multi_queue, libc::IFF_MULTI_QUEUE) | keep(link.vnet_header, libc::IFF_VNET_HDR);
    sys::set_interface(&node, &name, Probe::Attach(wanted))
        .map_err(|error| TunError::from_attach(&name, error))?;
    let flags = flags(&node)?;
    if flags & libc::IFF_PERSIST == 0 {
        // It was deleted just now, and what we hold is a new one, made by the attempt.
        return Err(not_found().into());
    }
    check_alone(&name, interface.link()?.queues, 1)?;
    drop(sys::watch_for_errors(&node)?);

    let offload = flags & libc::IFF_VNET_HDR != 0;
    if offload {
        set_header_len(&node)?;
    }
    clear_offload(&node)?;
    // A link that was waiting for us begins to carry packets in the background.
    wait_until(|| interface.link().is_ok_and(|link| is_ready(link.flags)));
    TunDevice::new(node, Vec::new(), name.as_str(), interface.link()?.mtu, offload, BusyPoll::default(), true)
}

/// Takes over a device that somebody else has opened, in whichever network namespace.
pub(super) fn adopt(file: OwnedFd, mtu: u16) -> io::Result<TunDevice> {
    check_runtime()?;
    let file = File::from(file);
    sys::set_nonblocking(&file)?;
    let (name, flags) = sys::interface(&file).map_err(|source| {
        let attempt = "reading the flags of what should be a TUN device";
        TunError::Io { attempt, source }
    })?;
    if flags & sys::PLAIN_TUN != sys::PLAIN_TUN {
        return Err(TunError::WrongType { name }.into());
    }
    drop(sys::watch_for_errors(&file)?);
    let offload = flags & libc::IFF_VNET_HDR != 0;
    if offload {
        set_header_len(&file)?;
    }
    clear_offload(&file)?;
    TunDevice::new(file, Vec::new(), &name, mtu, offload, BusyPoll::default(), false)
}

/// Whether no more than so many queues are attached.
fn check_alone(name: &InterfaceName, attached: u32, most: u32) -> Result<(), TunError> {
    if attached > most { Err(TunError::Busy { name: name.to_string() }) } else { Ok(()) }
}

/// Finds out whether making a device would fail, since tokio-tun leaks a descriptor when it does.
fn check_may_create(name: &InterfaceName) -> Result<(), TunError> {
    check_runtime()?;
    if !name.is_pattern() && sys::interface_index(name).is_some() {
        return Err(TunError::NameTaken { name: name.to_string() });
    }
    let node = sys::open_node().map_err(TunError::from_open)?;
    match sys::set_interface(&node, name, Probe::MayCreate) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) => return Err(TunError::from_create(name, error)),
        Ok(_) => {}
    }
    // A runtime without an I/O driver panics here, while there is no device yet that it would leak.
    let watch = sys::watch_for_errors(&node);
    watch.map(drop).map_err(|source| TunError::Io { attempt: "watching /dev/net/tun", source })
}

fn check_runtime() -> Result<(), TunError> {
    Handle::try_current().map(drop).map_err(|_| TunError::NoRuntime)
}

/// Opens the device by name only: settings are ours to make, since tokio-tun leaks the device when one fails. Gives the first of
/// its queues, and the others.
fn open(name: &InterfaceName, queues: usize) -> io::Result<(Tun, Vec<Tun>)> {
    let mut tuns = Tun::builder().name(name.as_str()).queues(queues).build().map_err(from_tokio_tun)?;
    let others = tuns.split_off(tuns.len().min(1));
    Ok((tuns.pop().ok_or(io::ErrorKind::NotFound)?, others))
}

/// A queue that gets no packets before somebody wants it.
fn resting_queue(tun: &Tun) -> io::Result<File> {
    let queue = sys::duplicate(tun)?;
    sys::set_queue(&queue, false)?;
    Ok(queue)
}

/// Makes a device with offload. tokio-tun does not know of it, but what it opens has the flags that the device has already, if
/// another queue of it is open. `None`, and no device, where the kernel has no offload.
fn open_with_offload(name: &InterfaceName, queues: usize) -> Result<Option<(Tun, Vec<Tun>)>, TunError> {
    let node = sys::open_node().map_err(TunError::from_open)?;
    let opened =
        sys::set_interface(&node, name, Probe::WithOffload).and_then(|name| open(&name, queues.max(2)));
    let offered = opened.and_then(|(tun, mut others)| {
        others.truncate(queues - 1);
        let has_it = sys::interface_flags(&tun)? & libc::IFF_VNET_HDR != 0;
        sys::set_header_len(&tun, vnet::LEN)?;
        // Whether it would do it. It does not before somebody asks.
        sys::set_offload(&tun, true)?;
        Ok(((tun, others), has_it))
    });
    match offered {
        Ok((tuns, true)) => Ok(Some(tuns)),
        Ok((_, false)) => {
            tracing::warn!(device = %name, "no offload here: packets cross one by one");
            Ok(None)
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY | libc::EBADFD)) => {
            tracing::warn!(device = %name, %error, "no offload here: packets cross one by one");
            Ok(None)
        }
        Err(error) => Err(TunError::from_create(name, error)),
    }
}

pub(super) fn from_tokio_tun(error: tokio_tun::Error) -> io::Error {
    match error {
        tokio_tun::Error::NixError(error) => error.into(),
        tokio_tun::Error::IoError(error) => error,
    }
}

/// Whether packets cross a link with these `IFF_*` flags, or it is down and never will.
fn is_ready(flags: u32) -> bool {
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    !has(libc::IFF_UP) || has(libc::IFF_RUNNING)
}

/// Waits for something that the kernel is about to do. If it takes longer than a moment, packets are lost as on
/// any link, and sent again.
fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn flags(tun: &impl AsRawFd) -> Result<libc::c_int, TunError> {
    sys::interface_flags(tun).map_err(|source| TunError::Io { attempt: "reading the device's flags", source })
}

fn set_header_len(tun: &impl AsRawFd) -> Result<(), TunError> {
    let attempt = "setting the length of the device's headers";
    sys::set_header_len(tun, vnet::LEN).map_err(|source| TunError::Io { attempt, source })
}

fn clear_offload(tun: &impl AsRawFd) -> Result<(), TunError> {
    sys::set_offload(tun, false).map_err(|source| TunError::Io { attempt: "turning offload off", source })
}

/// Keeps the kernel from talking IPv6 on its own on this link: router solicitations, a link-local address
/// with its duplicate address detection, multicast reports. Nobody would answer; where it cannot be turned
/// off, it does no harm.
fn silence(name: &InterfaceName, v6: bool) {
    let set = |key: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{key}");
        if let Err(error) = fs::write(&path, value) {
            tracing::debug!(path, %error, "left as it is");
        }
    };
    for key in ["accept_ra", "autoconf", "accept_dad", "dad_transmits", "router_solicitations"] {
        set(key, "0");
    }
    set("addr_gen_mode", "1"); // IN6_ADDR_GEN_MODE_NONE
    if v6 {
        set("disable_ipv6", "0");
    }
}
