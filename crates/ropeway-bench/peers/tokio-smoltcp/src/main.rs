//! tokio-smoltcp, on the device that its own documentation shows.

use std::io::{self, Read as _, Write as _};

use ropeway_bench_service::{Device, MTU, Order, PREFIX_LEN, STACK_ADDRESS, ready, serve};
use tokio_smoltcp::device::AsyncCapture;
use tokio_smoltcp::smoltcp::iface::Config;
use tokio_smoltcp::smoltcp::phy::{DeviceCapabilities, Medium};
use tokio_smoltcp::smoltcp::wire::{HardwareAddress, IpCidr};
use tokio_smoltcp::{BufferSize, Net, NetConfig};

/// Packets that it takes in or gives away at a time; its default.
const BURST: usize = 100;

fn main() -> io::Result<()> {
    let order = Order::from_command_line();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(order))
}

async fn run(order: Order) -> io::Result<()> {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = MTU.into();
    capabilities.max_burst_size = Some(BURST);
    let device = AsyncCapture::new(
        Device::file()?,
        |file| {
            let mut packet = vec![0; MTU.into()];
            let length = file.read(&mut packet)?;
            packet.truncate(length);
            Ok(packet)
        },
        |file, packet| file.write(packet).map(drop),
        capabilities,
    )?;
    let address = IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN);
    let mut config = NetConfig::new(Config::new(HardwareAddress::Ip), address, Vec::new());
    config.buffer_size =
        BufferSize { tcp_rx_size: order.buffer, tcp_tx_size: order.buffer, ..BufferSize::default() };
    let net = Net::new(device, config);
    let mut listener = net.tcp_bind(order.address().into()).await?;
    ready()?;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(order.task, stream));
        }
    })
    .await?
}
