//! Packets that go out: to which station, and what becomes of those that wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use ropeway::device::{Received, Transmit};
use ropeway::packet::icmp::{self, IcmpErrorKind};
use ropeway::packet::{ChecksumMode, UnreachableKind, ip};
use ropeway_core::Timestamp;

use super::{EthernetLayer, MOST_ERRORS};
use crate::MacAddr;
use crate::frame::{Header, IPV4, IPV6};
use crate::neighbors::{Question, Work};

impl EthernetLayer {
    /// Takes a packet that is to be sent: it becomes a frame, or several if it is a train, or waits until it is known who gets it.
    /// Whether there is [room](Self::has_room) is for the caller to ask.
    pub fn handle_packet(&mut self, now: Timestamp, packet: &Transmit) {
        let Some((src, dst)) = ends(packet) else { return };
        if packet.segment_size.is_none() && packet.len() > usize::from(self.mtu) {
            self.counts.oversized_packets();
            return;
        }
        if dst.is_multicast() {
            return self.send_packet(MacAddr::of_group(dst), dst, packet);
        }
        if self.is_broadcast(dst) {
            return self.send_packet(MacAddr::BROADCAST, dst, packet);
        }
        let router = || self.routers.iter().copied().find(|router| router.is_ipv4() == dst.is_ipv4());
        let hop = if self.is_on_link(dst) { Some(dst) } else { router() };
        let Some(hop) = hop else {
            self.counts.unroutable_packets();
            return;
        };
        let mut found = None;
        self.work(|layer, work| found = layer.neighbors.resolve(now, hop, Some(src), packet, work));
        if let Some(mac) = found {
            self.send_packet(mac, dst, packet);
        }
    }

    fn send_packet(&mut self, dst: MacAddr, to: IpAddr, packet: &Transmit) {
        let ethertype = if to.is_ipv4() { IPV4 } else { IPV6 };
        let header = Header { dst, src: self.mac, ethertype };
        let Some(size) = packet.segment_size else {
            debug_assert!(packet.checksum == ChecksumMode::Full, "nobody else completes checksums");
            self.frames.push(header, packet.len(), |to| packet.write_to(to));
            return;
        };
        let Some(mut split) = packet.split() else { return };
        let most = packet.header.len() + usize::from(size);
        let mut more = true;
        while more {
            more = self.frames.push_if(header, most, |room| split.fill(room));
        }
    }

    /// Lets the neighbor table do something, and does what follows from it.
    pub(super) fn work(&mut self, with: impl FnOnce(&mut Self, &mut Work)) {
        let mut work = Work::default();
        with(self, &mut work);
        let Work { questions, found, lost } = work;
        for Question { about, whom, on_behalf_of } in questions {
            match about {
                IpAddr::V4(about) => self.ask_v4(about, whom, on_behalf_of),
                IpAddr::V6(about) => self.ask_v6(about, whom, on_behalf_of),
            }
        }
        for (mac, packet) in found {
            if let Some((_, dst)) = ends(&packet) {
                self.send_packet(mac, dst, &packet);
            }
        }
        for (hop, packet) in lost {
            self.report(hop, &packet);
        }
    }

    // RFC 4861 7.2.2-3
    /// Tells the stack that a packet of its own could not be delivered. The message seems to come from the next hop: a stack does not
    /// believe what comes from its own address.
    fn report(&mut self, hop: IpAddr, packet: &Transmit) {
        let bytes = packet.to_bytes();
        let Ok(ip) = ip::parse(&bytes) else { return };
        if self.errors.len() >= MOST_ERRORS || icmp::is_error(&bytes) || ip.src.is_unspecified() {
            return;
        }
        let kind = IcmpErrorKind::Unreachable(UnreachableKind::Host);
        let error = icmp::emit_error(hop, ip.src, kind, &bytes, 64);
        self.errors.push_back(Received::alone(Bytes::from(error)));
    }
}

/// Source and destination of a packet.
fn ends(packet: &Transmit) -> Option<(IpAddr, IpAddr)> {
    if packet.header.is_empty() {
        let mut parts = packet.payload.parts();
        let first = parts.next()?;
        if first.len() >= 40 || parts.next().is_none() {
            return ends_of(first);
        }
        let mut whole = BytesMut::new();
        packet.write_to(&mut whole);
        return ends_of(&whole);
    }
    ends_of(&packet.header)
}

fn ends_of(header: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 =
        |at: usize| header.get(at..)?.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
    let v6 =
        |at: usize| header.get(at..)?.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
    match header.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}
