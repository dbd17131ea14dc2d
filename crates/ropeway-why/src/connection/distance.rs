//! How far an end is from where the capture was made: the time from a segment to its acknowledgement.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Ends, Seen, Side};

/// Timestamps that wait for their echo.
const MOST_STAMPS: usize = 256;

/// Round-trip times between the place of the capture and one end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Distance {
    /// The least of all.
    pub(crate) least: Option<Duration>,
    /// The last sample.
    pub(crate) last: Option<Duration>,
    /// Smoothed, of the echoes of timestamps.
    pub(crate) echoed: Option<Duration>,
    /// Smoothed as RFC 6298 does, and its variation.
    pub(crate) smoothed: Option<(Duration, Duration)>,
}

impl Distance {
    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
        self.last = Some(rtt);
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, var)) => ((srtt * 7 + rtt) / 8, (var * 3 + srtt.abs_diff(rtt)) / 4),
        });
    }

    /// A sample from the echo of a timestamp: it may include that the end had nothing to send.
    pub(crate) fn echo(&mut self, rtt: Duration) {
        self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
        self.echoed = Some(self.echoed.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
    }

    /// How late answers are beyond the least, of late.
    pub(crate) fn queued(&self) -> Duration {
        let late = self.smoothed.map(|(smoothed, _)| smoothed).max(self.echoed);
        late.unwrap_or_default().saturating_sub(self.least())
    }

    /// The least, or nothing as long as there is none.
    pub(crate) fn least(&self) -> Duration {
        self.least.unwrap_or_default()
    }
}

/// Timestamps of each end that the other has not echoed yet (RFC 7323): an echo tells how far it is to the other, even where it
/// only sends and has nothing acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Echoes(Ends<VecDeque<(u32, Duration)>>);

impl Echoes {
    /// Takes a segment of `from`. Returns the time since the timestamp that it echoes was seen first.
    pub(crate) fn echoed(&mut self, from: Side, seen: &Seen) -> Option<Duration> {
        let stamps = seen.segment.options.timestamps?;
        let own = &mut self.0[from];
        let is_new = own.back().is_none_or(|(tsval, _)| stamps.tsval.wrapping_sub(*tsval).cast_signed() > 0);
        if is_new {
            if own.len() >= MOST_STAMPS {
                own.pop_front();
            }
            own.push_back((stamps.tsval, seen.at));
        }
        let waiting = &mut self.0[from.other()];
        let at = waiting.iter().position(|(tsval, _)| *tsval == stamps.tsecr)?;
        let (_, since) = waiting.drain(..=at).next_back()?;
        Some(seen.at.saturating_sub(since))
    }
}
