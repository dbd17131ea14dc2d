//! When to acknowledge (RFC 9293 3.8.6.3, RFC 5681 4.2).

use std::time::Duration;

use super::Receiver;
use crate::options::AckThinning;
use crate::time::Timestamp;

/// What is owed to the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AckPolicy {
    /// One acknowledgement is due now.
    now: bool,
    /// So many duplicates are due, one for each segment beyond a gap: a sender counts them (RFC 5681 4.2).
    duplicates: u8,
    /// Bytes received since the last acknowledgement.
    pub(super) unacknowledged: u32,
    /// The last of them is the end of a write (PSH).
    pushed: bool,
    /// So many acknowledgements are not to be delayed, unless the application answers.
    quick: u8,
    /// The application answers what it reads: an acknowledgement that waits goes with its answer.
    interactive: bool,
    /// When data last arrived in order.
    heard: Option<Timestamp>,
    /// How fast data came, in bytes a second, when that last grew; a little less for each round trip in which it was less.
    pub(super) rate: u32,
    /// So many round trips have passed since.
    pub(super) steady: u8,
    /// So many packets from beyond a gap have yet to be told of.
    pub(super) untold: u8,
}

/// More duplicates than this at a time tell the sender nothing new.
const MAX_DUPLICATES: u8 = 64;

/// Likewise where each has the same blocks, which say what to count: these are for a sender that counts segments up to the
/// threshold of RFC 5681 3.2 all the same.
const MAX_DUPLICATES_WITH_SACK: u8 = 3;

/// Less than the default MSS: a program that talks, and does not send in bulk.
const BULK: u32 = 536;

/// RFC 9293 3.8.6.3 MUST-40: less than half a second.
const LONGEST_DELAY: Duration = Duration::from_millis(499);

#[cfg(test)]
impl AckPolicy {
    /// So much is due, and nothing else is known.
    pub(super) fn for_test(now: bool, duplicates: u8) -> Self {
        Self { now, duplicates, ..Self::default() }
    }

    /// So many bytes have arrived in order, and wait.
    pub(super) fn heard(at: Timestamp, unacknowledged: u32) -> Self {
        Self { heard: Some(at), unacknowledged, ..Self::default() }
    }
}

/// What the connection's settings and the moment say of acknowledgements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckTiming<'a> {
    pub(crate) now: Timestamp,
    /// So long one waits for an answer to go with, or for a second segment.
    pub(crate) delay: Duration,
    /// None waits (`TCP_QUICKACK`).
    pub(crate) at_once: bool,
    /// After a pause of the retransmission timeout, so many do not wait.
    pub(crate) quick: u8,
    pub(crate) rto: Duration,
    /// Nobody has the connection yet: when somebody has, it is due once he could answer.
    pub(crate) unheld: bool,
    /// In bulk, fewer are sent.
    pub(crate) thinning: Option<&'a AckThinning>,
}

impl Receiver {
    /// One acknowledgement, however many segments asked for it (RFC 9293 3.10.7.4 MUST-58, MUST-59).
    pub(crate) fn ack_now(&mut self) {
        self.acks.now = true;
    }

    /// One acknowledgement is owed, and not due yet. Says whether none is due.
    pub(crate) fn owe_ack(&mut self) -> bool {
        self.acks.unacknowledged = self.acks.unacknowledged.max(1);
        !self.acks.now
    }

    /// Acknowledgements that the sender will count (RFC 9293 MAY-13).
    pub(super) fn duplicate_acks(&mut self, count: u32) {
        let most = if self.sack { MAX_DUPLICATES_WITH_SACK } else { MAX_DUPLICATES };
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        self.acks.duplicates = self.acks.duplicates.saturating_add(count).min(most);
    }

    /// `len` bytes have arrived in order: every second full-sized segment is acknowledged at once
    /// (RFC 9293 SHLD-19) unless acknowledgements are thinned, a lesser one after a while (SHLD-18), of which the end is said.
    pub(super) fn ack_soon(&mut self, len: u32, pushed: bool, timing: &AckTiming<'_>) -> Option<Timestamp> {
        let two_segments = 2 * u32::from(self.rcv.mss.max(1));
        let half_window = self.rcv.wnd() / two_segments;
        let acks = &mut self.acks;
        acks.pushed = pushed;
        acks.unacknowledged = acks.unacknowledged.saturating_add(len);
        if acks.heard.is_none_or(|heard| timing.now.since(heard) > timing.rto) {
            // Not more than half a window's worth of segments is acknowledged one by one.
            acks.quick = timing.quick.min(u8::try_from(half_window.max(2)).unwrap_or(u8::MAX));
            acks.steady = 0;
        }
        acks.heard = Some(timing.now);
        let waits_for_answer = acks.quick == 0 || acks.interactive || timing.unheld;
        // What ends a write may be the last for now, and is not held up for more to come.
        let thinned = timing.thinning.filter(|_| !pushed).and_then(|thinning| self.thinned(thinning));
        let (enough, delay) = thinned.unwrap_or((two_segments, timing.delay));
        if timing.at_once || self.acks.unacknowledged >= enough.max(two_segments) || timing.delay.is_zero() {
            self.ack_now();
            return None;
        }
        let delay = if waits_for_answer {
            delay.min(timing.delay).min(LONGEST_DELAY)
        } else {
            // Due now, and not sent yet: events come first, and an answer that is ready at once takes it along.
            Duration::ZERO
        };
        Some(timing.now + delay)
    }

    /// How long an acknowledgement waits at most, where `delay` is set: for an answer to go with, or for more data.
    pub(crate) fn ato(&self, delay: Duration, thinning: Option<&AckThinning>) -> Duration {
        let thinned = thinning.and_then(|thinning| self.thinned(thinning));
        thinned.map_or(delay, |(_, thinned)| thinned.min(delay)).min(LONGEST_DELAY)
    }

    /// The application has read something. If that was all, and the peer has pushed what may be all that its send buffer
    /// holds, nothing more comes before it is acknowledged; unless an answer is on its way, that is now. As in Linux.
    pub(super) fn ack_what_was_read(&mut self) {
        let all_read = self.acks.pushed && self.buffer.is_empty();
        if all_read && self.acks.unacknowledged >= BULK && !self.acks.interactive {
            self.ack_now();
        }
    }

    /// Data is being sent: an answer, if it comes within `delay` of what was received. What is new and takes the acknowledgement
    /// of a SYN-ACK along is one, too: the application speaks first, and may have more to say to what it hears. As in Linux.
    pub(crate) fn data_sent(&mut self, now: Timestamp, delay: Duration, again: bool) {
        let is_answer = match self.acks.heard {
            Some(heard) => now.since(heard) < delay,
            None => !again && self.owes_ack(),
        };
        if is_answer {
            self.acks.interactive = true;
        }
    }

    /// An acknowledgement has waited for an answer that did not come.
    pub(crate) fn delayed_ack_timeout(&mut self) {
        self.acks.interactive = false;
        self.ack_now();
    }

    /// Whether received bytes still wait to be acknowledged.
    pub(crate) fn owes_ack(&self) -> bool {
        self.acks.unacknowledged > 0 || self.acks.now || self.acks.duplicates > 0 || self.acks.untold > 0
    }

    /// Whether an acknowledgement is due even if nothing else is sent.
    pub(crate) fn is_ack_due(&self) -> bool {
        let tells = self.beyond.as_ref().is_some_and(|beyond| beyond.told.has_repeated());
        self.acks.now || self.acks.duplicates > 0 || tells
    }

    /// A segment with an acknowledgement is being sent.
    pub(crate) fn ack_sent(&mut self, carries_data: bool) {
        let acks = &mut self.acks;
        acks.now = false;
        acks.quick = acks.quick.saturating_sub(1);
        acks.unacknowledged = 0;
        acks.pushed = false;
        acks.untold = 0;
        // Only a segment without data counts as a duplicate acknowledgement.
        if !carries_data {
            acks.duplicates = acks.duplicates.saturating_sub(1);
        }
    }
}
