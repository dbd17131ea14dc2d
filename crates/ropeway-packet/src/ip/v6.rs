//! The IPv6 header and its extension headers (RFC 8200 3 and 4).

use std::net::{IpAddr, Ipv6Addr};

use pnet_packet::ipv6::Ipv6Packet;

use super::{Fragment, IpPacket, IpParams, Protocol};
use crate::{IpError, OptionReport};

/// Bytes of the fixed header.
pub(crate) const HEADER_LEN: usize = 40;
pub(crate) const PAYLOAD_LENGTH_OFFSET: usize = 4;
const NEXT_HEADER_OFFSET: usize = 6;

/// How many extension headers one packet may have. RFC 8200 4.1 foresees at most seven; a longer
/// chain is an attempt to make the receiver work.
pub const MAX_EXTENSION_HEADERS: usize = 8;

#[inline]
pub(super) fn parse(packet: &[u8]) -> Result<IpPacket, IpError> {
    let fields = Ipv6Packet::new(packet).ok_or(IpError::Truncated)?;
    let end = HEADER_LEN + usize::from(fields.get_payload_length());
    let packet = packet.get(..end).ok_or(IpError::Truncated)?;
    let chain = Chain::new(packet, Protocol(fields.get_next_header().0))?;
    Ok(IpPacket {
        src: IpAddr::V6(fields.get_source()),
        dst: IpAddr::V6(fields.get_destination()),
        protocol: chain.protocol,
        hop_limit: fields.get_hop_limit(),
        traffic_class: fields.get_traffic_class(),
        payload: chain.payload..end,
        fragment: chain.fragment,
        dont_fragment: true,
        ident: chain.ident,
        has_options: chain.payload > HEADER_LEN,
    })
}

/// Where the next-header field stands that names the upper layer of `packet`.
pub(super) fn protocol_offset(packet: &[u8]) -> Option<usize> {
    let fields = Ipv6Packet::new(packet)?;
    let end = HEADER_LEN + usize::from(fields.get_payload_length());
    let chain = Chain::new(packet.get(..end)?, Protocol(fields.get_next_header().0)).ok()?;
    Some(chain.protocol_offset)
}

/// The walk along the extension headers, as far as it got.
struct Chain {
    /// What stands at `payload`.
    protocol: Protocol,
    /// Where the next-header field with that number stands.
    protocol_offset: usize,
    /// Where the headers seen so far end.
    payload: usize,
    fragment: Option<Fragment>,
    ident: u32,
}

impl Chain {
    /// Walks the headers of `packet`, which ends where its payload length says; `first` stands
    /// behind the fixed header.
    #[inline]
    fn new(packet: &[u8], first: Protocol) -> Result<Self, IpError> {
        let chain = Self {
            protocol: first,
            protocol_offset: NEXT_HEADER_OFFSET,
            payload: HEADER_LEN,
            fragment: None,
            ident: 0,
        };
        if is_extension(first) { chain.walk(packet) } else { Ok(chain) }
    }

    /// Extension headers are rare: they are kept out of the way of [`parse`].
    #[cold]
    fn walk(mut self, packet: &[u8]) -> Result<Self, IpError> {
        let mut count = 0;
        while is_extension(self.protocol) && self.fragment.is_none() {
            count += 1;
            if count > MAX_EXTENSION_HEADERS {
                return Err(IpError::TooManyExtensions);
            }
            self.step(packet)?;
        }
        Ok(self)
    }

    /// Takes the extension header at `self.payload`.
    fn step(&mut self, packet: &[u8]) -> Result<(), IpError> {
        let offset = self.payload;
        let rest = packet.get(offset..).ok_or(IpError::Truncated)?;
        let (header, next) = extension(self.protocol, rest).ok_or(IpError::Truncated)?;
        match self.protocol {
            // RFC 8200 4: zero in any header but the fixed one is treated as an unrecognised next
            // header.
            Protocol::HOP_BY_HOP if offset != HEADER_LEN => {
                return Err(IpError::UnrecognizedNextHeader { offset: self.protocol_offset });
            }
            Protocol::HOP_BY_HOP | Protocol::IPV6_DESTINATION_OPTIONS => check_options(header, offset)?,
            // RFC 8200 4.4: no routing type is known here, and type 0 is deprecated (RFC 5095).
            // Without segments left the header is ignored; with segments left the packet is
            // discarded.
            Protocol::IPV6_ROUTING if header.get(3) != Some(&0) => {
                return Err(IpError::BadRoutingHeader { offset: offset + 2 });
            }
            Protocol::IPV6_FRAGMENT => self.take_fragment(header, rest.len() - header.len())?,
            _ => {}
        }
        let first_of_several = self.fragment.is_some_and(|place| place.offset == 0);
        if first_of_several && matches!(next, Protocol::HOP_BY_HOP | Protocol::IPV6_FRAGMENT) {
            // Neither may start what fragments carry, and the reassembled packet would not show it.
            return Err(IpError::UnrecognizedNextHeader { offset });
        }
        self.protocol = next;
        self.protocol_offset = offset;
        self.payload = offset + header.len();
        Ok(())
    }

    // RFC 6946 4-2
    /// Reads a fragment header that `len` bytes follow.
    fn take_fragment(&mut self, header: &[u8], len: usize) -> Result<(), IpError> {
        let &[_, _, place_hi, place_lo, ident @ ..] = header.first_chunk::<8>().ok_or(IpError::Truncated)?;
        let place = u16::from_be_bytes([place_hi, place_lo]);
        let place = Fragment { offset: place & !0b111, more: place & 1 != 0 };
        self.ident = u32::from_be_bytes(ident);
        // RFC 6946 4-1, RFC 8200 4.5-9: a fragment header around a whole datagram says nothing; the walk goes on behind
        // it.
        if place.more || place.offset != 0 {
            let before = self.payload - HEADER_LEN;
            let end = before + len;
            self.fragment = Some(place.check(before, end, PAYLOAD_LENGTH_OFFSET, self.payload + 2)?);
        }
        Ok(())
    }
}

/// What stands in front of the fragment header in each fragment of a packet (RFC 8200 4.5).
pub(crate) struct Unfragmentable {
    /// Where it ends.
    pub(crate) end: usize,
    /// Where the field stands that names what follows it, and what it names.
    pub(crate) next_at: usize,
    pub(crate) next: Protocol,
}

/// The part of a packet without fragment header that routers have to see (RFC 8200 4.5-11): all up to a routing header, or to the hop-by-hop
/// options. `None` if the packet is a fragment already, or cut short.
pub(crate) fn unfragmentable(packet: &[u8]) -> Option<Unfragmentable> {
    let mut next = Protocol(*packet.get(NEXT_HEADER_OFFSET)?);
    let mut part = Unfragmentable { end: HEADER_LEN, next_at: NEXT_HEADER_OFFSET, next };
    let mut at = HEADER_LEN;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let kind = next;
        if kind == Protocol::IPV6_FRAGMENT {
            return None;
        }
        let seen = matches!(kind, Protocol::HOP_BY_HOP | Protocol::IPV6_ROUTING);
        if !seen && kind != Protocol::IPV6_DESTINATION_OPTIONS {
            break;
        }
        let (header, after) = extension(kind, packet.get(at..)?)?;
        if seen {
            part = Unfragmentable { end: at + header.len(), next_at: at, next: after };
        }
        (next, at) = (after, at + header.len());
    }
    Some(part)
}

/// Where in a fragment the field stands that names its fragment header, and where that header begins. A header around a whole
/// datagram (RFC 6946) is none.
pub(crate) fn fragment_header(packet: &[u8]) -> Option<(usize, usize)> {
    let (mut next_at, mut at) = (NEXT_HEADER_OFFSET, HEADER_LEN);
    let mut kind = Protocol(*packet.get(next_at)?);
    while is_extension(kind) {
        let (header, after) = extension(kind, packet.get(at..)?)?;
        let &[place_hi, place_lo] = header.get(2..4)?.first_chunk()?;
        if kind == Protocol::IPV6_FRAGMENT && u16::from_be_bytes([place_hi, place_lo]) & !0b110 != 0 {
            return Some((next_at, at));
        }
        (kind, next_at) = (after, at);
        at += header.len();
    }
    None
}

/// Whether the first fragment of a packet has all headers, that of the upper layer included.
pub(crate) fn reaches_upper_layer(packet: &[u8], ip: &IpPacket) -> bool {
    let (mut kind, mut at) = (ip.protocol, ip.payload.start);
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(kind) {
            break;
        }
        let Some((header, next)) = packet.get(at..).and_then(|rest| extension(kind, rest)) else {
            return false;
        };
        (kind, at) = (next, at + header.len());
    }
    let upper = packet.get(at..).unwrap_or_default();
    upper.len()
        >= match kind {
            Protocol::TCP => upper.get(12).map_or(20, |offset| usize::from(offset >> 4) * 4).max(20),
            Protocol::UDP | Protocol::ICMPV6 => 8,
            Protocol::IPV6_NO_NEXT_HEADER => 0,
            _ => 1,
        }
}

/// Whether [`Chain`] looks behind a header of this kind.
#[inline]
fn is_extension(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::HOP_BY_HOP
            | Protocol::IPV6_ROUTING
            | Protocol::IPV6_FRAGMENT
            | Protocol::AUTHENTICATION
            | Protocol::IPV6_DESTINATION_OPTIONS
    )
}

/// Splits the extension header of this kind from the front of `rest`, with the number of what
/// follows it. `None` if it is cut short.
fn extension(kind: Protocol, rest: &[u8]) -> Option<(&[u8], Protocol)> {
    let &[next, len] = rest.first_chunk::<2>()?;
    let len = match kind {
        Protocol::IPV6_FRAGMENT => 8,
        Protocol::AUTHENTICATION => (usize::from(len) + 2) * 4, // RFC 4302 2.2
        _ => (usize::from(len) + 1) * 8,
    };
    Some((rest.get(..len)?, Protocol(next)))
}

/// Checks the options of a hop-by-hop or destination-options header that starts at `offset` of the
/// packet.
fn check_options(header: &[u8], offset: usize) -> Result<(), IpError> {
    const PAD1: u8 = 0;
    let mut at = 2;
    while let Some(&kind) = header.get(at) {
        if kind == PAD1 {
            at += 1;
            continue;
        }
        let end = header.get(at + 1).map(|&len| at + 2 + usize::from(len));
        // RFC 8200 4.2: what to do with an option that is not recognised stands in the top bits of
        // its type.
        let report = match kind >> 6 {
            0b00 => None, // PadN is one of these
            0b01 => Some(OptionReport::Silent),
            0b10 => Some(OptionReport::Always),
            _ => Some(OptionReport::UnlessMulticast),
        };
        if let Some(report) = report {
            return Err(IpError::UnrecognizedOption { offset: offset + at, report });
        }
        match end {
            Some(end) if end <= header.len() => at = end,
            _ => {
                return Err(IpError::BadOption { offset: offset + at + 1 });
            }
        }
    }
    Ok(())
}

/// The upper layer of a quoted packet and where it starts, if the quote reaches that far: the same
/// walk without any judgement, over bytes that may be cut anywhere. `None` for the offset also if
/// only a later fragment was quoted.
pub(crate) fn quoted_upper_layer(quote: &[u8], first: Protocol) -> (Protocol, Option<usize>) {
    let mut protocol = first;
    let mut at = HEADER_LEN;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(protocol) {
            break;
        }
        let Some((header, next)) = quote.get(at..).and_then(|rest| extension(protocol, rest)) else {
            return (protocol, None);
        };
        let later = protocol == Protocol::IPV6_FRAGMENT
            && header
                .get(2..4)
                .is_none_or(|place| place.iter().zip([0xff, 0xf8]).any(|(byte, mask)| byte & mask != 0));
        protocol = next;
        at += header.len();
        if later {
            return (protocol, None);
        }
    }
    (protocol, (!is_extension(protocol)).then_some(at))
}

#[inline]
pub(super) fn emit(params: &IpParams, dst: Ipv6Addr, payload_len: usize, out: &mut [u8]) -> usize {
    let Some((header, _)) = out.split_first_chunk_mut::<HEADER_LEN>() else {
        return 0;
    };
    let src = match params.src {
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
        IpAddr::V6(src) => src,
    };
    let first_word = 6 << 28 | u32::from(params.traffic_class) << 20 | params.flow_label & 0x000f_ffff;
    let [w0, w1, w2, w3] = first_word.to_be_bytes();
    let [len_hi, len_lo] = u16::try_from(payload_len).unwrap_or(u16::MAX).to_be_bytes();
    let (fixed, addresses) = header.split_at_mut(8);
    fixed.copy_from_slice(&[w0, w1, w2, w3, len_hi, len_lo, params.protocol.0, params.hop_limit]);
    let (to_src, to_dst) = addresses.split_at_mut(16);
    to_src.copy_from_slice(&src.octets());
    to_dst.copy_from_slice(&dst.octets());
    HEADER_LEN
}
