//! Attacks on connection management: floods, forgeries, scans, and what honest peers see meanwhile. The list
//! of attacks is docs/THREATS.md. Time is virtual throughout.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod accept_queue;
mod blind;
#[path = "../common/mod.rs"]
mod common;
mod cookies;
mod full_tables;
mod honest;
mod listen_any;
mod memory;
mod policy;
mod probes;
mod sharing;
mod syn_queue;
mod time_wait;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use common::*;
use ropeway_core::packet::{IcmpErrorKind, IcmpMessage, Quoted, TcpFlags, UnreachableKind, icmp, ip};
use ropeway_core::{ConnectionId, Counters, Received, RxChecksum};

/// As many as a release build can afford; a debug build does a tenth.
const MANY: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// A host in a /24 of its own, for each number.
fn host(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x1400_0001 + (number << 8)).into()
}

/// A SYN from anywhere.
fn syn_packet(from: SocketAddr, to: SocketAddr, seq: u32) -> Bytes {
    let header = header((from.port(), to.port()), &syn().mss(1460), seq, 0, 65535, None);
    tcp_packet(from.ip(), to.ip(), &header, None, &[]).into()
}

/// A packet whose checksum the device has verified.
fn verified(packet: Bytes) -> Received {
    let mut received = Received::new(packet);
    received.checksum = RxChecksum::Verified;
    received
}

impl Lab {
    /// SYNs from these hosts, one each; how many were answered with a SYN-ACK.
    fn syns_from(&mut self, hosts: impl IntoIterator<Item = IpAddr>) -> usize {
        let (to, now, mut answers) = (self.local, self.ts(), 0);
        for (seq, from) in (1..).zip(hosts) {
            self.stack.handle_packet(now, verified(syn_packet(SocketAddr::new(from, 1000), to, seq)));
            while let Some(transmit) = self.stack.poll_transmit(now) {
                let segment = parse(&transmit.to_bytes()).expect("a TCP segment");
                assert_eq!(segment.tcp.flags, TcpFlags::SYN | TcpFlags::ACK);
                answers += 1;
            }
        }
        answers
    }

    fn half_open(&self) -> usize {
        self.stack.sizes().half_open
    }

    fn counters(&self) -> &Counters {
        self.stack.counters()
    }

    /// Reads all that is there.
    fn read_all(&mut self, id: ConnectionId) -> Vec<u8> {
        self.read(id, usize::MAX)
    }

    /// The next packet is this ICMP error about the last segment of the lab; gives what it quotes.
    #[track_caller]
    fn expect_unreachable(&mut self, want: UnreachableKind) -> Quoted {
        let packet = self.next_packet();
        let header = ip::parse(&packet).unwrap();
        assert_eq!((header.src, header.dst), (self.local.ip(), self.remote.ip()));
        match icmp::parse(&packet, &header).unwrap() {
            IcmpMessage::Unreachable { code, quote } if code.kind == want => {
                icmp::parse_quote(&packet[quote]).unwrap()
            }
            other => self.fail(&format!("not {want:?}: {other:?}")),
        }
    }

    /// An ICMP error of a router arrives, about a packet of ours.
    fn unreachable(&mut self, kind: UnreachableKind, about: &[u8]) {
        let router = "10.0.0.254".parse().unwrap();
        let kind = IcmpErrorKind::Unreachable(kind);
        self.send_packet(icmp::emit_error(router, self.local.ip(), kind, about, 64));
    }
}
