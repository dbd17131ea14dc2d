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
use super::switches::impl_switches;
use crate::Stack;
use crate::error::{self, invalid};
use crate::net::ToSocketAddrs;
use crate::net::addr::try_each;
use crate::net::everywhere::Everywhere;
use crate::shard::{Effect, Shard, Source};
use crate::stack::current::at_home;

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
    listening: Everywhere<ListenerId>,
    addr: SocketAddr,
    stack: Stack,
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        for (shard, id) in self.listening.iter() {
            shard.close(Source::Listener(id));
        }
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
            Self::listen(stack.clone(), addr, |core, _, addr| core.listen(addr, BACKLOG, options.clone()))
        };
        try_each(stack, addr, |addr| ready(bind(addr))).await
    }

    /// `addr` is of the socket's family; `start` says how each shard is to begin.
    pub(crate) fn listen(
        stack: Stack,
        addr: SocketAddr,
        mut start: impl FnMut(&mut Core, usize, SocketAddr) -> Result<ListenerId, ListenError>,
    ) -> io::Result<Self> {
        let listen = |core: &mut Core, shard, addr| {
            let id = start(core, shard, addr)?;
            Ok((id, core.listener_addr(id).unwrap_or(addr)))
        };
        let close = |shard: &Shard, id| shard.close(Source::Listener(id));
        let (listening, local) = Everywhere::claim(&stack, addr, listen, close)?;
        Ok(Self { listening, addr: shown(local, addr.is_ipv6()), stack })
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
        let (shard, _, accepted) = self.listening.wait(Source::Listener, Effect::Driver, accept).await?;
        Ok(self.stream(shard, accepted))
    }

    /// Polls for a connection.
    ///
    /// If there is none, the waker of the last caller is kept and woken when one comes.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.listening
            .poll(cx, Source::Listener, Effect::Driver, accept)
            .map_ok(|(shard, accepted)| self.stream(shard, accepted))
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

    fn stream(&self, shard: &Arc<Shard>, (id, peer): (ConnectionId, SocketAddr)) -> (TcpStream, SocketAddr) {
        let ipv6 = self.addr.is_ipv6();
        let connection = Connection::new(self.stack.clone(), at_home(shard), id, ipv6);
        (TcpStream::new(connection), shown(peer, ipv6))
    }

    fn options<R>(&self, look: impl FnOnce(&SocketOptions) -> R) -> io::Result<R> {
        let (shard, id) = self.listening.first();
        shard.look(|core, _| core.listener_options(id).map(look)).map_err(error::unknown)
    }

    /// Of the receive buffer and of the send buffer that connections begin with, in bytes.
    fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        let (shard, id) = self.listening.first();
        let sizes = |core: &Core| Ok(core.config().initial_buffers(core.listener_options(id)?));
        shard.look(|core, _| sizes(core)).map_err(error::unknown)
    }

    fn update_options(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        let update = |(shard, id): (&Arc<Shard>, _), change: &mut dyn FnMut(&mut SocketOptions)| {
            shard.attempt(Effect::None, |core, _| {
                Poll::Ready(core.update_listener_options(id, change).map_err(error::unknown))
            })
        };
        let mut change = Some(change);
        update(self.listening.first(), &mut |options| {
            change.take().into_iter().for_each(|change| change(options))
        })?;
        let changed = self.options(SocketOptions::clone)?;
        let mut others = self.listening.iter().skip(1);
        others.try_for_each(|other| update(other, &mut |options| options.clone_from(&changed)))
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
impl_switches!(TcpListener);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("addr", &self.addr).finish()
    }
}
