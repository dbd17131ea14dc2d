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

#[derive(Clone, Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Timestamp>; Timer::COUNT],
}

impl TimerTable {
    fn slot(&mut self, timer: Timer) -> Option<&mut Option<Timestamp>> {
        self.deadlines.get_mut(timer as usize)
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(slot) = self.slot(timer) {
            *slot = Some(at);
        }
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        if let Some(slot) = self.slot(timer) {
            *slot = None;
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Timestamp> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Stops a timer if it is due, and says whether it was.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Timestamp) -> bool {
        let due = self.get(timer).is_some_and(|at| at <= now);
        if due {
            self.stop(timer);
        }
        due
    }
}
