//! The headers that a train can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::tcp::CHECKSUM_OFFSET;
use crate::udp::HEADER_LEN;
use crate::{Checksum, Protocol, SeqNum, TcpFlags, checksum};

/// Where the fields stand that differ within a train.
pub(super) const V4_TOTAL_LENGTH: usize = 2;
pub(super) const V4_IDENT: usize = 4;
pub(super) const V4_FLAGS: usize = 6;
pub(super) const V4_CHECKSUM: usize = 10;
pub(super) const V6_PAYLOAD_LENGTH: usize = 4;
pub(super) const TCP_SEQ: usize = 4;
pub(super) const TCP_FLAGS: usize = 12;
pub(super) const UDP_LENGTH: usize = 4;
pub(super) const UDP_CHECKSUM: usize = 6;
/// In the flags of IPv4.
pub(super) const DONT_FRAGMENT: u16 = 1 << 14;

const V4_PROTOCOL: usize = 9;
const V4_ADDRESSES: usize = 12;
const V4_LEN: usize = 20;
const V6_NEXT_HEADER: usize = 6;
const V6_ADDRESSES: usize = 8;
const V6_LEN: usize = 40;
const PORTS: usize = 4;
const TCP_MIN_LEN: usize = 20;
/// More fragments, and the fragment offset.
const FRAGMENT: u16 = (1 << 14) - 1;

/// The headers of a TCP packet without IP options, extension headers or fragmentation.
pub(super) struct Headers<'p> {
    pub(super) is_v4: bool,
    /// Both, from the first byte on.
    pub(super) all: &'p [u8],
    pub(super) ip: &'p [u8],
    /// With its options.
    pub(super) tcp: &'p [u8],
}

/// Why a packet has no such headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// It carries something else than TCP, or is malformed.
    NotTcp,
    /// It may belong to any connection: it is a fragment, or has IP options or extension headers.
    Opaque,
}

impl<'p> Headers<'p> {
    /// Reads the headers at the start of `bytes`. Lengths and checksums are not looked at.
    #[inline]
    pub(super) fn read(bytes: &'p [u8]) -> Result<Self, Other> {
        let (is_v4, ip_len) = match bytes.first().copied().unwrap_or(0) {
            0x45 => {
                if u16_at(bytes, V4_FLAGS) & FRAGMENT != 0 {
                    return Err(Other::Opaque);
                }
                if protocol(bytes, V4_PROTOCOL) != Protocol::TCP {
                    return Err(Other::NotTcp);
                }
                (true, V4_LEN)
            }
            0x46..=0x4f => return Err(Other::Opaque),
            0x60..=0x6f => match protocol(bytes, V6_NEXT_HEADER) {
                Protocol::TCP => (false, V6_LEN),
                Protocol::UDP | Protocol::ICMPV6 => return Err(Other::NotTcp),
                _ => return Err(Other::Opaque),
            },
            _ => return Err(Other::NotTcp),
        };
        let (ip, rest) = bytes.split_at_checked(ip_len).ok_or(Other::NotTcp)?;
        let tcp_len = usize::from(rest.get(TCP_FLAGS).copied().unwrap_or(0) >> 4) * 4;
        let tcp = rest.get(..tcp_len).filter(|tcp| tcp.len() >= TCP_MIN_LEN).ok_or(Other::NotTcp)?;
        let all = bytes.get(..ip_len + tcp_len).ok_or(Other::NotTcp)?;
        Ok(Self { is_v4, all, ip, tcp })
    }

    #[inline]
    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        addresses(self.ip, self.is_v4)
    }

    /// Addresses and ports.
    #[inline]
    pub(super) fn flow(&self) -> &'p [u8] {
        Self::flow_of(self.is_v4, self.all)
    }

    /// Likewise, of headers like these.
    #[inline]
    pub(super) fn flow_of(is_v4: bool, all: &[u8]) -> &[u8] {
        let range = if is_v4 { V4_ADDRESSES..V4_LEN + PORTS } else { V6_ADDRESSES..V6_LEN + PORTS };
        all.get(range).unwrap_or_default()
    }

    /// Where in `packet`, which these headers start, data stands that can be part of a train.
    #[inline]
    pub(super) fn payload_to_merge(&self, packet: &[u8]) -> Option<Range<usize>> {
        const SIGNALS: TcpFlags = TcpFlags::PSH.union(TcpFlags::ECE).union(TcpFlags::CWR).union(TcpFlags::AE);
        let payload = self.all.len()..self.packet_len();
        let right = !payload.is_empty()
            && payload.end <= packet.len()
            && self.flags() & !SIGNALS == TcpFlags::ACK
            && (!self.is_v4 || sum_of(self.ip).finish() == 0);
        right.then_some(payload)
    }

    /// Whether the TCP checksum of `packet` is right.
    #[inline]
    pub(super) fn checksum_is_right(&self, packet: &[u8]) -> bool {
        let (src, dst) = self.addresses();
        let segment = packet.get(self.ip.len()..self.packet_len()).unwrap_or_default();
        checksum::verify(src, dst, Protocol::TCP, segment)
    }

    /// The whole packet's length by its IP header.
    #[inline]
    fn packet_len(&self) -> usize {
        packet_len(self.is_v4, self.ip)
    }

    #[inline]
    pub(super) fn flags(&self) -> TcpFlags {
        TcpFlags::from_bits_truncate(u16_at(self.tcp, TCP_FLAGS))
    }

    #[inline]
    pub(super) fn seq(&self) -> SeqNum {
        seq(self.tcp)
    }

    /// IPv4's identification.
    #[inline]
    pub(super) fn ident(&self) -> u16 {
        u16_at(self.ip, V4_IDENT)
    }

    /// Whether the identifications of a train's packets count up. They have no meaning where
    /// routers may not fragment (RFC 6864 4.1), and ours are 0 then.
    #[inline]
    pub(super) fn idents_count(&self) -> bool {
        self.is_v4 && idents_count(self.ip)
    }
}

/// The headers of a UDP packet without IP options, extension headers or fragmentation.
pub(super) struct DatagramHeaders<'p> {
    pub(super) is_v4: bool,
    /// Both, from the first byte on.
    pub(super) all: &'p [u8],
    pub(super) ip: &'p [u8],
}

impl<'p> DatagramHeaders<'p> {
    /// Reads the headers at the start of `bytes`. Lengths and checksums are not looked at.
    pub(super) fn read(bytes: &'p [u8]) -> Option<Self> {
        let (is_v4, ip_len, at) = match *bytes.first()? {
            0x45 if u16_at(bytes, V4_FLAGS) & FRAGMENT == 0 => (true, V4_LEN, V4_PROTOCOL),
            0x60..=0x6f => (false, V6_LEN, V6_NEXT_HEADER),
            _ => return None,
        };
        let all = bytes.get(..ip_len + HEADER_LEN).filter(|_| protocol(bytes, at) == Protocol::UDP)?;
        Some(Self { is_v4, all, ip: all.get(..ip_len)? })
    }
}

#[inline]
pub(super) fn addresses(ip: &[u8], is_v4: bool) -> (IpAddr, IpAddr) {
    if is_v4 {
        let at = |at| Ipv4Addr::from(bytes_at::<4>(ip, at)).into();
        (at(V4_ADDRESSES), at(V4_ADDRESSES + 4))
    } else {
        let at = |at| Ipv6Addr::from(bytes_at::<16>(ip, at)).into();
        (at(V6_ADDRESSES), at(V6_ADDRESSES + 16))
    }
}

/// Of an IPv4 header.
#[inline]
pub(super) fn idents_count(ip: &[u8]) -> bool {
    u16_at(ip, V4_FLAGS) & DONT_FRAGMENT == 0
}

/// The whole packet's length by its IP header.
#[inline]
pub(super) fn packet_len(is_v4: bool, ip: &[u8]) -> usize {
    if is_v4 {
        usize::from(u16_at(ip, V4_TOTAL_LENGTH))
    } else {
        V6_LEN + usize::from(u16_at(ip, V6_PAYLOAD_LENGTH))
    }
}

/// The sequence number in a TCP header.
#[inline]
pub(super) fn seq(tcp: &[u8]) -> SeqNum {
    SeqNum::new(u32::from_be_bytes(bytes_at(tcp, TCP_SEQ)))
}

/// Whether headers are equal to the first ones of a train, but for what differs within it: lengths, identification, sequence
/// number, checksums, and PSH. So they are of the same connection, and as long.
#[inline]
pub(super) fn are_alike(is_v4: bool, first: &[u8], headers: &[u8]) -> bool {
    if is_v4 { is_alike(first, headers, &V4_EQUAL) } else { is_alike(first, headers, &V6_EQUAL) }
}

/// What is equal, up to the TCP options: these are equal to the last bit.
const V4_EQUAL: [u8; V4_LEN + TCP_MIN_LEN] = {
    let free = [V4_TOTAL_LENGTH, V4_IDENT, V4_CHECKSUM];
    equal(&free, V4_LEN)
};
const V6_EQUAL: [u8; V6_LEN + TCP_MIN_LEN] = equal(&[V6_PAYLOAD_LENGTH], V6_LEN);

/// Ones for all bits but those of the words of 16 bits at `free`, and what is free in TCP headers that begin at `tcp`.
#[allow(clippy::indexing_slicing)] // it runs in the compiler
const fn equal<const N: usize>(free: &[usize], tcp: usize) -> [u8; N] {
    let mut equal = [0xff; N];
    let words = [tcp + TCP_SEQ, tcp + TCP_SEQ + 2, tcp + CHECKSUM_OFFSET];
    let mut at = 0;
    while at < free.len() + words.len() {
        let word = if at < free.len() { free[at] } else { words[at - free.len()] };
        (equal[word], equal[word + 1]) = (0, 0);
        at += 1;
    }
    // The lower byte of the flags.
    equal[tcp + TCP_FLAGS + 1] = !TcpFlags::PSH.bits().to_be_bytes()[1];
    equal
}

#[inline]
fn is_alike<const N: usize>(first: &[u8], headers: &[u8], equal: &[u8; N]) -> bool {
    let (Some((a, options_a)), Some((b, options_b))) =
        (first.split_first_chunk::<N>(), headers.split_first_chunk::<N>())
    else {
        return false;
    };
    let words = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0).zip(equal.as_chunks::<4>().0);
    let word = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
    let differs = words.fold(0, |differs, ((a, b), equal)| differs | (word(a) ^ word(b)) & word(equal));
    differs == 0 && options_a == options_b
}

#[inline]
fn protocol(bytes: &[u8], at: usize) -> Protocol {
    Protocol(bytes.get(at).copied().unwrap_or(0))
}

/// The bytes from `at` on; zeros if they are not all there.
#[inline]
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes_at(bytes, at))
}

/// Writes a field, if `bytes` reaches that far.
#[inline]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = field;
    }
}

#[inline]
pub(super) fn sum_of(bytes: &[u8]) -> Checksum {
    let mut sum = Checksum::new();
    sum.add_bytes(bytes);
    sum
}
