//! A sending end on smoltcp: its own polling loop, over a TUN device of its own.

use std::io;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::{APPLICATION_BUFFER, End, PORT, Sent, Stage};
use crate::paths::Congestion;
use crate::paths::net::LARGEST_BUFFER;
use crate::paths::net::{MTU, PREFIX_LEN, STACK_PREFIX_LEN, TX_QUEUE_LEN};
use crate::sys::{self, Tun};
use crate::tun::smoltcp::TunDevice;

/// How long to sleep at most, so that the end of the run is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// The local port of the first flow.
const FIRST_PORT: u16 = 40_000;

/// A flow: its socket, and what is left to write.
struct Flow {
    handle: SocketHandle,
    left: u64,
}

/// Sends all flows of a run.
pub(crate) fn send(end: &End, to: std::net::Ipv4Addr) -> io::Result<Sent> {
    let tun =
        Tun::new(&end.lane.stack_device(), end.lane.gateway(), STACK_PREFIX_LEN, MTU, TX_QUEUE_LEN, false)?;
    let mut device = TunDevice::new(tun);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::now());
    interface.update_ip_addrs(|addresses| {
        // The list of a new interface has room.
        let _ = addresses.push(IpCidr::new(end.lane.stack().into(), PREFIX_LEN));
    });
    let mut sockets = SocketSet::new(Vec::new());
    let flow = |bytes: &u64| Flow { handle: sockets.add(socket(end)), left: *bytes };
    let mut flows: Vec<Flow> = end.flows.iter().map(flow).collect();
    let application = vec![0x5a; APPLICATION_BUFFER];
    end.is_ready()?;
    while *end.stage.borrow() < Stage::Goes {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    let began = std::time::Instant::now();
    for (flow, port) in flows.iter_mut().zip(FIRST_PORT..) {
        let socket = sockets.get_mut::<Socket<'_>>(flow.handle);
        socket.connect(interface.context(), (to, PORT), port).map_err(io::Error::other)?;
    }
    while *end.stage.borrow() < Stage::IsOver {
        let now = Instant::now();
        interface.poll(now, &mut device, &mut sockets);
        for flow in &mut flows {
            advance(sockets.get_mut(flow.handle), &mut flow.left, &application)?;
        }
        let wait = interface.poll_delay(now, &sockets).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        if wait > Duration::ZERO {
            sys::wait_readable(device.fd(), Some(wait.into()))?;
        }
    }
    Ok(Sent { began, again: None })
}

fn socket(end: &End) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; end.buffer.unwrap_or(LARGEST_BUFFER)]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_congestion_control(match end.congestion {
        Congestion::Reno => CongestionControl::Reno,
        // No run asks for BBR, which it has not.
        Congestion::Cubic | Congestion::Bbr => CongestionControl::Cubic,
    });
    socket
}

fn advance(socket: &mut Socket<'_>, left: &mut u64, application: &[u8]) -> io::Result<()> {
    while *left > 0 && socket.can_send() {
        let length = usize::try_from(*left).map_or(application.len(), |left| left.min(application.len()));
        let data = application.get(..length).unwrap_or_default();
        *left -= socket.send_slice(data).map_err(io::Error::other)? as u64;
        if *left == 0 {
            socket.close();
        }
    }
    Ok(())
}
