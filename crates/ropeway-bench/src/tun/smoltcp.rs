//! smoltcp's side: its own polling loop on a thread, as in its benchmark example.
//!
//! The device reuses its two buffers, where smoltcp's own TUN device allocates one for each packet.

use std::io;
use std::os::fd::RawFd;
use std::sync::mpsc::Sender;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::{APPLICATION_BUFFER, Job, Scenario, StackReport};
use crate::link::{DEVICE, DeviceTable, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS, TX_QUEUE_LEN};
use crate::meter::Meter;
use crate::sys::{self, CpuTime, Tun};

/// How long to sleep at most, so that the end of the run is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// A listening smoltcp socket takes one connection, so short connections need several at a time.
const SOCKETS: usize = 40;
/// The buffers of a short connection, which carries one byte.
const SMALL_BUFFER: usize = 4096;

/// Runs the stack's side of `job` to its end.
pub(crate) fn run(job: &Job, ready: Sender<()>) -> io::Result<StackReport> {
    let mut device = TunDevice::new(Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, TX_QUEUE_LEN, false)?);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::now());
    interface.update_ip_addrs(|addresses| {
        // The list of a new interface has room.
        let _ = addresses.push(IpCidr::new(STACK_ADDRESS.into(), PREFIX_LEN));
    });
    let mut sockets = sockets(job);
    let mut application = Application::new(job);
    ready.send(()).map_err(io::Error::other)?;

    let cpu = CpuTime::of_this_thread();
    loop {
        let now = Instant::now();
        interface.poll(now, &mut device, &mut sockets);
        if application.advance(&mut sockets)? {
            break;
        }
        let wait = interface.poll_delay(now, &sockets).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        if wait > Duration::ZERO {
            sys::wait_readable(device.fd(), Some(wait.into()))?;
            if std::time::Instant::now() > job.deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    // What the application did last, such as an ACK of the peer's FIN, still has to leave.
    interface.poll(Instant::now(), &mut device, &mut sockets);
    Ok(StackReport {
        measured: application.meter.measured(),
        bytes: application.meter.total(),
        cpu: CpuTime::of_this_thread().since(cpu),
        device: DeviceTable::open()?.read()?,
    })
}

fn sockets(job: &Job) -> SocketSet<'static> {
    let (count, buffer) = match job.scenario {
        Scenario::Download | Scenario::Upload => (1, job.buffer),
        Scenario::Ping => (1, SMALL_BUFFER),
        Scenario::Connect | Scenario::Connect16 => (SOCKETS, SMALL_BUFFER),
    };
    let mut sockets = SocketSet::new(Vec::new());
    for _ in 0..count {
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(CongestionControl::None);
        sockets.add(socket);
    }
    sockets
}

/// What the application above the stack does between two polls.
struct Application<'a> {
    job: &'a Job,
    meter: Meter,
    buffer: Vec<u8>,
    /// A bulk transfer's connection has been seen open.
    connected: bool,
}

impl<'a> Application<'a> {
    fn new(job: &'a Job) -> Self {
        Self { job, meter: Meter::new(job.window), buffer: vec![0x5a; APPLICATION_BUFFER], connected: false }
    }

    /// Does what can be done now. Answers whether the run is over.
    fn advance(&mut self, sockets: &mut SocketSet<'_>) -> io::Result<bool> {
        for (_, socket) in sockets.iter_mut() {
            let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
            match self.job.scenario {
                Scenario::Download => self.receive(socket)?,
                Scenario::Upload => self.send(socket)?,
                Scenario::Connect | Scenario::Connect16 | Scenario::Ping => self.echo(socket)?,
            }
            if !socket.is_open() {
                if self.connected {
                    return Ok(true);
                }
                socket.listen(self.job.port).map_err(io::Error::other)?;
            }
        }
        let many = matches!(self.job.scenario, Scenario::Connect | Scenario::Connect16 | Scenario::Ping);
        Ok(many && self.job.stopped())
    }

    fn receive(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        self.connected |= socket.may_send();
        while socket.can_recv() {
            let read = socket.recv_slice(&mut self.buffer).map_err(io::Error::other)?;
            if self.meter.add(read) {
                self.job.stop();
            }
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        Ok(())
    }

    fn send(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        self.connected |= socket.may_send();
        while socket.can_send() {
            let written = socket.send_slice(&self.buffer).map_err(io::Error::other)?;
            if self.meter.add(written) {
                socket.close();
            }
        }
        if socket.state() == State::TimeWait {
            socket.abort();
        }
        Ok(())
    }

    fn echo(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        while socket.can_recv() && socket.can_send() {
            let read = socket.recv_slice(&mut self.buffer).map_err(io::Error::other)?;
            let read = self.buffer.get(..read).unwrap_or_default();
            socket.send_slice(read).map_err(io::Error::other)?;
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        Ok(())
    }
}

/// A TUN device without an allocation per packet.
pub(crate) struct TunDevice {
    tun: Tun,
    received: Vec<u8>,
    sent: Vec<u8>,
}

impl TunDevice {
    pub(crate) fn new(tun: Tun) -> Self {
        Self { tun, received: vec![0; MTU.into()], sent: vec![0; MTU.into()] }
    }

    /// The descriptor, for [`sys::wait_readable`].
    pub(crate) fn fd(&self) -> RawFd {
        self.tun.fd()
    }
}

impl Device for TunDevice {
    type RxToken<'a> = Packet<'a>;
    type TxToken<'a> = Writer<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Writer<'_>)> {
        // A device that fails is one that gives nothing more: the run then ends at its deadline.
        let length = self.tun.recv(&mut self.received).ok()??;
        let writer = Writer { tun: &mut self.tun, packet: &mut self.sent };
        Some((Packet(self.received.get(..length)?), writer))
    }

    fn transmit(&mut self, _: Instant) -> Option<Writer<'_>> {
        Some(Writer { tun: &mut self.tun, packet: &mut self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU.into();
        capabilities
    }
}

/// A received packet.
pub(crate) struct Packet<'a>(&'a [u8]);

impl RxToken for Packet<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a packet to send.
pub(crate) struct Writer<'a> {
    tun: &'a mut Tun,
    packet: &'a mut Vec<u8>,
}

impl TxToken for Writer<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // Never beyond the MTU, so this neither grows nor fills anything.
        let length = length.min(self.packet.len());
        let packet = self.packet.get_mut(..length).unwrap_or_default();
        let result = f(packet);
        // What the device refuses is lost, as on any link.
        let _ = self.tun.send(packet);
        result
    }
}
