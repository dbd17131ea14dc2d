//! The clocks of hosts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropeway::manual::{TimeSource, Timestamp};

use crate::engine::{Micros, Time};

/// Millionths: the speed of a clock that is right.
const RIGHT: u64 = 1_000_000;

/// What a host takes for the time.
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
}

impl Skew {
    fn local(&self, moment: Micros) -> Micros {
        let elapsed = u128::from(moment.saturating_sub(self.since)) * u128::from(self.speed);
        self.base.saturating_add(u64::try_from(elapsed / u128::from(RIGHT)).unwrap_or(u64::MAX))
    }
}

impl HostClock {
    /// A clock that is right.
    pub(crate) fn new(time: Arc<Time>) -> Self {
        Self { time, skew: Mutex::new(Skew { since: 0, base: 0, speed: RIGHT }) }
    }

    /// Microseconds since the simulation began, as far as the host knows.
    pub(crate) fn local(&self) -> Micros {
        self.skew().local(self.time.now())
    }

    /// When the host's clock shows `local`. Never, if it stands.
    pub(crate) fn moment(&self, local: Timestamp) -> Micros {
        let skew = self.skew();
        if skew.speed == 0 {
            return u64::MAX >> 1;
        }
        let to_go = local.as_micros().saturating_sub(1).saturating_sub(skew.base);
        let elapsed = (u128::from(to_go) * u128::from(RIGHT)).div_ceil(u128::from(skew.speed));
        skew.since.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX >> 1))
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
