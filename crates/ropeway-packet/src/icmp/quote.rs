//! What an ICMP error quotes of the packet that caused it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ip::v6::quoted_upper_layer;
use crate::{Protocol, SeqNum};

/// RFC 792, RFC 4443 4.2
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// The beginning of a packet that an ICMP error quotes. Nothing in it is verified: anyone may have
/// written it. The quoted packet was sent by the receiver of the error, so `src` is the local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// From its IP header.
    pub ip: QuotedIp,
    /// The source and the destination port, if the packet is TCP or UDP and the quote reaches that
    /// far.
    pub ports: Option<(u16, u16)>,
    /// The sequence number, if the packet is TCP and the quote reaches that far.
    pub seq: Option<SeqNum>,
    /// The length and the checksum, if the packet is UDP and the quote reaches that far.
    pub datagram: Option<(u16, u16)>,
    /// The identifier and the sequence number, if the packet is the reply to an echo request and the quote reaches that far.
    pub echo_reply: Option<(u16, u16)>,
    /// The IPv4 identification, or the IPv6 flow label.
    pub label: u32,
}

/// The IP header of a quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedIp {
    /// The sender of the packet at fault.
    pub src: IpAddr,
    /// Whom it was meant for.
    pub dst: IpAddr,
    /// What it carried. If the quote ends within the IPv6 extension headers: the first one that is
    /// cut.
    pub protocol: Protocol,
    /// The length of the packet at fault in bytes, as quoted: what to guess a path MTU from if
    /// the router did not say (RFC 1191 5).
    pub total_len: u32,
}

/// Reads the quote of an ICMP error. `None` if it holds no whole IP header.
///
/// A quote may end anywhere; 8 bytes behind an IPv4 header are all that RFC 792 promises. Its
/// lengths and checksums describe the packet at fault, perhaps changed by routers on the way, and
/// are not checked.
pub fn parse_quote(quote: &[u8]) -> Option<Quoted> {
    let (ip, label, upper) = match quote.first()? >> 4 {
        4 => v4(quote)?,
        6 => v6(quote)?,
        _ => return None,
    };
    let upper = upper.and_then(|at| quote.get(at..)).unwrap_or_default();
    let ports = upper
        .first_chunk::<4>()
        .filter(|_| matches!(ip.protocol, Protocol::TCP | Protocol::UDP))
        .map(|&[s0, s1, d0, d1]| (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])));
    let seq = upper
        .first_chunk::<8>()
        .filter(|_| ip.protocol == Protocol::TCP)
        .map(|&[_, _, _, _, seq @ ..]| SeqNum::new(u32::from_be_bytes(seq)));
    let datagram = upper
        .first_chunk::<8>()
        .filter(|_| ip.protocol == Protocol::UDP)
        .map(|&[_, _, _, _, l0, l1, c0, c1]| (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([c0, c1])));
    let echo_reply = upper
        .first_chunk::<8>()
        .filter(|upper| {
            matches!(
                (ip.protocol, upper[0]),
                (Protocol::ICMP, ECHO_REPLY_V4) | (Protocol::ICMPV6, ECHO_REPLY_V6)
            )
        })
        .map(|&[_, _, _, _, i0, i1, s0, s1]| (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([s0, s1])));
    Some(Quoted { ip, ports, seq, datagram, echo_reply, label })
}

/// Whether a packet, of which this may be the beginning, is an ICMP error or a redirect. Nobody may be told of what is wrong with
/// one (RFC 1122 3.2.2, RFC 4443 2.4 e). Of what cannot be seen, as in a later fragment, that is taken to be so.
pub fn is_error(packet: &[u8]) -> bool {
    let quoted = match packet.first().map(|byte| byte >> 4) {
        Some(4) => v4(packet),
        Some(6) => v6(packet),
        _ => None,
    };
    let Some((ip, _, upper)) = quoted else { return true };
    let kind = upper.and_then(|at| packet.get(at));
    match ip.protocol {
        Protocol::ICMP => kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
        Protocol::ICMPV6 => kind.is_none_or(|kind| matches!(kind, ..128 | 137)),
        _ => false,
    }
}

/// The header, its label, and where the upper layer starts, unless this is a later fragment.
fn v4(quote: &[u8]) -> Option<(QuotedIp, u32, Option<usize>)> {
    let &[
        first,
        _,
        len_hi,
        len_lo,
        ident_hi,
        ident_lo,
        place_hi,
        place_lo,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = quote.first_chunk::<20>()?;
    let header_len = usize::from(first & 0x0f) * 4;
    if header_len < 20 {
        return None;
    }
    let ip = QuotedIp {
        src: Ipv4Addr::new(s0, s1, s2, s3).into(),
        dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
        protocol: Protocol(protocol),
        total_len: u32::from(u16::from_be_bytes([len_hi, len_lo])),
    };
    let later_fragment = u16::from_be_bytes([place_hi, place_lo]) & 0x1fff != 0;
    let ident = u32::from(u16::from_be_bytes([ident_hi, ident_lo]));
    Some((ip, ident, (!later_fragment).then_some(header_len)))
}

/// The same.
fn v6(quote: &[u8]) -> Option<(QuotedIp, u32, Option<usize>)> {
    let (&[_, label_0, label_1, label_2, len_hi, len_lo, next, _], rest) = quote.split_first_chunk::<8>()?;
    let (&src, rest) = rest.split_first_chunk::<16>()?;
    let &dst = rest.first_chunk::<16>()?;
    let (protocol, upper) = quoted_upper_layer(quote, Protocol(next));
    let ip = QuotedIp {
        src: Ipv6Addr::from(src).into(),
        dst: Ipv6Addr::from(dst).into(),
        protocol,
        total_len: 40 + u32::from(u16::from_be_bytes([len_hi, len_lo])),
    };
    Some((ip, u32::from_be_bytes([0, label_0 & 0x0f, label_1, label_2]), upper))
}
