//! What the headers of a train's segments have in common.

use super::headers::{
    DatagramHeaders, Headers, TCP_FLAGS, TCP_SEQ, UDP_CHECKSUM, UDP_LENGTH, V4_CHECKSUM, V4_IDENT,
    V4_TOTAL_LENGTH, V6_PAYLOAD_LENGTH, addresses, idents_count, put, sum_of, u16_at,
};
use crate::checksum::pseudo_header;
use crate::segment::{ChecksumMode, HeaderBuf};
use crate::tcp::CHECKSUM_OFFSET;
use crate::udp::never_none;
use crate::{Checksum, Protocol, SeqNum, TcpFlags};

/// All nine control bits.
const ALL_FLAGS: u16 = TcpFlags::from_bits_truncate(u16::MAX).bits();

/// Where a segment stands in its train.
pub(super) struct Place {
    /// Segments before it.
    pub(super) index: usize,
    /// Bytes of data before it.
    pub(super) offset: usize,
    /// Bytes of data in it.
    pub(super) len: usize,
    pub(super) last: bool,
}

/// The headers without what differs, and their sums, folded: so whoever goes on with one knows that it is of an even number
/// of bytes.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// The fields that differ are zero.
    headers: HeaderBuf,
    ip_len: usize,
    /// `None` for IPv6.
    v4: Option<V4>,
    /// Of the pseudo-header without its length.
    pseudo_sum: u16,
    /// Of that and the transport header.
    transport_sum: u16,
    transport: Transport,
}

/// What is particular to a protocol.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp(Tcp),
    Udp,
}

#[derive(Clone, Copy, Debug)]
struct Tcp {
    /// The data offset and the reserved bits.
    offset: u16,
    seq: SeqNum,
    flags: TcpFlags,
    /// CWR stands on every segment, and not only on the first.
    repeats_cwr: bool,
}

#[derive(Clone, Copy, Debug)]
struct V4 {
    ident: u16,
    idents_count: bool,
    /// Of the IP header.
    sum: u16,
}

impl Template {
    /// Of TCP segments.
    pub(super) fn new(read: &Headers<'_>) -> Option<Self> {
        let transport = Transport::Tcp(Tcp {
            offset: u16_at(read.tcp, TCP_FLAGS) & !ALL_FLAGS,
            seq: read.seq(),
            flags: read.flags(),
            repeats_cwr: false,
        });
        Self::of(read.all, read.ip.len(), read.is_v4, transport, |tcp| {
            put(tcp, TCP_SEQ, [0; 4]);
            put(tcp, TCP_FLAGS, [0; 2]);
            put(tcp, CHECKSUM_OFFSET, [0; 2]);
        })
    }

    /// Of datagrams.
    pub(super) fn of_datagrams(read: &DatagramHeaders<'_>) -> Option<Self> {
        Self::of(read.all, read.ip.len(), read.is_v4, Transport::Udp, |udp| {
            put(udp, UDP_LENGTH, [0; 2]);
            put(udp, UDP_CHECKSUM, [0; 2]);
        })
    }

    /// `clear` makes the fields zero that differ.
    fn of(
        all: &[u8],
        ip_len: usize,
        is_v4: bool,
        transport: Transport,
        clear: impl FnOnce(&mut [u8]),
    ) -> Option<Self> {
        let mut headers = HeaderBuf::copy_of(all)?;
        let (ip, transport_header) = headers.as_mut().split_at_mut_checked(ip_len)?;
        let ident = u16_at(ip, V4_IDENT);
        if is_v4 {
            put(ip, V4_TOTAL_LENGTH, [0; 2]);
            put(ip, V4_IDENT, [0; 2]);
            put(ip, V4_CHECKSUM, [0; 2]);
        } else {
            put(ip, V6_PAYLOAD_LENGTH, [0; 2]);
        }
        clear(transport_header);
        let v4 = is_v4.then(|| V4 { ident, idents_count: idents_count(ip), sum: sum_of(ip).fold() });
        let protocol = match transport {
            Transport::Tcp(_) => Protocol::TCP,
            Transport::Udp => Protocol::UDP,
        };
        let (src, dst) = addresses(ip, is_v4);
        let pseudo_sum = pseudo_header(src, dst, protocol, 0);
        let mut transport_sum = pseudo_sum;
        transport_sum.add_bytes(transport_header);
        let (pseudo_sum, transport_sum) = (pseudo_sum.fold(), transport_sum.fold());
        Some(Self { headers, ip_len, v4, pseudo_sum, transport_sum, transport })
    }

    /// CWR stands on every segment.
    pub(super) fn repeat_cwr(&mut self) {
        if let Transport::Tcp(tcp) = &mut self.transport {
            tcp.repeats_cwr = true;
        }
    }

    /// The last segment has PSH.
    pub(super) fn push(&mut self) {
        if let Transport::Tcp(tcp) = &mut self.transport {
            tcp.flags |= TcpFlags::PSH;
        }
    }

    /// Bytes of headers.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// The headers of one segment; `data_sum` tells the sum of its data, if it is asked.
    #[inline]
    pub(super) fn headers_of(
        &self,
        place: &Place,
        checksum: ChecksumMode,
        data_sum: impl FnOnce() -> u16,
    ) -> HeaderBuf {
        let mut headers = self.headers.clone();
        self.put_fields(place, checksum, data_sum, headers.as_mut());
        headers
    }

    /// Writes the headers of one segment to `out`, which is as long as they are, likewise. They are not put together elsewhere
    /// before: copying fields just after they were written makes a processor wait.
    #[inline]
    pub(super) fn write(&self, place: &Place, checksum: ChecksumMode, data_sum: u16, out: &mut [u8]) {
        out.copy_from_slice(&self.headers);
        self.put_fields(place, checksum, || data_sum, out);
    }

    /// Writes what differs from segment to segment.
    #[inline]
    fn put_fields(
        &self,
        place: &Place,
        checksum: ChecksumMode,
        data_sum: impl FnOnce() -> u16,
        headers: &mut [u8],
    ) {
        if let Some((ip, transport)) = headers.split_at_mut_checked(self.ip_len) {
            let len = u16::try_from(transport.len() + place.len).unwrap_or(u16::MAX);
            self.put_ip(place, len, ip);
            match &self.transport {
                Transport::Tcp(tcp) => self.put_tcp(tcp, place, len, checksum, data_sum, transport),
                Transport::Udp => self.put_udp(len, checksum, data_sum, transport),
            }
        }
    }

    #[inline]
    fn put_ip(&self, place: &Place, len: u16, ip: &mut [u8]) {
        let Some(v4) = self.v4 else {
            return put(ip, V6_PAYLOAD_LENGTH, len.to_be_bytes());
        };
        let total_len = u16::try_from(self.ip_len).unwrap_or(0).saturating_add(len);
        let ident = if v4.idents_count { v4.ident.wrapping_add(low_16(place.index)) } else { v4.ident };
        let mut sum = Checksum::new();
        sum.add_u16(v4.sum);
        sum.add_u16(total_len);
        sum.add_u16(ident);
        put(ip, V4_TOTAL_LENGTH, total_len.to_be_bytes());
        put(ip, V4_IDENT, ident.to_be_bytes());
        put(ip, V4_CHECKSUM, sum.finish().to_be_bytes());
    }

    #[inline]
    fn put_tcp(
        &self,
        fields: &Tcp,
        place: &Place,
        tcp_len: u16,
        checksum: ChecksumMode,
        data_sum: impl FnOnce() -> u16,
        tcp: &mut [u8],
    ) {
        let seq = (fields.seq + low_32(place.offset)).get();
        let flags = fields.offset | fields.flags_of(place).bits();
        let mut sum = Checksum::new();
        sum.add_u16(tcp_len);
        let checksum = match checksum {
            ChecksumMode::Partial => {
                sum.add_u16(self.pseudo_sum);
                sum.fold()
            }
            ChecksumMode::Full => {
                sum.add_u16(self.transport_sum);
                sum.add_u32(seq);
                sum.add_u16(flags);
                sum.add_u16(data_sum());
                sum.finish()
            }
        };
        put(tcp, TCP_SEQ, seq.to_be_bytes());
        put(tcp, TCP_FLAGS, flags.to_be_bytes());
        put(tcp, CHECKSUM_OFFSET, checksum.to_be_bytes());
    }

    fn put_udp(&self, len: u16, checksum: ChecksumMode, data_sum: impl FnOnce() -> u16, udp: &mut [u8]) {
        let mut sum = Checksum::new();
        sum.add_u16(len);
        let checksum = match checksum {
            ChecksumMode::Partial => {
                sum.add_u16(self.pseudo_sum);
                sum.fold()
            }
            ChecksumMode::Full => {
                sum.add_u16(self.transport_sum);
                sum.add_u16(len);
                sum.add_u16(data_sum());
                never_none(sum.finish())
            }
        };
        put(udp, UDP_LENGTH, len.to_be_bytes());
        put(udp, UDP_CHECKSUM, checksum.to_be_bytes());
    }
}

impl Tcp {
    #[inline]
    fn flags_of(&self, place: &Place) -> TcpFlags {
        let mut flags = self.flags;
        if !place.last {
            flags = flags & !(TcpFlags::PSH | TcpFlags::FIN);
        }
        if place.index > 0 && !self.repeats_cwr {
            // RFC 3168 6.1.2: on the first new data packet after the window was reduced.
            flags = flags & !TcpFlags::CWR;
        }
        flags
    }
}

/// An identification counts modulo 2^16.
#[allow(clippy::cast_possible_truncation)]
const fn low_16(index: usize) -> u16 {
    index as u16
}

/// A sequence number counts modulo 2^32.
#[allow(clippy::cast_possible_truncation)]
const fn low_32(offset: usize) -> u32 {
    offset as u32
}
