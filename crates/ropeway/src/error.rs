//! The one table from the core's errors to [`io::ErrorKind`].
//!
//! Each kind is the one that the Linux kernel gives in the same situation, so that code which was written for
//! `tokio::net` branches as before. The core's error stays reachable as the source:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use ropeway::ConnectionError;
//! let error = ropeway::net::TcpStream::connect("127.0.0.1:1").await.unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
//! let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectionError>());
//! assert_eq!(cause, Some(&ConnectionError::Refused));
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use ropeway_core::{ConnectError, ConnectionError, ListenError, RecvError, SendError, UnknownId};

/// A connection that failed, or trouble that it survived.
pub(crate) fn connection(error: ConnectionError, ipv6: bool) -> io::Error {
    let kind = match error {
        ConnectionError::Refused => ErrorKind::ConnectionRefused,
        ConnectionError::Reset => ErrorKind::ConnectionReset,
        ConnectionError::BrokenPipe => ErrorKind::BrokenPipe,
        ConnectionError::Aborted => ErrorKind::ConnectionAborted,
        ConnectionError::TimedOut => ErrorKind::TimedOut,
        ConnectionError::NetworkUnreachable => ErrorKind::NetworkUnreachable,
        ConnectionError::HostUnreachable => ErrorKind::HostUnreachable,
        // The kernel's ENOPROTOOPT has no public kind.
        ConnectionError::ProtocolUnreachable => ErrorKind::Unsupported,
        // ICMP code 13 is EHOSTUNREACH, ICMPv6 code 1 is EACCES.
        ConnectionError::Prohibited if ipv6 => ErrorKind::PermissionDenied,
        ConnectionError::Prohibited => ErrorKind::HostUnreachable,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// `send` took nothing. [`SendError::WouldBlock`] is for the caller to wait on.
pub(crate) fn send(error: SendError, ipv6: bool) -> io::Error {
    let kind = match error {
        SendError::WouldBlock => ErrorKind::WouldBlock,
        SendError::NotConnected => ErrorKind::NotConnected,
        SendError::BrokenPipe => ErrorKind::BrokenPipe,
        SendError::Failed(error) => return connection(error, ipv6),
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// `recv` or `peek` gave nothing. [`RecvError::WouldBlock`] is for the caller to wait on.
pub(crate) fn recv(error: RecvError, ipv6: bool) -> io::Error {
    let kind = match error {
        RecvError::WouldBlock => ErrorKind::WouldBlock,
        RecvError::NotConnected => ErrorKind::NotConnected,
        RecvError::Failed(error) => return connection(error, ipv6),
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// `bind` or `listen` failed.
pub(crate) fn listen(error: ListenError) -> io::Error {
    let kind = match error {
        ListenError::AddressInUse | ListenError::PortsExhausted => ErrorKind::AddrInUse,
        ListenError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// `connect` to `remote` failed at once.
pub(crate) fn connect(error: ConnectError, remote: SocketAddr) -> io::Error {
    let kind = match error {
        // Linux answers EADDRNOTAVAIL, not EADDRINUSE, when the 4-tuple or all ports are taken.
        ConnectError::AddressInUse | ConnectError::AddressNotAvailable | ConnectError::PortsExhausted => {
            ErrorKind::AddrNotAvailable
        }
        ConnectError::NetworkUnreachable => ErrorKind::NetworkUnreachable,
        // Linux sends a SYN to port 0, and nobody listens there.
        ConnectError::InvalidRemote if remote.port() == 0 => ErrorKind::ConnectionRefused,
        ConnectError::InvalidRemote => ErrorKind::NetworkUnreachable,
        // The kernel's EAFNOSUPPORT has no public kind.
        ConnectError::FamilyMismatch => ErrorKind::Unsupported,
        ConnectError::TooManyConnections => ErrorKind::QuotaExceeded,
        ConnectError::ShutDown => ErrorKind::NetworkDown,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The core does not know a socket that we still hold. It never happens while the stack runs.
pub(crate) fn unknown(error: UnknownId) -> io::Error {
    io::Error::new(ErrorKind::NotConnected, error)
}

/// An option's value that the kernel would answer with EINVAL.
pub(crate) fn invalid(what: &'static str) -> io::Error {
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

/// Nothing can be reached without a device.
pub(crate) fn loopback_only(remote: SocketAddr) -> io::Error {
    io::Error::new(
        ErrorKind::NetworkUnreachable,
        format!(
            "cannot reach {remote}: this stack has no device; build a ropeway::Stack with one, then \
             enter() or install() it"
        ),
    )
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
/// [source](Error::source) of this one, and [`Other`](io::ErrorKind::Other) when the runtime is gone.
#[derive(Clone, Debug)]
pub struct StackEnded(Ended);

impl fmt::Display for StackEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ended::Device(cause) => write!(f, "the stack's device failed: {cause}"),
            Ended::Stopped => f.write_str("the stack has ended with the Tokio runtime it ran on"),
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
