//! netstack-smoltcp, over tun-rs as in its own examples: with offload as in `forward-offload-linux`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use netstack_smoltcp::{AnyIpPktFrame, StackBuilder, udp};
use ropeway_bench_service::{
    DEVICE, Datagrams, Device, KERNEL_ADDRESS, MTU, Order, PREFIX_LEN, ready, serve, serve_datagrams,
};
use tun_rs::{AsyncDevice, DeviceBuilder, IDEAL_BATCH_SIZE, VIRTIO_NET_HDR_LEN};

/// Of the buffers that a packet is cut to: more than its MTU of 1504 bytes.
const SEGMENT: usize = 1600;

fn main() -> io::Result<()> {
    let order = Order::from_command_line();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(order))
}

async fn run(order: Order) -> io::Result<()> {
    let buffer = u32::try_from(order.buffer).unwrap_or(u32::MAX);
    let datagrams = order.has_datagrams();
    let (stack, runner, socket, listener) = StackBuilder::default()
        .enable_tcp(!datagrams)
        .enable_udp(datagrams)
        .mtu(MTU.into())
        .tcp_recv_buffer_size(buffer)
        .tcp_send_buffer_size(buffer)
        .build()?;
    let (mut sink, mut stream) = stack.split();
    if let Some(runner) = runner {
        tokio::spawn(runner);
    }
    if order.offload {
        let device =
            DeviceBuilder::new().name(DEVICE).ipv4(KERNEL_ADDRESS, PREFIX_LEN, None).mtu(MTU).offload(true);
        let device = Arc::new(device.build_async()?);
        tokio::spawn(cut(Arc::clone(&device), sink));
        tokio::spawn(async move {
            while let Some(Ok(packet)) = stream.next().await {
                let mut whole = vec![0; VIRTIO_NET_HDR_LEN + packet.len()];
                whole[VIRTIO_NET_HDR_LEN..].copy_from_slice(&packet);
                let _ = device.send(&whole).await;
            }
        });
    } else {
        let (mut reading, mut writing) = tokio::io::split(Device::given()?);
        tokio::spawn(async move {
            use tokio::io::AsyncReadExt as _;
            let mut packet = vec![0; MTU.into()];
            while let Ok(length) = reading.read(&mut packet).await {
                let _ = sink.send(packet[..length].to_vec()).await;
            }
        });
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            while let Some(Ok(packet)) = stream.next().await {
                let _ = writing.write(&packet).await;
            }
        });
    }
    ready()?;
    if datagrams {
        let (reading, writing) = socket.ok_or(io::ErrorKind::Unsupported)?.split();
        let socket = Socket { reading, writing, local: order.address().into(), size: order.datagram.into() };
        return tokio::spawn(async move { serve_datagrams(&order, socket).await }).await?;
    }
    let mut listener = listener.ok_or(io::ErrorKind::Unsupported)?;
    tokio::spawn(async move {
        while let Some((stream, _, _)) = listener.next().await {
            tokio::spawn(serve(order.task, stream));
        }
    })
    .await
    .map_err(io::Error::other)
}

/// Its UDP: datagrams with both addresses.
struct Socket {
    reading: udp::ReadHalf,
    writing: udp::WriteHalf,
    local: SocketAddr,
    size: usize,
}

impl Datagrams for Socket {
    async fn receive(&mut self) -> io::Result<(u64, SocketAddr)> {
        let (_, from, _) = self.reading.next().await.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((1, from))
    }

    async fn send(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        for datagram in data.chunks(self.size) {
            self.writing.send((datagram.to_vec(), self.local, to)).await?;
        }
        Ok(())
    }
}

/// Takes trains in, and gives their segments one by one to the stack.
async fn cut(device: Arc<AsyncDevice>, mut sink: impl futures::Sink<AnyIpPktFrame> + Unpin) {
    let mut train = vec![0; VIRTIO_NET_HDR_LEN + usize::from(u16::MAX)];
    let mut segments = vec![vec![0; SEGMENT]; IDEAL_BATCH_SIZE];
    let mut sizes = vec![0; IDEAL_BATCH_SIZE];
    while let Ok(count) = device.recv_multiple(&mut train, &mut segments, &mut sizes, 0).await {
        for (segment, size) in segments.iter().zip(&sizes).take(count) {
            let _ = sink.send(segment[..*size].to_vec()).await;
        }
    }
}
