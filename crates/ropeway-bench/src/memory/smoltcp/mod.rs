//! smoltcp's two ends.

pub(super) mod connect;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::{APPLICATION_BUFFER, Bulk, CLIENT, Carried, Counts, PORT, Progress, SERVER, TICK};

/// Carries data packets from one end to the other.
#[inline(never)]
pub(super) fn run(Bulk { packets, mtu, buffer, .. }: Bulk) -> io::Result<Carried> {
    let (to_receiver, to_sender) = (Direction::new(mtu), Direction::new(mtu));
    let mut sender = Endpoint::new(CLIENT, &to_sender, &to_receiver, 1, buffer);
    let mut receiver = Endpoint::new(SERVER, &to_receiver, &to_sender, 1, buffer);
    receiver.socket(0)?.listen(PORT).map_err(io::Error::other)?;
    sender.connect(0, PORT, 49152)?;

    let mut application = vec![0x5a; APPLICATION_BUFFER];
    let mut now = Instant::ZERO;
    let mut bytes = 0;
    let mut progress = Progress::default();
    while to_receiver.wire.borrow().counts.data_packets < packets {
        now += TICK.into();
        while sender.socket(0)?.can_send() {
            sender.socket(0)?.send_slice(&application).map_err(io::Error::other)?;
        }
        sender.poll(now);
        receiver.poll(now);
        while receiver.socket(0)?.can_recv() {
            bytes += receiver.socket(0)?.recv_slice(&mut application).map_err(io::Error::other)? as u64;
        }
        // The window that has opened is announced.
        receiver.poll(now);
        progress.check(bytes)?;
    }
    let (data, acks) = (to_receiver.wire.borrow(), to_sender.wire.borrow());
    Ok(Carried { data_packets: data.counts.data_packets, ack_packets: acks.counts.ack_packets, bytes })
}

/// One end.
struct Endpoint {
    interface: Interface,
    device: Link,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
}

impl Endpoint {
    /// An end with `sockets` sockets, each with two buffers of `buffer` bytes.
    fn new(
        address: Ipv4Addr,
        incoming: &Direction,
        outgoing: &Direction,
        sockets: usize,
        buffer: usize,
    ) -> Self {
        let mut device = Link { incoming: incoming.clone(), outgoing: outgoing.clone() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The list of a new interface has room.
            let _ = addresses.push(IpCidr::new(address.into(), 24));
        });
        let mut set = SocketSet::new(Vec::new());
        let socket = || {
            let mut socket =
                Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
            socket.set_congestion_control(CongestionControl::None);
            socket
        };
        let handles = (0..sockets).map(|_| set.add(socket())).collect();
        Self { interface, device, sockets: set, handles }
    }

    /// Connects the n-th socket to the server's `port`.
    fn connect(&mut self, n: usize, port: u16, local_port: u16) -> io::Result<()> {
        let handle = *self.handles.get(n).ok_or(io::ErrorKind::NotFound)?;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.interface.context(), (SERVER, port), local_port).map_err(io::Error::other)
    }

    /// The n-th socket.
    fn socket(&mut self, n: usize) -> io::Result<&mut Socket<'static>> {
        let handle = *self.handles.get(n).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.sockets.get_mut(handle))
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }
}

/// One direction of the link, with the buffers that have been read and can be written again.
#[derive(Clone)]
struct Direction {
    mtu: u16,
    wire: Rc<RefCell<Wire>>,
    spare: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Direction {
    fn new(mtu: u16) -> Self {
        Self { mtu, wire: Rc::default(), spare: Rc::default() }
    }
}

#[derive(Default)]
struct Wire {
    packets: VecDeque<Vec<u8>>,
    counts: Counts,
}

impl Wire {
    fn push(&mut self, packet: Vec<u8>) {
        self.counts.count(packet.len());
        self.packets.push_back(packet);
    }
}

/// An end's two directions.
struct Link {
    incoming: Direction,
    outgoing: Direction,
}

impl Device for Link {
    type RxToken<'a> = Packet<'a>;
    type TxToken<'a> = Writer<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Writer<'_>)> {
        let packet = self.incoming.wire.borrow_mut().packets.pop_front()?;
        Some((Packet { packet, from: &self.incoming }, Writer { to: &self.outgoing }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Writer<'_>> {
        Some(Writer { to: &self.outgoing })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.outgoing.mtu.into();
        capabilities
    }
}

/// A packet that has arrived.
struct Packet<'a> {
    packet: Vec<u8>,
    from: &'a Direction,
}

impl RxToken for Packet<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.packet);
        self.from.spare.borrow_mut().push(self.packet);
        result
    }
}

/// Room for a packet that leaves.
struct Writer<'a> {
    to: &'a Direction,
}

impl TxToken for Writer<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = self.to.spare.borrow_mut().pop().unwrap_or_default();
        // Only a longer packet than the last in this buffer fills anything; ACKs share none with data.
        packet.resize(length, 0);
        let result = f(&mut packet);
        self.to.wire.borrow_mut().push(packet);
        result
    }
}
