//! How fast a link is.

use std::fmt;

/// Bits a second, IP header included; link layers are not counted.
///
/// ```
/// use ropeway_sim::Rate;
/// assert_eq!(Rate::mbit(10), Rate::kbit(10_000));
/// assert_eq!(Rate::mbit(10).to_string(), "10 Mbit/s");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// So many bits a second.
    ///
    /// # Panics
    ///
    /// If it is 0, as in the others. A link that passes nothing is not [`up`](crate::Pipe::up).
    #[must_use]
    #[track_caller]
    pub const fn bits(per_second: u64) -> Self {
        assert!(per_second > 0, "a rate of 0 passes nothing: Pipe::up says that a link is down");
        Self(per_second)
    }

    /// So many thousand bits a second.
    #[must_use]
    #[track_caller]
    pub const fn kbit(per_second: u64) -> Self {
        Self::bits(per_second.saturating_mul(1_000))
    }

    /// So many million bits a second.
    #[must_use]
    #[track_caller]
    pub const fn mbit(per_second: u64) -> Self {
        Self::bits(per_second.saturating_mul(1_000_000))
    }

    /// So many billion bits a second.
    #[must_use]
    #[track_caller]
    pub const fn gbit(per_second: u64) -> Self {
        Self::bits(per_second.saturating_mul(1_000_000_000))
    }

    /// The bits a second.
    #[must_use]
    pub const fn as_bits(self) -> u64 {
        self.0
    }

    /// How many nanoseconds `len` bytes take.
    pub(crate) fn nanos(self, len: usize) -> u64 {
        let nanos = (len as u128 * 8 * 1_000_000_000).div_ceil(u128::from(self.0));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits.is_multiple_of(1_000_000_000) => write!(f, "{} Gbit/s", bits / 1_000_000_000),
            bits if bits.is_multiple_of(1_000_000) => write!(f, "{} Mbit/s", bits / 1_000_000),
            bits if bits.is_multiple_of(1_000) => write!(f, "{} kbit/s", bits / 1_000),
            bits => write!(f, "{bits} bit/s"),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
