//! Datagrams: those that come are counted, and those that leave are one packet, again and again.

use std::io;

use ropeway_bench_service::{Order, Received, Task, ready};

use super::wire::{
    CHECKSUM_KNOWN, IP_HEADER, NEEDS_CHECKSUM, UDP, VNET_HEADER, fold, ip, pseudo_header, sum,
};
use crate::link::{DEVICE, KERNEL_ADDRESS, MTU, PREFIX_LEN, TX_QUEUE_LEN};
use crate::sys::{self, Tun};

const UDP_HEADER: usize = 8;
const HEADERS: usize = VNET_HEADER + IP_HEADER + UDP_HEADER;
/// Of either family (virtio 1.3, 5.1.6).
const GSO_UDP: u8 = 5;
/// Where the checksum stands in the header.
const CHECKSUM: u16 = 6;

/// Does what `order` says until the process is killed.
pub(crate) fn serve(order: &Order) -> io::Result<()> {
    let tun = Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, TX_QUEUE_LEN, order.offload)?;
    let mut sink = Sink::new(&tun, order);
    let mut packet = vec![0; VNET_HEADER + usize::from(u16::MAX)];
    let mut received = Received::default();
    ready()?;
    loop {
        let Some(length) = tun.recv(&mut packet)? else {
            sys::wait_readable(tun.fd(), None)?;
            continue;
        };
        let Some((port, datagrams)) = parse(packet.get(..length).unwrap_or_default(), order) else {
            continue;
        };
        if order.task == Task::UdpSource {
            loop {
                sink.send(port, order.sent_at_once())?;
            }
        }
        if let Some(report) = received.count(datagrams) {
            sink.say(port, &report)?;
        }
    }
}

/// The sender's port, and how many datagrams a packet is.
fn parse(packet: &[u8], order: &Order) -> Option<(u16, u64)> {
    let (vnet, packet) = packet.split_at_checked(if order.offload { VNET_HEADER } else { 0 })?;
    let verified = vnet.first().is_some_and(|flags| CHECKSUM_KNOWN.contains(flags));
    let (ip, _) = packet.split_first_chunk::<IP_HEADER>()?;
    let datagram = packet.get(IP_HEADER..usize::from(u16::from_be_bytes([ip[2], ip[3]])))?;
    if ip[0] != 0x45
        || ip[9] != UDP
        || !verified && fold(pseudo_header(UDP, datagram.len()) + sum(datagram)) != 0xffff
    {
        return None;
    }
    let (udp, data) = datagram.split_first_chunk::<UDP_HEADER>()?;
    let datagrams = data.len().div_ceil(order.datagram.into()).max(1);
    Some((u16::from_be_bytes([udp[0], udp[1]]), datagrams as u64))
}

/// Gives packets to the device, all from one buffer, of which only the headers change.
struct Sink<'a> {
    tun: &'a Tun,
    offload: bool,
    size: u16,
    port: u16,
    packet: Vec<u8>,
}

impl<'a> Sink<'a> {
    fn new(tun: &'a Tun, order: &Order) -> Self {
        let packet = vec![0x5a; HEADERS + order.sent_at_once()];
        Self { tun, offload: order.offload, size: order.datagram, port: order.address().port(), packet }
    }

    fn say(&mut self, to: u16, data: &[u8]) -> io::Result<()> {
        for (to, from) in self.packet.iter_mut().skip(HEADERS).zip(data) {
            *to = *from;
        }
        self.send(to, data.len())
    }

    /// Sends so many bytes: a datagram, or a train.
    fn send(&mut self, to: u16, length: usize) -> io::Result<()> {
        let Some((front, body)) = self.packet.split_first_chunk_mut::<HEADERS>() else { return Ok(()) };
        let body = body.get(..length).unwrap_or_default();
        let all = UDP_HEADER + length;
        front[..VNET_HEADER].copy_from_slice(&vnet(length, self.size));
        front[VNET_HEADER..VNET_HEADER + IP_HEADER].copy_from_slice(&ip(UDP, all));
        let mut udp = [0; UDP_HEADER];
        udp[0..2].copy_from_slice(&self.port.to_be_bytes());
        udp[2..4].copy_from_slice(&to.to_be_bytes());
        udp[4..6].copy_from_slice(&u16::try_from(all).unwrap_or_default().to_be_bytes());
        let pseudo_header = pseudo_header(UDP, all);
        let checksum = match self.offload {
            true => fold(pseudo_header),
            // None is written as its other form (RFC 768).
            false => match !fold(pseudo_header + sum(&udp) + sum(body)) {
                0 => u16::MAX,
                checksum => checksum,
            },
        };
        udp[6..8].copy_from_slice(&checksum.to_ne_bytes());
        front[VNET_HEADER + IP_HEADER..].copy_from_slice(&udp);
        let begin = if self.offload { 0 } else { VNET_HEADER };
        self.tun.send(self.packet.get(begin..HEADERS + length).unwrap_or_default())
    }
}

/// Asks for the checksum, and to cut what is longer than a datagram.
fn vnet(length: usize, size: u16) -> [u8; VNET_HEADER] {
    let is_train = length > usize::from(size);
    let headers = u16::try_from(IP_HEADER + UDP_HEADER).unwrap_or_default();
    let words =
        [headers, if is_train { size } else { 0 }, u16::try_from(IP_HEADER).unwrap_or_default(), CHECKSUM];
    let mut header = [0; VNET_HEADER];
    header[0] = NEEDS_CHECKSUM;
    header[1] = if is_train { GSO_UDP } else { 0 };
    for (to, word) in header[2..].chunks_exact_mut(2).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_tells_how_long_each_datagram_is_and_one_datagram_does_not() {
        assert_eq!(vnet(1200, 1200), [1, 0, 28, 0, 0, 0, 20, 0, 6, 0]);
        let size = 1200_u16.to_ne_bytes();
        assert_eq!(vnet(2400, 1200), [1, 5, 28, 0, size[0], size[1], 20, 0, 6, 0]);
    }
}
