//! HyStart++ (RFC 9406): slow start ends when the round trips get longer, before anything is lost.

use ropeway_packet::SeqNum;

use super::Delivery;

// RFC 9406 4.3, in microseconds. Of the limit on growth, L, the RFC says infinity for senders that pace, as ours does.
const MIN_RTT_THRESH: u32 = 4000;
const MAX_RTT_THRESH: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

/// Clocks tick in milliseconds, and round-trip times are no more exact than they: a delay has fallen when it has fallen by
/// a tick. Nothing else is lost by that, since a delay that was noticed is a rise of four.
const TICK: u32 = 1000;

/// There was no sample.
const INFINITY: u32 = u32::MAX;

/// What an acknowledgement means for slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The window grows by what is acknowledged, divided by this.
    SlowStart { divisor: u32 },
    /// The delay stays: congestion avoidance begins.
    Over,
}

/// Times are in microseconds.
#[derive(Clone, Debug)]
pub(super) struct HyStart {
    /// `windowEnd`: when this is acknowledged, the round is over.
    round_end: Option<SeqNum>,
    /// `lastRoundMinRTT`
    last_min: u32,
    /// `currentRoundMinRTT`
    min: u32,
    /// `cssBaselineMinRtt`. Infinity: it is slow start. Otherwise it is conservative slow start: the delay has risen,
    /// and it is watched whether that lasts.
    css_baseline: u32,
    css_rounds: u8,
    /// `rttSampleCount`
    samples: u8,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self {
            round_end: None,
            last_min: INFINITY,
            min: INFINITY,
            css_baseline: INFINITY,
            css_rounds: 0,
            samples: 0,
        }
    }

    const fn in_css(&self) -> bool {
        self.css_baseline != INFINITY
    }

    /// RFC 9406 4.2. A window that is not used is not why the delay rises, so then slow start goes on as it is.
    pub(super) fn on_ack(&mut self, delivery: &Delivery) -> Growth {
        let round_end = *self.round_end.get_or_insert(delivery.nxt);
        if let Some(rtt) = delivery.rtt {
            let rtt = u32::try_from(rtt.as_micros()).unwrap_or(INFINITY - 1);
            self.min = self.min.min(rtt);
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE && delivery.window_limited {
            self.judge_delay();
        }
        if delivery.una.at_or_after(round_end) {
            self.next_round(delivery);
        }
        if self.css_rounds >= CSS_ROUNDS {
            return Growth::Over;
        }
        Growth::SlowStart { divisor: if self.in_css() { CSS_GROWTH_DIVISOR } else { 1 } }
    }

    fn judge_delay(&mut self) {
        let threshold = (self.last_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if self.in_css() {
            // It was jitter.
            if self.min.saturating_add(TICK) <= self.css_baseline {
                self.css_baseline = INFINITY;
                self.css_rounds = 0;
            }
        } else if self.last_min != INFINITY && self.min >= self.last_min.saturating_add(threshold) {
            self.css_baseline = self.min;
        }
    }

    /// Of conservative slow start, the round in which it began counts.
    fn next_round(&mut self, delivery: &Delivery) {
        self.round_end = Some(delivery.nxt);
        self.last_min = std::mem::replace(&mut self.min, INFINITY);
        self.samples = 0;
        if self.in_css() && delivery.window_limited {
            self.css_rounds += 1;
        }
    }
}

#[cfg(test)]
mod tests;
