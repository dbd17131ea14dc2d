//! The IPv4 header (RFC 791 3.1).

use std::net::{IpAddr, Ipv4Addr};

use super::{Fragment, IpPacket, IpParams, Protocol};
use crate::words::put_words;
use crate::{Checksum, IpError};

/// Bytes of a header without options.
pub(crate) const HEADER_LEN: usize = 20;
/// Version 4, and a header of 5 words.
const VERSION_IHL: u8 = 0x45;
/// Where the protocol number stands.
pub(super) const PROTOCOL_OFFSET: usize = 9;
pub(crate) const TOTAL_LENGTH_OFFSET: usize = 2;
pub(crate) const IDENT_OFFSET: usize = 4;
pub(crate) const FRAGMENT_OFFSET: usize = 6;
const CHECKSUM_OFFSET: usize = 10;

/// The flags and the fragment offset share two bytes.
const DONT_FRAGMENT: u16 = 1 << 14;
const MORE_FRAGMENTS: u16 = 1 << 13;
/// In units of 8 bytes.
const OFFSET_MASK: u16 = MORE_FRAGMENTS - 1;

#[inline]
pub(super) fn parse(packet: &[u8]) -> Result<IpPacket, IpError> {
    // Not through pnet's view: its getters of 32-bit fields are calls, and this is the data path.
    let fixed = packet.first_chunk::<HEADER_LEN>().ok_or(IpError::Truncated)?;
    let &[version_ihl, traffic_class, l0, l1, i0, i1, p0, p1, hop_limit, protocol, _, _, addresses @ ..] =
        fixed;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([l0, l1]));
    if header_len < HEADER_LEN {
        return Err(IpError::BadHeaderLength);
    }
    if total_len < header_len {
        return Err(IpError::BadTotalLength);
    }
    if total_len > packet.len() {
        return Err(IpError::Truncated);
    }
    // RFC 1122 3.2.1.2: a host MUST verify the header checksum and silently discard a packet with a
    // bad one.
    let mut checksum = Checksum::new();
    checksum.add_bytes(fixed);
    if header_len > HEADER_LEN {
        add_options(&mut checksum, packet, header_len);
    }
    if checksum.finish() != 0 {
        return Err(IpError::BadChecksum);
    }
    let place = u16::from_be_bytes([p0, p1]);
    let fragment = if place & (MORE_FRAGMENTS | OFFSET_MASK) != 0 {
        Some(self::place(place).check(header_len, total_len, TOTAL_LENGTH_OFFSET, FRAGMENT_OFFSET)?)
    } else {
        None
    };
    Ok(IpPacket {
        src: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        dst: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        protocol: Protocol(protocol),
        hop_limit,
        traffic_class,
        // RFC 9293 3.9.2 MUST-50: options are passed over.
        payload: header_len..total_len,
        fragment,
        dont_fragment: place & DONT_FRAGMENT != 0,
        ident: u32::from(u16::from_be_bytes([i0, i1])),
        has_options: header_len > HEADER_LEN,
    })
}

/// Options are rare: they are kept out of the way of [`parse`].
#[cold]
fn add_options(checksum: &mut Checksum, packet: &[u8], header_len: usize) {
    checksum.add_bytes(packet.get(HEADER_LEN..header_len).unwrap_or_default());
}

/// What the flags and the fragment offset say.
pub(crate) fn place(bits: u16) -> Fragment {
    Fragment { offset: (bits & OFFSET_MASK) * 8, more: bits & MORE_FRAGMENTS != 0 }
}

/// The flags and the offset of a fragment that routers may cut again.
pub(crate) fn place_bits(place: Fragment) -> u16 {
    let more = if place.more { MORE_FRAGMENTS } else { 0 };
    (place.offset / 8) | more
}

/// Makes the checksum of a whole header right.
pub(crate) fn finish(header: &mut [u8]) {
    let Some(field) = header.get_mut(CHECKSUM_OFFSET..).and_then(<[u8]>::first_chunk_mut) else { return };
    *field = [0; 2];
    let mut checksum = Checksum::new();
    checksum.add_bytes(header);
    if let Some(field) = header.get_mut(CHECKSUM_OFFSET..).and_then(<[u8]>::first_chunk_mut) {
        *field = checksum.finish().to_be_bytes();
    }
}

/// The header of all fragments but the first, with those options that say so in their highest bit (RFC 791 3.1-1).
pub(crate) fn header_of_later_fragments(first: &[u8]) -> Vec<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let (fixed, mut options) = first.split_at_checked(HEADER_LEN).unwrap_or_default();
    let mut header = fixed.to_vec();
    while let Some(&kind) = options.first().filter(|kind| **kind != END) {
        let len = match kind {
            NO_OPERATION => 1,
            _ => options.get(1).map_or(0, |len| usize::from(*len)),
        };
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len > 0) else { break };
        if kind & COPIED != 0 {
            header.extend_from_slice(option);
        }
        options = rest;
    }
    header.resize(header.len().next_multiple_of(4), END);
    let words = u8::try_from(header.len() / 4).unwrap_or_default();
    if let Some(version_ihl) = header.first_mut() {
        *version_ihl = *version_ihl & 0xf0 | words & 0x0f;
    }
    header
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
    let total_len = u16::try_from(payload_len.saturating_add(HEADER_LEN)).unwrap_or(u16::MAX);
    let place = if params.dont_fragment { DONT_FRAGMENT } else { 0 };
    let [version, tos] = [VERSION_IHL, params.traffic_class].map(u32::from);
    let [hop_limit, protocol] = [params.hop_limit, params.protocol.0].map(u32::from);
    let words = [
        version << 24 | tos << 16 | u32::from(total_len),
        u32::from(params.ident) << 16 | u32::from(place),
        hop_limit << 24 | protocol << 16, // and the checksum
        src.to_bits(),
        dst.to_bits(),
    ];
    let mut checksum = Checksum::new();
    words.iter().for_each(|word| checksum.add_u32(*word));
    let [first, second, third, src, dst] = words;
    put_words(header, [first, second, third | u32::from(checksum.finish()), src, dst]);
    HEADER_LEN
}
