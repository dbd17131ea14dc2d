//! The Internet checksum (RFC 1071), in one piece, in several, and changed in place (RFC 1624).

mod partial;

use std::net::IpAddr;

use ropeway_checksum::fold;

use crate::Protocol;

pub use partial::Partial;

/// A running one's-complement sum.
///
/// Parts may have any length: a part that follows an odd number of bytes is summed shifted by one
/// byte, so that the result equals that of the concatenation (RFC 1071 2, "byte swapping").
///
/// ```
/// use ropeway_packet::Checksum;
/// let mut whole = Checksum::new();
/// whole.add_bytes(&[1, 2, 3, 4]);
/// let mut parts = Checksum::new();
/// parts.add_bytes(&[1]);
/// parts.add_bytes(&[2, 3, 4]);
/// assert_eq!(whole.finish(), parts.finish());
/// assert_eq!(whole.fold(), 0x0406);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// A sum of 16-bit words; at 2^16 per part it cannot overflow within anyone's lifetime.
    sum: u64,
    /// An odd number of bytes was summed so far.
    odd: bool,
}

impl Checksum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds bytes as they stand in the packet.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add_part(ropeway_checksum::sum(bytes), bytes.len());
    }

    /// Copies `from` to `to` and adds it, in one pass. As many bytes as both have room for are copied
    /// and added; their number is returned.
    ///
    /// ```
    /// use ropeway_packet::Checksum;
    /// let (mut sum, mut to) = (Checksum::new(), [0; 3]);
    /// assert_eq!(sum.add_copy(&[1, 2, 3, 4], &mut to), 3);
    /// assert_eq!((sum.fold(), to), (0x0402, [1, 2, 3]));
    /// ```
    #[inline]
    pub fn add_copy(&mut self, from: &[u8], to: &mut [u8]) -> usize {
        let len = from.len().min(to.len());
        self.add_part(ropeway_checksum::copy(from, to), len);
        len
    }

    #[inline]
    fn add_part(&mut self, part: u16, len: usize) {
        self.sum += u64::from(if self.odd { part.swap_bytes() } else { part });
        self.odd ^= len % 2 == 1;
    }

    /// Adds one 16-bit field.
    #[inline]
    pub fn add_u16(&mut self, field: u16) {
        self.sum += u64::from(if self.odd { field.swap_bytes() } else { field });
    }

    /// Adds one 32-bit field, such as an IPv4 address.
    #[inline]
    pub fn add_u32(&mut self, field: u32) {
        // 2^16 is 1 modulo 2^16 - 1, so a word of 32 bits sums like its halves; and swapping the
        // bytes of both halves is the rotation that follows an odd number of bytes.
        self.sum += u64::from(if self.odd { field.rotate_left(8) } else { field });
    }

    /// The sum folded to 16 bits, not complemented: what a device that completes the checksum
    /// expects to find in the checksum field.
    #[inline]
    pub fn fold(self) -> u16 {
        fold(self.sum)
    }

    /// The checksum: the complement of the folded sum. Over data that contains its own right
    /// checksum it is 0.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The sum of the pseudo-header that covers a TCP segment, a UDP datagram or an ICMPv6 message of
/// `len` bytes (RFC 9293 3.1, RFC 8200 8.1).
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: Protocol, len: u32) -> Checksum {
    let mut sum = Checksum::new();
    sum.add_u16(u16::from(protocol.0));
    sum.add_u32(len);
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(addr) => sum.add_u32(addr.to_bits()),
            IpAddr::V6(addr) => addr.segments().into_iter().for_each(|word| sum.add_u16(word)),
        }
    }
    sum
}

/// Whether `bytes`, the whole payload of an IP packet, carries the right checksum for its protocol.
///
/// The pseudo-header is included, except for ICMP over IPv4, which has none. A UDP checksum of zero
/// is not special here; [`udp::parse`](crate::udp::parse) knows its meaning.
#[inline]
pub fn verify(src: IpAddr, dst: IpAddr, protocol: Protocol, bytes: &[u8]) -> bool {
    let Ok(len) = u32::try_from(bytes.len()) else {
        return false;
    };
    let mut sum =
        if protocol == Protocol::ICMP { Checksum::new() } else { pseudo_header(src, dst, protocol, len) };
    sum.add_bytes(bytes);
    sum.finish() == 0
}

/// The checksum after one 16-bit field under it changed from `old` to `new`.
///
/// Equal to a full computation, up to the choice between the two zeros 0x0000 and 0xffff.
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    // RFC 1624 3, equation 3: HC' = ~(~HC + ~m + m')
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

#[cfg(test)]
mod tests;
