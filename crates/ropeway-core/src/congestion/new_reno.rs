//! Slow start and congestion avoidance of RFC 5681; the windows of RFC 6582's fast recovery.

use super::{AckSample, Controller, LossSample};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) struct NewReno {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 2.1).
    acked: u32,
    /// After a timeout, slow start grows by at most one segment per acknowledgement (RFC 3465 2.3).
    after_timeout: bool,
}

impl NewReno {
    pub(super) fn new(mss: u32) -> Self {
        Self { mss, cwnd: initial_window(mss), ssthresh: u32::MAX, acked: 0, after_timeout: false }
    }

    /// RFC 5681 3.1 (4): half of what is in flight, never below two segments.
    fn reduce(&mut self, in_flight: u32) {
        self.ssthresh = (in_flight / 2).max(2 * self.mss);
        self.acked = 0;
    }
}

/// RFC 6928 2: ten segments, but no more than 14600 bytes unless two segments need more.
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14600))
}

impl Controller for NewReno {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    /// Slow start and congestion avoidance (RFC 9293 3.8.2 MUST-19).
    fn on_ack(&mut self, _now: Timestamp, ack: AckSample) {
        if !ack.cwnd_limited {
            return;
        }
        if self.cwnd < self.ssthresh {
            // Appropriate byte counting: receivers that acknowledge many segments at once do not slow us down.
            let grow = if self.after_timeout { ack.acked.min(self.mss) } else { ack.acked };
            let room = self.ssthresh - self.cwnd;
            self.cwnd = self.cwnd.saturating_add(grow.min(room));
            return;
        }
        self.after_timeout = false;
        self.acked = self.acked.saturating_add(ack.acked);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(self.mss);
        }
    }

    fn on_loss(&mut self, _now: Timestamp, loss: LossSample) {
        self.reduce(loss.in_flight);
        self.cwnd = self.ssthresh;
    }

    fn on_recovered(&mut self, _now: Timestamp, in_flight: u32) {
        // RFC 6582 3.2 (3), first option: no burst of what the window suddenly allows.
        self.cwnd = self.ssthresh.min(in_flight.max(self.mss) + self.mss);
    }

    fn on_timeout(&mut self, _now: Timestamp, loss: LossSample) {
        if loss.first {
            self.reduce(loss.in_flight);
        }
        self.cwnd = self.mss;
        self.after_timeout = true;
    }

    fn on_lost_handshake(&mut self) {
        self.cwnd = self.mss;
    }

    fn on_idle(&mut self) {
        // RFC 5681 4.1: the restart window.
        self.cwnd = self.cwnd.min(initial_window(self.mss));
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.mss = mss;
        self.cwnd = self.cwnd.max(mss);
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn ack(acked: u32) -> AckSample {
        AckSample { acked, cwnd_limited: true }
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one_segment_per_window() {
        let mut reno = NewReno::new(MSS);
        assert_eq!(reno.cwnd(), 10 * MSS);
        reno.on_ack(Timestamp::START, ack(10 * MSS));
        assert_eq!(reno.cwnd(), 20 * MSS);
        reno.on_loss(Timestamp::START, LossSample { in_flight: 20 * MSS, first: true });
        assert_eq!((reno.cwnd(), reno.ssthresh()), (10 * MSS, 10 * MSS));
        for _ in 0..10 {
            assert_eq!(reno.cwnd(), 10 * MSS);
            reno.on_ack(Timestamp::START, ack(MSS));
        }
        assert_eq!(reno.cwnd(), 11 * MSS);
    }

    #[test]
    fn a_sender_that_does_not_fill_its_window_does_not_grow_it() {
        let mut reno = NewReno::new(MSS);
        reno.on_ack(Timestamp::START, AckSample { acked: 5 * MSS, cwnd_limited: false });
        assert_eq!(reno.cwnd(), 10 * MSS);
    }

    #[test]
    fn repeated_timeouts_of_one_segment_reduce_the_threshold_once() {
        let mut reno = NewReno::new(MSS);
        reno.on_timeout(Timestamp::START, LossSample { in_flight: 10 * MSS, first: true });
        reno.on_timeout(Timestamp::START, LossSample { in_flight: MSS, first: false });
        assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, 5 * MSS));
    }

    #[test]
    fn initial_window_follows_rfc_6928() {
        assert_eq!(initial_window(1460), 14600);
        assert_eq!(initial_window(536), 5360);
        assert_eq!(initial_window(8960), 17920);
    }
}
