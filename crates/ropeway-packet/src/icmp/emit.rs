//! Messages to send, as whole IP packets.

use std::net::IpAddr;

use super::wire::{v4, v6};
use super::{HEADER_LEN, UnreachableKind};
use crate::checksum::pseudo_header;
use crate::ip::{protocol_offset, v6 as v6_ip};
use crate::{Checksum, IpParams, Protocol};

/// The bytes that an ICMP error over IPv4 may have in all (RFC 1812 4.3.2.3).
const V4_ERROR_LEN: usize = 576;
/// The bytes that an ICMPv6 error may have in all: the least MTU (RFC 4443 2.4 c).
const V6_ERROR_LEN: usize = 1280;

/// What an ICMP error to send reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// The packet cannot be delivered. Over IPv6, [`UnreachableKind::Protocol`] is sent as a
    /// parameter problem that points to the number of the protocol (RFC 4443 3.4).
    Unreachable(UnreachableKind),
    /// The packet is longer than the link's MTU in bytes. Over IPv4 the field ends at 65535.
    PacketTooBig {
        /// The link's MTU in bytes.
        mtu: u32,
    },
    /// The packet ran out of hops (code 0), or fragments of it are missing (code 1).
    TimeExceeded {
        /// The raw code.
        code: u8,
    },
    /// A field of the packet's header is not understood.
    ParameterProblem {
        /// The raw code.
        code: u8,
        /// Where in the packet the field stands, in bytes. Over IPv4 the field ends at 255.
        pointer: u32,
    },
}

/// The IP packet with the answer from `src` to an echo request from `dst`: `ident`, `seq` and
/// `data` are the request's.
///
/// The addresses are of one family (see [`IpParams`]). Data that exceeds an IP packet is cut.
pub fn emit_echo_reply(
    src: IpAddr,
    dst: IpAddr,
    ident: u16,
    seq: u16,
    data: &[u8],
    hop_limit: u8,
) -> Vec<u8> {
    let kind = if dst.is_ipv4() { v4::ECHO_REPLY } else { v6::ECHO_REPLY };
    emit_echo(src, dst, kind, ident, seq, data, hop_limit)
}

/// The IP packet with an echo request from `src` to `dst`.
///
/// The addresses are of one family (see [`IpParams`]). Data that exceeds an IP packet is cut.
pub fn emit_echo_request(
    src: IpAddr,
    dst: IpAddr,
    ident: u16,
    seq: u16,
    data: &[u8],
    hop_limit: u8,
) -> Vec<u8> {
    let kind = if dst.is_ipv4() { v4::ECHO_REQUEST } else { v6::ECHO_REQUEST };
    emit_echo(src, dst, kind, ident, seq, data, hop_limit)
}

fn emit_echo(
    src: IpAddr,
    dst: IpAddr,
    kind: u8,
    ident: u16,
    seq: u16,
    data: &[u8],
    hop_limit: u8,
) -> Vec<u8> {
    let [i0, i1] = ident.to_be_bytes();
    let [s0, s1] = seq.to_be_bytes();
    // The length of an IPv6 packet does not count its header.
    let limit = usize::from(u16::MAX) + if dst.is_ipv4() { 0 } else { v6_ip::HEADER_LEN };
    emit(src, dst, [kind, 0, 0, 0, i0, i1, s0, s1], data, limit, hop_limit)
}

/// The IP packet with an error from `src` to `dst`, the sender of `offending`, which is the whole
/// packet at fault from its IP header on. As much of it is quoted as fits into 576 bytes (IPv4) or
/// 1280 (IPv6).
///
/// Whether an error may be sent at all is for the caller to decide: never about an ICMP error, a
/// broadcast or multicast, a fragment other than the first (RFC 1122 3.2.2, RFC 4443 2.4 e).
pub fn emit_error(src: IpAddr, dst: IpAddr, kind: IcmpErrorKind, offending: &[u8], hop_limit: u8) -> Vec<u8> {
    let (header, limit) = match dst {
        IpAddr::V4(_) => (error_v4(kind), V4_ERROR_LEN),
        IpAddr::V6(_) => (error_v6(kind, offending), V6_ERROR_LEN),
    };
    emit(src, dst, header, offending, limit, hop_limit)
}

fn error_v4(kind: IcmpErrorKind) -> [u8; HEADER_LEN] {
    match kind {
        IcmpErrorKind::Unreachable(kind) => [v4::UNREACHABLE, kind.to_v4(), 0, 0, 0, 0, 0, 0],
        IcmpErrorKind::PacketTooBig { mtu } => {
            let [hi, lo] = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
            [v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, 0, 0, 0, 0, hi, lo]
        }
        IcmpErrorKind::TimeExceeded { code } => [v4::TIME_EXCEEDED, code, 0, 0, 0, 0, 0, 0],
        IcmpErrorKind::ParameterProblem { code, pointer } => {
            [v4::PARAMETER_PROBLEM, code, 0, 0, u8::try_from(pointer).unwrap_or(u8::MAX), 0, 0, 0]
        }
    }
}

fn error_v6(kind: IcmpErrorKind, offending: &[u8]) -> [u8; HEADER_LEN] {
    let (kind, code, word) = match kind {
        IcmpErrorKind::Unreachable(UnreachableKind::Protocol) => {
            let pointer = protocol_offset(offending).and_then(|offset| u32::try_from(offset).ok());
            (v6::PARAMETER_PROBLEM, v6::UNRECOGNIZED_NEXT_HEADER, pointer.unwrap_or(0))
        }
        IcmpErrorKind::Unreachable(kind) => (v6::UNREACHABLE, kind.to_v6(), 0),
        IcmpErrorKind::PacketTooBig { mtu } => (v6::PACKET_TOO_BIG, 0, mtu),
        IcmpErrorKind::TimeExceeded { code } => (v6::TIME_EXCEEDED, code, 0),
        IcmpErrorKind::ParameterProblem { code, pointer } => (v6::PARAMETER_PROBLEM, code, pointer),
    };
    let [w0, w1, w2, w3] = word.to_be_bytes();
    [kind, code, 0, 0, w0, w1, w2, w3]
}

/// Puts a message together: its header, without the checksum, and of its body what fits into a
/// packet of `limit` bytes.
fn emit(
    src: IpAddr,
    dst: IpAddr,
    mut header: [u8; HEADER_LEN],
    body: &[u8],
    limit: usize,
    hop_limit: u8,
) -> Vec<u8> {
    let params = IpParams {
        src,
        dst,
        protocol: if dst.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 },
        hop_limit,
        // RFC 1122 3.2.2: errors are sent with normal (zero) TOS bits.
        traffic_class: 0,
        // RFC 6864 4.1: the identification of a packet that may not be fragmented means nothing.
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let ip_len = params.header_len();
    let body = body.get(..limit - ip_len - HEADER_LEN).unwrap_or(body);
    let len = HEADER_LEN + body.len();
    let mut sum = match dst {
        IpAddr::V4(_) => Checksum::new(),
        // RFC 4443 2.3.
        IpAddr::V6(_) => pseudo_header(src, dst, params.protocol, u32::try_from(len).unwrap_or(u32::MAX)),
    };
    sum.add_bytes(&header);
    sum.add_bytes(body);
    [header[2], header[3]] = sum.finish().to_be_bytes();

    let mut packet = Vec::with_capacity(ip_len + len);
    packet.resize(ip_len, 0);
    params.emit(len, &mut packet);
    packet.extend_from_slice(&header);
    packet.extend_from_slice(body);
    packet
}
