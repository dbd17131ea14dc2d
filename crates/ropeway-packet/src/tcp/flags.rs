//! The control bits.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// The control bits of a segment: the eight of RFC 9293 3.1 and the ninth of AccECN.
///
/// ```
/// use ropeway_packet::TcpFlags;
/// let flags = TcpFlags::SYN | TcpFlags::ACK;
/// assert!(flags.contains(TcpFlags::SYN));
/// assert_eq!(format!("{flags:?}"), "SYN|ACK");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// No flag.
    pub const EMPTY: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(1 << 0);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(1 << 1);
    /// Reset the connection.
    pub const RST: Self = Self(1 << 2);
    /// Push: deliver what was received so far.
    pub const PSH: Self = Self(1 << 3);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(1 << 4);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(1 << 5);
    /// ECN-Echo (RFC 3168 6.1).
    pub const ECE: Self = Self(1 << 6);
    /// Congestion Window Reduced (RFC 3168 6.1).
    pub const CWR: Self = Self(1 << 7);
    /// Accurate ECN, the bit that was NS (RFC 9768); the lowest bit of the byte with the data
    /// offset.
    pub const AE: Self = Self(1 << 8);

    /// The three bits of ECN, which Accurate ECN takes as one number (RFC 9768 3.2.2).
    pub const ACE: Self = Self(Self::AE.0 | Self::CWR.0 | Self::ECE.0);

    const ALL: u16 = (1 << 9) - 1;
    const NAMES: [(Self, &str); 9] = [
        (Self::FIN, "FIN"),
        (Self::SYN, "SYN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::ACK, "ACK"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
        (Self::AE, "AE"),
    ];

    /// Whether every flag of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags of both.
    #[inline]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// AE, CWR and ECE as one number, 0 to 7 (RFC 9768 3.2.2).
    ///
    /// ```
    /// use ropeway_packet::TcpFlags;
    /// assert_eq!((TcpFlags::ACK | TcpFlags::AE | TcpFlags::ECE).ace(), 0b101);
    /// assert_eq!(TcpFlags::from_ace(0b101), TcpFlags::AE | TcpFlags::ECE);
    /// ```
    #[inline]
    pub const fn ace(self) -> u8 {
        (self.0 >> 6 & 0b111) as u8
    }

    /// AE, CWR and ECE as the lowest three bits of a number say.
    #[inline]
    pub const fn from_ace(ace: u8) -> Self {
        Self((ace as u16 & 0b111) << 6)
    }

    /// The nine bits; FIN is the lowest.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The flags with these bits; bits above the ninth are dropped.
    #[inline]
    pub const fn from_bits_truncate(bits: u16) -> Self {
        Self(bits & Self::ALL)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for TcpFlags {
    type Output = Self;
    #[inline]
    fn not(self) -> Self {
        Self::from_bits_truncate(!self.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| *name);
        f.write_str(names.next().unwrap_or("EMPTY"))?;
        names.try_for_each(|name| write!(f, "|{name}"))
    }
}
