//! Datagrams to any address and port.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use ropeway_core::{Outgoing, Stack as Core};

use super::held::{Held, close, copy};
use super::train::{RecvMeta, fill, rooms, take};
use crate::Stack;
use crate::net::everywhere::Everywhere;

/// There is one such socket, whatever it is called.
const EVERY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 1);

/// Takes datagrams to every address and port that no [`UdpSocket`](crate::net::UdpSocket) takes: the stack's own addresses and all
/// others that packets come in for. Answers leave from where the question went to. Made with [`Stack::listen_any_udp`].
///
/// While it is there, nobody hears that a port is closed: whoever wants that tells the sender by his own means.
///
/// # Examples
///
/// ```
/// use ropeway::net::UdpSocket;
/// use ropeway::{Stack, device::memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (left, right) = memory::pair(1500);
/// let client = Stack::builder().address("10.0.0.1/8".parse()?).device(left).build()?;
/// let gateway = Stack::builder().device(right).build()?;
///
/// let any = gateway.listen_any_udp()?;
/// tokio::spawn(async move {
///     let mut buf = [0; 1500];
///     while let Ok((len, remote, original_dst)) = any.recv_from(&mut buf).await {
///         any.send_from(&buf[..len], original_dst, remote).await?;
///     }
///     std::io::Result::Ok(())
/// });
///
/// let socket = UdpSocket::bind_on(&client, "10.0.0.1:0").await?;
/// socket.connect("10.99.99.99:53").await?;
/// socket.send(b"echo").await?;
/// let mut buf = [0; 4];
/// socket.recv(&mut buf).await?; // it comes from 10.99.99.99:53
/// assert_eq!(&buf, b"echo");
/// # Ok(())
/// # }
/// ```
pub struct AnyUdpSocket {
    held: Held,
}

impl AnyUdpSocket {
    pub(crate) fn new(stack: &Stack) -> io::Result<Self> {
        let options = stack.default_udp_options();
        let listen = |core: &mut Core, _, addr| Ok((core.udp_listen_any(options.clone())?, addr));
        let (places, _) = Everywhere::claim(stack, EVERY_ADDRESS, listen, close)?;
        Ok(Self { held: Held::new(stack.clone(), places, false) })
    }

    /// Receives a datagram: how many bytes of it are in `buf`, who sent it, and where to. What does not fit is lost.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let datagram = self.held.recv(Core::udp_recv).await?;
        Ok((copy(&datagram, buf), datagram.remote, datagram.local))
    }

    /// Receives a datagram if one is there.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock); if the stack has ended.
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let datagram = self.held.try_recv(Core::udp_recv)?;
        Ok((copy(&datagram, buf), datagram.remote, datagram.local))
    }

    /// Polls for a datagram. If there is none, the waker of the last caller is kept.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr, SocketAddr)>> {
        let datagram = ready!(self.held.poll_recv(cx, Core::udp_recv))?;
        Poll::Ready(Ok((copy(&datagram, buf), datagram.remote, datagram.local)))
    }

    /// Receives datagrams into one or several buffers; see [`UdpSocket::recv_trains`](crate::net::UdpSocket::recv_trains).
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn recv_trains(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let rooms = rooms(bufs, meta);
        let trains = self.held.recv(|core, id| take(core, id, &rooms)).await?;
        Ok(fill(&self.held, &trains, bufs, meta))
    }

    /// Sends a datagram from whatever address and port to another one. It waits as that of a
    /// [`UdpSocket`](crate::net::UdpSocket) does.
    ///
    /// # Errors
    ///
    /// EMSGSIZE for one that is too long; [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for a source that no host can
    /// have; EAFNOSUPPORT or [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable) if the two are not of one family; if the
    /// stack has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has sent nothing.
    pub async fn send_from(&self, data: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        self.send_train(data, &between(from, to)).await
    }

    /// Sends a datagram if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`send_from`](Self::send_from).
    pub fn try_send_from(&self, data: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        self.held.try_send(data, &between(from, to))
    }

    /// Sends one datagram or several, as `how` says, which has to say from where and where to.
    ///
    /// # Errors
    ///
    /// Those of [`send_from`](Self::send_from).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has sent nothing.
    pub async fn send_train(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.held.send(data, how).await
    }

    /// Sends one datagram or several if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`send_from`](Self::send_from).
    pub fn try_send_train(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.held.try_send(data, how)
    }

    /// Sets how much memory datagrams may take that wait to be read, in bytes; see
    /// [`UdpOptions::recv_buffer`](crate::net::udp::UdpOptions::recv_buffer).
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.held.update_options(|options| options.recv_buffer = bytes)
    }

    /// Sets how much memory datagrams may take that wait to leave, in bytes.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.held.update_options(|options| options.send_buffer = bytes)
    }

    /// The stack that the socket belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        self.held.stack()
    }
}

fn between(from: SocketAddr, to: SocketAddr) -> Outgoing {
    Outgoing { to: Some(to), from: Some(from), ..Outgoing::default() }
}

impl fmt::Debug for AnyUdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyUdpSocket").finish_non_exhaustive()
    }
}
