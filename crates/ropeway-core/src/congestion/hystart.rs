//! HyStart++ (RFC 9406): slow start ends when the round trips get longer, before anything is lost.

use std::time::Duration;

use ropeway_packet::SeqNum;

use super::Delivery;

// RFC 9406 4.3. Of the limit on growth, L, the RFC says infinity for senders that pace, as ours does.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u32 = 5;

/// Clocks tick in milliseconds, and round-trip times are no more exact than they: a delay has fallen when it has fallen by
/// a tick. Nothing else is lost by that, since a delay that was noticed is a rise of four.
const TICK: Duration = Duration::from_millis(1);

/// What an acknowledgement means for slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The window grows by what is acknowledged, divided by this.
    SlowStart { divisor: u32 },
    /// The delay stays: congestion avoidance begins.
    Over,
}

/// Conservative slow start: the delay has risen, and it is watched whether that lasts.
#[derive(Clone, Debug)]
struct Css {
    /// `cssBaselineMinRtt`
    baseline: Duration,
    rounds: u32,
}

#[derive(Clone, Debug)]
pub(super) struct HyStart {
    /// `windowEnd`: when this is acknowledged, the round is over.
    round_end: Option<SeqNum>,
    /// `lastRoundMinRTT`
    last_min: Option<Duration>,
    /// `currentRoundMinRTT`
    min: Option<Duration>,
    /// `rttSampleCount`
    samples: u32,
    css: Option<Css>,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self { round_end: None, last_min: None, min: None, samples: 0, css: None }
    }

    /// RFC 9406 4.2. A window that is not used is not why the delay rises, so then slow start goes on as it is.
    pub(super) fn on_ack(&mut self, delivery: &Delivery) -> Growth {
        let round_end = *self.round_end.get_or_insert(delivery.nxt);
        if let Some(rtt) = delivery.rtt {
            self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE && delivery.window_limited {
            self.judge_delay();
        }
        if delivery.una.at_or_after(round_end) {
            let css_rounds = self.next_round(delivery);
            if css_rounds >= CSS_ROUNDS {
                return Growth::Over;
            }
        }
        Growth::SlowStart { divisor: if self.css.is_some() { CSS_GROWTH_DIVISOR } else { 1 } }
    }

    fn judge_delay(&mut self) {
        let Some(min) = self.min else { return };
        match (&self.css, self.last_min) {
            (None, Some(last)) if min >= last.saturating_add(threshold(last)) => {
                self.css = Some(Css { baseline: min, rounds: 0 });
            }
            // It was jitter.
            (Some(css), _) if min.saturating_add(TICK) <= css.baseline => self.css = None,
            _ => {}
        }
    }

    /// Tells how many rounds of conservative slow start are over: the one in which it began counts.
    fn next_round(&mut self, delivery: &Delivery) -> u32 {
        self.round_end = Some(delivery.nxt);
        self.last_min = self.min.take();
        self.samples = 0;
        match &mut self.css {
            Some(css) if delivery.window_limited => {
                css.rounds += 1;
                css.rounds
            }
            _ => 0,
        }
    }
}

/// `RttThresh`
fn threshold(last: Duration) -> Duration {
    (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH)
}

#[cfg(test)]
mod tests;
