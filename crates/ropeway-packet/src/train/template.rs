//! What the headers of a train's segments have in common.

use super::headers::{
    Headers, TCP_FLAGS, TCP_SEQ, V4_CHECKSUM, V4_IDENT, V4_TOTAL_LENGTH, V6_PAYLOAD_LENGTH, put, sum_of,
    u16_at,
};
use crate::checksum::pseudo_header;
use crate::segment::{ChecksumMode, HeaderBuf};
use crate::tcp::CHECKSUM_OFFSET;
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

/// The headers without what differs, and their sums.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// The fields that differ are zero.
    headers: HeaderBuf,
    ip_len: usize,
    /// `None` for IPv6.
    v4: Option<V4>,
    pseudo_sum: Checksum,
    tcp_sum: Checksum,
    /// The data offset and the reserved bits.
    offset: u16,
    seq: SeqNum,
    pub(super) flags: TcpFlags,
    /// CWR stands on every segment, and not only on the first.
    pub(super) repeats_cwr: bool,
}

#[derive(Clone, Copy, Debug)]
struct V4 {
    ident: u16,
    idents_count: bool,
    /// Of the IP header.
    sum: Checksum,
}

impl Template {
    pub(super) fn new(read: &Headers<'_>) -> Option<Self> {
        let ip_len = read.ip.len();
        let mut headers = HeaderBuf::copy_of(read.all)?;
        let (ip, tcp) = headers.as_mut().split_at_mut_checked(ip_len)?;
        if read.is_v4 {
            put(ip, V4_TOTAL_LENGTH, [0; 2]);
            put(ip, V4_IDENT, [0; 2]);
            put(ip, V4_CHECKSUM, [0; 2]);
        } else {
            put(ip, V6_PAYLOAD_LENGTH, [0; 2]);
        }
        put(tcp, TCP_SEQ, [0; 4]);
        put(tcp, TCP_FLAGS, [0; 2]);
        put(tcp, CHECKSUM_OFFSET, [0; 2]);
        let v4 = read.is_v4.then(|| V4 {
            ident: read.ident(),
            idents_count: read.idents_count(),
            sum: sum_of(ip),
        });
        let tcp_sum = sum_of(tcp);
        let (src, dst) = read.addresses();
        Some(Self {
            headers,
            ip_len,
            v4,
            pseudo_sum: pseudo_header(src, dst, Protocol::TCP, 0),
            tcp_sum,
            offset: u16_at(read.tcp, TCP_FLAGS) & !ALL_FLAGS,
            seq: read.seq(),
            flags: read.flags(),
            repeats_cwr: false,
        })
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
        if let Some((ip, tcp)) = headers.as_mut().split_at_mut_checked(self.ip_len) {
            let tcp_len = u16::try_from(tcp.len() + place.len).unwrap_or(u16::MAX);
            self.put_ip(place, tcp_len, ip);
            self.put_tcp(place, tcp_len, checksum, data_sum, tcp);
        }
        headers
    }

    #[inline]
    fn put_ip(&self, place: &Place, tcp_len: u16, ip: &mut [u8]) {
        let Some(v4) = self.v4 else {
            return put(ip, V6_PAYLOAD_LENGTH, tcp_len.to_be_bytes());
        };
        let total_len = u16::try_from(self.ip_len).unwrap_or(0).saturating_add(tcp_len);
        let ident = if v4.idents_count { v4.ident.wrapping_add(low_16(place.index)) } else { v4.ident };
        let mut sum = v4.sum;
        sum.add_u16(total_len);
        sum.add_u16(ident);
        put(ip, V4_TOTAL_LENGTH, total_len.to_be_bytes());
        put(ip, V4_IDENT, ident.to_be_bytes());
        put(ip, V4_CHECKSUM, sum.finish().to_be_bytes());
    }

    #[inline]
    fn put_tcp(
        &self,
        place: &Place,
        tcp_len: u16,
        checksum: ChecksumMode,
        data_sum: impl FnOnce() -> u16,
        tcp: &mut [u8],
    ) {
        let seq = (self.seq + low_32(place.offset)).get();
        let flags = self.offset | self.flags_of(place).bits();
        let mut sum = self.pseudo_sum;
        sum.add_u16(tcp_len);
        let checksum = match checksum {
            ChecksumMode::Partial => sum.fold(),
            ChecksumMode::Full => {
                sum.add_u16(self.tcp_sum.fold());
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
