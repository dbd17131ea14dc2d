//! IP fragments, in and out (RFC 791 3.2, RFC 1122 3.3.2, RFC 8200 4.5): whatever they carry is taken whole or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

#[path = "../common/mod.rs"]
mod common;
mod floods;
mod odd;
mod overlaps;
mod sending;
mod time;
mod whole;

use common::*;
use ropeway_core::packet::icmp::emit_echo_request;
use ropeway_core::packet::{IcmpMessage, Protocol, icmp, ip};

/// Both families: whether it is IPv6, who sends, and who we are.
const BOTH: [(bool, &str, &str); 2] = [(false, "10.0.0.1", "10.0.0.2"), (true, "fd00::1", "fd00::2")];

/// An echo request with so many bytes of data.
fn echo((_, src, dst): (bool, &str, &str), len: usize) -> Vec<u8> {
    emit_echo_request(src.parse().unwrap(), dst.parse().unwrap(), 0x1234, 7, &pattern(0, len), 64)
}

/// A fragment of whatever protocol.
fn piece(
    (is_v6, src, dst): (bool, &str, &str),
    protocol: Protocol,
    (ident, offset, more): (u32, usize, bool),
    data: &[u8],
) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    if is_v6 {
        let place = (offset as u16 | u16::from(more)).to_be_bytes();
        let header = [&[protocol.0, 0], &place[..], &ident.to_be_bytes()].concat();
        return ip_packet(src, dst, Protocol::IPV6_FRAGMENT, &[&header, data].concat());
    }
    let mut packet = ip_packet(src, dst, protocol, data);
    packet[4..6].copy_from_slice(&(ident as u16).to_be_bytes());
    packet[6..8].copy_from_slice(&((offset as u16 / 8) | (u16::from(more) << 13)).to_be_bytes());
    fix_ip_checksum(&mut packet);
    packet
}

/// The data of an echo reply.
#[track_caller]
fn echoed(packet: &[u8]) -> Vec<u8> {
    let parsed = ip::parse(packet).unwrap();
    match icmp::parse(packet, &parsed) {
        Ok(IcmpMessage::EchoReply { ident: 0x1234, seq: 7, data }) => packet[data].to_vec(),
        other => panic!("no such reply: {other:?}"),
    }
}

/// Everything that waited is gone.
#[track_caller]
fn assert_nothing_waits(lab: &Lab) {
    assert_eq!(lab.stack.memory().fragments, 0);
    assert_eq!(lab.next_deadline(), None);
}

fn sent(lab: &mut Lab) -> Vec<Vec<u8>> {
    lab.drain().into_iter().map(|sent| sent.packet.to_vec()).collect()
}
