//! Datagrams out and in, one by one.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use ropeway_core::{Datagram, Outgoing, Stack as Core};
use tokio::io::ReadBuf;

use super::held::copy;
use super::socket::{UdpSocket, to};
use crate::net::ToSocketAddrs;
use crate::net::addr::resolved;

/// # Sending
///
/// A datagram is taken whole, or not at all. A call that waits does so while more waits to leave than
/// [`UdpOptions::send_buffer`](crate::net::udp::UdpOptions::send_buffer), because the device does not keep up; to an address of
/// the stack's own it never waits.
///
/// Errors of all of these are: EMSGSIZE for one that is longer than a packet can be, or than the path takes if it
/// [may not be cut](Self::set_dont_fragment);
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) and its like, once, if an ICMP error has come about what was sent before to
/// the peer (then nothing was sent now); that of a stack that has ended.
///
/// All of these are cancel safe: a call that is dropped has sent nothing.
impl UdpSocket {
    /// Sends a datagram to the peer.
    ///
    /// # Errors
    ///
    /// EDESTADDRREQ if the socket is not [connected](Self::connect).
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.held.send(buf, &Outgoing::default()).await?;
        Ok(buf.len())
    }

    /// Polls for a datagram to be sent to the peer. If it cannot be now, the waker of the last caller of this, of
    /// [`poll_send_to`](Self::poll_send_to) or of [`poll_send_ready`](Self::poll_send_ready) is kept.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.held.poll_send(cx, buf, &Outgoing::default()).map_ok(|()| buf.len())
    }

    /// Sends a datagram to the peer if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`send`](Self::send).
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.held.try_send(buf, &Outgoing::default())?;
        Ok(buf.len())
    }

    /// Sends a datagram to an address: the first one, if `target` yields several.
    ///
    /// # Errors
    ///
    /// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable), EAFNOSUPPORT for an IPv6 address on an IPv4 socket,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for port 0,
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a broadcast address that was not [allowed](Self::set_broadcast);
    /// that of the resolver.
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], target: A) -> io::Result<usize> {
        let addr = resolved(self.held.stack(), target).await?;
        self.held.send(buf, &to(addr)).await?;
        Ok(buf.len())
    }

    /// Polls for a datagram to be sent to an address; see [`poll_send`](Self::poll_send).
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.held.poll_send(cx, buf, &to(target)).map_ok(|()| buf.len())
    }

    /// Sends a datagram to an address if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`send_to`](Self::send_to).
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.held.try_send(buf, &to(target))?;
        Ok(buf.len())
    }
}

/// # Receiving
///
/// Each of these takes one datagram, or looks at it. What of it does not fit into the buffer is lost. A socket that is not connected
/// receives from everybody, with [`recv`](Self::recv) too.
///
/// Errors of all of these are: [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) and its like, once, if an ICMP error has come
/// about what was sent to the peer; [`WouldBlock`](io::ErrorKind::WouldBlock) of those that only try; that of a stack that has ended.
///
/// All of these are cancel safe: a call that is dropped has taken nothing.
impl UdpSocket {
    /// Receives a datagram. Returns how many bytes of it are in `buf`.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(copy(&self.take().await?, buf))
    }

    /// Polls for a datagram. If there is none, the waker of the last caller of a poll function that receives, peeks or
    /// [waits](Self::poll_recv_ready) is kept.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let datagram = ready!(self.held.poll_recv(cx, Core::udp_recv))?;
        put(&datagram, buf);
        Poll::Ready(Ok(()))
    }

    /// Receives a datagram if one is there.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(copy(&self.held.try_recv(Core::udp_recv)?, buf))
    }

    /// Receives a datagram if one is there, and appends it to `buf`, as much as [`chunk_mut`](BufMut::chunk_mut) has room for.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        Ok(append(&self.held.try_recv(Core::udp_recv)?, buf))
    }

    /// Receives a datagram, and appends it to `buf`, as much as [`chunk_mut`](BufMut::chunk_mut) has room for.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        Ok(append(&self.take().await?, buf))
    }

    /// Like [`try_recv_buf`](Self::try_recv_buf), and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.held.try_recv(Core::udp_recv)?;
        Ok((append(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Like [`recv_buf`](Self::recv_buf), and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.take().await?;
        Ok((append(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Receives a datagram, and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.take().await?;
        Ok((copy(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Polls for a datagram, and says who sent it; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let datagram = ready!(self.held.poll_recv(cx, Core::udp_recv))?;
        put(&datagram, buf);
        Poll::Ready(Ok(self.held.shown(datagram.remote)))
    }

    /// Receives a datagram if one is there, and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.held.try_recv(Core::udp_recv)?;
        Ok((copy(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Looks at the next datagram, and leaves it there.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(copy(&self.held.recv(Core::udp_peek).await?, buf))
    }

    /// Polls for a datagram to look at; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let datagram = ready!(self.held.poll_recv(cx, Core::udp_peek))?;
        put(&datagram, buf);
        Poll::Ready(Ok(()))
    }

    /// Looks at the next datagram if one is there.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(copy(&self.held.try_recv(Core::udp_peek)?, buf))
    }

    /// Looks at the next datagram, and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.held.recv(Core::udp_peek).await?;
        Ok((copy(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Polls for a datagram to look at, and says who sent it; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let datagram = ready!(self.held.poll_recv(cx, Core::udp_peek))?;
        put(&datagram, buf);
        Poll::Ready(Ok(self.held.shown(datagram.remote)))
    }

    /// Looks at the next datagram if one is there, and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.held.try_recv(Core::udp_peek)?;
        Ok((copy(&datagram, buf), self.held.shown(datagram.remote)))
    }

    /// Waits for a datagram, and says who sent it.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        Ok(self.held.shown(self.held.recv(Core::udp_peek).await?.remote))
    }

    /// Polls for who sent the next datagram; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.held.poll_recv(cx, Core::udp_peek).map_ok(|datagram| self.held.shown(datagram.remote))
    }

    /// Says who sent the next datagram, if one is there.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        Ok(self.held.shown(self.held.try_recv(Core::udp_peek)?.remote))
    }

    async fn take(&self) -> io::Result<Datagram> {
        self.held.recv(Core::udp_recv).await
    }
}

fn put(datagram: &Datagram, buf: &mut ReadBuf<'_>) {
    let len = datagram.payload.len().min(buf.remaining());
    buf.put_slice(datagram.payload.get(..len).unwrap_or_default());
}

fn append(datagram: &Datagram, buf: &mut impl BufMut) -> usize {
    let len = datagram.payload.len().min(buf.chunk_mut().len());
    buf.put_slice(datagram.payload.get(..len).unwrap_or_default());
    len
}
