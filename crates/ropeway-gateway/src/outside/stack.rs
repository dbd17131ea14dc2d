//! Another stack of ropeway's.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ropeway::Stack;
use ropeway::net::udp::{Outgoing, RecvMeta};
use ropeway::net::{TcpStream, UdpSocket};

use super::{Datagrams, Outside, Stream};

/// The network of another stack of ropeway's: what is behind its device. For tests in memory, and for gateways that lead into tunnels.
#[derive(Clone, Debug)]
pub struct StackSockets {
    stack: Stack,
}

impl StackSockets {
    /// The network of `stack`.
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        Self { stack }
    }
}

impl Outside for StackSockets {
    type Stream = TcpStream;
    type Datagrams = UdpSocket;

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_on(&self.stack, to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn datagrams(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind_on(&self.stack, (any, 0)).await?;
        socket.connect(to).await?;
        Ok(socket)
    }

    fn echo(&self, _: IpAddr) -> io::Result<UdpSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn is_own(&self, address: IpAddr) -> io::Result<bool> {
        Ok(address.is_loopback() || self.stack.addresses().iter().any(|own| own.address() == address))
    }
}

impl Stream for TcpStream {
    fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.local_addr()?, self.peer_addr()?))
    }

    fn abort(self) {
        // One that is over already needs no RST.
        let _over = self.set_zero_linger();
    }
}

impl Datagrams for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn try_send(&self, data: &[u8], segment_size: Option<u16>) -> io::Result<()> {
        self.try_send_train(data, &Outgoing { segment_size, ..Outgoing::default() })
    }

    async fn readable(&self) -> io::Result<()> {
        self.readable().await
    }

    fn try_recv(&self, buf: &mut [u8]) -> io::Result<(usize, Option<u16>)> {
        let mut meta = [RecvMeta::default()];
        self.try_recv_trains(&mut [IoSliceMut::new(buf)], &mut meta)?;
        let [meta] = meta;
        let size = u16::try_from(meta.stride).ok().filter(|size| usize::from(*size) < meta.len);
        Ok((meta.len, size))
    }
}
