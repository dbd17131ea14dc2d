//! The timers of one connection: a small table, looked at as a whole.

use crate::time::Timestamp;

/// What a connection may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Retransmission of SYN, data or FIN (RFC 6298 5).
    Retransmit,
    /// The next zero-window probe (RFC 9293 3.8.6.1).
    Persist,
    /// The acknowledgement that waits for company (RFC 9293 3.8.6.3).
    DelayedAck,
    /// The next keep-alive probe (RFC 9293 3.8.4).
    KeepAlive,
    /// A corked or deferred small segment goes out after all.
    Cork,
    /// What a narrower path has refused is sent again, a round trip after the last time.
    Repacketize,
    /// The next segments may go, at the rate at which they follow each other.
    Pace,
    /// A tail loss probe (RFC 8985 7).
    Probe,
    /// Losses are looked for again (RFC 8985 6.2, step 5).
    Reorder,
    /// Nobody holds the connection and the peer's FIN does not come.
    FinWait2,
}

impl Timer {
    pub(crate) const ALL: [Self; 10] = [
        // A probe that is due puts the retransmission off.
        Self::Probe,
        Self::Retransmit,
        Self::Persist,
        Self::DelayedAck,
        Self::KeepAlive,
        Self::Cork,
        Self::Repacketize,
        Self::Pace,
        Self::Reorder,
        Self::FinWait2,
    ];
    const COUNT: usize = Self::ALL.len();
}

#[derive(Clone, Debug)]
pub(crate) struct TimerTable {
    /// Microseconds on the clock; a timer that does not run has `NEVER`.
    deadlines: [u64; Timer::COUNT],
}

const NEVER: u64 = u64::MAX;

impl Default for TimerTable {
    fn default() -> Self {
        Self { deadlines: [NEVER; Timer::COUNT] }
    }
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = at.as_micros();
        }
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = NEVER;
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Timestamp> {
        self.deadlines.get(timer as usize).and_then(|at| moment(*at))
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        moment(self.deadlines.iter().fold(NEVER, |earliest, at| earliest.min(*at)))
    }

    /// Stops a timer if it is due, and says for when it was set.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Timestamp) -> Option<Timestamp> {
        let due = self.get(timer).filter(|at| *at <= now)?;
        self.stop(timer);
        Some(due)
    }
}

fn moment(at: u64) -> Option<Timestamp> {
    (at != NEVER).then(|| Timestamp::from_micros(at))
}
