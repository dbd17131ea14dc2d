//! Whole TCP segments in IP packets, and what names the connection they belong to.

mod four_tuple;
mod payload;

use std::fmt;
use std::ops::{Deref, Range};

use crate::checksum::{self, pseudo_header};
use crate::tcp::CHECKSUM_OFFSET;
use crate::{Checksum, IpPacket, IpParams, ParsedTcp, Protocol, TcpError, TcpHeader};

pub use four_tuple::FourTuple;
pub use payload::{Payload, Slices};

/// Who computes the checksum of a segment to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumMode {
    /// The checksum is complete.
    Full,
    /// The checksum field holds the sum of the pseudo-header only, uncomplemented: the device
    /// finishes it, as virtio-net's `NEEDS_CSUM` asks.
    Partial,
}

/// The IP header of one packet, and that of TCP or UDP, in place.
#[derive(Clone)]
pub struct HeaderBuf {
    bytes: [u8; Self::CAPACITY],
    /// At most `CAPACITY`.
    len: u8,
}

impl HeaderBuf {
    /// Enough for the longest headers that [`emit_tcp`] writes: 40 bytes of IPv6 and 60 of TCP.
    const CAPACITY: usize = 128;

    /// Headers that stand elsewhere. `None` if they are longer than any that are written here.
    #[inline]
    pub fn copy_of(headers: &[u8]) -> Option<Self> {
        let mut copy = Self { len: u8::try_from(headers.len()).ok()?, ..Self::default() };
        copy.bytes.get_mut(..headers.len())?.copy_from_slice(headers);
        Some(copy)
    }

    /// Writes headers as [`emit_tcp`] does, in place of what stood here.
    #[inline]
    pub fn write_tcp(&mut self, ip: &IpParams, tcp: &TcpHeader, payload: &Payload, checksum: ChecksumMode) {
        let ip = IpParams { protocol: Protocol::TCP, ..*ip };
        let ip_len = ip.header_len();
        self.len = 0;
        if let Some((ip_header, out)) = self.bytes.split_at_mut_checked(ip_len) {
            let (tcp_len, sum) = tcp.emit_summed(out);
            let segment_len = tcp_len.saturating_add(payload.len());
            ip.emit(segment_len, ip_header);
            let tcp_header = out.get_mut(..tcp_len).unwrap_or_default();
            fill_in_checksum(&ip, (tcp_header, sum), payload, segment_len, checksum);
            self.len = u8::try_from(ip_len + tcp_len).unwrap_or(0);
        }
    }

    /// Writes an IP header for so many bytes behind it, and what `fill` puts into the `len` bytes behind that.
    #[inline]
    pub(crate) fn of_ip(ip: &IpParams, payload_len: usize, len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut headers = Self::default();
        let ip_len = ip.header_len();
        if let Some((ip_header, out)) = headers.bytes.split_at_mut_checked(ip_len)
            && let Some(transport) = out.get_mut(..len)
        {
            ip.emit(payload_len, ip_header);
            fill(transport);
            headers.len = u8::try_from(ip_len + len).unwrap_or(0);
        }
        headers
    }

    #[inline]
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Default for HeaderBuf {
    /// No headers at all.
    #[inline]
    fn default() -> Self {
        Self { bytes: [0; Self::CAPACITY], len: 0 }
    }
}

impl Deref for HeaderBuf {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for HeaderBuf {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for HeaderBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Writes the IP and TCP headers of a packet that carries `payload`, with lengths and checksums
/// filled in. The packet's bytes are these followed by the payload's parts.
///
/// The protocol is TCP whatever [`IpParams::protocol`] says.
#[inline]
pub fn emit_tcp(ip: &IpParams, tcp: &TcpHeader, payload: &Payload, checksum: ChecksumMode) -> HeaderBuf {
    let mut headers = HeaderBuf::default();
    headers.write_tcp(ip, tcp, payload, checksum);
    headers
}

/// Completes a TCP header whose checksum field is zero, and whose sum is this. `segment_len` counts header and payload.
#[inline]
fn fill_in_checksum(
    ip: &IpParams,
    (tcp_header, header_sum): (&mut [u8], Checksum),
    payload: &Payload,
    segment_len: usize,
    mode: ChecksumMode,
) {
    let len = u32::try_from(segment_len).unwrap_or(u32::MAX);
    let mut sum = pseudo_header(ip.src, ip.dst, ip.protocol, len);
    // RFC 9293 3.1 MUST-2: the sender generates the checksum.
    let checksum = match mode {
        ChecksumMode::Partial => sum.fold(),
        ChecksumMode::Full => {
            sum.add_u16(header_sum.fold());
            payload.parts().for_each(|part| sum.add_bytes(part));
            sum.finish()
        }
    };
    if let Some(field) = tcp_header.get_mut(CHECKSUM_OFFSET..).and_then(<[u8]>::first_chunk_mut) {
        *field = checksum.to_be_bytes();
    }
}

/// A TCP segment as it stands in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    /// The IP packet around it.
    pub ip: IpPacket,
    /// Its header.
    pub tcp: TcpHeader,
    /// See [`ParsedTcp::malformed_options`](crate::ParsedTcp::malformed_options).
    pub malformed_options: bool,
    /// Where in the packet its data stands.
    pub payload: Range<usize>,
}

/// Reads the TCP segment in `packet`, whose IP header is `ip`. With `verify` the checksum is
/// verified; without, the caller knows from elsewhere that it is right, as from a device that
/// looked at it.
///
/// # Errors
///
/// Those of [`TcpHeader::parse`], and [`TcpError::NotTcp`], [`TcpError::Fragment`],
/// [`TcpError::BadChecksum`].
#[inline]
pub fn parse_tcp(packet: &[u8], ip: IpPacket, verify: bool) -> Result<TcpSegment, TcpError> {
    let parsed = parse_tcp_header(packet, &ip, verify)?;
    let payload = ip.payload.start + parsed.header_len..ip.payload.end;
    Ok(TcpSegment { ip, tcp: parsed.header, malformed_options: parsed.malformed_options, payload })
}

/// Reads the header of the segment, as [`parse_tcp`] does. The segment's data begins at `ip.payload.start` and the header's
/// length, and ends with the IP packet's payload.
///
/// # Errors
///
/// Those of [`parse_tcp`].
#[inline]
pub fn parse_tcp_header(packet: &[u8], ip: &IpPacket, verify: bool) -> Result<ParsedTcp, TcpError> {
    if ip.protocol != Protocol::TCP {
        return Err(TcpError::NotTcp);
    }
    if ip.fragment.is_some() {
        return Err(TcpError::Fragment);
    }
    let segment = packet.get(ip.payload.clone()).ok_or(TcpError::Truncated)?;
    let parsed = TcpHeader::parse(segment);
    // RFC 9293 3.1 MUST-3: the receiver checks the checksum.
    if parsed.is_ok() && verify && !checksum::verify(ip.src, ip.dst, Protocol::TCP, segment) {
        return Err(TcpError::BadChecksum);
    }
    parsed
}

#[cfg(test)]
mod tests;
