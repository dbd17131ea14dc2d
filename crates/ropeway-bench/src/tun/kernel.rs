//! The kernel's own TCP as the stack under test.
//!
//! The stack's thread makes the device in the peer's namespace, as for every stack, and then moves to a namespace
//! of its own with a second TUN device, whose kernel end has the stack's address. Between the two devices it
//! carries packets, and above them it serves with Tokio's sockets. So every packet crosses two TUN devices, and
//! the CPU time of the thread holds both crossings.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ropeway::device::tun::TunDevice;
use ropeway::device::{Device as _, Received, Transmit};
use tokio::net::TcpListener;

use super::{Job, StackReport, application};
use crate::link::{self, DeviceTable, KERNEL_ADDRESS, STACK_ADDRESS, TX_QUEUE_LEN};
use crate::sys::{self, CpuTime};

/// Connections that may wait for `accept`; ropeway's default.
const BACKLOG: i32 = 1024;
/// Packets that are read before they are written.
const BATCH: usize = 64;
/// How long packets are carried after the application is done: the kernel does not tell when a connection that
/// was closed has ended.
const LAST: Duration = Duration::from_millis(20);

/// Runs the stack's side of `job` to its end.
pub(crate) async fn run(job: Arc<Job>, ready: Sender<()>) -> io::Result<StackReport> {
    let (outer, mut table) =
        (link::tun_device(KERNEL_ADDRESS, TX_QUEUE_LEN.into(), false).build()?, DeviceTable::open()?);
    sys::unshare_network()?;
    link::silence()?;
    let inner = link::tun_device(STACK_ADDRESS, TX_QUEUE_LEN.into(), false).build()?;
    let listener = listen(&job)?;
    ready.send(()).map_err(io::Error::other)?;

    let cpu = CpuTime::of_this_thread();
    let mut link = Link::new(outer, inner);
    let mut carry = tokio::spawn(poll_fn(move |cx| link.carry(cx)));
    let meter = tokio::select! {
        served = application::serve(&job, &listener) => served?,
        failed = &mut carry => return Err(failed?),
    };
    // The last FIN and its acknowledgement still have to cross.
    tokio::time::sleep(LAST).await;
    carry.abort();
    Ok(StackReport {
        measured: meter.measured(),
        bytes: meter.total(),
        cpu: CpuTime::of_this_thread().since(cpu),
        device: table.read()?,
    })
}

fn listen(job: &Job) -> io::Result<TcpListener> {
    // What it accepts inherits all settings.
    let socket = link::kernel_socket()?;
    socket.set_recv_buffer_size(job.buffer)?;
    socket.set_send_buffer_size(job.buffer)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(job.target()).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Two devices, joined.
struct Link {
    outer: TunDevice,
    inner: TunDevice,
    inwards: VecDeque<Transmit>,
    outwards: VecDeque<Transmit>,
    batch: Vec<Received>,
}

impl Link {
    fn new(outer: TunDevice, inner: TunDevice) -> Self {
        let (inwards, outwards) = (VecDeque::new(), VecDeque::new());
        Self { outer, inner, inwards, outwards, batch: Vec::with_capacity(BATCH) }
    }

    /// Carries packets until a device fails, but lets the application have its turn after each batch.
    fn carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Self { outer, inner, inwards, outwards, batch } = self;
        let inwards = carry(cx, outer, inner, inwards, batch);
        let outwards = carry(cx, inner, outer, outwards, batch);
        if inwards.is_ready() || outwards.is_ready() {
            cx.waker().wake_by_ref();
        }
        match (inwards, outwards) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(error),
            _ => Poll::Pending,
        }
    }
}

/// Carries a batch from one device to the other; pending when there is none, or no room for it.
fn carry(
    cx: &mut Context<'_>,
    from: &mut TunDevice,
    to: &mut TunDevice,
    queue: &mut VecDeque<Transmit>,
    batch: &mut Vec<Received>,
) -> Poll<io::Result<()>> {
    if queue.is_empty() {
        ready!(from.poll_recv(cx, batch, BATCH))?;
        queue.extend(batch.drain(..).map(|received| Transmit::whole(received.packet)));
    }
    to.poll_send(cx, queue)
}
