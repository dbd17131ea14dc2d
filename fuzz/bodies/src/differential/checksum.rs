//! Checksums, added up here word by word: what the codecs say of them is held against this.

use std::net::IpAddr;

use ropeway_packet::IpPacket;

use super::be16;

/// Whether the checksum in `bytes` is right: RFC 1071, word by word. `start`: the sum of what goes before.
pub(super) fn is_right(bytes: &[u8], start: u64) -> bool {
    let mut sum = start;
    for word in bytes.chunks(2) {
        sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum == 0xffff
}

/// The same with the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
pub(super) fn is_right_with_pseudo_header(ip: &IpPacket, bytes: &[u8]) -> bool {
    let words = |octets: &[u8]| -> u64 { octets.chunks(2).map(|word| u64::from(be16(word))).sum() };
    let addresses = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => words(&src.octets()) + words(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => words(&src.octets()) + words(&dst.octets()),
        _ => unreachable!("one family"),
    };
    is_right(bytes, addresses + u64::from(ip.protocol.0) + bytes.len() as u64)
}

/// What smoltcp says of a checksum. Under a fuzzer it calls every checksum right.
pub(super) fn is_same(ours: bool, theirs: bool) {
    assert!(cfg!(fuzzing) || ours == theirs, "smoltcp says {theirs} of a checksum");
}
