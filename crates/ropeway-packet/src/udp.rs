//! UDP (RFC 768).
//!
//! ```
//! use ropeway_packet::{IpParams, Protocol, ip, udp};
//!
//! let params = IpParams {
//!     src: "192.0.2.1".parse()?,
//!     dst: "192.0.2.2".parse()?,
//!     protocol: Protocol::UDP,
//!     hop_limit: 64,
//!     traffic_class: 0,
//!     dont_fragment: false,
//!     ident: 1,
//!     flow_label: 0,
//! };
//! let packet = udp::emit(&params, 4000, 53, b"query")?;
//! let datagram = udp::parse(&packet, &ip::parse(&packet)?, true)?;
//! assert_eq!(datagram.header.dst_port, 53);
//! assert_eq!(&packet[datagram.payload], b"query");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::IpAddr;
use std::ops::Range;

use pnet_packet::udp::UdpPacket;

use crate::checksum::{self, pseudo_header};
use crate::segment::{ChecksumMode, HeaderBuf};
use crate::{Checksum, IpPacket, IpParams, Protocol, UdpError};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Bytes of an IPv4 header; it counts towards the 65535 bytes of a packet, an IPv6 header does not.
const IPV4_HEADER_LEN: usize = 20;

/// A UDP header, without the checksum, which follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's port; 0 if it wants no answer.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// Bytes of header and payload: 8 to 65535.
    pub len: u16,
}

/// What [`parse`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpDatagram {
    /// The header.
    pub header: UdpHeader,
    /// Where in the packet the data stands.
    pub payload: Range<usize>,
}

// RFC 8200 8.1-2, RFC 8085 3.4.1-1
/// Reads the UDP datagram in `packet`, whose IP header is `ip`. With `verify` the checksum is
/// verified; without, the caller knows from elsewhere that it is right. Bytes of the IP payload
/// behind the datagram's length are ignored.
///
/// A checksum of zero, "none", is accepted over IPv4 and refused over IPv6, with `verify` or
/// without.
///
/// # Errors
///
/// All of [`UdpError`] except [`UdpError::TooLong`].
#[inline]
pub fn parse(packet: &[u8], ip: &IpPacket, verify: bool) -> Result<UdpDatagram, UdpError> {
    if ip.protocol != Protocol::UDP {
        return Err(UdpError::NotUdp);
    }
    if ip.fragment.is_some() {
        return Err(UdpError::Fragment);
    }
    let bytes = ip.payload_of(packet);
    let fields = UdpPacket::new(bytes).ok_or(UdpError::Truncated)?;
    let header = UdpHeader {
        src_port: fields.get_source(),
        dst_port: fields.get_destination(),
        len: fields.get_length(),
    };
    let len = usize::from(header.len);
    if len < HEADER_LEN {
        return Err(UdpError::BadLength);
    }
    let datagram = bytes.get(..len).ok_or(UdpError::BadLength)?;
    match fields.get_checksum() {
        // RFC 1122 4.1.3.4: over IPv4 zero means that the sender computed none.
        0 if ip.src.is_ipv4() => {}
        // RFC 8200 8.1: over IPv6 such datagrams are discarded.
        0 => return Err(UdpError::MissingChecksum),
        _ if verify && !checksum::verify(ip.src, ip.dst, Protocol::UDP, datagram) => {
            return Err(UdpError::BadChecksum);
        }
        _ => {}
    }
    let start = ip.payload.start;
    Ok(UdpDatagram { header, payload: start + HEADER_LEN..start + len })
}

/// The most bytes of data that one datagram can have: 65507 over IPv4, 65527 over IPv6.
pub fn longest_payload(dst: IpAddr) -> usize {
    match dst {
        IpAddr::V4(_) => usize::from(u16::MAX) - IPV4_HEADER_LEN - HEADER_LEN,
        IpAddr::V6(_) => usize::from(u16::MAX) - HEADER_LEN,
    }
}

/// The IP and UDP headers of a packet with `payload_len` bytes of data from `src_port` to `dst_port`, whose sum is
/// `payload_sum`; with [`ChecksumMode::Partial`] that is not looked at. The protocol is UDP whatever
/// [`IpParams::protocol`] says.
///
/// # Errors
///
/// [`UdpError::TooLong`] above [`longest_payload`].
///
/// ```
/// use ropeway_packet::{Checksum, ChecksumMode, IpParams, Protocol, udp};
/// # let params = IpParams {
/// #     src: "192.0.2.1".parse()?,
/// #     dst: "192.0.2.2".parse()?,
/// #     protocol: Protocol::UDP,
/// #     hop_limit: 64,
/// #     traffic_class: 0,
/// #     dont_fragment: true,
/// #     ident: 0,
/// #     flow_label: 0,
/// # };
/// let mut sum = Checksum::new();
/// sum.add_bytes(b"query");
/// let headers = udp::emit_headers(&params, 4000, 53, 5, sum, ChecksumMode::Full)?;
/// assert_eq!([&headers[..], b"query"].concat(), udp::emit(&params, 4000, 53, b"query")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn emit_headers(
    ip: &IpParams,
    src_port: u16,
    dst_port: u16,
    payload_len: usize,
    payload_sum: Checksum,
    checksum: ChecksumMode,
) -> Result<HeaderBuf, UdpError> {
    let ip = IpParams { protocol: Protocol::UDP, ..*ip };
    if payload_len > longest_payload(ip.dst) {
        return Err(UdpError::TooLong);
    }
    let len = u16::try_from(payload_len + HEADER_LEN).map_err(|_| UdpError::TooLong)?;
    let [src_hi, src_lo] = src_port.to_be_bytes();
    let [dst_hi, dst_lo] = dst_port.to_be_bytes();
    let [len_hi, len_lo] = len.to_be_bytes();
    let mut header = [src_hi, src_lo, dst_hi, dst_lo, len_hi, len_lo, 0, 0];
    let mut sum = pseudo_header(ip.src, ip.dst, Protocol::UDP, u32::from(len));
    let checksum = match checksum {
        ChecksumMode::Partial => sum.fold(),
        ChecksumMode::Full => {
            sum.add_bytes(&header);
            sum.add_u16(payload_sum.fold());
            never_none(sum.finish())
        }
    };
    [header[6], header[7]] = checksum.to_be_bytes();
    Ok(HeaderBuf::of_ip(&ip, usize::from(len), HEADER_LEN, |out| out.copy_from_slice(&header)))
}

// RFC 8200 8.1-1
/// RFC 768: a computed checksum of zero is sent as all ones; zero means none.
pub(crate) const fn never_none(checksum: u16) -> u16 {
    if checksum == 0 { u16::MAX } else { checksum }
}

/// The whole IP packet that carries `payload` from `src_port` to `dst_port`. The protocol is UDP
/// whatever [`IpParams::protocol`] says.
///
/// # Errors
///
/// [`UdpError::TooLong`] if one packet cannot hold the payload: above 65507 bytes over IPv4, 65527
/// over IPv6.
pub fn emit(ip: &IpParams, src_port: u16, dst_port: u16, payload: &[u8]) -> Result<Vec<u8>, UdpError> {
    let mut sum = Checksum::new();
    sum.add_bytes(payload);
    let headers = emit_headers(ip, src_port, dst_port, payload.len(), sum, ChecksumMode::Full)?;
    let mut packet = Vec::with_capacity(headers.len() + payload.len());
    packet.extend_from_slice(&headers);
    packet.extend_from_slice(payload);
    Ok(packet)
}

#[cfg(test)]
mod tests;
