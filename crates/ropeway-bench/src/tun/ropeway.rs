//! ropeway's side: its sockets on a current-thread runtime, one task for the application.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use ropeway::net::TcpListener;
use ropeway::{IpCidr, Stack, StackConfig};

use super::{Job, StackReport, application};
use crate::link::{self, DeviceTable, KERNEL_ADDRESS, PREFIX_LEN, STACK_ADDRESS, TX_QUEUE_LEN};
use crate::sys::CpuTime;

/// Runs the stack's side of `job` to its end.
pub(crate) async fn run(job: Arc<Job>, ready: Sender<()>) -> io::Result<StackReport> {
    let device = link::tun_device(KERNEL_ADDRESS, TX_QUEUE_LEN.into(), job.offload);
    let device = device.busy_poll(job.busy_poll).build()?;
    let mut config = StackConfig::default();
    config.timestamps = job.timestamps;
    config.socket.recv_buffer = job.buffer;
    config.socket.send_buffer = job.buffer;
    let address = IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN);
    let stack = Stack::builder().config(config).address(address).device(device).build()?;
    let listener = TcpListener::bind_on(&stack, SocketAddr::from(job.target())).await?;
    ready.send(()).map_err(io::Error::other)?;

    let cpu = CpuTime::of_this_thread();
    let meter = application::serve(&job, &listener).await?;
    // The last FIN and its acknowledgement still have to cross.
    stack.closed().await?;
    Ok(StackReport {
        measured: meter.measured(),
        bytes: meter.total(),
        cpu: CpuTime::of_this_thread().since(cpu),
        device: DeviceTable::open()?.read()?,
    })
}
