//! UDP of ropeway, of the kernel and of smoltcp.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};

use ropeway::net::UdpSocket;
use ropeway::net::udp::{Outgoing, RecvMeta, UdpOptions};
use ropeway_bench_service::{Datagrams, Order, PORT, Received, Task, ready, serve_datagrams};
use smoltcp::iface::{Interface, PollIngressSingleResult, SocketSet};
use smoltcp::socket::udp;
use smoltcp::time::Instant;

use crate::sys;
use crate::tun::smoltcp::TunDevice;

/// What a datagram or a train is read into.
const ROOM: usize = 65_535;
/// Packets that smoltcp takes in before its application has its turn: otherwise a sender that is fast enough keeps it busy for ever.
const BATCH: usize = 64;

/// ropeway's: one by one, or in trains.
struct Ropeway {
    socket: UdpSocket,
    size: u16,
    trains: bool,
    buffer: Vec<u8>,
}

pub(super) async fn ropeway(order: &Order, stack: &ropeway::Stack) -> io::Result<()> {
    let options =
        UdpOptions { recv_buffer: order.buffer, send_buffer: order.buffer, ..UdpOptions::default() };
    let socket = UdpSocket::bind_with_on(stack, SocketAddr::from(order.address()), &options).await?;
    ready()?;
    let socket = Ropeway { socket, size: order.datagram, trains: order.offload, buffer: vec![0; ROOM] };
    serve_datagrams(order, socket).await
}

impl Datagrams for Ropeway {
    async fn receive(&mut self) -> io::Result<(u64, SocketAddr)> {
        if !self.trains {
            let (_, from) = self.socket.recv_from(&mut self.buffer).await?;
            return Ok((1, from));
        }
        let mut meta = [RecvMeta::default()];
        self.socket.recv_trains(&mut [IoSliceMut::new(&mut self.buffer)], &mut meta).await?;
        let [train] = meta;
        Ok((train.len.div_ceil(train.stride.max(1)).max(1) as u64, train.remote))
    }

    async fn send(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        if !self.trains {
            return self.socket.send_to(data, to).await.map(drop);
        }
        let how = Outgoing { to: Some(to), segment_size: Some(self.size), ..Outgoing::default() };
        self.socket.send_train(data, &how).await
    }
}

/// The kernel's, with Tokio.
struct Kernel {
    socket: tokio::net::UdpSocket,
    size: usize,
    buffer: Vec<u8>,
}

pub(super) async fn kernel(order: &Order) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    sys::force_buffers(&socket, order.buffer)?;
    if order.offload {
        sys::use_trains(&socket, order.datagram)?;
    }
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    ready()?;
    let socket = Kernel { socket, size: order.datagram.into(), buffer: vec![0; ROOM] };
    serve_datagrams(order, socket).await
}

impl Datagrams for Kernel {
    async fn receive(&mut self) -> io::Result<(u64, SocketAddr)> {
        let (length, from) = self.socket.recv_from(&mut self.buffer).await?;
        Ok((length.div_ceil(self.size).max(1) as u64, from))
    }

    async fn send(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(data, to).await.map(drop)
    }
}

/// smoltcp's, in its own loop.
pub(super) fn smoltcp(order: &Order, mut interface: Interface, mut device: TunDevice) -> io::Result<()> {
    let places = order.buffer / usize::from(order.datagram).max(1);
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; places], vec![0; order.buffer]);
    let mut sockets = SocketSet::new(Vec::new());
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(PORT).map_err(io::Error::other)?;
    let handle = sockets.add(socket);
    let data = vec![0x5a; order.datagram.into()];
    let (mut peer, mut received) = (None, Received::default());
    ready()?;
    loop {
        let now = Instant::now();
        let mut idle = true;
        interface.poll_maintenance(now);
        for _ in 0..BATCH {
            if let PollIngressSingleResult::None =
                interface.poll_ingress_single(now, &mut device, &mut sockets)
            {
                break;
            }
            idle = false;
        }
        let socket = sockets.get_mut::<udp::Socket<'_>>(handle);
        while let Ok((_, from)) = socket.recv() {
            peer = Some(from.endpoint);
            if order.task == Task::UdpSink
                && let Some(report) = received.count(1)
            {
                // Without room for it the next one tells.
                let _ = socket.send_slice(&report, from.endpoint);
            }
        }
        while let Some(peer) = peer.filter(|_| order.task == Task::UdpSource && socket.can_send()) {
            if socket.send_slice(&data, peer).is_err() {
                break;
            }
            idle = false;
        }
        interface.poll_egress(now, &mut device, &mut sockets);
        if idle {
            sys::wait_readable(device.fd(), Some(super::smoltcp::LONGEST_WAIT.into()))?;
        }
    }
}
