//! The few system calls that no safe library offers as we need them. All `unsafe` of this package is here.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

/// CPU time that a thread has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// In all, to the nanosecond.
    pub(crate) total: Duration,
    /// Outside the kernel. The kernel derives the split from ticks: trust it over seconds only.
    pub(crate) user: Duration,
}

impl CpuTime {
    /// What the calling thread has used so far.
    pub(crate) fn of_this_thread() -> Self {
        // SAFETY: both structures are plain integers, for which all zeroes is a value.
        let (mut usage, mut clock): (libc::rusage, libc::timespec) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // SAFETY: both pointers are to live, exclusive structures of the type that the call fills in.
        unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut clock);
        }
        Self {
            total: duration(clock.tv_sec, clock.tv_nsec),
            user: duration(usage.ru_utime.tv_sec, usage.ru_utime.tv_usec * 1000),
        }
    }

    /// What all threads of a process have used so far, this one's or a child's; nothing if it is gone.
    pub(crate) fn of_process(pid: u32) -> Duration {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: all zeroes is a value of this structure of integers.
        let mut time: libc::timespec = unsafe { mem::zeroed() };
        // SAFETY: both pointers are to live, exclusive values of the type that the call fills in.
        let known = unsafe {
            libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        if known { duration(time.tv_sec, time.tv_nsec) } else { Duration::ZERO }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { total: self.total.saturating_sub(earlier.total), user: self.user.saturating_sub(earlier.user) }
    }
}

fn duration(seconds: i64, nanos: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs()) + Duration::from_nanos(nanos.unsigned_abs())
}

/// Lets the calling thread, and those it starts from now on, run on `cpu` only, or on every one there is.
pub(crate) fn pin_to(cpu: Option<usize>) -> io::Result<()> {
    // SAFETY: a CPU set is an array of integers; CPU_SET checks its index; the call only reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        let some = usize::try_from(libc::CPU_SETSIZE).unwrap_or_default();
        cpu.map_or(0..some, |cpu| cpu..cpu + 1).for_each(|cpu| libc::CPU_SET(cpu, &mut set));
        check(libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set)).map(drop)
    }
}

/// Moves the process into a network namespace of its own; it ends with the process.
///
/// Without the right to do so, a user namespace is tried first. Call it before any thread exists.
pub(crate) fn enter_network_namespace() -> io::Result<()> {
    // SAFETY: these calls take no pointers.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: as above.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        return Ok(());
    }
    // SAFETY: as above.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) })?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Moves the calling thread, and no other, into a network namespace of its own; it ends with the last descriptor
/// that belongs to it.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread, and no other, into the network namespace that `namespace` is open on.
pub(crate) fn enter_network(namespace: &fs::File) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the call takes no pointers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the calling thread the highest ordinary priority, where that is allowed.
pub(crate) fn raise_priority() {
    // SAFETY: the call takes no pointers. On Linux it is about the one thread (setpriority(2)).
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
}

/// Sets both buffers of a socket, in bytes of which the kernel takes twice as many for its own needs, beyond what
/// the machine allows to others.
pub(crate) fn force_buffers(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
        set_option(socket, libc::SOL_SOCKET, option, bytes)?;
    }
    Ok(())
}

/// Has a UDP socket send what is longer as datagrams of so many bytes, and read what was merged as one.
pub(crate) fn use_trains(socket: &impl AsRawFd, size: u16) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, size.into())?;
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of_val(&value)).unwrap_or_default();
    let value = std::ptr::from_ref(&value).cast();
    // SAFETY: the pointer is to a live integer of that length, which the call reads.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) }).map(drop)
}

/// Has the kernel kill `command`'s process when the thread that spawns it ends, however that comes about.
pub(crate) fn kill_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec this makes one system call, which takes no pointers.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop));
    }
}

/// Lets a command's process run on `cpu` only, or on every one there is.
pub(crate) fn pin_child(command: &mut Command, cpu: Option<usize>) {
    // SAFETY: between fork and exec this fills in a set on the stack and makes one system call.
    unsafe {
        command.pre_exec(move || pin_to(cpu));
    }
}

/// Lets the process, and its children, have as many descriptors as it may.
pub(crate) fn raise_descriptors(most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live structure of the type that the call fills in.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let wanted = libc::rlimit { rlim_cur: most, rlim_max: limit.rlim_max.max(most) };
    // SAFETY: the calls read a live structure.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0 {
        return Ok(());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// How many descriptors the process, and each of its children, may have.
pub(crate) fn descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live structure of the type that the call fills in.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit.rlim_cur)
}

/// Bytes that were written to a socket, and that its peer has not acknowledged.
pub(crate) fn unacknowledged(socket: &impl AsRawFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pointer is to a live integer, which the call fills in.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    u64::try_from(bytes).unwrap_or_default()
}

/// How many segments of a connected socket were sent again: of its SYN, if it has sent nothing else yet.
pub(crate) fn retransmissions(socket: &impl AsRawFd) -> io::Result<u32> {
    // SAFETY: the structure is plain integers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of::<libc::tcp_info>()).unwrap_or_default();
    // SAFETY: the pointers are to a live structure and to its length, beyond which the kernel writes nothing.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    })?;
    Ok(info.tcpi_total_retrans)
}

/// Memory of a process that is resident, in bytes.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    // SAFETY: the call takes no pointers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * page.unsigned_abs())
}

/// Waits until `fd` is readable or `timeout` has passed; `None` waits for ever.
pub(crate) fn wait_readable(fd: RawFd, timeout: Option<Duration>) -> io::Result<()> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timespec = timeout.map(|timeout| libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timespec = timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one live pollfd, a live timespec or null, and no signal mask.
    match check(unsafe { libc::ppoll(&raw mut poll, 1, timespec, std::ptr::null()) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result.map(drop),
    }
}

/// A TUN device: one queue, no packet information, non-blocking.
pub(crate) struct Tun(fs::File);

impl Tun {
    /// Makes the device `name`, whose kernel side has `address` in a network of this prefix, and brings it up.
    ///
    /// With offload, a `virtio_net_hdr` stands before each packet, checksums may be missing, and packets may be trains, which
    /// the kernel cuts.
    pub(crate) fn new(
        name: &str,
        address: Ipv4Addr,
        prefix_len: u8,
        mtu: u16,
        tx_queue_len: u16,
        offload: bool,
    ) -> io::Result<Self> {
        let file = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").map_err(|error| {
            let hint = "cannot open /dev/net/tun: run as root, or allow it to your user";
            io::Error::new(error.kind(), format!("{hint} ({error})"))
        })?;
        // SAFETY: the descriptor is open; O_NONBLOCK is a status flag.
        check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        // SAFETY: takes no pointers; the new descriptor belongs to nobody else.
        let control =
            unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?) };
        let control = control.as_raw_fd();

        let header = if offload { libc::IFF_VNET_HDR } else { 0 };
        let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI | header).unwrap_or_default();
        request(file.as_raw_fd(), libc::TUNSETIFF, name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
        if offload {
            // Trains of datagrams are known since Linux 6.2; whoever wants them has to take them of both families.
            const UDP: libc::c_uint = 0x20 | 0x40;
            let bits = libc::TUN_F_CSUM | libc::TUN_F_TSO4;
            // SAFETY: the bits go by value.
            let set = |bits| unsafe {
                libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(bits))
            };
            check(set(bits | UDP)).or_else(|_| check(set(bits)))?;
        }
        request(control, libc::SIOCSIFMTU, name, libc::__c_anonymous_ifr_ifru { ifru_mtu: mtu.into() })?;
        // The length of the queue travels in the same integer as the MTU (netdevice(7)).
        request(
            control,
            libc::SIOCSIFTXQLEN,
            name,
            libc::__c_anonymous_ifr_ifru { ifru_mtu: tx_queue_len.into() },
        )?;
        request(
            control,
            libc::SIOCSIFADDR,
            name,
            libc::__c_anonymous_ifr_ifru { ifru_addr: sockaddr(address) },
        )?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or_default();
        let mask = sockaddr(Ipv4Addr::from_bits(mask));
        request(control, libc::SIOCSIFNETMASK, name, libc::__c_anonymous_ifr_ifru { ifru_netmask: mask })?;
        let flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        request(control, libc::SIOCSIFFLAGS, name, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
        Ok(Self(file))
    }

    /// The descriptor, to be given to a child.
    pub(crate) fn file(&self) -> io::Result<fs::File> {
        self.0.try_clone()
    }

    /// The descriptor, for [`wait_readable`].
    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Reads one packet; `None` if none is there.
    pub(crate) fn recv(&self, packet: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Writes one packet.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write(packet).map(drop)
    }
}

fn request(fd: RawFd, code: libc::Ioctl, name: &str, value: libc::__c_anonymous_ifr_ifru) -> io::Result<()> {
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: value };
    // All but the last byte, which stays the terminating zero.
    for (slot, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    // SAFETY: every request used here reads, and at most writes, one ifreq, which lives until the call ends.
    check(unsafe { libc::ioctl(fd, code, &raw mut request) }).map(drop)
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut sa_data = [0; 14];
    // Two bytes of port come before the address.
    for (slot, byte) in sa_data.iter_mut().skip(2).zip(address.octets()) {
        *slot = byte.cast_signed();
    }
    libc::sockaddr { sa_family: u16::try_from(libc::AF_INET).unwrap_or_default(), sa_data }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
