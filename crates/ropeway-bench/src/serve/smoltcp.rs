//! smoltcp in its own polling loop, with an application that looks at every socket in turn.

use std::io;

use ropeway_bench_service::{APPLICATION_BUFFER, Order, PORT, Task, ready};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::link::{DEVICE, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS, TX_QUEUE_LEN};
use crate::sys::{self, Tun};
use crate::tun::smoltcp::TunDevice;

/// How long to sleep at most.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// A listening socket takes one connection: so many more than are open at once wait for one, so that none is refused.
const SPARE: usize = 24;

/// Serves until it is killed.
pub(super) fn run(order: &Order) -> io::Result<()> {
    if order.task == Task::Http {
        return Err(io::Error::other("smoltcp has no streams for hyper"));
    }
    let mut device = TunDevice::new(Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, TX_QUEUE_LEN, false)?);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::now());
    interface.update_ip_addrs(|addresses| {
        // The list of a new interface has room.
        let _ = addresses.push(IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN));
    });
    if order.has_datagrams() {
        return super::datagrams::smoltcp(order, interface, device);
    }
    let mut sockets = SocketSet::new(Vec::new());
    let spare = if order.task == Task::Echo { SPARE } else { 0 };
    for _ in 0..order.connections + spare {
        let buffer = || SocketBuffer::new(vec![0; order.buffer]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(CongestionControl::None);
        socket.listen(PORT).map_err(io::Error::other)?;
        sockets.add(socket);
    }
    let mut buffer = vec![0x5a; APPLICATION_BUFFER];
    ready()?;
    loop {
        let now = Instant::now();
        interface.poll(now, &mut device, &mut sockets);
        for (_, socket) in sockets.iter_mut() {
            let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
            serve(order.task, socket, &mut buffer)?;
        }
        let wait = interface.poll_delay(now, &sockets).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        if wait > Duration::ZERO {
            sys::wait_readable(device.fd(), Some(wait.into()))?;
        }
    }
}

/// Does what a connection is for, as far as that goes now.
fn serve(task: Task, socket: &mut Socket<'_>, buffer: &mut [u8]) -> io::Result<()> {
    if matches!(task, Task::Sink | Task::Both) {
        while socket.can_recv() {
            socket.recv_slice(buffer).map_err(io::Error::other)?;
        }
    }
    if matches!(task, Task::Source | Task::Both) {
        while socket.can_send() {
            socket.send_slice(buffer).map_err(io::Error::other)?;
        }
    }
    if task == Task::Echo {
        while socket.can_recv() && socket.can_send() {
            let read = socket.recv_slice(buffer).map_err(io::Error::other)?;
            socket.send_slice(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
        }
    }
    if socket.state() == State::CloseWait {
        socket.close();
    }
    if !socket.is_open() {
        socket.listen(PORT).map_err(io::Error::other)?;
    }
    Ok(())
}
