//! ropeway's side: its sockets on a current-thread runtime, one task for the application.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ropeway::device::tun::TunDevice;
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{IpCidr, Stack, StackConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    APPLICATION_BUFFER, DEVICE, DeviceCounts, Job, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS, Scenario,
    StackReport, TX_QUEUE_LEN,
};
use crate::meter::Meter;
use crate::sys::CpuTime;

/// How often a waiting listener looks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the stack's side of `job` to its end.
///
/// The application is a spawned task, as in a server: what `block_on` itself runs is polled after all tasks.
pub(crate) fn run(job: &Arc<Job>, ready: Sender<()>) -> io::Result<StackReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = job.deadline.saturating_duration_since(Instant::now());
    runtime.block_on(async {
        let application = tokio::spawn(serve(Arc::clone(job), ready));
        tokio::time::timeout(left, application).await?.map_err(io::Error::other)?
    })
}

async fn serve(job: Arc<Job>, ready: Sender<()>) -> io::Result<StackReport> {
    let device = TunDevice::builder()
        .name(DEVICE)
        .mtu(MTU)
        .address(IpCidr::new(KERNEL_ADDRESS.into(), PREFIX_LEN))
        .tx_queue_len(TX_QUEUE_LEN.into())
        .up()
        .build()?;
    let mut config = StackConfig::default();
    config.timestamps = job.timestamps;
    config.socket.recv_buffer = job.buffer;
    config.socket.send_buffer = job.buffer;
    let address = IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN);
    let stack = Stack::builder().config(config).address(address).device(device).build()?;
    let listener = TcpListener::bind_on(&stack, SocketAddr::from(job.target())).await?;
    ready.send(()).map_err(io::Error::other)?;

    let cpu = CpuTime::of_this_thread();
    let meter = match job.scenario {
        Scenario::Download => receive(&job, &listener).await?,
        Scenario::Upload => send(&job, &listener).await?,
        Scenario::Connect | Scenario::Connect16 | Scenario::Ping => echo(&job, &listener).await?,
    };
    // The last FIN and its acknowledgement still have to cross.
    stack.closed().await?;
    Ok(StackReport {
        measured: meter.measured(),
        bytes: meter.total(),
        cpu: CpuTime::of_this_thread().since(cpu),
        device: DeviceCounts::read()?,
    })
}

async fn receive(job: &Job, listener: &TcpListener) -> io::Result<Meter> {
    let (mut stream, _) = listener.accept().await?;
    let mut meter = Meter::new(job.window);
    let mut buffer = vec![0; APPLICATION_BUFFER];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(meter);
        }
        if meter.add(read) {
            job.stop();
        }
    }
}

async fn send(job: &Job, listener: &TcpListener) -> io::Result<Meter> {
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut meter = Meter::new(job.window);
    let mut buffer = vec![0x5a; APPLICATION_BUFFER];
    while !meter.add(stream.write(&buffer).await?) {}
    stream.shutdown().await?;
    // The peer closes when it has everything.
    match stream.read(&mut buffer).await? {
        0 => Ok(meter),
        unexpected => Err(io::Error::other(format!("the peer sent {unexpected} bytes"))),
    }
}

async fn echo(job: &Job, listener: &TcpListener) -> io::Result<Meter> {
    while !job.stopped() {
        if let Ok(accepted) = tokio::time::timeout(LOOK_EVERY, listener.accept()).await {
            let (stream, _) = accepted?;
            // One that fails shows as an error at the peer's end.
            tokio::spawn(echo_one(stream));
        }
    }
    Ok(Meter::new(job.window))
}

async fn echo_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(buffer.get(..read).unwrap_or_default()).await?,
        }
    }
}
