//! ICMP (RFC 792) and ICMPv6 (RFC 4443), in one vocabulary.
//!
//! ```
//! use std::net::IpAddr;
//!
//! use ropeway_packet::{IcmpMessage, icmp, ip};
//!
//! let us: IpAddr = "2001:db8::1".parse()?;
//! let peer: IpAddr = "2001:db8::2".parse()?;
//! let request = icmp::emit_echo_request(peer, us, 7, 1, b"ping", 64);
//!
//! let ip = ip::parse(&request)?;
//! if let IcmpMessage::EchoRequest { ident, seq, data } = icmp::parse(&request, &ip)? {
//!     let reply = icmp::emit_echo_reply(ip.dst, ip.src, ident, seq, &request[data], 64);
//!     assert_eq!(ip::parse(&reply)?.dst, peer);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod emit;
mod quote;
mod wire;

use std::net::IpAddr;
use std::ops::Range;

use crate::{IcmpError, IpPacket, Protocol, checksum};
use wire::{v4, v6};

pub use emit::{IcmpErrorKind, emit_echo_reply, emit_echo_request, emit_error};
pub use quote::{Quoted, QuotedIp, is_error, parse_quote};

/// Bytes of the header of every message that is understood here.
const HEADER_LEN: usize = 8;

/// What an ICMP message says, whichever the family. Ranges are offsets in the packet given to
/// [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcmpMessage {
    /// Asks for an [`EchoReply`](Self::EchoReply).
    EchoRequest {
        /// Tells this series of requests from others.
        ident: u16,
        /// The number within the series.
        seq: u16,
        /// Bytes to be returned.
        data: Range<usize>,
    },
    /// Answers an [`EchoRequest`](Self::EchoRequest).
    EchoReply {
        /// The request's.
        ident: u16,
        /// The request's.
        seq: u16,
        /// The request's.
        data: Range<usize>,
    },
    /// The quoted packet did not reach its destination.
    Unreachable {
        /// Why.
        code: UnreachableCode,
        /// The packet at fault, or its beginning: see [`parse_quote`].
        quote: Range<usize>,
    },
    /// The quoted packet was too long for a link: ICMPv6 Packet Too Big (RFC 4443 3.2), or ICMP
    /// Fragmentation Needed (RFC 1191 4).
    PacketTooBig {
        /// The bytes that an IP packet may have on that link; 0 if the router, an old one, did not
        /// say.
        mtu: u32,
        /// The packet at fault, or its beginning: see [`parse_quote`].
        quote: Range<usize>,
    },
    /// The quoted packet ran out of hops (code 0), or its fragments did not arrive in time (code
    /// 1).
    TimeExceeded {
        /// The raw code.
        code: u8,
        /// The packet at fault, or its beginning: see [`parse_quote`].
        quote: Range<usize>,
    },
    /// Something in the quoted packet's header was not understood.
    ParameterProblem {
        /// The raw code, which differs between the families.
        code: u8,
        /// The offset of the problem in the quoted packet, in bytes.
        pointer: u32,
        /// The packet at fault, or its beginning: see [`parse_quote`].
        quote: Range<usize>,
    },
    /// The quoted packet met congestion. Nobody sends this any more, and it must be ignored for TCP
    /// (RFC 6633).
    SourceQuench {
        /// The packet at fault, or its beginning: see [`parse_quote`].
        quote: Range<usize>,
    },
    /// Any other message: redirects, router and neighbour discovery, and all the rest.
    Other {
        /// The raw type.
        kind: u8,
        /// The raw code.
        code: u8,
    },
}

/// Why a destination is unreachable: the meaning, and the code that said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreachableCode {
    /// The meaning.
    pub kind: UnreachableKind,
    /// The raw code, whose meaning depends on the family.
    pub raw: u8,
}

/// Why a destination is unreachable.
///
/// ICMP's "fragmentation needed" is not here: it is [`IcmpMessage::PacketTooBig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableKind {
    /// No route to the network: IPv4 codes 0, 6 and 11, IPv6 code 0.
    Network,
    /// The host does not answer: IPv4 codes 1, 7, 8 and 12, IPv6 codes 2 and 3.
    Host,
    /// The host does not know the protocol: IPv4 code 2. IPv6 says so with a parameter problem of
    /// code 1.
    Protocol,
    /// Nobody listens on the port: IPv4 code 3, IPv6 code 4.
    Port,
    /// A source route cannot be followed: IPv4 code 5, IPv6 code 7.
    SourceRouteFailed,
    /// A filter or policy forbids it: IPv4 codes 9, 10, 13, 14 and 15, IPv6 codes 1, 5 and 6.
    AdminProhibited,
    /// Any other code.
    Other(u8),
}

impl UnreachableKind {
    /// RFC 792, RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1; code 4 is [`IcmpMessage::PacketTooBig`].
    const fn from_v4(code: u8) -> Self {
        match code {
            0 | 6 | 11 => Self::Network,
            1 | 7 | 8 | 12 => Self::Host,
            2 => Self::Protocol,
            3 => Self::Port,
            5 => Self::SourceRouteFailed,
            9 | 10 | 13 | 14 | 15 => Self::AdminProhibited,
            code => Self::Other(code),
        }
    }

    /// RFC 4443 3.1, and RFC 6554 for code 7.
    const fn from_v6(code: u8) -> Self {
        match code {
            0 => Self::Network,
            1 | 5 | 6 => Self::AdminProhibited,
            2 | 3 => Self::Host,
            4 => Self::Port,
            7 => Self::SourceRouteFailed,
            code => Self::Other(code),
        }
    }

    /// The first of the codes that mean this.
    const fn to_v4(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 1,
            Self::Protocol => 2,
            Self::Port => 3,
            Self::SourceRouteFailed => 5,
            Self::AdminProhibited => 13,
            Self::Other(code) => code,
        }
    }

    /// The code that means this; ICMPv6 says `Protocol` in another way.
    const fn to_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::AdminProhibited => 1,
            Self::Host | Self::Protocol => 3,
            Self::Port => 4,
            Self::SourceRouteFailed => 7,
            Self::Other(code) => code,
        }
    }
}

/// Reads the ICMP message in `packet`, whose IP header is `ip`, and verifies its checksum.
///
/// # Errors
///
/// All of [`IcmpError`].
pub fn parse(packet: &[u8], ip: &IpPacket) -> Result<IcmpMessage, IcmpError> {
    let read = match (ip.src, ip.protocol) {
        (IpAddr::V4(_), Protocol::ICMP) => read_v4,
        (IpAddr::V6(_), Protocol::ICMPV6) => read_v6,
        _ => return Err(IcmpError::NotIcmp),
    };
    if ip.fragment.is_some() {
        return Err(IcmpError::Fragment);
    }
    let bytes = ip.payload_of(packet);
    // RFC 792 and RFC 4443 2.1: type, code and checksum are common to all messages. The ones that
    // are understood have 8 bytes at least; the others here too.
    let &header = bytes.first_chunk::<HEADER_LEN>().ok_or(IcmpError::Truncated)?;
    if !checksum::verify(ip.src, ip.dst, ip.protocol, bytes) {
        return Err(IcmpError::BadChecksum);
    }
    Ok(read(header, ip.payload.start + HEADER_LEN..ip.payload.end))
}

/// `body` is where the bytes behind the header stand.
fn read_v4(header: [u8; HEADER_LEN], body: Range<usize>) -> IcmpMessage {
    let [kind, code, _, _, b4, b5, b6, b7] = header;
    let ident = u16::from_be_bytes([b4, b5]);
    let seq = u16::from_be_bytes([b6, b7]);
    // RFC 4884 4.1: the length of the quote in words of 32 bits, if an extension follows it.
    let quoted = |body| bounded(body, usize::from(b5) * 4);
    match kind {
        v4::ECHO_REQUEST => IcmpMessage::EchoRequest { ident, seq, data: body },
        v4::ECHO_REPLY => IcmpMessage::EchoReply { ident, seq, data: body },
        v4::UNREACHABLE if code == v4::FRAGMENTATION_NEEDED => {
            IcmpMessage::PacketTooBig { mtu: u32::from(seq), quote: quoted(body) }
        }
        v4::UNREACHABLE => IcmpMessage::Unreachable {
            code: UnreachableCode { kind: UnreachableKind::from_v4(code), raw: code },
            quote: quoted(body),
        },
        v4::TIME_EXCEEDED => IcmpMessage::TimeExceeded { code, quote: quoted(body) },
        v4::PARAMETER_PROBLEM => {
            IcmpMessage::ParameterProblem { code, pointer: u32::from(b4), quote: quoted(body) }
        }
        v4::SOURCE_QUENCH => IcmpMessage::SourceQuench { quote: body },
        kind => IcmpMessage::Other { kind, code },
    }
}

/// `body` is where the bytes behind the header stand.
fn read_v6(header: [u8; HEADER_LEN], body: Range<usize>) -> IcmpMessage {
    let [kind, code, _, _, b4, b5, b6, b7] = header;
    let ident = u16::from_be_bytes([b4, b5]);
    let seq = u16::from_be_bytes([b6, b7]);
    let word = u32::from_be_bytes([b4, b5, b6, b7]);
    // RFC 4884 4.2: the same in words of 64 bits, in another place.
    let quoted = |body| bounded(body, usize::from(b4) * 8);
    match kind {
        v6::ECHO_REQUEST => IcmpMessage::EchoRequest { ident, seq, data: body },
        v6::ECHO_REPLY => IcmpMessage::EchoReply { ident, seq, data: body },
        v6::UNREACHABLE => IcmpMessage::Unreachable {
            code: UnreachableCode { kind: UnreachableKind::from_v6(code), raw: code },
            quote: quoted(body),
        },
        v6::PACKET_TOO_BIG => IcmpMessage::PacketTooBig { mtu: word, quote: body },
        v6::TIME_EXCEEDED => IcmpMessage::TimeExceeded { code, quote: quoted(body) },
        v6::PARAMETER_PROBLEM => IcmpMessage::ParameterProblem { code, pointer: word, quote: body },
        kind => IcmpMessage::Other { kind, code },
    }
}

/// The first `len` bytes of the range, or all of it if `len` is 0, "not said", or beyond it.
fn bounded(body: Range<usize>, len: usize) -> Range<usize> {
    if len == 0 || len > body.len() { body } else { body.start..body.start + len }
}

#[cfg(test)]
mod tests;
