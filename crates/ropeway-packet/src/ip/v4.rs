//! The IPv4 header (RFC 791 3.1).

use std::net::{IpAddr, Ipv4Addr};

use pnet_packet::ipv4::Ipv4Packet;

use super::{Fragment, IpPacket, IpParams, Protocol};
use crate::{Checksum, IpError};

/// Bytes of a header without options.
pub(super) const HEADER_LEN: usize = 20;
/// Where the protocol number stands.
pub(super) const PROTOCOL_OFFSET: usize = 9;
const TOTAL_LENGTH_OFFSET: usize = 2;
const FRAGMENT_OFFSET: usize = 6;

const DONT_FRAGMENT: u8 = 0b010;
const MORE_FRAGMENTS: u8 = 0b001;

#[inline]
pub(super) fn parse(packet: &[u8]) -> Result<IpPacket, IpError> {
    let fields = Ipv4Packet::new(packet).ok_or(IpError::Truncated)?;
    let header_len = usize::from(fields.get_header_length()) * 4;
    let total_len = usize::from(fields.get_total_length());
    if header_len < HEADER_LEN {
        return Err(IpError::BadHeaderLength);
    }
    if total_len < header_len {
        return Err(IpError::BadTotalLength);
    }
    if total_len > packet.len() {
        return Err(IpError::Truncated);
    }
    // RFC 1122 3.2.1.2: a host MUST verify the header checksum and silently discard a packet with a bad one.
    let mut checksum = Checksum::new();
    checksum.add_bytes(packet.get(..header_len).ok_or(IpError::BadHeaderLength)?);
    if checksum.finish() != 0 {
        return Err(IpError::BadChecksum);
    }
    let flags = fields.get_flags();
    let place = Fragment {
        offset: fields.get_fragment_offset() * 8,
        more: flags & MORE_FRAGMENTS != 0,
    };
    let fragment = if place.more || place.offset != 0 {
        Some(place.check(total_len - header_len, TOTAL_LENGTH_OFFSET, FRAGMENT_OFFSET)?)
    } else {
        None
    };
    Ok(IpPacket {
        src: IpAddr::V4(fields.get_source()),
        dst: IpAddr::V4(fields.get_destination()),
        protocol: Protocol(fields.get_next_level_protocol().0),
        hop_limit: fields.get_ttl(),
        traffic_class: fields.get_dscp() << 2 | fields.get_ecn(),
        payload: header_len..total_len,
        fragment,
        dont_fragment: flags & DONT_FRAGMENT != 0,
        ident: u32::from(fields.get_identification()),
        has_options: header_len > HEADER_LEN,
    })
}

#[inline]
pub(super) fn emit(params: &IpParams, dst: Ipv4Addr, payload_len: usize, out: &mut [u8]) -> usize {
    let Some(header) = out.first_chunk_mut::<HEADER_LEN>() else {
        return 0;
    };
    let src = match params.src {
        IpAddr::V4(src) => src,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let [len_hi, len_lo] = u16::try_from(payload_len.saturating_add(HEADER_LEN))
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let [id_hi, id_lo] = params.ident.to_be_bytes();
    let flags = if params.dont_fragment {
        DONT_FRAGMENT << 5
    } else {
        0
    };
    let [s0, s1, s2, s3] = src.octets();
    let [d0, d1, d2, d3] = dst.octets();
    *header = [
        0x45,
        params.traffic_class,
        len_hi,
        len_lo, //
        id_hi,
        id_lo,
        flags,
        0, //
        params.hop_limit,
        params.protocol.0,
        0,
        0, //
        s0,
        s1,
        s2,
        s3, //
        d0,
        d1,
        d2,
        d3,
    ];
    let mut checksum = Checksum::new();
    checksum.add_bytes(header);
    [header[10], header[11]] = checksum.finish().to_be_bytes();
    HEADER_LEN
}
