//! What the stack does around its connections: closed ports, UDP and ICMP, backlogs, ports, loopback, urgent
//! data (RFC 9293 3.8.5, 3.9, 3.10.7.1, RFC 1122).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod backlog;
mod blocked_device;
mod clock_jumps;
#[path = "../common/mod.rs"]
mod common;
mod connect;
mod connections;
mod divert;
mod extremes;
mod flags;
mod flow_labels;
mod icmp_errors;
mod listen;
mod loopback;
mod many_at_once;
mod martians;
mod own_control;
mod ports;
mod reuse;
mod unclaimed;
mod urgent;

use std::net::IpAddr;

use common::*;
use ropeway_core::SocketOptions;
use ropeway_core::packet::{Protocol, udp};

fn ip_of(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A TCP segment from anywhere to anywhere.
fn segment(src: &str, dst: &str, seg: &Seg) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    let header =
        header((src.port(), dst.port()), seg, seg.seq.unwrap_or(0), seg.ack.unwrap_or(0), 1000, None);
    tcp_packet(src.ip(), dst.ip(), &header, None, &seg.payload())
}

fn datagram(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    let params = ip_params(src.ip(), dst.ip(), Protocol::UDP);
    udp::emit(&params, src.port(), dst.port(), data).unwrap()
}

fn sharing(reuse_addr: bool, reuse_port: bool) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.reuse_addr = reuse_addr;
    options.reuse_port = reuse_port;
    options
}
