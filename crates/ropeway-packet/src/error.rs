//! Why a packet was refused. All of these describe input from the network; none is a fault of the
//! caller, except where a variant says so.

use std::error::Error;
use std::fmt;

/// Why [`ip::parse`](crate::ip::parse) refused a packet.
///
/// [`parameter_problem`](Self::parameter_problem) tells which of them deserve an ICMPv6 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IpError {
    /// The packet ends before its header does, or before its length field says.
    Truncated,
    /// The version (given) is neither 4 nor 6.
    BadVersion(u8),
    /// IPv4: the header length is below 20 bytes or beyond the packet.
    BadHeaderLength,
    /// IPv4: the total length is smaller than the header.
    BadTotalLength,
    /// IPv4: the header checksum is wrong.
    BadChecksum,
    /// A fragment that reaches beyond 65535 bytes, or one that is not the last and not a multiple
    /// of 8 bytes.
    BadFragment {
        /// Where in the packet the field at fault stands, in bytes.
        offset: usize,
    },
    /// IPv6: a next-header value that may not stand where it stands: hop-by-hop options not in
    /// first place, or fragments within fragments.
    UnrecognizedNextHeader {
        /// Where in the packet that value stands, in bytes.
        offset: usize,
    },
    /// IPv6: an option nobody here understands, whose type asks for the packet to be discarded (RFC
    /// 8200 4.2).
    UnrecognizedOption {
        /// Where in the packet the option's type stands, in bytes.
        offset: usize,
        /// Whether the option's type wants the sender told.
        report: OptionReport,
    },
    /// IPv6: an option reaches beyond the header that holds it.
    BadOption {
        /// Where in the packet the option's length stands, in bytes.
        offset: usize,
    },
    /// IPv6: a routing header with segments left, which only a router may follow (RFC 8200 4.4, RFC
    /// 5095).
    BadRoutingHeader {
        /// Where in the packet the routing type stands, in bytes.
        offset: usize,
    },
    /// IPv6: more than [`MAX_EXTENSION_HEADERS`](crate::ip::MAX_EXTENSION_HEADERS) extension
    /// headers.
    TooManyExtensions,
}

/// Whom an unrecognised IPv6 option wants told that the packet was discarded: the highest two bits
/// of its type (RFC 8200 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionReport {
    /// `01`: nobody.
    Silent,
    /// `10`: the sender, even if the packet went to a multicast address.
    Always,
    /// `11`: the sender, unless the packet went to a multicast address.
    UnlessMulticast,
}

impl IpError {
    /// The code and pointer of the ICMPv6 Parameter Problem that this error calls for, if it calls
    /// for one (RFC 4443 3.4). `to_multicast` says whether the packet was sent to a multicast
    /// address.
    ///
    /// Errors in an IPv4 header answer `None`: such packets are discarded silently (RFC 1122
    /// 3.2.1).
    pub fn parameter_problem(self, to_multicast: bool) -> Option<(u8, u32)> {
        const ERRONEOUS_FIELD: u8 = 0;
        const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
        const UNRECOGNIZED_OPTION: u8 = 2;
        let (code, offset) = match self {
            // RFC 4443 2.4 (e.3): a packet to a multicast address is answered only for an option of
            // type 10.
            Self::UnrecognizedOption { offset, report: OptionReport::Always } => {
                (UNRECOGNIZED_OPTION, offset)
            }
            _ if to_multicast => return None,
            Self::UnrecognizedOption { offset, report: OptionReport::UnlessMulticast } => {
                (UNRECOGNIZED_OPTION, offset)
            }
            Self::UnrecognizedNextHeader { offset } => (UNRECOGNIZED_NEXT_HEADER, offset),
            Self::BadFragment { offset } | Self::BadOption { offset } | Self::BadRoutingHeader { offset } => {
                (ERRONEOUS_FIELD, offset)
            }
            Self::UnrecognizedOption { report: OptionReport::Silent, .. }
            | Self::Truncated
            | Self::BadVersion(_)
            | Self::BadHeaderLength
            | Self::BadTotalLength
            | Self::BadChecksum
            | Self::TooManyExtensions => return None,
        };
        Some((code, u32::try_from(offset).ok()?))
    }
}

impl fmt::Display for IpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("IP packet cut short"),
            Self::BadVersion(version) => write!(f, "IP version {version}"),
            Self::BadHeaderLength => f.write_str("illegal IPv4 header length"),
            Self::BadTotalLength => f.write_str("IPv4 total length smaller than the header"),
            Self::BadChecksum => f.write_str("wrong IPv4 header checksum"),
            Self::BadFragment { offset } => {
                write!(f, "illegal IP fragment (field at byte {offset})")
            }
            Self::UnrecognizedNextHeader { offset } => {
                write!(f, "misplaced IPv6 next header at byte {offset}")
            }
            Self::UnrecognizedOption { offset, .. } => {
                write!(f, "unrecognised IPv6 option at byte {offset}")
            }
            Self::BadOption { offset } => {
                write!(f, "IPv6 option beyond its header (length at byte {offset})")
            }
            Self::BadRoutingHeader { offset } => {
                write!(f, "IPv6 routing header with segments left at byte {offset}")
            }
            Self::TooManyExtensions => f.write_str("too many IPv6 extension headers"),
        }
    }
}

impl Error for IpError {}

/// Why [`TcpHeader::parse`](crate::TcpHeader::parse) or [`parse_tcp`](crate::parse_tcp) refused a
/// segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpError {
    /// Fewer than 20 bytes, or fewer than the data offset says.
    Truncated,
    /// The data offset is below 5 words (RFC 9293 3.1).
    BadDataOffset,
    /// The checksum is wrong (RFC 9293 3.1, MUST-3).
    BadChecksum,
    /// The IP packet carries something else than TCP.
    NotTcp,
    /// The IP packet is a fragment; it has to be reassembled first.
    Fragment,
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "TCP segment cut short",
            Self::BadDataOffset => "TCP data offset below 5",
            Self::BadChecksum => "wrong TCP checksum",
            Self::NotTcp => "not a TCP segment",
            Self::Fragment => "a fragment of a TCP segment",
        })
    }
}

impl Error for TcpError {}

/// Why [`udp::parse`](crate::udp::parse) refused a datagram, or [`udp::emit`](crate::udp::emit) one
/// to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UdpError {
    /// Fewer than 8 bytes.
    Truncated,
    /// The length field is below 8 or beyond the IP payload.
    BadLength,
    /// The checksum is wrong.
    BadChecksum,
    /// The checksum is zero, which IPv6 does not allow (RFC 8200 8.1).
    MissingChecksum,
    /// The IP packet carries something else than UDP.
    NotUdp,
    /// The IP packet is a fragment; it has to be reassembled first.
    Fragment,
    /// On sending: the payload does not fit into one IP packet.
    TooLong,
}

impl fmt::Display for UdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "UDP datagram cut short",
            Self::BadLength => "illegal UDP length",
            Self::BadChecksum => "wrong UDP checksum",
            Self::MissingChecksum => "UDP over IPv6 without a checksum",
            Self::NotUdp => "not a UDP datagram",
            Self::Fragment => "a fragment of a UDP datagram",
            Self::TooLong => "UDP payload longer than one IP packet holds",
        })
    }
}

impl Error for UdpError {}

/// Why [`icmp::parse`](crate::icmp::parse) refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IcmpError {
    /// The message ends before its header does.
    Truncated,
    /// The checksum is wrong.
    BadChecksum,
    /// The IP packet carries neither ICMP over IPv4 nor ICMPv6 over IPv6.
    NotIcmp,
    /// The IP packet is a fragment; it has to be reassembled first.
    Fragment,
}

impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ICMP message cut short",
            Self::BadChecksum => "wrong ICMP checksum",
            Self::NotIcmp => "not an ICMP message",
            Self::Fragment => "a fragment of an ICMP message",
        })
    }
}

impl Error for IcmpError {}

#[cfg(test)]
mod tests;
