//! The core's clock: microseconds since an epoch that the caller chooses.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment, in microseconds since the caller's epoch.
///
/// It is never zero, so an `Option<Timestamp>` costs eight bytes. The core never reads a clock: every
/// moment it knows was handed to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The first moment there is: one microsecond after the epoch.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// The last moment there is.
    pub(crate) const END: Self = Self(NonZeroU64::MAX);

    /// The moment `micros` microseconds after the epoch; zero counts as [`START`](Self::START).
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        match NonZeroU64::new(micros) {
            Some(micros) => Self(micros),
            None => Self::START,
        }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0.get()
    }

    /// Milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.get() / 1000
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let micros = micros(delay);
        Self(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, delay: Duration) {
        *self = *self + delay;
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.as_micros() / 1_000_000, self.as_micros() % 1_000_000)
    }
}

/// All that a span of time is, in microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A moment in five bytes, for tables with a million entries: it is exact to the microsecond, and known up to
/// a multiple of twelve days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShortTimestamp([u8; 5]);

impl ShortTimestamp {
    /// 2^40 microseconds.
    const PERIOD: u64 = 1 << 40;

    /// What is farther ahead than this could not be told from the past.
    const LONGEST: Duration = Duration::from_secs(5 * 86_400);

    /// So long a delay can be told: five days at most.
    pub(crate) fn longest(delay: Duration) -> Duration {
        delay.min(Self::LONGEST)
    }

    /// The moment `delay` after `now`; five days at most.
    pub(crate) fn after(now: Timestamp, delay: Duration) -> Self {
        let at = now + Self::longest(delay);
        let [a, b, c, d, e, ..] = at.as_micros().to_le_bytes();
        Self([a, b, c, d, e])
    }

    /// The moment from which it was `delay` ahead, if that is within six days of `near`.
    pub(crate) fn before(self, delay: Duration, near: Timestamp) -> Timestamp {
        let delay = micros(Self::longest(delay));
        Timestamp::from_micros(self.near(near).as_micros().saturating_sub(delay))
    }

    /// The moment that it means, within six days of `near`.
    pub(crate) fn near(self, near: Timestamp) -> Timestamp {
        let [a, b, c, d, e] = self.0;
        let low = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
        let near = near.as_micros();
        let ahead = low.wrapping_sub(near) % Self::PERIOD;
        if ahead < Self::PERIOD / 2 {
            Timestamp::from_micros(near.saturating_add(ahead))
        } else {
            Timestamp::from_micros(near.saturating_sub(Self::PERIOD - ahead))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_timestamp_is_exact_within_six_days() {
        let at = Timestamp::from_micros(5_000_000_000_123);
        let short = ShortTimestamp::after(at, Duration::ZERO);
        for days in [-5i64, -1, 0, 1, 5] {
            let near = Timestamp::from_micros(at.as_micros().saturating_add_signed(days * 86_400_000_000));
            assert_eq!(short.near(near), at);
        }
    }

    #[test]
    fn a_delay_of_a_month_does_not_end_at_once() {
        let now = Timestamp::from_micros(5_000_000_000_123);
        let later = ShortTimestamp::after(now, Duration::from_secs(30 * 86_400)).near(now);
        assert_eq!(later.since(now), Duration::from_secs(5 * 86_400));
    }
}
