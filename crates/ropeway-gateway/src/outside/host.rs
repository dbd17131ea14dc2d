//! The host's own sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use super::{Datagrams, Outside, Stream};

/// Where nothing is sent to: to find out about an address, a port is needed.
const SOME_PORT: u16 = 9;

/// The host's network, by ordinary sockets of the operating system: TCP, UDP, and for echo requests unprivileged ICMP sockets
/// (Linux's `ping_group_range` says who may).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HostSockets;

impl HostSockets {
    /// The host's network: that of the thread's network namespace at each call.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Outside for HostSockets {
    type Stream = TcpStream;
    type Datagrams = HostDatagrams;

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn datagrams(&self, to: SocketAddr) -> io::Result<HostDatagrams> {
        HostDatagrams::new(connected(to)?)
    }

    fn echo(&self, to: IpAddr) -> io::Result<HostDatagrams> {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.connect(&SocketAddr::new(to, 0).into())?;
        HostDatagrams::new(socket.into())
    }

    /// The way to an address of the host begins at that address. No table has to be read, and none is old.
    async fn is_own(&self, address: IpAddr) -> io::Result<bool> {
        Ok(connected(SocketAddr::new(address, SOME_PORT))?.local_addr()?.ip() == address)
    }
}

fn connected(to: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Stream for TcpStream {
    fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.local_addr()?, self.peer_addr()?))
    }

    fn abort(self) {
        // One that is over already needs no RST.
        let _over = SockRef::from(&self).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// A connected UDP or ICMP socket of the host's. On Linux, datagrams of one size cross it together (UDP_SEGMENT, UDP_GRO).
#[derive(Debug)]
pub struct HostDatagrams {
    socket: UdpSocket,
}

impl HostDatagrams {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        trains::allow(&socket);
        Ok(Self { socket: UdpSocket::from_std(socket)? })
    }
}

impl Datagrams for HostDatagrams {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The system call says whether there is room: of a socket that is new, Tokio does not know it yet.
    fn try_send(&self, data: &[u8], segment_size: Option<u16>) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        let Some(size) = segment_size.filter(|size| usize::from(*size) < data.len()) else {
            return socket.send(data).map(drop);
        };
        match trains::send(&self.socket, data, size) {
            // A device, or an older kernel, that takes no trains.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                data.chunks(usize::from(size)).try_for_each(|datagram| socket.send(datagram).map(drop))
            }
            sent => sent,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    fn try_recv(&self, buf: &mut [u8]) -> io::Result<(usize, Option<u16>)> {
        trains::recv(&self.socket, buf)
    }
}

#[cfg(target_os = "linux")]
mod trains {
    //! Datagrams of one size with one call.

    use std::io::{self, IoSlice, IoSliceMut};
    use std::os::fd::AsRawFd;

    use nix::cmsg_space;
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg, setsockopt, sockopt,
    };
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    /// As many at a time as the kernel takes (UDP_MAX_SEGMENTS), and bytes.
    const MAX_SEGMENTS: usize = 64;
    const MAX_BYTES: usize = 65_000;

    pub(super) fn allow(socket: &std::net::UdpSocket) {
        // ICMP sockets, and older kernels, give one at a time.
        let _one_by_one = setsockopt(socket, sockopt::UdpGroSegment, &true);
    }

    pub(super) fn send(socket: &UdpSocket, data: &[u8], size: u16) -> io::Result<()> {
        let bytes = usize::from(size) * MAX_SEGMENTS.min(MAX_BYTES / usize::from(size)).max(1);
        for train in data.chunks(bytes) {
            let (data, together) = ([IoSlice::new(train)], [ControlMessage::UdpGsoSegments(&size)]);
            let together = if train.len() > usize::from(size) { &together[..] } else { &[] };
            sendmsg::<()>(socket.as_raw_fd(), &data, together, MsgFlags::empty(), None)?;
        }
        Ok(())
    }

    pub(super) fn recv(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, Option<u16>)> {
        socket.try_io(Interest::READABLE, || {
            let (mut data, mut control) = ([IoSliceMut::new(buf)], cmsg_space!(i32));
            let message =
                recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut control), MsgFlags::empty())?;
            let size = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::UdpGroSegments(size) => u16::try_from(size).ok(),
                _ => None,
            });
            Ok((message.bytes, size))
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod trains {
    //! One at a time.

    use std::io;

    use tokio::net::UdpSocket;

    pub(super) fn allow(_: &std::net::UdpSocket) {}

    pub(super) fn send(socket: &UdpSocket, data: &[u8], size: u16) -> io::Result<()> {
        data.chunks(usize::from(size))
            .try_for_each(|datagram| socket2::SockRef::from(socket).send(datagram).map(drop))
    }

    pub(super) fn recv(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, Option<u16>)> {
        Ok((socket.try_recv(buf)?, None))
    }
}
