//! The other side of a gateway: the sockets by which flows go on.

mod host;
mod stack;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

pub use host::{HostDatagrams, HostSockets};
pub use stack::StackSockets;

/// Where the flows of a guest go on. [`HostSockets`] is the host's network; [`StackSockets`] another stack of ropeway's, as in tests.
pub trait Outside: Send + Sync + 'static {
    /// A TCP connection.
    type Stream: Stream;
    /// A socket that is connected to one other end.
    type Datagrams: Datagrams;

    /// Opens a TCP connection. How long that may take, the gateway decides: the future may be dropped.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Makes a UDP socket that is connected to `to`. Nothing is sent.
    fn datagrams(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Datagrams>> + Send;

    /// Makes a socket for ICMP echo requests to `to`: whole ICMP messages are sent and received, and their identifier is the
    /// socket's affair. An error if there is no such thing.
    fn echo(&self, to: IpAddr) -> io::Result<Self::Datagrams>;

    /// Whether an address is one of the host itself.
    fn is_own(&self, address: IpAddr) -> impl Future<Output = io::Result<bool>> + Send;
}

/// A TCP connection of the [`Outside`].
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Its two ends: the local one, and the peer's.
    ///
    /// # Errors
    ///
    /// If it is over.
    fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)>;

    /// Ends it with a RST.
    fn abort(self);
}

/// A connected socket of the [`Outside`] for datagrams.
pub trait Datagrams: Send + Sync + 'static {
    /// Its own end.
    ///
    /// # Errors
    ///
    /// If it is over.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, or several of `segment_size` bytes each but for the last, if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock); [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the other end has said
    /// so, about an earlier one.
    fn try_send(&self, data: &[u8], segment_size: Option<u16>) -> io::Result<()>;

    /// Waits until there is something to receive, or an error.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Receives one datagram, or several of one size: says how many bytes, and the size.
    ///
    /// # Errors
    ///
    /// Those of [`try_send`](Self::try_send).
    fn try_recv(&self, buf: &mut [u8]) -> io::Result<(usize, Option<u16>)>;
}
