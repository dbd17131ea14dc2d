//! UDP sockets (RFC 768, RFC 1122 4.1, RFC 8085): who takes a datagram, what goes out, errors, limits, groups, trains.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod anywhere;
mod churn;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod fragments;
mod groups;
mod limits;
mod sending;
mod sockets;
mod trains;

use common::*;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::packet::{IcmpErrorKind, IpPacket, Protocol, ip, udp};
use ropeway_core::{Datagram, DatagramError, Outgoing, RecvError, UdpId, UdpOptions};

/// The two families, as the lab has them.
const FAMILIES: [(&str, &str); 2] = [("10.0.0.2", "10.0.0.1"), ("[fd00::2]", "[fd00::1]")];

fn datagram(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    let params = ip_params(src.ip(), dst.ip(), Protocol::UDP);
    udp::emit(&params, src.port(), dst.port(), data).unwrap()
}

/// A datagram that left the stack: from where, where to, and its data.
fn read(packet: &[u8]) -> (IpPacket, String, String, Vec<u8>) {
    let ip = ip::parse(packet).unwrap();
    let datagram = udp::parse(packet, &ip, true).unwrap();
    let end = |ip, port| std::net::SocketAddr::new(ip, port).to_string();
    let ends = (end(ip.src, datagram.header.src_port), end(ip.dst, datagram.header.dst_port));
    (ip, ends.0, ends.1, packet[datagram.payload].to_vec())
}

impl Lab {
    fn bind(&mut self, local: &str) -> UdpId {
        self.bind_with(local, |_| {})
    }

    fn bind_with(&mut self, local: &str, change: impl FnOnce(&mut UdpOptions)) -> UdpId {
        let mut options = UdpOptions::default();
        change(&mut options);
        self.stack.udp_bind(addr(local), options).unwrap().0
    }

    /// A socket that is connected.
    fn bound_to(&mut self, local: &str, remote: &str) -> UdpId {
        let id = self.bind(local);
        self.stack.udp_connect(self.ts(), id, addr(remote)).unwrap();
        id
    }

    fn say(&mut self, id: UdpId, data: &[u8]) -> Result<(), DatagramError> {
        self.stack.udp_send(self.ts(), id, data, &Outgoing::default())
    }

    fn say_to(&mut self, id: UdpId, to: &str, data: &[u8]) -> Result<(), DatagramError> {
        let how = Outgoing { to: Some(addr(to)), ..Outgoing::default() };
        self.stack.udp_send(self.ts(), id, data, &how)
    }

    #[track_caller]
    fn heard(&mut self, id: UdpId) -> Datagram {
        self.stack.udp_recv(id).unwrap()
    }

    #[track_caller]
    fn heard_nothing(&mut self, id: UdpId) {
        assert_eq!(self.stack.udp_recv(id), Err(RecvError::WouldBlock));
    }

    /// An ICMP error about a packet that left the stack comes from where that went to.
    fn icmp_error(&mut self, kind: IcmpErrorKind, about: &[u8]) {
        let ip = ip::parse(about).unwrap();
        self.send_packet(emit_error(ip.dst, ip.src, kind, about, 64));
    }
}
