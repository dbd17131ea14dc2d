//! Timestamps (RFC 7323 3) and the protection against wrapped sequence numbers (RFC 7323 5).

use std::num::NonZeroU32;
use std::time::Duration;

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader};

use super::{Connection, Env};
use crate::tcp::isn::low_u32;
use crate::time::Timestamp;

/// RFC 7323 5.5-1: a TS.Recent this old proves nothing any more.
const OUTDATED: Duration = Duration::from_secs(24 * 24 * 3600);

/// How long a segment may be on its way after a retransmission has overtaken it, in milliseconds.
const OVERTAKEN_FOR: u32 = 100;

/// What is remembered of the peer's timestamps.
#[derive(Clone, Debug)]
pub(crate) struct TimestampState {
    /// TS.Recent
    pub(crate) recent: u32,
    recent_at: Timestamp,
    /// Last.ACK.sent
    pub(crate) last_ack_sent: SeqNum,
    overtaken: Overtaken,
}

/// The least timestamp of what a retransmission may have overtaken: TS.Recent before the retransmission came.
///
/// RFC 7323 5.3 has such segments dropped. Where the network reorders, each retransmission then makes a loss of whatever
/// it overtakes. They are taken instead, for four times [`OVERTAKEN_FOR`] at the most: too short for 4 GiB less two windows,
/// behind which an old duplicate would have its number again, below 40 Gbit/s.
#[derive(Clone, Copy, Debug, Default)]
struct Overtaken {
    least: u32,
    /// The least from the next time on.
    next: u32,
    /// When `next` was set, in milliseconds.
    since: Option<NonZeroU32>,
}

impl Overtaken {
    fn age(&self, now: Timestamp) -> Option<u32> {
        let age = low_u32(now.as_millis()).wrapping_sub(self.since?.get());
        Some(age).filter(|age| *age < 2 * OVERTAKEN_FOR)
    }

    /// A retransmission has come, and TS.Recent was `recent` before.
    fn note(&mut self, recent: u32, now: Timestamp) {
        let least = match self.age(now) {
            Some(age) if age < OVERTAKEN_FOR => return,
            Some(_) => self.next,
            None => recent,
        };
        let since = NonZeroU32::new(low_u32(now.as_millis())).or(Some(NonZeroU32::MIN));
        *self = Self { least, next: recent, since };
    }

    fn may_be(&self, tsval: u32, now: Timestamp) -> bool {
        self.age(now).is_some() && SeqNum::new(tsval).at_or_after(SeqNum::new(self.least))
    }
}

impl TimestampState {
    pub(crate) fn new(recent: u32, last_ack_sent: SeqNum, now: Timestamp) -> Self {
        Self { recent, recent_at: now, last_ack_sent, overtaken: Overtaken::default() }
    }

    /// R1 of RFC 7323 5.3-1: is this segment older than one that we have seen, and not only overtaken?
    fn is_old(&self, tsval: u32, now: Timestamp) -> bool {
        SeqNum::new(tsval).before(SeqNum::new(self.recent))
            && !self.is_outdated(now)
            && !self.overtaken.may_be(tsval, now)
    }

    /// R3 of RFC 7323 5.3: only the segment that holds the oldest unacknowledged byte is echoed
    /// (RFC 7323 4.3-1, RFC 7323 4.3-2). `fills_gap`: what follows it has come before it.
    fn update(&mut self, seq: SeqNum, tsval: u32, fills_gap: bool, now: Timestamp) {
        let newer = SeqNum::new(tsval).at_or_after(SeqNum::new(self.recent)) || self.is_outdated(now);
        if newer && seq.at_or_before(self.last_ack_sent) {
            if fills_gap {
                self.overtaken.note(self.recent, now);
            } else if self.overtaken.age(now).is_none() {
                // The clock of `since` comes round.
                self.overtaken = Overtaken::default();
            }
            self.recent = tsval;
            self.recent_at = now;
        }
    }

    fn is_outdated(&self, now: Timestamp) -> bool {
        now.since(self.recent_at) >= OUTDATED
    }
}

/// What PAWS says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paws {
    Pass,
    /// Older than what came before: acknowledge it and drop it.
    Old,
    /// The timestamps that were agreed on are missing, and that is not tolerated: drop it.
    Missing,
}

impl Connection {
    /// The millisecond clock that the peer sees (RFC 7323 4.1, 5.4).
    pub(super) fn tsval(&self, now: Timestamp) -> u32 {
        timestamp_clock(now, self.timestamp_offset)
    }

    pub(super) fn check_paws(&self, segment: &TcpHeader, env: &Env<'_>) -> Paws {
        let Some(state) = &self.timestamps else { return Paws::Pass };
        // A RST is judged by its sequence number alone (RFC 7323 5.2-1).
        if segment.flags.contains(TcpFlags::RST) {
            return Paws::Pass;
        }
        match segment.options.timestamps {
            // A SYN is challenged in any case (RFC 5961 4): the peer may have restarted without timestamps.
            None if segment.flags.contains(TcpFlags::SYN) => Paws::Pass,
            // RFC 7323 3.2-3
            None if env.config.strict_timestamps => Paws::Missing,
            // As in Linux: some peers have them in their SYN only. What has none is judged by its numbers alone.
            None => Paws::Pass,
            Some(timestamps) if state.is_old(timestamps.tsval, env.now) => Paws::Old,
            Some(_) => Paws::Pass,
        }
    }

    /// Whether a SYN belongs to the connection whose tuple this one took over from TIME-WAIT: it cannot be a
    /// simultaneous open then. A SYN-ACK tells by what it acknowledges.
    pub(super) fn is_from_old_incarnation(&self, syn: &TcpHeader) -> bool {
        match (self.rare.old_ts_recent, syn.options.timestamps) {
            (Some(old), Some(timestamps)) => SeqNum::new(timestamps.tsval).at_or_before(SeqNum::new(old)),
            _ => false,
        }
    }

    /// `seq` is the number at which the segment began before it was trimmed.
    pub(super) fn update_ts_recent(&mut self, seq: SeqNum, segment: &TcpHeader, now: Timestamp) {
        // RFC 7323 3.2-4: unless they were agreed on, there is no state.
        if let (Some(state), Some(timestamps)) = (&mut self.timestamps, segment.options.timestamps) {
            state.update(seq, timestamps.tsval, self.receiver.has_gap(), now);
        }
    }

    /// The round trip that an acknowledgement's echo tells of (RFC 7323 4.1), in whole milliseconds.
    pub(super) fn echoed_rtt(&self, segment: &TcpHeader, now: Timestamp) -> Option<Duration> {
        self.timestamps.as_ref()?;
        let tsecr = segment.options.timestamps?.tsecr;
        let elapsed = self.tsval(now).wrapping_sub(tsecr);
        // An echo from the future, or of nothing, is no sample.
        (tsecr != 0 && elapsed < u32::MAX / 2).then(|| Duration::from_millis(u64::from(elapsed)))
    }
}

/// Milliseconds (RFC 7323 4.1-1, RFC 7323 5.4-1), offset for each pair of addresses.
pub(crate) fn timestamp_clock(now: Timestamp, offset: u32) -> u32 {
    low_u32(now.as_millis()).wrapping_add(offset)
}
