//! ropeway, smoltcp, the null stack and the kernel as processes that `all` measures, as the other peers are.

mod datagrams;
mod layout;
pub(crate) mod relay;
mod smoltcp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use clap::ValueEnum;
use ropeway::device::tun::TunDevice;
use ropeway::{IpCidr, Stack};
use ropeway_bench_service::{Order, PORT, Task, ready, serve};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::layout::Layout;
use crate::link::{self, DEVICE, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS};
use crate::tun::application::Listen;
use crate::tun::null;

/// Connections of the kernel's that may wait for `accept`; ropeway's default.
const BACKLOG: i32 = 1024;

/// What `serve` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The stack.
    #[arg(value_enum)]
    stack: Served,
    /// How many shards and workers ropeway has; none is one shard on a current-thread runtime.
    #[arg(long, value_name = "SHARDSxWORKERS")]
    layout: Option<Layout>,
    #[command(flatten)]
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Served {
    Ropeway,
    Smoltcp,
    Null,
    Kernel,
}

/// Serves until it is killed.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let order = &settings.order;
    match settings.stack {
        Served::Ropeway => match settings.layout {
            Some(layout) => layout.run(ropeway(order.clone(), layout.shards))?,
            None => on_tokio(ropeway(order.clone(), NonZeroUsize::MIN)),
        },
        Served::Kernel => on_tokio(kernel(order.clone())),
        Served::Smoltcp => smoltcp::run(order),
        Served::Null => null(order),
    }
}

fn on_tokio(run: impl Future<Output = io::Result<()>> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(run).await? })
}

/// ropeway as it is out of the box.
async fn ropeway(order: Order, shards: NonZeroUsize) -> io::Result<()> {
    let address = IpCidr::new(KERNEL_ADDRESS.into(), PREFIX_LEN);
    let device = TunDevice::builder().name(DEVICE).mtu(MTU).address(address).queues(shards);
    let device = device.offload(order.offload).up().build()?;
    let address = IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN);
    let stack = Stack::builder().address(address).device(device).shards(shards).build()?;
    if order.has_datagrams() {
        return datagrams::ropeway(&order, &stack).await;
    }
    let listener = ropeway::net::TcpListener::bind_on(&stack, SocketAddr::from(order.address())).await?;
    accept(order, listener).await
}

async fn kernel(order: Order) -> io::Result<()> {
    if order.has_datagrams() {
        return datagrams::kernel(&order).await;
    }
    // What it accepts inherits all settings.
    let socket = link::kernel_socket()?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.listen(BACKLOG)?;
    accept(order, tokio::net::TcpListener::from_std(socket.into())?).await
}

async fn accept<L: Listen>(order: Order, listener: L) -> io::Result<()>
where
    L::Stream: AsyncRead + AsyncWrite,
{
    ready()?;
    loop {
        // One that fails shows as an error at the peer's end.
        tokio::spawn(serve(order.task, listener.accept().await?));
    }
}

fn null(order: &Order) -> io::Result<()> {
    if order.has_datagrams() {
        return null::serve_datagrams(order);
    }
    let task = match order.task {
        Task::Sink => null::Task::Bulk { sends: false },
        Task::Source | Task::Both => null::Task::Bulk { sends: true },
        Task::Echo => null::Task::Echo,
        Task::Http | Task::UdpSink | Task::UdpSource => {
            return Err(io::Error::other("the null stack has no streams"));
        }
    };
    let Order { buffer, connections, offload, .. } = *order;
    let plan = null::Plan { task, port: PORT, buffer, connections, offload };
    let tun = plan.tun()?;
    ready()?;
    null::serve(plan, &tun)
}
