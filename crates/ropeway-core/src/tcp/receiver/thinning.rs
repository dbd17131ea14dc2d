//! Fewer acknowledgements in bulk, for those who ask for it ([`AckThinning`]).
//!
//! A sender in slow start opens its window by what is acknowledged, and wants to hear often; one that has found what the path
//! carries does not. The receiver sees that its data comes no faster than some round trips ago.

use std::time::Duration;

use super::Receiver;
use super::acks::AckTiming;
use crate::options::AckThinning;
use crate::time::{Timestamp, micros};

/// So many round trips in a row without growth: the peer is out of slow start, or it makes no difference.
const STEADY: u8 = 3;

/// Acknowledgements for each round trip at the least: fewer would hold the sender up, and let it send in bursts.
const PER_ROUND: u32 = 4;

/// So many duplicates are not held back: what they tell begins a recovery (RFC 5681 3.2).
const DUPLICATES: u8 = 3;

impl Receiver {
    /// A round trip is over, in which so much was read.
    pub(super) fn note_round(&mut self, bytes: u32, micros: u32) {
        let rate = u64::from(bytes) * 1_000_000 / u64::from(micros.max(1));
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        let acks = &mut self.acks;
        if rate / 5 > acks.rate / 4 {
            (acks.rate, acks.steady) = (rate, 0);
        } else {
            acks.rate -= acks.rate.saturating_sub(rate) / 4;
            acks.steady = acks.steady.saturating_add(1);
        }
    }

    /// How many bytes may come, and how much time may pass, before they are acknowledged. `None`: as ever.
    pub(super) fn thinned(&self, thinning: &AckThinning) -> Option<(u32, Duration)> {
        let rtt = self.rtt().filter(|_| self.acks.steady >= STEADY)?;
        let round = u64::from(self.acks.rate) * micros(rtt) / 1_000_000;
        let round = u32::try_from(round).unwrap_or(u32::MAX);
        let window = self.rcv.wnd().saturating_add(self.acks.unacknowledged);
        let most = thinning.segments.saturating_mul(self.rcv.mss.into());
        Some((most.min(round.min(window) / PER_ROUND), thinning.delay.min(rtt / PER_ROUND)))
    }

    /// Packets have come from beyond a gap. Is it enough to tell of them later, and when? `news`: they touch nothing that was told
    /// of.
    pub(super) fn tell_soon(
        &mut self,
        news: bool,
        packets: u32,
        timing: &AckTiming<'_>,
    ) -> Option<Timestamp> {
        let thinning = timing.thinning.filter(|_| !timing.at_once)?;
        let rtt = self.rtt()?;
        let nxt = self.rcv.nxt;
        let beyond = self.beyond.as_mut()?;
        if beyond.told_at != Some(nxt) {
            (beyond.told_at, beyond.duplicates) = (Some(nxt), 0);
        }
        if news || beyond.duplicates < DUPLICATES {
            beyond.duplicates = beyond.duplicates.saturating_add(1);
            return None;
        }
        let untold = packets.saturating_add(self.acks.untold.into());
        self.acks.untold = u8::try_from(untold).unwrap_or(u8::MAX);
        let delay = thinning.delay.min(timing.delay).min(rtt / (2 * PER_ROUND));
        (untold < thinning.sacks.into() && !delay.is_zero()).then(|| timing.now + delay)
    }
}
