//! Two stacks in this process, on a cable with a queue for each shard: what a layout carries where no kernel is in the way.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use ropeway::device::memory::{self, MemoryDevice};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{IpCidr, Stack};
use ropeway_bench_service::{APPLICATION_BUFFER, PORT, PREFIX_LEN};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::stacks;
use crate::link::{Cpus, KERNEL_ADDRESS, STACK_ADDRESS};
use crate::meter::Window;
use crate::report::{Figure, figure};
use crate::serve::Layout;
use crate::sys::CpuTime;

/// Packets under way in each direction of each queue.
const CAPACITY: usize = 1024;
/// Of both stacks: so a flow has the same shard at both ends, and its packets come in by the queue of that one, as a device
/// brings it about that steers flows.
const SEED: [u8; 32] = [7; 32];

/// One end of the cable: one queue, and those that nobody has taken yet.
struct Cable {
    queue: MemoryDevice,
    others: VecDeque<MemoryDevice>,
}

impl Cable {
    fn of(mut queues: VecDeque<MemoryDevice>) -> io::Result<Self> {
        let queue = queues.pop_front().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { queue, others: queues })
    }
}

impl Device for Cable {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        Ok(self.others.pop_front().map(|queue| Box::new(queue) as Box<dyn Device>))
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        self.queue.poll_recv(cx, batch, max)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        self.queue.poll_send(cx, queue)
    }
}

/// Runs so many flows from one stack to the other.
pub(super) fn run(
    stack: stacks::Stack,
    flows: usize,
    mtu: u16,
    window: Window,
    cpus: Cpus,
) -> io::Result<Vec<Figure>> {
    let stacks::Stack::Spread(layout) = stack else { return Err(io::ErrorKind::Unsupported.into()) };
    cpus.all().pin_stack()?;
    layout.run(transfer(layout, flows, mtu, window))?
}

async fn transfer(layout: Layout, flows: usize, mtu: u16, window: Window) -> io::Result<Vec<Figure>> {
    let cables = (0..layout.shards.get()).map(|_| memory::pair_with_capacity(mtu, CAPACITY));
    let (left, right) = cables.unzip();
    let end = |address: Ipv4Addr, queues| {
        let stack = Stack::builder().address(IpCidr::new(address.into(), PREFIX_LEN)).seed(SEED);
        stack.device(Cable::of(queues)?).shards(layout.shards).build()
    };
    let (client, server) = (end(KERNEL_ADDRESS, left)?, end(STACK_ADDRESS, right)?);
    let address = SocketAddr::from((STACK_ADDRESS, PORT));
    let listener = TcpListener::bind_on(&server, address).await?;
    let read = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..flows {
        let (sender, accepted) = tokio::join!(TcpStream::connect_on(&client, address), listener.accept());
        tasks.spawn(send(sender?));
        tasks.spawn(receive(accepted?.0, Arc::clone(&read)));
    }
    let mark = || (Instant::now(), read.load(Ordering::Relaxed), CpuTime::of_process(id()));
    sleep(window.warm_up).await;
    let begin = mark();
    sleep(window.measure).await;
    let end = mark();
    if let Some(ended) = tasks.try_join_next() {
        return Err(ended?.err().unwrap_or_else(|| io::Error::other("a transfer has ended")));
    }
    let bytes = (end.1 - begin.1) as f64;
    let cpu = end.2.saturating_sub(begin.2).as_secs_f64();
    Ok(vec![
        figure("Gbit/s", bytes * 8.0 / 1e9 / (end.0 - begin.0).as_secs_f64()),
        figure("CPU s/GB of both ends", cpu * 1e9 / bytes),
    ])
}

async fn send(mut stream: TcpStream) -> io::Result<()> {
    let buffer = vec![0x5a; APPLICATION_BUFFER];
    loop {
        stream.write_all(&buffer).await?;
    }
}

async fn receive(mut stream: TcpStream, read: Arc<AtomicU64>) -> io::Result<()> {
    let mut buffer = vec![0; APPLICATION_BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => read.fetch_add(some as u64, Ordering::Relaxed),
        };
    }
}
