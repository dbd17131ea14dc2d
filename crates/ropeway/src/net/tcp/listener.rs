//! Passive opens.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ropeway_core::{ConnectionId, ListenError, ListenerId, SocketOptions, Stack as Core, Timestamp};

use super::connection::{Connection, shown};
use super::options::{
    ECN_BITS, MIN_RECV_BUFFER, MIN_SEND_BUFFER, TcpKeepalive, buffer_size, impl_options, saturate,
};
use super::stream::TcpStream;
use crate::Stack;
use crate::error::{self, invalid};
use crate::net::ToSocketAddrs;
use crate::net::addr::try_each;
use crate::shard::{Effect, Shard, Slot, Source};
use crate::stack::current::at_home;
use crate::wait::{Wait, poll_once};

/// The backlog of a listener that was not made through a [`TcpSocket`](crate::net::TcpSocket).
const BACKLOG: usize = 1024;

/// A TCP socket server that listens for connections: [`tokio::net::TcpListener`] on ropeway's TCP.
///
/// Connections are established, and receive data, before anyone accepts them: one more than the backlog, which is
/// 1024 unless [`TcpSocket::listen`](crate::net::TcpSocket::listen) says another. The listener's options are
/// those of the connections it accepts. When it is dropped, those that wait to be accepted are reset.
///
/// # Examples
///
/// ```
/// use ropeway::net::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let addr = listener.local_addr()?;
/// tokio::spawn(async move {
///     let (mut stream, _) = listener.accept().await?;
///     stream.write_all(b"hello").await
/// });
///
/// let mut client = TcpStream::connect(addr).await?;
/// let mut said = String::new();
/// client.read_to_string(&mut said).await?;
/// assert_eq!(said, "hello");
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    shard: Arc<Shard>,
    id: ListenerId,
    addr: SocketAddr,
    stack: Stack,
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.shard.close(self.source());
    }
}

impl TcpListener {
    /// Listens on an address of the current stack. Port 0 chooses a free one; see
    /// [`local_addr`](Self::local_addr). `SO_REUSEADDR` is set, as tokio does on Unix.
    ///
    /// If `addr` yields several addresses, they are tried in turn until one succeeds.
    ///
    /// # Errors
    ///
    /// That of the last address: [`AddrInUse`](io::ErrorKind::AddrInUse),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for an address that is not the stack's; that of
    /// the resolver; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no address.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let stack = Stack::current_or_loopback()?;
        Self::bind_on(&stack, addr).await
    }

    /// Likewise, on `stack`.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind), and that of a stack that has ended.
    pub async fn bind_on<A: ToSocketAddrs>(stack: &Stack, addr: A) -> io::Result<Self> {
        let bind = |addr: SocketAddr| {
            let mut options = stack.default_options();
            options.reuse_addr = true;
            let shard = Arc::clone(stack.shard());
            Self::listen(stack.clone(), shard, addr.is_ipv6(), |core, _| core.listen(addr, BACKLOG, options))
        };
        try_each(stack, addr, |addr| ready(bind(addr))).await
    }

    /// `ipv6` is the family of the socket; `start` says how the core is to begin.
    pub(crate) fn listen(
        stack: Stack,
        shard: Arc<Shard>,
        ipv6: bool,
        start: impl FnOnce(&mut Core, Timestamp) -> Result<ListenerId, ListenError>,
    ) -> io::Result<Self> {
        let shard = at_home(&shard);
        let (id, addr) = shard.attempt(Effect::None, |core, now| {
            let id = start(core, now).map_err(error::listen)?;
            Poll::Ready(core.listener_addr(id).map(|addr| (id, addr)).map_err(error::unknown))
        })?;
        Ok(Self { shard, id, addr: shown(addr, ipv6), stack })
    }

    /// Waits for a connection, and returns it with the address of its peer.
    ///
    /// Any number of tasks may wait at a time; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has accepted nothing.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let attempt = |core: &mut Core, now| accept(core, now, self.id);
        let accepted = Wait::new(&self.shard, self.source(), attempt).effect(Effect::Driver).await?;
        Ok(self.stream(accepted))
    }

    /// Polls for a connection.
    ///
    /// If there is none, the waker of the last caller is kept and woken when one comes.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let attempt = |core: &mut Core, now| accept(core, now, self.id);
        poll_once(&self.shard, self.source(), Slot::Reader, Effect::Driver, cx, attempt)
            .map_ok(|accepted| self.stream(accepted))
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    /// The stack that the listener belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The most payload bytes that a segment may have, if that was set; otherwise 536, as in Linux
    /// (`TCP_MAXSEG`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn tcp_mss(&self) -> io::Result<u32> {
        self.options(|options| options.max_segment.unwrap_or(536).into())
    }

    fn stream(&self, (id, peer): (ConnectionId, SocketAddr)) -> (TcpStream, SocketAddr) {
        let ipv6 = self.addr.is_ipv6();
        let connection = Connection::new(self.stack.clone(), at_home(&self.shard), id, ipv6);
        (TcpStream::new(connection), shown(peer, ipv6))
    }

    fn source(&self) -> Source {
        Source::Listener(self.id)
    }

    fn options<R>(&self, look: impl FnOnce(&SocketOptions) -> R) -> io::Result<R> {
        self.shard.look(|core, _| core.listener_options(self.id).map(look)).map_err(error::unknown)
    }

    /// Of the receive buffer and of the send buffer that connections begin with, in bytes.
    fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        let sizes = |core: &Core| Ok(core.config().initial_buffers(core.listener_options(self.id)?));
        self.shard.look(|core, _| sizes(core)).map_err(error::unknown)
    }

    fn update_options(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        self.shard.attempt(Effect::None, |core, _| {
            Poll::Ready(core.update_listener_options(self.id, change).map_err(error::unknown))
        })
    }
}

fn accept(core: &mut Core, now: Timestamp, id: ListenerId) -> Poll<io::Result<(ConnectionId, SocketAddr)>> {
    match core.accept(now, id) {
        Ok(Some(accepted)) => Poll::Ready(Ok(accepted)),
        Ok(None) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error::unknown(error))),
    }
}

impl_options!(TcpListener);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("addr", &self.addr).finish()
    }
}
