//! When to acknowledge (RFC 9293 3.8.6.3, RFC 5681 4.2).

use std::time::Duration;

use super::timers::Timer;
use super::{Connection, Env};
use crate::time::Timestamp;

/// What is owed to the peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct AckPolicy {
    /// One acknowledgement is due now.
    now: bool,
    /// So many duplicates are due, one for each segment beyond a gap: a sender counts them (RFC 5681 4.2).
    duplicates: u32,
    /// Bytes received since the last acknowledgement.
    unacknowledged: u32,
    /// The last of them is the end of a write (PSH).
    pushed: bool,
    /// So many acknowledgements are not to be delayed, unless the application answers.
    quick: u8,
    /// The application answers what it reads: an acknowledgement that waits goes with its answer.
    interactive: bool,
    /// When data last arrived in order.
    heard: Option<Timestamp>,
}

/// More duplicates than this at a time tell the sender nothing new.
const MAX_DUPLICATES: u32 = 64;

/// Less than the default MSS: a program that talks, and does not send in bulk.
const BULK: u32 = 536;

/// RFC 9293 3.8.6.3 MUST-40: less than half a second.
const LONGEST_DELAY: Duration = Duration::from_millis(499);

impl AckPolicy {
    /// Whether an acknowledgement is due even if nothing else is sent.
    pub(crate) fn is_due(&self) -> bool {
        self.now || self.duplicates > 0
    }

    /// A segment with an acknowledgement is being sent.
    pub(crate) fn sent(&mut self, carries_data: bool) {
        self.now = false;
        self.quick = self.quick.saturating_sub(1);
        self.unacknowledged = 0;
        self.pushed = false;
        // Only a segment without data counts as a duplicate acknowledgement.
        if !carries_data {
            self.duplicates = self.duplicates.saturating_sub(1);
        }
    }
}

impl Connection {
    /// One acknowledgement, however many segments asked for it (RFC 9293 3.10.7.4 MUST-58, MUST-59).
    pub(super) fn ack_now(&mut self) {
        self.acks.now = true;
        self.output_due = true;
    }

    /// Acknowledgements that the sender will count (RFC 9293 MAY-13).
    pub(super) fn duplicate_acks(&mut self, count: u32) {
        self.acks.duplicates = self.acks.duplicates.saturating_add(count).min(MAX_DUPLICATES);
        self.output_due = true;
    }

    /// `len` bytes have arrived in order: every second full-sized segment is acknowledged at once
    /// (RFC 9293 SHLD-19), a lesser one after a while (SHLD-18).
    pub(super) fn ack_soon(&mut self, len: u32, pushed: bool, env: &Env<'_>) {
        self.acks.pushed = pushed;
        self.acks.unacknowledged = self.acks.unacknowledged.saturating_add(len);
        let two_segments = 2 * u32::from(self.rcv.mss.max(1));
        let paused = self.acks.heard.is_none_or(|heard| env.now.since(heard) > self.sender.rto().current());
        if paused {
            // Not more than half a window's worth of segments is acknowledged one by one.
            let half_window = self.rcv.wnd() / two_segments;
            self.acks.quick = env.config.quick_acks.min(u8::try_from(half_window.max(2)).unwrap_or(u8::MAX));
        }
        self.acks.heard = Some(env.now);
        let delay = if self.acks.quick > 0 && !self.acks.interactive {
            // Due now, and not sent yet: events come first, and an answer that is ready at once takes it along.
            Duration::ZERO
        } else {
            env.config.delayed_ack.min(LONGEST_DELAY)
        };
        if self.options.quick_ack
            || self.acks.unacknowledged >= two_segments
            || env.config.delayed_ack.is_zero()
        {
            self.ack_now();
        } else if self.timers.get(Timer::DelayedAck).is_none_or(|at| env.now + delay < at) {
            self.timers.set(Timer::DelayedAck, env.now + delay);
        }
    }

    /// The application has read something. If that was all, and the peer has pushed what may be all that its send buffer
    /// holds, nothing more comes before it is acknowledged; unless an answer is on its way, that is now. As in Linux.
    pub(super) fn maybe_ack_read(&mut self) {
        let all_read = self.acks.pushed && self.receive_buffer.is_empty();
        if all_read && self.acks.unacknowledged >= BULK && !self.acks.interactive {
            self.ack_now();
        }
    }

    /// Data is being sent: an answer, if it comes soon after what was received.
    pub(super) fn data_sent(&mut self, env: &Env<'_>) {
        if self.acks.heard.is_some_and(|heard| env.now.since(heard) < env.config.delayed_ack) {
            self.acks.interactive = true;
        }
    }

    /// An acknowledgement has waited for an answer that did not come.
    pub(super) fn delayed_ack_timeout(&mut self) {
        self.acks.interactive = false;
        self.ack_now();
    }

    /// No answer will come that could take an acknowledgement along.
    pub(crate) fn acknowledge(&mut self) {
        if self.owes_ack() {
            self.ack_now();
        }
    }

    /// Whether received bytes still wait to be acknowledged.
    pub(crate) fn owes_ack(&self) -> bool {
        self.acks.unacknowledged > 0 || self.acks.is_due()
    }
}
