//! Looking again and again for a while, instead of waiting to be called.

use std::time::{Duration, Instant};

/// More is as good as for ever, and no moment is beyond what a clock can tell.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long after traffic a device is looked at without a pause.
#[derive(Clone, Debug, Default)]
pub(super) struct BusyPoll {
    time: Duration,
    /// Set by the last traffic.
    until: Option<Instant>,
}

impl BusyPoll {
    pub(super) fn new(time: Duration) -> Self {
        Self { time: time.min(LONGEST), until: None }
    }

    /// There is traffic, so more may follow. Whether that is waited for busily.
    pub(super) fn go_on(&mut self) -> bool {
        if self.time.is_zero() {
            return false;
        }
        self.until = Some(Instant::now() + self.time);
        true
    }

    /// Whether to look again at once.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}
