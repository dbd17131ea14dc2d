//! UDP sockets.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;

use ropeway_core::{Outgoing, UdpInfo, UdpOptions};

use super::held::Held;
use crate::Stack;
use crate::error;
use crate::net::ToSocketAddrs;
use crate::net::addr::try_each;

/// A UDP socket: [`tokio::net::UdpSocket`] on ropeway's own stack.
///
/// It is bound from the beginning. What it has received waits in a queue of 212,992 bytes of memory unless
/// [`UdpOptions::recv_buffer`] says another size; what comes when that is full is dropped and [counted](Self::info). Any number of
/// tasks may send and receive at a time.
///
/// A datagram that is longer than the path takes leaves in fragments, unless [`set_dont_fragment`](Self::set_dont_fragment) is on:
/// then it is refused with EMSGSIZE.
///
/// # Examples
///
/// ```
/// use ropeway::net::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
/// client.send(b"on belay?").await?;
///
/// let mut buf = [0; 1500];
/// let (len, peer) = server.recv_from(&mut buf).await?;
/// assert_eq!(&buf[..len], b"on belay?");
/// server.send_to(b"belay on", peer).await?;
/// let len = client.recv(&mut buf).await?;
/// assert_eq!(&buf[..len], b"belay on");
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    pub(super) held: Held,
}

impl UdpSocket {
    /// Makes a socket on an address of the current stack. Port 0 chooses a free one; see [`local_addr`](Self::local_addr).
    ///
    /// If `addr` yields several addresses, they are tried in turn until one succeeds. A socket on `[::]` is for IPv4 too, as on
    /// Linux; it sees IPv4-mapped addresses.
    ///
    /// # Errors
    ///
    /// That of the last address: [`AddrInUse`](io::ErrorKind::AddrInUse), [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable)
    /// for an address that is not the stack's; that of the resolver; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no
    /// address.
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
        Self::bind_with_on(stack, addr, &stack.default_udp_options()).await
    }

    /// Likewise, on the current stack and with options: what has to be said before a socket is bound, such as
    /// [`reuse_port`](UdpOptions::reuse_port).
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// use ropeway::net::UdpSocket;
    /// use ropeway::net::udp::UdpOptions;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let options = UdpOptions { reuse_port: true, recv_buffer: 1 << 20, ..UdpOptions::default() };
    /// let one = UdpSocket::bind_with("127.0.0.1:0", &options).await?;
    /// let other = UdpSocket::bind_with(one.local_addr()?, &options).await?;
    /// assert_eq!(one.local_addr()?, other.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind_with<A: ToSocketAddrs>(addr: A, options: &UdpOptions) -> io::Result<Self> {
        let stack = Stack::current_or_loopback()?;
        Self::bind_with_on(&stack, addr, options).await
    }

    /// Likewise, on `stack`.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind), and that of a stack that has ended.
    pub async fn bind_with_on<A: ToSocketAddrs>(
        stack: &Stack,
        addr: A,
        options: &UdpOptions,
    ) -> io::Result<Self> {
        let bind = |addr| Held::bind(stack, addr, options).map(|held| Self { held });
        try_each(stack, addr, |addr| ready(bind(addr))).await
    }

    /// Connects the socket: [`send`](Self::send) goes there from now on, and only what comes from there is received. ICMP errors
    /// about what was sent become errors of the next call. Nothing is sent for it. It may be connected anew.
    ///
    /// If `addr` yields several addresses, they are tried in turn until one succeeds.
    ///
    /// # Errors
    ///
    /// That of the last address: [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable), EAFNOSUPPORT for an IPv6 address on
    /// an IPv4 socket, [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a broadcast address that was not
    /// [allowed](Self::set_broadcast); that of the resolver; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no address.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has not connected the socket.
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        try_each(self.held.stack(), addr, |addr| ready(self.connect_addr(addr))).await
    }

    fn connect_addr(&self, remote: SocketAddr) -> io::Result<()> {
        self.held.reaches(remote)?;
        let ipv6 = remote.ip().to_canonical().is_ipv6();
        let connect = |error| error::datagram(error, ipv6);
        self.held.each(|core, now, id| core.udp_connect(now, id, remote).map_err(connect)).map(drop)
    }

    /// The address that the socket is on; a specific one once it is connected.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.held.look(|core, id| core.udp_local_addr(id)).map_err(error::unknown)?;
        Ok(self.held.shown(addr))
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) if it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let peer = self.held.look(|core, id| core.udp_peer_addr(id)).map_err(error::unknown)?;
        Ok(self.held.shown(peer.ok_or_else(error::not_connected)?))
    }

    /// Takes the pending error (`SO_ERROR`), if there is one: an ICMP error about what the socket has sent to its peer.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.held.each(|core, _, id| {
            let ipv6 = core.udp_peer_addr(id).ok().flatten().is_some_and(|peer| peer.is_ipv6());
            Ok(core.udp_take_error(id).map(|error| error::connection(error, ipv6)))
        })?;
        Ok(taken.into_iter().flatten().next())
    }

    /// How the socket fares: what waits, and how many datagrams were dropped because its queue was full.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn info(&self) -> io::Result<UdpInfo> {
        let mut sum = UdpInfo::default();
        for info in self.held.each(|core, _, id| core.udp_info(id).map_err(error::unknown))? {
            sum.unread += info.unread;
            sum.unread_memory += info.unread_memory;
            sum.unsent_memory += info.unsent_memory;
            sum.dropped += info.dropped;
        }
        Ok(sum)
    }

    /// The stack that the socket belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        self.held.stack()
    }
}

/// Where a datagram goes to.
pub(super) fn to(addr: SocketAddr) -> Outgoing {
    Outgoing { to: Some(addr), ..Outgoing::default() }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            f.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            f.field("peer", &peer);
        }
        f.finish()
    }
}
