//! Why something was sent again, from what the sender knew.

use std::time::Duration;

use super::flight::Sent;
use super::retransmission::{Cause, Finding};
use super::way::Around;
use crate::grade::Grade;

/// A timer that has doubled has waited this long at least: no minimum of a retransmission timeout is much less.
const DOUBLED: Duration = Duration::from_millis(150);

/// What is known when `start..end` is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The oldest that is not acknowledged, and the next to be sent.
    pub(super) una: u64,
    pub(super) nxt: u64,
    /// When it was sent before, if that is in the capture, and since when it is out.
    pub(super) original: Option<Sent>,
    pub(super) waited: Option<Duration>,
    /// A router had said that a packet was too large: the frame, and since when.
    pub(super) too_big: Option<(u64, Duration)>,
    /// Bytes that SACK has reported behind it, and the frame that did so first.
    pub(super) told: Option<(u64, u64)>,
    /// Duplicate acknowledgements: how many, the first and the last.
    pub(super) duplicates: (u32, u64, u64),
    /// How long the sender had sent nothing.
    pub(super) quiet: Duration,
    /// Since when the last acknowledgement can have been with the sender, and its frame.
    pub(super) last_ack: Option<(u64, Duration)>,
    /// What was out when losses were noticed, and when the timer went off.
    pub(super) recovery: Option<u64>,
    pub(super) loss: Option<u64>,
    pub(super) around: &'a Around,
}

impl Evidence<'_> {
    pub(super) fn cause(&self) -> Finding<Cause> {
        let total = self.around.total();
        if let Some((frame, since)) = self.too_big
            && since < total + Duration::from_millis(50)
        {
            return Finding::new(Cause::PathMtu, Grade::Shown, [frame]);
        }
        if let Some(sent) = self.original.filter(|sent| self.has_doubled(sent)) {
            return Finding::new(Cause::Timeout, Grade::Shown, [sent.first.0, sent.last.0]);
        }
        if let Some(cause) = self.timer() {
            return Finding::new(cause, Grade::Likely, self.original.map(|sent| sent.last.0));
        }
        if self.loss.is_some_and(|until| self.start < until) {
            return Finding::new(Cause::AfterTimeout, Grade::Likely, []);
        }
        let overdue = |since| since > total * 2 + DOUBLED;
        if self.is_slow() && self.is_first() && self.last_ack.is_some_and(|(_, since)| overdue(since)) {
            return Finding::new(Cause::Timeout, Grade::Likely, self.original.map(|sent| sent.last.0));
        }
        self.fast().unwrap_or_else(|| Finding::new(Cause::Unknown, Grade::Unknown, []))
    }

    /// It is the oldest that is out.
    fn is_first(&self) -> bool {
        self.start <= self.una
    }

    /// An acknowledgement came just before.
    fn is_prompt(&self) -> bool {
        let soon = (self.around.total() / 8).max(Duration::from_millis(4));
        self.last_ack.is_some_and(|(_, since)| since <= soon)
    }

    /// Nothing has come, and nothing was sent, for a round trip and more.
    fn is_slow(&self) -> bool {
        self.quiet >= self.around.total().max(Duration::from_millis(10)) && !self.is_prompt()
    }

    /// The same range was sent again before, and now the wait was twice as long.
    fn has_doubled(&self, sent: &Sent) -> bool {
        let doubled = |waited| waited >= sent.waited * 17 / 10 && waited > DOUBLED;
        sent.again > 0 && self.is_first() && !self.is_prompt() && self.waited.is_some_and(doubled)
    }

    /// A timer, where nobody has told of a loss.
    fn timer(&self) -> Option<Cause> {
        if !self.is_slow() || self.told.is_some() {
            return None;
        }
        let is_last = self.end >= self.nxt;
        match (self.is_first(), is_last) {
            (false, true) if self.loss.is_none() => Some(Cause::TailLossProbe),
            (true, false) => Some(Cause::Timeout),
            // One segment is out: its first timer may be either.
            (true, true) if self.original.is_some_and(|sent| sent.again > 0) => Some(Cause::Timeout),
            (true, true) => Some(Cause::Timer),
            _ => None,
        }
    }

    /// The receiver has told of what came behind it.
    fn fast(&self) -> Option<Finding<Cause>> {
        let enough = u64::from(self.around.mss) * 3;
        let found = |grade, frames: &[u64]| Some(Finding::new(Cause::Fast, grade, frames.iter().copied()));
        match (self.told, self.duplicates) {
            (Some((bytes, first)), _) if bytes >= enough || self.recovery.is_some() => {
                found(Grade::Shown, &[first])
            }
            (Some((_, first)), _) => found(Grade::Likely, &[first]),
            (None, (3.., first, last)) if self.is_first() => found(Grade::Shown, &[first, last]),
            (None, (1.., first, _)) if self.is_first() && self.is_prompt() => found(Grade::Likely, &[first]),
            // A partial acknowledgement.
            _ if self.recovery.is_some_and(|until| self.start < until) && self.is_prompt() => {
                Some(Finding::new(Cause::Fast, Grade::Likely, self.last_ack.map(|(frame, _)| frame)))
            }
            _ => None,
        }
    }
}
