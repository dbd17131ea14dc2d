//! ipstack, with what makes it fastest: full segments, and as much unacknowledged as the buffer holds.

use std::io;

use ipstack::{IpStack, IpStackConfig, IpStackStream, TcpConfig, TcpOptions};
use ropeway_bench_service::{Device, MTU, Order, ready, serve};

fn main() -> io::Result<()> {
    let order = Order::from_command_line();
    // Dropping one of its streams blocks, which only this runtime allows.
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(order))
}

async fn run(order: Order) -> io::Result<()> {
    let mut tcp = TcpConfig::default();
    tcp.options = Some(vec![TcpOptions::MaximumSegmentSize(MTU - 40)]);
    tcp.max_unacked_bytes = u32::try_from(order.buffer).unwrap_or(u32::MAX);
    tcp.read_buffer_size = order.buffer;
    let mut config = IpStackConfig::default();
    config.mtu(MTU).map_err(io::Error::other)?.with_tcp_config(tcp);
    let mut stack = IpStack::new(config, Device::given()?);
    ready()?;
    loop {
        if let IpStackStream::Tcp(stream) = stack.accept().await.map_err(io::Error::other)? {
            tokio::spawn(serve(order.task, stream));
        }
    }
}
