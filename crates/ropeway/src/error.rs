//! The one table from the core's errors to those of the operating system.
//!
//! Each is the one that the Linux kernel gives in the same situation, number and all, so that code which was written
//! for `tokio::net` branches as before, by [`kind`](io::Error::kind) or by [`raw_os_error`](io::Error::raw_os_error).
//! What the core knows beyond that (which ICMP message it was, which limit) is in the log. What a kernel's socket
//! cannot meet, such as a stack whose device has failed, has no number: there, the cause is the inner error.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let error = ropeway::net::TcpStream::connect("127.0.0.1:1").await.unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
//! # #[cfg(target_os = "linux")]
//! assert_eq!(error.raw_os_error(), Some(111)); // ECONNREFUSED
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use ropeway_core::{
    ConnectError, ConnectionError, DatagramError, GroupError, ListenError, PacketError, RecvError, SendError,
    UnknownId,
};

/// The operating system's numbers.
#[cfg(not(windows))]
mod os {
    pub(super) use libc::{
        EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ECONNABORTED, ECONNREFUSED, ECONNRESET,
        EDESTADDRREQ, EHOSTUNREACH, EINVAL, EMSGSIZE, ENETUNREACH, ENOBUFS, ENODEV, ENOENT, ENOPROTOOPT,
        ENOTCONN, EOPNOTSUPP, EPIPE, ETIMEDOUT,
    };
}

/// Winsock's numbers (winsock2.h), and where it has none, those of Windows itself (winerror.h) whose
/// [`ErrorKind`] is the same.
#[cfg(windows)]
mod os {
    pub(super) const EACCES: i32 = 10013;
    pub(super) const EADDRINUSE: i32 = 10048;
    pub(super) const EADDRNOTAVAIL: i32 = 10049;
    pub(super) const EAFNOSUPPORT: i32 = 10047;
    pub(super) const ECONNABORTED: i32 = 10053;
    pub(super) const ECONNREFUSED: i32 = 10061;
    pub(super) const ECONNRESET: i32 = 10054;
    pub(super) const EDESTADDRREQ: i32 = 10039;
    pub(super) const EMSGSIZE: i32 = 10040;
    pub(super) const ENOBUFS: i32 = 10055;
    pub(super) const EHOSTUNREACH: i32 = 10065;
    pub(super) const EINVAL: i32 = 10022;
    pub(super) const ENETUNREACH: i32 = 10051;
    /// ERROR_DEV_NOT_EXIST
    pub(super) const ENODEV: i32 = 55;
    /// ERROR_FILE_NOT_FOUND
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ENOPROTOOPT: i32 = 10042;
    pub(super) const ENOTCONN: i32 = 10057;
    pub(super) const EOPNOTSUPP: i32 = 10045;
    /// ERROR_BROKEN_PIPE
    pub(super) const EPIPE: i32 = 109;
    pub(super) const ETIMEDOUT: i32 = 10060;
}

/// The operating system's error of that number. What we know beyond it goes to the log.
fn numbered(number: i32, cause: &dyn fmt::Display) -> io::Error {
    tracing::debug!(%cause, number, "a call fails");
    io::Error::from_raw_os_error(number)
}

/// A connection that failed, or trouble that it survived.
pub(crate) fn connection(error: ConnectionError, ipv6: bool) -> io::Error {
    let number = match error {
        ConnectionError::Refused => os::ECONNREFUSED,
        ConnectionError::Reset => os::ECONNRESET,
        ConnectionError::BrokenPipe => os::EPIPE,
        ConnectionError::Aborted => os::ECONNABORTED,
        ConnectionError::TimedOut => os::ETIMEDOUT,
        ConnectionError::NetworkUnreachable => os::ENETUNREACH,
        ConnectionError::HostUnreachable => os::EHOSTUNREACH,
        ConnectionError::ProtocolUnreachable => os::ENOPROTOOPT,
        // ICMP code 13 is EHOSTUNREACH, ICMPv6 code 1 is EACCES.
        ConnectionError::Prohibited if ipv6 => os::EACCES,
        ConnectionError::Prohibited => os::EHOSTUNREACH,
        _ => return io::Error::other(error),
    };
    numbered(number, &error)
}

/// `send` took nothing. [`SendError::WouldBlock`] is for the caller to wait on.
pub(crate) fn send(error: SendError, ipv6: bool) -> io::Error {
    match error {
        // Tokio's own has no number either.
        SendError::WouldBlock => ErrorKind::WouldBlock.into(),
        SendError::NotConnected => numbered(os::ENOTCONN, &error),
        SendError::BrokenPipe => numbered(os::EPIPE, &error),
        SendError::Failed(error) => connection(error, ipv6),
        _ => io::Error::other(error),
    }
}

/// `recv` or `peek` gave nothing. [`RecvError::WouldBlock`] is for the caller to wait on.
pub(crate) fn recv(error: RecvError, ipv6: bool) -> io::Error {
    match error {
        RecvError::WouldBlock => ErrorKind::WouldBlock.into(),
        RecvError::NotConnected => numbered(os::ENOTCONN, &error),
        RecvError::Failed(error) => connection(error, ipv6),
        _ => io::Error::other(error),
    }
}

/// `bind` or `listen` failed.
pub(crate) fn listen(error: ListenError) -> io::Error {
    match error {
        ListenError::AddressInUse | ListenError::PortsExhausted => numbered(os::EADDRINUSE, &error),
        ListenError::AddressNotAvailable => numbered(os::EADDRNOTAVAIL, &error),
        _ => io::Error::other(error),
    }
}

/// `connect` to `remote` failed at once.
pub(crate) fn connect(error: ConnectError, remote: SocketAddr) -> io::Error {
    let number = match error {
        // Linux answers EADDRNOTAVAIL, not EADDRINUSE, when the 4-tuple or all ports are taken.
        ConnectError::AddressInUse | ConnectError::AddressNotAvailable | ConnectError::PortsExhausted => {
            os::EADDRNOTAVAIL
        }
        ConnectError::NetworkUnreachable => os::ENETUNREACH,
        // Linux sends a SYN to port 0, and nobody listens there.
        ConnectError::InvalidRemote if remote.port() == 0 => os::ECONNREFUSED,
        ConnectError::InvalidRemote => os::ENETUNREACH,
        // Linux: a socket that is bound to one IPv6 address has become IPV6_V6ONLY.
        ConnectError::FamilyMismatch if remote.ip().to_canonical() != remote.ip() => os::ENETUNREACH,
        ConnectError::FamilyMismatch => os::EAFNOSUPPORT,
        // The stack's own limit, and its own state.
        ConnectError::TooManyConnections => return io::Error::new(ErrorKind::QuotaExceeded, error),
        ConnectError::OutOfMemory => return io::Error::new(ErrorKind::OutOfMemory, error),
        ConnectError::ShutDown => return io::Error::new(ErrorKind::NetworkDown, error),
        _ => return io::Error::other(error),
    };
    numbered(number, &error)
}

/// A datagram was not sent, or a UDP socket not connected. [`DatagramError::WouldBlock`] is for the caller to wait on.
pub(crate) fn datagram(error: DatagramError, ipv6: bool) -> io::Error {
    let number = match error {
        DatagramError::WouldBlock => return ErrorKind::WouldBlock.into(),
        DatagramError::Failed(error) => return connection(error, ipv6),
        DatagramError::NoDestination => os::EDESTADDRREQ,
        DatagramError::TooLong => os::EMSGSIZE,
        DatagramError::TooManySegments | DatagramError::InvalidAddress => os::EINVAL,
        DatagramError::NetworkUnreachable => os::ENETUNREACH,
        DatagramError::AddressNotAvailable | DatagramError::PortsExhausted => os::EADDRNOTAVAIL,
        DatagramError::FamilyMismatch => os::EAFNOSUPPORT,
        DatagramError::BroadcastRefused => os::EACCES,
        DatagramError::UnknownSocket => os::ENOTCONN,
        _ => return io::Error::other(error),
    };
    numbered(number, &error)
}

/// A whole packet was not sent.
pub(crate) fn packet(error: PacketError) -> io::Error {
    let number = match error {
        PacketError::WouldBlock => return ErrorKind::WouldBlock.into(),
        PacketError::Malformed | PacketError::ToOurselves => os::EINVAL,
        PacketError::TooLong => os::EMSGSIZE,
        _ => return io::Error::other(error),
    };
    numbered(number, &error)
}

/// A multicast group was not joined or left.
pub(crate) fn group(error: GroupError) -> io::Error {
    let number = match error {
        GroupError::NotAGroup => os::EINVAL,
        GroupError::AlreadyJoined => os::EADDRINUSE,
        GroupError::NotJoined => os::EADDRNOTAVAIL,
        GroupError::TooMany => os::ENOBUFS,
        _ => return io::Error::other(error),
    };
    numbered(number, &error)
}

/// An option of IPv6 is set on an IPv4 socket, or asked for. Linux has a number for each.
pub(crate) fn no_such_option(asked: bool) -> io::Error {
    numbered(if asked { os::EOPNOTSUPP } else { os::ENOPROTOOPT }, &"an option of IPv6 on an IPv4 socket")
}

/// The core does not know a socket that we still hold. It never happens while the stack runs.
pub(crate) fn unknown(error: UnknownId) -> io::Error {
    numbered(os::ENOTCONN, &error)
}

/// The connection is over, or not established yet.
pub(crate) fn not_connected() -> io::Error {
    numbered(os::ENOTCONN, &"not connected")
}

/// The peer of a handshake has given up.
pub(crate) fn aborted(what: &'static str) -> io::Error {
    numbered(os::ECONNABORTED, &what)
}

/// A socket option's value, or a second address, that the kernel does not take either.
pub(crate) fn invalid(what: &'static str) -> io::Error {
    numbered(os::EINVAL, &what)
}

/// An IPv6 address on an IPv4 socket.
pub(crate) fn wrong_family() -> io::Error {
    numbered(os::EAFNOSUPPORT, &"an IPv6 address on an IPv4 socket")
}

/// There is no congestion control of that name.
pub(crate) fn no_algorithm() -> io::Error {
    numbered(os::ENOENT, &"no congestion control of that name")
}

/// There is no device of that name, because a stack's device has none.
pub(crate) fn no_device() -> io::Error {
    numbered(os::ENODEV, &"a stack has one device: make the socket on the stack whose device it is to use")
}

/// A stack cannot be built like that.
pub(crate) fn bad_setting(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}

/// The deadline of a shutdown has passed.
pub(crate) fn not_delivered(connections: usize) -> io::Error {
    let what = format!("{connections} connections have written what their peers have not acknowledged");
    io::Error::new(ErrorKind::TimedOut, what)
}

/// Connections have ended during a shutdown before everything was acknowledged.
pub(crate) fn lost(bytes: u64) -> io::Error {
    let what = format!("connections were reset or given up with {bytes} bytes that were not acknowledged");
    io::Error::new(ErrorKind::ConnectionReset, what)
}

/// The loopback of the process cannot be shut down.
pub(crate) fn everyones() -> io::Error {
    io::Error::new(
        ErrorKind::Unsupported,
        "the loopback of the process belongs to all of it and is not shut down: use a Stack::loopback() of your own",
    )
}

/// Nothing can be reached without a device.
pub(crate) fn loopback_only(remote: SocketAddr) -> io::Error {
    tracing::warn!(
        %remote,
        "this stack has no device and reaches only itself; build a ropeway::Stack with one, then enter() or install() it"
    );
    io::Error::from_raw_os_error(os::ENETUNREACH)
}

/// Why a stack's driver is gone. Every call on its sockets answers with this from then on.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The device failed.
    Device(Arc<io::Error>),
    /// The runtime shut down, or the last handle was dropped.
    Stopped,
    /// The driver panicked.
    Panicked,
}

impl Ended {
    pub(crate) fn to_error(&self) -> io::Error {
        let kind = match self {
            Self::Device(_) => ErrorKind::NetworkDown,
            Self::Stopped | Self::Panicked => ErrorKind::Other,
        };
        io::Error::new(kind, StackEnded(self.clone()))
    }
}

/// The stack is over: its device failed, or its Tokio runtime was shut down.
///
/// It is the inner error of what every call on the stack's sockets answers from then on: of kind
/// [`NetworkDown`](io::ErrorKind::NetworkDown) when the device failed, whose error is the
/// [source](Error::source) of this one, and [`Other`](io::ErrorKind::Other) when the runtime is gone. That is what
/// Tokio's own sockets answer, to the letter: `tokio::runtime::is_rt_shutdown_err` knows it.
#[derive(Clone, Debug)]
pub struct StackEnded(Ended);

/// What Tokio says when a socket's runtime is gone. `tokio::runtime::is_rt_shutdown_err` compares it.
const RUNTIME_GONE: &str = "A Tokio 1.x context was found, but it is being shutdown.";

impl fmt::Display for StackEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ended::Device(cause) => write!(f, "the stack's device failed: {cause}"),
            Ended::Stopped => f.write_str(RUNTIME_GONE),
            Ended::Panicked => f.write_str("the stack has ended: its driver panicked"),
        }
    }
}

impl Error for StackEnded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Ended::Device(cause) => Some(cause),
            Ended::Stopped | Ended::Panicked => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers differ from platform to platform, and what a portable program sees does not.
    #[test]
    fn kinds_are_the_same_on_every_platform() {
        let kinds = [
            (os::EACCES, ErrorKind::PermissionDenied),
            (os::EADDRINUSE, ErrorKind::AddrInUse),
            (os::EADDRNOTAVAIL, ErrorKind::AddrNotAvailable),
            (os::ECONNABORTED, ErrorKind::ConnectionAborted),
            (os::ECONNREFUSED, ErrorKind::ConnectionRefused),
            (os::ECONNRESET, ErrorKind::ConnectionReset),
            (os::EHOSTUNREACH, ErrorKind::HostUnreachable),
            (os::EINVAL, ErrorKind::InvalidInput),
            (os::ENETUNREACH, ErrorKind::NetworkUnreachable),
            (os::ENOENT, ErrorKind::NotFound),
            (os::ENOTCONN, ErrorKind::NotConnected),
            (os::EPIPE, ErrorKind::BrokenPipe),
            (os::ETIMEDOUT, ErrorKind::TimedOut),
        ];
        for (number, kind) in kinds {
            assert_eq!(io::Error::from_raw_os_error(number).kind(), kind, "{number}");
        }
    }

    /// What Linux's `icmp_err_convert` and `tab_unreach` say.
    #[cfg(target_os = "linux")]
    #[test]
    fn icmp_errors_have_the_kernels_numbers() {
        let number = |error, ipv6| connection(error, ipv6).raw_os_error();
        assert_eq!(number(ConnectionError::ProtocolUnreachable, false), Some(92));
        assert_eq!(number(ConnectionError::Prohibited, false), Some(113));
        assert_eq!(number(ConnectionError::Prohibited, true), Some(13));
    }
}
