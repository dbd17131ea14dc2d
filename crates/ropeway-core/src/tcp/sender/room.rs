//! How large a send buffer is that tunes itself: it follows what may be in flight (as `tcp_sndbuf_expand` in Linux).

use super::Sender;
use crate::buffer::send::length_u32;
use crate::congestion::Phase;
use crate::ledger::Growth;
use crate::time::Timestamp;

/// What is in flight is held until it is acknowledged, and as much is written meanwhile. While losses are repaired, what is
/// acknowledged later than the rest takes no more than that, either: at 0.7 of the window more, for a round trip.
const WINDOWS: u32 = 2;

/// In slow start the window doubles in a round trip.
const WINDOWS_IN_SLOW_START: u32 = 4;

/// So much of the window, in bytes, counts as filled whatever is in flight: whoever has written little until now may write much
/// at once.
const ALWAYS: u32 = 64 * 1024;

/// What it has too much goes by this part in a round trip.
const SHRINK: u64 = 8;

impl Sender {
    /// How many bytes may wait to be acknowledged, if the buffer tunes itself.
    pub(crate) fn tuned_size(&self) -> usize {
        self.room as usize
    }

    /// The buffer follows what may be in flight, and never falls below `initial` by itself: it grows at once, and shrinks
    /// slowly, unless losses are being repaired. `advanced`: so much has just been acknowledged.
    pub(crate) fn fit_buffer(&mut self, advanced: u32, initial: usize, growth: &mut Growth) {
        let (cwnd, ssthresh) = self.window_and_threshold();
        let out = self.snd.nxt.since(self.snd.una).saturating_add(advanced);
        // A wide window that nothing fills says little: neither has to wait here what the peer does not let out, nor what a
        // device is too slow for.
        let open = cwnd.min(self.snd.wnd);
        let filled = out.max(ALWAYS).min(open);
        let doubles = cwnd < ssthresh && filled >= open / 2;
        let windows = if doubles { WINDOWS_IN_SLOW_START } else { WINDOWS };
        let wanted = filled.saturating_mul(windows).max(length_u32(initial));
        self.room = growth.grow(self.room, wanted);
        if self.room > wanted && self.recovery.phase() == Phase::Open {
            let part = u64::from(self.room - wanted) * u64::from(advanced.min(cwnd)) / u64::from(cwnd.max(1));
            self.room -= u32::try_from(part / SHRINK).unwrap_or_default();
        }
    }

    /// Something is about to be written. If nothing was out for a retransmission timeout, the window begins anew, and the buffer
    /// with it.
    pub(crate) fn begin_anew_after_idle(&mut self, now: Timestamp, initial: usize, growth: &mut Growth) {
        if self.restart_after_idle(now) && self.buffer.is_empty() {
            self.room = length_u32(initial);
            self.fit_buffer(0, initial, growth);
        }
    }
}
