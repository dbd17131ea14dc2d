//! A layer, and a guest that sends it whatever it likes.

mod arp;
mod dhcp;
mod ndp;
mod packets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropeway::device::{Received, Transmit};
use ropeway::packet::{IpParams, Protocol, ip, udp};
use ropeway_core::Timestamp;

use crate::arp::{Operation, Packet as Arp};
use crate::frame::{ARP, FrameQueue, HEADER_LEN, Header, IPV4, IPV6};
use crate::ndp::wire::{self, Message};
use crate::{DhcpConfig, EthernetConfig, EthernetCounters, EthernetLayer, MacAddr, RouterConfig};

const OURS: MacAddr = MacAddr::new([0x52, 0x55, 10, 0, 2, 2]);
const GUEST: MacAddr = MacAddr::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const OTHER: MacAddr = MacAddr::new([0x52, 0x54, 0, 0, 0, 0x99]);

const US: &str = "10.0.2.2";
const US_V6: &str = "fd00::2";

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn ip_addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A router for guests, with everything that it can do.
fn router() -> EthernetConfig {
    EthernetConfig::new(OURS)
        .address("10.0.2.2/24".parse().unwrap())
        .address("fd00::2/64".parse().unwrap())
        .dhcp(DhcpConfig::new(v4("10.0.2.15")..=v4("10.0.2.20")).dns(v4("10.0.2.3")))
        .advertise(RouterConfig::new().dns(v6("fd00::3")))
        .seed(7)
}

/// A host among others.
fn host() -> EthernetConfig {
    EthernetConfig::new(OURS)
        .address("10.0.2.2/24".parse().unwrap())
        .address("fd00::2/64".parse().unwrap())
        .router(ip_addr("10.0.2.1"))
        .router(ip_addr("fd00::1"))
        .seed(7)
}

struct World {
    layer: EthernetLayer,
    now: Timestamp,
}

impl World {
    /// After the announcements of the beginning.
    fn new(config: EthernetConfig) -> Self {
        let mut layer = EthernetLayer::new(config);
        let mut now = Timestamp::from_micros(1_000_000);
        layer.handle_timeout(now);
        now += Duration::from_secs(2);
        layer.handle_timeout(now);
        layer.frames().clear();
        Self { layer, now }
    }

    /// A frame comes. What the stack gets of it.
    fn give(&mut self, frame: impl Into<Bytes>) -> Option<Bytes> {
        let received = self.layer.handle_frame(self.now, Received::alone(frame.into()));
        received.map(|received| received.packet)
    }

    /// The stack sends a packet.
    fn send(&mut self, packet: Vec<u8>) {
        self.layer.handle_packet(self.now, &Transmit::whole(packet.into()));
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.layer.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.layer.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn pass_secs(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// The frames that the layer has sent since.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(frame) = self.layer.frames().front() {
            sent.push(frame.to_vec());
            self.layer.frames().pop_front();
        }
        sent
    }

    fn counters(&self) -> EthernetCounters {
        self.layer.counters()
    }

    /// The guest asks for us, and is known then.
    fn introduce(&mut self, address: &str, mac: MacAddr) {
        match ip_addr(address) {
            IpAddr::V4(address) => self.give(arp_request(mac, address, v4(US))),
            IpAddr::V6(address) => self.give(solicitation(mac, address, v6(US_V6))),
        };
        assert_eq!(self.sent().len(), 1, "{address} gets an answer");
    }

    /// To which station a packet for the address goes; `None` if it is asked for.
    fn station(&mut self, address: &str) -> Option<MacAddr> {
        let src = if ip_addr(address).is_ipv4() { US } else { US_V6 };
        self.send(datagram(src, address, b"hello"));
        let data = |frame: &Vec<u8>| frame.ends_with(b"hello");
        self.sent().iter().find(|frame| data(frame)).map(|frame| header(frame).dst)
    }
}

fn header(frame: &[u8]) -> Header {
    Header::parse(frame).unwrap()
}

fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut queue = FrameQueue::new();
    queue.push(header, payload.len(), |to| to.extend_from_slice(payload));
    queue.front().unwrap().to_vec()
}

/// An IP packet in a frame from one station to another.
fn carry(src: MacAddr, dst: MacAddr, packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
    frame(Header { dst, src, ethertype }, packet)
}

fn datagram_of(ends: [(&str, u16); 2], data: &[u8]) -> Vec<u8> {
    let [(src, src_port), (dst, dst_port)] = ends;
    let ip = IpParams {
        src: ip_addr(src),
        dst: ip_addr(dst),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    udp::emit(&ip, src_port, dst_port, data).unwrap()
}

fn datagram(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    datagram_of([(src, 4000), (dst, 5000)], data)
}

fn arp_frame(dst: MacAddr, arp: Arp) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    arp.emit(&mut bytes);
    frame(Header { dst, src: arp.sender_mac, ethertype: ARP }, &bytes)
}

fn arp_request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let target_mac = MacAddr::new([0; 6]);
    let arp = Arp { operation: Operation::Request, sender_mac: mac, sender, target_mac, target };
    arp_frame(MacAddr::BROADCAST, arp)
}

fn arp_reply(mac: MacAddr, sender: Ipv4Addr) -> Vec<u8> {
    let operation = Operation::Reply;
    arp_frame(OURS, Arp { operation, sender_mac: mac, sender, target_mac: OURS, target: v4(US) })
}

fn solicitation(mac: MacAddr, src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let dst = wire::solicited_node(target);
    let packet = wire::neighbor_solicitation(src, dst, target, mac);
    carry(mac, MacAddr::of_group(dst.into()), &packet)
}

fn advertisement(mac: MacAddr, address: Ipv6Addr, solicited: bool) -> Vec<u8> {
    let flags = wire::AdvertisementFlags { router: false, solicited, overrides: true };
    let (to, dst) = if solicited {
        (OURS, v6(US_V6))
    } else {
        (MacAddr::of_group(wire::ALL_NODES.into()), wire::ALL_NODES)
    };
    carry(mac, to, &wire::neighbor_advertisement(address, dst, flags, mac))
}

fn read_arp(frame: &[u8]) -> Arp {
    assert_eq!(header(frame).ethertype, ARP);
    Arp::parse(&frame[HEADER_LEN..]).unwrap()
}

fn read_ndp(frame: &[u8]) -> Message {
    let packet = &frame[HEADER_LEN..];
    wire::parse(packet, &ip::parse(packet).unwrap()).unwrap().unwrap()
}
