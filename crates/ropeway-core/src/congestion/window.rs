//! The window and the threshold, and what slow start, losses and timeouts do to them (RFC 5681).

use super::{Delivery, Phase, Start};

/// No more may be in flight (RFC 7323 2.3).
pub(super) const MAX_WINDOW: u32 = 1 << 30;

/// No IP packet holds more.
pub(super) const MAX_MSS: u32 = 65_535;

/// RFC 6928 2: ten segments, but no more than 14600 bytes unless two segments need more.
pub(super) fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}

/// A fraction of so many bytes, less than 1.
pub(super) fn scale(bytes: u32, (numerator, denominator): (u64, u64)) -> u32 {
    u32::try_from(u64::from(bytes) * numerator / denominator).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    /// After a timeout, slow start grows by at most one segment per acknowledgement (RFC 3465 2.3).
    after_timeout: bool,
}

impl Window {
    pub(super) fn new(start: &Start) -> Self {
        let mss = start.mss.clamp(1, MAX_MSS);
        let (cwnd, ssthresh) = start.window.unwrap_or((initial_window(mss), u32::MAX));
        let cwnd = cwnd.clamp(mss, MAX_WINDOW);
        Self { mss, cwnd, ssthresh, after_timeout: false }
    }

    pub(super) const fn mss(&self) -> u32 {
        self.mss
    }

    pub(super) const fn cwnd(&self) -> u32 {
        self.cwnd
    }

    pub(super) const fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    pub(super) const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// There was no congestion yet, and so nothing is known of the path.
    pub(super) const fn in_initial_slow_start(&self) -> bool {
        self.ssthresh == u32::MAX
    }

    // RFC 9438 5.8-1, RFC 3168 6.1.2-6, RFC 9438 4.6-4
    /// How many bytes the window may grow for: none in a recovery, and none if the window was not used. What ends a recovery
    /// counts, as in Linux, by what it shows to have arrived.
    pub(super) fn countable(&self, delivery: &Delivery) -> u32 {
        if matches!(delivery.phase, Phase::Recovery | Phase::Cwr) || !delivery.window_limited {
            return 0;
        }
        // What SACK or duplicates had reported before does not count when it is acknowledged. As in Linux, it counts when it
        // is reported if that is usual on this path.
        if delivery.acked > 0 || delivery.reorders { delivery.delivered } else { 0 }
    }

    /// Slow start by appropriate byte counting: a peer that acknowledges many segments at once does not slow us down.
    /// The sender paces, so that no burst comes of it (RFC 3465 2.2 has L = 2 for those that do not).
    pub(super) fn slow_start(&mut self, acked: u32) {
        let grow = if self.after_timeout { acked.min(self.mss) } else { acked };
        let room = self.ssthresh.saturating_sub(self.cwnd);
        self.grow_to(self.cwnd.saturating_add(grow.min(room)));
    }

    /// Congestion avoidance has brought the window to this, if that is more.
    pub(super) fn avoid(&mut self, cwnd: u32) {
        self.after_timeout = false;
        self.grow_to(cwnd);
    }

    fn grow_to(&mut self, cwnd: u32) {
        self.cwnd = cwnd.min(MAX_WINDOW).max(self.cwnd);
    }

    /// Slow start ends here, although nothing was lost.
    pub(super) fn leave_slow_start(&mut self) {
        self.ssthresh = self.cwnd;
    }

    // RFC 9438 4.6-2
    /// A loss: the window is what the threshold is from now on. It never grows by that, except to `floor` segments.
    pub(super) fn reduce(&mut self, ssthresh: u32, floor: u32) {
        self.set_ssthresh(ssthresh);
        self.cwnd = ssthresh.max(floor * self.mss).min(self.cwnd.max(floor * self.mss));
    }

    // RFC 9438 4.6-2
    /// RFC 5681 3.1 (4): never below two segments.
    pub(super) fn set_ssthresh(&mut self, ssthresh: u32) {
        self.ssthresh = ssthresh.max(2 * self.mss);
    }

    /// A connection whose handshake was lost begins with one segment (RFC 5681 3.1).
    pub(super) fn lose_handshake(&mut self) {
        self.cwnd = self.mss;
    }

    /// A timeout: the loss window of RFC 5681 3.1, one segment beyond what may still be in flight, and slow start from
    /// there.
    pub(super) fn time_out(&mut self, in_flight: u32) {
        self.cwnd = self.mss.saturating_add(in_flight).min(self.cwnd);
        self.after_timeout = true;
    }

    /// The restart window (RFC 5681 4.1). The way back is remembered, as in Linux and RFC 2861 3.
    pub(super) fn restart(&mut self) {
        let restart = initial_window(self.mss).min(self.cwnd);
        if restart < self.cwnd && !self.in_initial_slow_start() {
            self.ssthresh = self.ssthresh.max(self.cwnd - self.cwnd / 4);
        }
        self.cwnd = restart;
    }

    /// What `before` had is given back, as far as it is more (RFC 4015 3.2).
    pub(super) fn give_back(&mut self, before: &Self) {
        self.grow_to(before.cwnd);
        self.ssthresh = self.ssthresh.max(before.ssthresh);
        self.after_timeout = before.after_timeout;
    }

    pub(super) fn set_mss(&mut self, mss: u32) {
        self.mss = mss.clamp(1, MAX_MSS);
        self.cwnd = self.cwnd.max(self.mss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_window_follows_rfc_6928() {
        assert_eq!(initial_window(1460), 14_600);
        assert_eq!(initial_window(536), 5360);
        assert_eq!(initial_window(8960), 17_920);
    }
}
