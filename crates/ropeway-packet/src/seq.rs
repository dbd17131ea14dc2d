//! Sequence numbers, compared modulo 2^32 (RFC 9293 3.4), and the window scale (RFC 7323 2).

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A TCP sequence number.
///
/// It has no `Ord`: order on a circle is not transitive. [`before`](Self::before) and its
/// neighbours compare two numbers that are less than 2^31 apart, as all live numbers of one
/// connection are.
///
/// ```
/// use ropeway_packet::SeqNum;
/// let last = SeqNum::new(u32::MAX);
/// assert!(last.before(last + 1));
/// assert_eq!((last + 1).since(last), 1);
/// assert!((last + 3).within(last, 4) && !(last + 4).within(last, 4));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(u32);

impl SeqNum {
    /// The sequence number with this value.
    #[inline]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number as it stands in a header.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// `self < other`, modulo 2^32.
    ///
    /// Of two numbers exactly 2^31 apart, each is before the other; neither is after.
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        // RFC 9293 3.4 R-13: the difference, read as a signed number, is negative.
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// `self > other`, modulo 2^32.
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// `self <= other`, modulo 2^32.
    #[inline]
    pub const fn at_or_before(self, other: Self) -> bool {
        !self.after(other)
    }

    /// `self >= other`, modulo 2^32.
    #[inline]
    pub const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// How many sequence numbers lie from `earlier` up to `self`: `self - earlier`, modulo 2^32.
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// `start <= self < start + len`, modulo 2^32. Nothing is within an empty range.
    #[inline]
    pub const fn within(self, start: Self, len: u32) -> bool {
        self.since(start) < len
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: Self) -> Self {
        if self.after(other) { self } else { other }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: Self) -> Self {
        if self.after(other) { other } else { self }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn add(self, len: u32) -> Self {
        Self(self.0.wrapping_add(len))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, len: u32) {
        *self = *self + len;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn sub(self, len: u32) -> Self {
        Self(self.0.wrapping_sub(len))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// By how many bits one end shifts the window field of its segments: 0 to 14 (RFC 7323 2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WindowScale(u8);

impl WindowScale {
    /// No scaling: windows up to 65535 bytes.
    pub const ZERO: Self = Self(0);
    /// The largest shift allowed, 14: windows up to 1 GiB.
    pub const MAX: Self = Self(14);

    /// A shift of `shift` bits, or of 14 when that is more.
    #[inline]
    pub const fn new(shift: u8) -> Self {
        // RFC 7323 2.3-2: more than 14 counts as 14.
        if shift > Self::MAX.0 { Self::MAX } else { Self(shift) }
    }

    /// The shift in bits.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The smallest shift with which a window of `bytes` can be advertised, or 14 when none
    /// suffices.
    pub const fn for_buffer(bytes: usize) -> Self {
        let mut scale = Self::ZERO;
        while scale.0 < Self::MAX.0 && (65_535_usize << scale.0) < bytes {
            scale = Self(scale.0 + 1);
        }
        scale
    }

    /// The window in bytes that a window field means.
    #[inline]
    pub const fn unscale(self, field: u16) -> u32 {
        // 16 bits and a shift of at most 14 make at most 30 bits. (`u32::from` is not const.)
        (field as u32) << self.0
    }

    /// The window field that advertises `window` bytes, rounded down, and at most 65535.
    #[inline]
    pub fn scale(self, window: u32) -> u16 {
        u16::try_from(window >> self.0).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests;
