//! The clocks of hosts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::{Duration, SystemTime};

use ropeway::manual::{TimeSource, Timestamp};

use crate::engine::{Micros, Time};

/// When simulations begin, since 1970: at the turn of the millennium.
pub(crate) const BEGINNING: Duration = Duration::from_secs(946_684_800);

/// Millionths: the speed of a clock that is right.
const RIGHT: u64 = 1_000_000;

/// What a host takes for the time.
///
/// It has two readings. The one of the stack, and of whoever measures durations, never goes back. The wall clock is
/// that, plus an offset that may be anything.
#[derive(Debug)]
pub(crate) struct HostClock {
    time: Arc<Time>,
    skew: Mutex<Skew>,
}

/// Since the moment `since`, at which the clock showed `base`, it runs at `speed` millionths.
#[derive(Clone, Copy, Debug)]
struct Skew {
    since: Micros,
    base: Micros,
    speed: u64,
    stands: bool,
    /// Microseconds by which the wall clock is ahead.
    offset: i64,
}

impl Skew {
    fn local(&self, moment: Micros) -> Micros {
        let speed = if self.stands { 0 } else { self.speed };
        let elapsed = u128::from(moment.saturating_sub(self.since)) * u128::from(speed);
        self.base.saturating_add(u64::try_from(elapsed / u128::from(RIGHT)).unwrap_or(u64::MAX))
    }
}

impl HostClock {
    /// A clock that is right.
    pub(crate) fn new(time: Arc<Time>) -> Self {
        Self { time, skew: Mutex::new(Skew { since: 0, base: 0, speed: RIGHT, stands: false, offset: 0 }) }
    }

    /// The clock of the simulation.
    pub(crate) fn time(&self) -> &Arc<Time> {
        &self.time
    }

    /// Microseconds since the simulation began, as far as the host knows.
    pub(crate) fn local(&self) -> Micros {
        self.skew().local(self.time.now())
    }

    /// When the host's clock shows `local`. Never, if it stands.
    pub(crate) fn moment(&self, local: Timestamp) -> Micros {
        let skew = self.skew();
        if skew.stands {
            return u64::MAX >> 1;
        }
        let to_go = local.as_micros().saturating_sub(1).saturating_sub(skew.base);
        let elapsed = (u128::from(to_go) * u128::from(RIGHT)).div_ceil(u128::from(skew.speed));
        skew.since.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX >> 1))
    }

    /// Lets the clock run at `speed` from now on: 1 is right, 2 is twice as fast.
    pub(crate) fn set_speed(&self, speed: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
        let speed = (speed * RIGHT as f64).round().clamp(1.0, 1e12) as u64;
        self.change(|skew| skew.speed = speed);
    }

    /// Lets the clock stand, or go on.
    pub(crate) fn set_stands(&self, stands: bool) {
        self.change(|skew| skew.stands = stands);
    }

    /// Sets by how many microseconds the wall clock is ahead.
    pub(crate) fn set_offset(&self, offset: i64) {
        self.change(|skew| skew.offset = offset);
    }

    /// The wall clock.
    pub(crate) fn wall(&self) -> SystemTime {
        let offset = self.skew().offset;
        let local = BEGINNING + Duration::from_micros(self.local());
        let by = Duration::from_micros(offset.unsigned_abs());
        SystemTime::UNIX_EPOCH + if offset < 0 { local.saturating_sub(by) } else { local + by }
    }

    fn change(&self, change: impl FnOnce(&mut Skew)) {
        let now = self.time.now();
        let mut skew = self.skew();
        (skew.base, skew.since) = (skew.local(now), now);
        change(&mut skew);
    }

    fn skew(&self) -> MutexGuard<'_, Skew> {
        self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeSource for HostClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.local().saturating_add(1))
    }
}
