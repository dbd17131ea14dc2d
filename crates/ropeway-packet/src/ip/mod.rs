//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
//!
//! ```
//! use ropeway_packet::{IpError, IpParams, Protocol, ip};
//!
//! let params = IpParams {
//!     src: "2001:db8::1".parse()?,
//!     dst: "2001:db8::2".parse()?,
//!     protocol: Protocol::UDP,
//!     hop_limit: 64,
//!     traffic_class: 0,
//!     dont_fragment: true,
//!     ident: 0,
//!     flow_label: 0,
//! };
//! let mut packet = [0; 48];
//! assert_eq!(params.emit(8, &mut packet), 40);
//!
//! let parsed = ip::parse(&packet)?;
//! assert_eq!((parsed.protocol, parsed.payload), (Protocol::UDP, 40..48));
//! assert_eq!(ip::parse(&packet[..47]), Err(IpError::Truncated));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A datagram that was put together from fragments is read again from its start: see
//! [`fragment`](crate::fragment).

mod ecn;
pub(crate) mod v4;
pub(crate) mod v6;

use std::net::IpAddr;
use std::ops::Range;

use pnet_packet::ip::IpNextHeaderProtocols as numbers;

use crate::IpError;

pub use ecn::EcnCodepoint;
pub use v6::MAX_EXTENSION_HEADERS;

/// The number of the protocol that an IP packet carries (IANA "Assigned Internet Protocol
/// Numbers").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options (RFC 8200 4.3).
    pub const HOP_BY_HOP: Self = Self(numbers::Hopopt.0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Self = Self(numbers::Icmp.0);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(numbers::Tcp.0);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(numbers::Udp.0);
    /// IPv6 routing header (RFC 8200 4.4).
    pub const IPV6_ROUTING: Self = Self(numbers::Ipv6Route.0);
    /// IPv6 fragment header (RFC 8200 4.5).
    pub const IPV6_FRAGMENT: Self = Self(numbers::Ipv6Frag.0);
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: Self = Self(numbers::Ah.0);
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(numbers::Icmpv6.0);
    /// Nothing follows (RFC 8200 4.7).
    pub const IPV6_NO_NEXT_HEADER: Self = Self(numbers::Ipv6NoNxt.0);
    /// IPv6 destination options (RFC 8200 4.6).
    pub const IPV6_DESTINATION_OPTIONS: Self = Self(numbers::Ipv6Opts.0);
}

/// What [`parse`] found in an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// The sender.
    pub src: IpAddr,
    /// The receiver; of the same family as `src`.
    pub dst: IpAddr,
    /// The upper-layer protocol, after all IPv6 extension headers. In a fragment it is the protocol
    /// named by the fragment header: what stands first in the reassembled payload, which may be an
    /// extension header.
    pub protocol: Protocol,
    /// Time to live (IPv4) or hop limit (IPv6).
    pub hop_limit: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// Where in the packet the upper-layer bytes stand, as the packet's own length field bounds
    /// them: padding that a link added is outside. In a fragment, the bytes that belong at
    /// [`Fragment::offset`].
    pub payload: Range<usize>,
    /// Where in its datagram this fragment belongs; `None` for a whole datagram. An IPv6 atomic
    /// fragment is a whole datagram (RFC 6946).
    pub fragment: Option<Fragment>,
    /// Routers may not fragment the packet: the DF bit of IPv4, always true for IPv6.
    pub dont_fragment: bool,
    /// The identification that the fragments of one datagram share; 0 for IPv6 without a fragment
    /// header.
    pub ident: u32,
    /// IPv4 options or IPv6 extension headers are present.
    pub has_options: bool,
}

impl IpPacket {
    /// The upper-layer bytes. Empty if `packet` is shorter than the one this was parsed from.
    #[inline]
    pub(crate) fn payload_of<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(self.payload.clone()).unwrap_or_default()
    }
}

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Bytes before this fragment: a multiple of 8. Together with the fragment's length, and that of
    /// the headers before it, it is at most 65535; the fixed header of IPv6 does not count there.
    pub offset: u16,
    /// More fragments follow this one.
    pub more: bool,
}

impl Fragment {
    /// Checks what every receiver must check before it stores a fragment. Of its packet's `end` bytes, `before`
    /// belong to headers that the whole datagram has too and that its length counts, and the rest is what it carries.
    /// `length_field` and `offset_field` are where the packet's two fields stand, for the error.
    fn check(
        self,
        before: usize,
        end: usize,
        length_field: usize,
        offset_field: usize,
    ) -> Result<Self, IpError> {
        // RFC 791 3.2 and RFC 8200 4.5: every fragment except the last is a multiple of 8 bytes
        // long.
        if self.more && !(end - before).is_multiple_of(8) {
            return Err(IpError::BadFragment { offset: length_field });
        }
        // RFC 8200 4.5: the length of the whole would exceed 65535 bytes.
        if usize::from(self.offset) + end > usize::from(u16::MAX) {
            return Err(IpError::BadFragment { offset: offset_field });
        }
        Ok(self)
    }
}

/// Reads the IP header of `packet`, which starts with it. Bytes behind the end that the header
/// gives are ignored.
///
/// The checksum of an IPv4 header is verified. IPv6 extension headers (hop-by-hop and destination
/// options, routing, authentication, fragment) are walked as a destination does (RFC 8200 4), at
/// most [`MAX_EXTENSION_HEADERS`] of them; the walk ends at the header of a real fragment.
///
/// # Errors
///
/// An [`IpError`] says what is wrong and, for IPv6, whether and how the sender should be told.
#[inline]
pub fn parse(packet: &[u8]) -> Result<IpPacket, IpError> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => v4::parse(packet),
        Some(6) => v6::parse(packet),
        Some(version) => Err(IpError::BadVersion(version)),
        None => Err(IpError::Truncated),
    }
}

/// Where in `packet` the number stands that [`IpPacket::protocol`] is read from: the pointer of an
/// ICMP Parameter Problem that refuses that protocol. `None` if the packet does not parse.
pub fn protocol_offset(packet: &[u8]) -> Option<usize> {
    match parse(packet).ok()?.src {
        IpAddr::V4(_) => Some(v4::PROTOCOL_OFFSET),
        IpAddr::V6(_) => v6::protocol_offset(packet),
    }
}

/// What the IP header of a packet to send shall say.
///
/// `dst` decides the family. A `src` of the other family is a mistake of the caller; it is written
/// as the unspecified address, which no receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpParams {
    /// The sender.
    pub src: IpAddr,
    /// The receiver.
    pub dst: IpAddr,
    /// What the packet carries.
    pub protocol: Protocol,
    /// Time to live (IPv4) or hop limit (IPv6).
    pub hop_limit: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// IPv4: the DF bit. IPv6 has none.
    pub dont_fragment: bool,
    /// IPv4: the identification. IPv6 has none without a fragment header.
    pub ident: u16,
    /// IPv6: the flow label, of which the lower 20 bits are sent (RFC 6437). IPv4 has none.
    pub flow_label: u32,
}

impl IpParams {
    /// The length of the header in bytes: 20 for IPv4, 40 for IPv6.
    #[inline]
    pub fn header_len(&self) -> usize {
        match self.dst {
            IpAddr::V4(_) => v4::HEADER_LEN,
            IpAddr::V6(_) => v6::HEADER_LEN,
        }
    }

    /// Writes the header, with the length and checksum for a payload of `payload_len` bytes, to the
    /// start of `out`, and returns its length. If `out` is too short, writes nothing and returns 0.
    ///
    /// A payload that one packet cannot hold is announced as the longest that it can.
    #[inline]
    pub fn emit(&self, payload_len: usize, out: &mut [u8]) -> usize {
        match self.dst {
            IpAddr::V4(dst) => v4::emit(self, dst, payload_len, out),
            IpAddr::V6(dst) => v6::emit(self, dst, payload_len, out),
        }
    }
}

#[cfg(test)]
mod tests;
