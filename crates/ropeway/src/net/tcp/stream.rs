//! Connections.

mod readiness;
mod transfer;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ropeway_core::{SocketOptions, TcpInfo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, recv, send, send_vectored};
use super::options::{
    ECN_BITS, MIN_RECV_BUFFER, MIN_SEND_BUFFER, TcpKeepalive, buffer_size, impl_options, saturate,
};
use super::split::{ReadHalf, WriteHalf, split};
use super::split_owned::{OwnedReadHalf, OwnedWriteHalf, split_owned};
use super::switches::impl_switches;
use crate::Stack;
use crate::error::{self, invalid};
use crate::net::ToSocketAddrs;
use crate::net::addr::try_each;
use crate::shard::{Effect, Slot};

/// A TCP connection: [`tokio::net::TcpStream`] on ropeway's TCP.
///
/// It is made by [`connect`](Self::connect), by [`TcpListener::accept`](crate::net::TcpListener::accept), or
/// by [`TcpSocket::connect`](crate::net::TcpSocket::connect). Reading and writing are usually done through
/// `tokio::io::AsyncReadExt` and `AsyncWriteExt`, whose `shutdown` sends a FIN and returns at once; the
/// connection can still be read after it.
///
/// # Dropping
///
/// What was written and not sent yet is sent in the background, then a FIN ([`set_linger`](Self::set_linger)
/// changes that). If something was received and not read, the connection is reset instead, so that the peer
/// learns that its data was lost (RFC 9293 3.6.1 SHLD-3), as the kernel does.
///
/// # Examples
///
/// ```
/// use ropeway::net::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let addr = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     let (mut stream, _) = listener.accept().await.unwrap();
/// #     let (mut read, mut write) = stream.split();
/// #     tokio::io::copy(&mut read, &mut write).await.unwrap();
/// # });
/// // An echo server listens at `addr`.
/// let mut stream = TcpStream::connect(addr).await?;
/// stream.write_all(b"hello").await?;
/// stream.shutdown().await?;
/// let mut echo = Vec::new();
/// stream.read_to_end(&mut echo).await?;
/// assert_eq!(echo, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    connection: Connection,
}

impl TcpStream {
    /// Opens a connection from the current stack.
    ///
    /// If `addr` yields several addresses, they are tried in turn until one succeeds.
    ///
    /// # Errors
    ///
    /// That of the last address, with the kernel's kinds:
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), [`TimedOut`](io::ErrorKind::TimedOut) after
    /// about four minutes without an answer, [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable) (of a stack
    /// without a device, for all but itself),
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when no port is left; that of the resolver;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no address.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped closes the connection it was opening.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let stack = Stack::current_or_loopback()?;
        Self::connect_on(&stack, addr).await
    }

    /// Likewise, from `stack`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and that of a stack that has ended.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped closes the connection it was opening.
    pub async fn connect_on<A: ToSocketAddrs>(stack: &Stack, addr: A) -> io::Result<Self> {
        try_each(stack, addr, |addr| Self::connect_addr(stack.clone(), addr)).await
    }

    async fn connect_addr(stack: Stack, remote: SocketAddr) -> io::Result<Self> {
        let options = stack.default_options();
        let shard = stack.numbered(stack.shard_to_connect(None, remote)?);
        let start = |core: &mut ropeway_core::Stack, now| {
            core.connect(now, None, remote, options).map_err(|error| error::connect(error, remote))
        };
        Ok(Self::new(Connection::open(stack, shard, remote, start).await?))
    }

    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the connection is over.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.connection.peer_addr()
    }

    /// Takes the pending error (`SO_ERROR`), if there is one: why the connection failed, or trouble that it
    /// survived, such as an ICMP message that a host cannot be reached.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.connection.take_error()
    }

    /// How the connection fares (`TCP_INFO`).
    ///
    /// # Errors
    ///
    /// None as yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ropeway::net::{TcpListener, TcpStream};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let info = stream.info()?;
    /// assert_eq!(info.state.to_string(), "ESTABLISHED");
    /// println!("{:?} round trip, {} bytes allowed in flight", info.srtt, info.cwnd);
    /// # Ok(())
    /// # }
    /// ```
    pub fn info(&self) -> io::Result<TcpInfo> {
        self.connection.info()
    }

    /// The stack that the connection belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        self.connection.stack()
    }

    /// The most payload bytes in a segment that is sent now, options already taken off (`TCP_MAXSEG`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn tcp_mss(&self) -> io::Result<u32> {
        self.info().map(|info| info.snd_mss.into())
    }

    /// Closes the connection, and waits until the peer's TCP has acknowledged everything that was written, and
    /// the FIN: a `close` that lingers (`SO_LINGER`), which dropping a stream never does.
    ///
    /// It waits for as long as [`set_linger`](Self::set_linger) says, without it for as long as the
    /// connection lives; with a linger time of zero it resets the connection and returns. That the peer's TCP
    /// has the data does not mean that its application has read it.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) when the linger time is over (what is left is sent in the
    /// background) or when the peer has not answered for too long;
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset) and what else ends a connection.
    ///
    /// # Panics
    ///
    /// With a linger time, outside of a Tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has closed the stream as dropping it does: the rest is sent in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ropeway::net::{TcpListener, TcpStream};
    /// # use tokio::io::AsyncWriteExt;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.write_all(b"last words").await?;
    /// stream.close().await?; // they have arrived
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) -> io::Result<()> {
        self.connection.close().await
    }

    /// Splits the stream into halves that borrow it, to read and write at the same time in one task.
    pub fn split<'a>(&'a mut self) -> (ReadHalf<'a>, WriteHalf<'a>) {
        split(self)
    }

    /// Splits the stream into halves that can go to different tasks.
    ///
    /// Dropping the write half sends a FIN, as `shutdown` does; see
    /// [`OwnedWriteHalf::forget`] to avoid it.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned(self)
    }

    pub(super) fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let max = buf.remaining();
        let payload = ready!(
            self.connection
                .poll(Slot::Reader, Effect::Output, cx, |core, now, id| { recv(core, now, id, max) })
        )?;
        // Copied without the lock.
        payload.parts().for_each(|part| buf.put_slice(part));
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write_shared(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.poll(Slot::Writer, Effect::Driver, cx, |core, now, id| send(core, now, id, buf))
    }

    pub(super) fn poll_write_vectored_shared(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection
            .poll(Slot::Writer, Effect::Driver, cx, |core, now, id| send_vectored(core, now, id, bufs))
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        self.connection.shutdown_write()
    }

    fn options<R>(&self, look: impl FnOnce(&SocketOptions) -> R) -> io::Result<R> {
        self.connection.options(look)
    }

    fn update_options(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        self.connection.update_options(change)
    }

    /// Of the receive buffer and of the send buffer, in bytes.
    fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        self.connection.info().map(|info| (info.recv_buffer, info.send_buffer))
    }
}

impl_options!(TcpStream);
impl_switches!(TcpStream);

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_read_shared(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_shared(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored_shared(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends a FIN after what was written, and returns at once.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}

impl AsRef<Self> for TcpStream {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            f.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            f.field("peer", &peer);
        }
        if let Ok(info) = self.info() {
            f.field("state", &info.state);
        }
        f.finish()
    }
}
