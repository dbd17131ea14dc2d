//! What a sender waited for, told by what it knew: which acknowledgements had reached it when it sent.

use std::time::Duration;

use super::Seen;
use super::limit::{Limit, Span};
use super::way::{Ack, Around, Last, Way};

/// A delayed acknowledgement is at least this late: Linux's least is 40 ms.
const DELAYED: Duration = Duration::from_millis(25);

impl Way {
    /// The stretches between the last segment and this one, which has `len` bytes of new data from `start` on: at most two.
    pub(super) fn waited_for(&self, start: u64, len: u64, seen: &Seen, around: &Around) -> [Option<Span>; 2] {
        let Some(last) = self.last else { return [None, None] };
        let whole = |limit| [Some(span(limit, (last.at, last.frame), (seen.at, seen.frame))), None];
        let slack = (around.total() / 16).max(Duration::from_micros(500));
        if seen.at.saturating_sub(last.at) <= slack / 4 {
            return whole(self.limit().unwrap_or(Limit::Unknown));
        }
        if self.recovery.is_some() || self.loss.is_some() {
            return whole(Limit::Recovery);
        }
        // What is captured at `at` left the sender a moment before, and an acknowledgement reaches it a moment later.
        let near = around.near.least();
        let since = self.acks.partition_point(|ack| ack.at + near <= last.at);
        let until = self.acks.partition_point(|ack| ack.at + near <= seen.at);
        let before = since.checked_sub(1).and_then(|at| self.acks.get(at));
        let now = until.checked_sub(1).and_then(|at| self.acks.get(at));
        let mut between = self.acks.range(since..until.max(since));
        let split = |limit, until: Duration, frame| {
            let until = until.clamp(last.at, seen.at);
            [
                Some(span(limit, (last.at, last.frame), (until, frame))),
                Some(span(Limit::Application, (until, frame), (seen.at, seen.frame))),
            ]
        };
        if let Some(limit) = self.blocked(start, len, before, around) {
            let want = start + len.min(u64::from(around.mss.max(1)));
            return match between.find(|ack| ack.edge >= Some(want)) {
                Some(ack) if seen.at.saturating_sub(ack.at + near) > slack * 2 => {
                    split(limit, ack.at + near, ack.frame)
                }
                _ => whole(limit),
            };
        }
        let mss = u64::from(around.mss.max(1));
        let trigger =
            now.filter(|ack| seen.at.saturating_sub(ack.at + near) <= slack && ack.at + near > last.at);
        let all_out = self.nxt.max(start);
        if !last.len.is_multiple_of(mss) {
            return match trigger {
                Some(ack)
                    if ack.una >= all_out && !ack.data && len < mss && is_delayed(ack, &last, around) =>
                {
                    whole(Limit::Nagle)
                }
                _ => match between.rfind(|ack| ack.data) {
                    Some(answer) if seen.at.saturating_sub(answer.at + near) > slack => {
                        split(Limit::Answer, answer.at + near, answer.frame)
                    }
                    Some(_) => whole(Limit::Answer),
                    None => whole(Limit::Application),
                },
            };
        }
        if trigger.is_some() {
            return whole(self.clocked(around));
        }
        // Everything was acknowledged, and yet nothing was sent.
        match between.find(|ack| ack.una >= all_out) {
            Some(ack) => split(self.clocked(around), ack.at + near, ack.frame),
            None if seen.at.saturating_sub(last.at) < around.total() => {
                whole(if self.is_queued(around) { Limit::Path } else { Limit::Pacing })
            }
            None => whole(Limit::Application),
        }
    }

    /// The peer's window had no room for this segment after the last one.
    fn blocked(&self, start: u64, len: u64, before: Option<&Ack>, around: &Around) -> Option<Limit> {
        let want = len.min(u64::from(around.mss.max(1)));
        let before = before?;
        let edge = before.edge.filter(|edge| *edge < start + want)?;
        let window = edge.saturating_sub(before.una);
        let slow = window * 2 < self.window.peak || window < want;
        Some(if slow { Limit::SlowReader } else { Limit::ReceiveWindow })
    }

    /// Segments leave when acknowledgements come.
    fn clocked(&self, around: &Around) -> Limit {
        if self.window.edge.is_none() {
            return Limit::Unknown; // it may as well be the peer's window
        }
        if self.is_queued(around) { Limit::Path } else { Limit::CongestionWindow }
    }

    /// Answers come later than they could: a queue on the way is filled.
    fn is_queued(&self, around: &Around) -> bool {
        around.near.queued() + around.far.queued() > around.total() / 2 + Duration::from_millis(2)
    }
}

fn is_delayed(ack: &Ack, last: &Last, around: &Around) -> bool {
    ack.at.saturating_sub(last.at) >= around.far.least() + DELAYED
}

fn span(limit: Limit, from: (Duration, u64), to: (Duration, u64)) -> Span {
    Span { limit, from: from.0, to: to.0, frames: (from.1, to.1) }
}
