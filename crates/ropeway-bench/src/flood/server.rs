//! ropeway's side: an echo server with all settings at their defaults.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use ropeway::net::TcpListener;
use ropeway::{IpCidr, Stack};

use super::PATIENCE;
use crate::link::{self, Cpus, KERNEL_ADDRESS, PREFIX_LEN, STACK_ADDRESS};
use crate::sys::CpuTime;
use crate::tun::application;

/// A stack with its server, on a thread of its own.
pub(super) struct Server {
    stack: Stack,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Served>>,
}

/// What the server's run took.
pub(super) struct Served {
    /// CPU time from the moment it was ready to its end.
    pub(super) cpu: CpuTime,
}

impl Server {
    /// Makes the device, in which `queue` packets wait for the stack, and listens on `target`.
    pub(super) fn start(target: SocketAddrV4, queue: u32, cpus: Cpus) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let run = {
            let stop = Arc::clone(&stop);
            move || {
                cpus.pin_stack()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { tokio::spawn(serve(target, queue, stop, ready)).await? })
            }
        };
        let thread = thread::Builder::new().name("stack".to_owned()).spawn(run)?;
        match is_ready.recv_timeout(PATIENCE) {
            Ok(stack) => Ok(Self { stack, stop, thread }),
            Err(_) => match join(thread) {
                Err(error) => Err(error),
                Ok(_) => Err(io::ErrorKind::TimedOut.into()),
            },
        }
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Ends the server, the stack and the device.
    pub(super) fn stop(self) -> io::Result<Served> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.stack);
        join(self.thread)
    }
}

async fn serve(
    target: SocketAddrV4,
    queue: u32,
    stop: Arc<AtomicBool>,
    ready: Sender<Stack>,
) -> io::Result<Served> {
    let device = link::tun_device(KERNEL_ADDRESS, queue, true).build()?;
    let address = IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN);
    let stack = Stack::builder().address(address).device(device).build()?;
    let listener = TcpListener::bind_on(&stack, SocketAddr::from(target)).await?;
    let cpu = CpuTime::of_this_thread();
    ready.send(stack).map_err(io::Error::other)?;
    application::echo(&listener, || stop.load(Ordering::Relaxed)).await?;
    Ok(Served { cpu: CpuTime::of_this_thread().since(cpu) })
}

fn join(thread: JoinHandle<io::Result<Served>>) -> io::Result<Served> {
    thread.join().map_err(|_| io::Error::other("the stack's thread panicked"))?
}
