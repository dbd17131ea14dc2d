//! An end on ropeway's TCP, over a TUN device of its own: the same application with another import.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use ropeway::device::tun::TunDevice;
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{IpCidr, Stack, StackConfig};

use super::{End, Sent, Stage, last, receive_one, send_one};
use crate::paths::net::{MTU, PREFIX_LEN, STACK_PREFIX_LEN, TX_QUEUE_LEN};

/// A stack with its device, in the calling thread's namespace: all settings at their defaults but the buffers and the
/// congestion control.
fn stack(end: &End) -> io::Result<Stack> {
    let device = TunDevice::builder()
        .name(end.lane.stack_device())
        .mtu(MTU)
        .address(IpCidr::new(end.lane.gateway().into(), STACK_PREFIX_LEN))
        .tx_queue_len(TX_QUEUE_LEN.into())
        .up()
        .build()?;
    let mut config = StackConfig::default();
    if let Some(buffer) = end.buffer {
        config.max_window = u32::try_from(buffer).unwrap_or(u32::MAX);
        (config.socket.send_buffer, config.socket.recv_buffer) = (buffer, buffer);
    }
    config.socket.congestion = end.congestion.name().parse().map_err(io::Error::other)?;
    config.socket.nodelay = true;
    let address = IpCidr::new(end.lane.stack().into(), PREFIX_LEN);
    Stack::builder().config(config).address(address).device(device).build()
}

async fn connect(stack: Stack, to: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_on(&stack, to).await
}

/// Sends all flows of a run.
pub(crate) async fn send(end: End, to: Ipv4Addr) -> io::Result<Sent> {
    let stack = stack(&end)?;
    end.is_ready()?;
    end.reached(Stage::Goes).await;
    let began = Instant::now();
    let start =
        |bytes: &u64| tokio::spawn(send_one(end.clone(), connect(stack.clone(), super::target(to)), *bytes));
    let flows: Vec<_> = end.flows.iter().map(start).collect();
    let mut again = 0;
    for flow in flows {
        let stream = flow.await.map_err(io::Error::other)??;
        again += stream.info()?.retransmitted;
    }
    Ok(Sent { began, again: Some(again) })
}

/// Receives all flows of a run.
pub(crate) async fn receive(end: End) -> io::Result<Instant> {
    let stack = stack(&end)?;
    let listener = TcpListener::bind_on(&stack, super::target(end.lane.stack())).await?;
    end.is_ready()?;
    let mut flows = Vec::new();
    for bytes in &end.flows {
        let (stream, _) = end.unless_over(listener.accept()).await?;
        flows.push(tokio::spawn(receive_one(end.clone(), stream, *bytes)));
    }
    last(flows).await
}
