//! Slow start and congestion avoidance of RFC 5681.

use std::time::Duration;

use super::{Congestion, CongestionEvent, Controller, Delivery, Phase, Start};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) struct NewReno {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 2.1).
    acked: u32,
    after_timeout: bool,
    prior: Option<(u32, u32)>,
}

fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14600))
}

impl NewReno {
    pub(super) fn new(start: &Start) -> Self {
        let (cwnd, ssthresh) = start.window.unwrap_or((initial_window(start.mss), u32::MAX));
        Self { mss: start.mss, cwnd, ssthresh, acked: 0, after_timeout: false, prior: None }
    }

    fn reduce(&mut self, flight: u32) {
        self.prior.get_or_insert((self.cwnd, self.ssthresh));
        self.ssthresh = (flight / 2).max(2 * self.mss);
        self.acked = 0;
    }
}

impl Controller for NewReno {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, ack: &Delivery) {
        if ack.phase == Phase::Open && ack.acked > 0 {
            self.prior = None;
        }
        if !ack.window_limited || matches!(ack.phase, Phase::Recovery | Phase::Cwr) {
            return;
        }
        if self.cwnd < self.ssthresh {
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

    fn on_congestion(&mut self, event: &CongestionEvent) {
        match event.cause {
            Congestion::Loss | Congestion::Ecn => {
                self.reduce(event.flight_size);
                self.cwnd = self.ssthresh;
            }
            Congestion::Timeout { again } => {
                if !again {
                    self.reduce(event.flight_size);
                }
                self.cwnd = event.in_flight + self.mss;
                self.after_timeout = true;
            }
            Congestion::LostHandshake => self.cwnd = self.mss,
        }
    }

    fn on_spurious(&mut self, _now: Timestamp) {
        if let Some((cwnd, ssthresh)) = self.prior.take() {
            self.cwnd = self.cwnd.max(cwnd);
            self.ssthresh = self.ssthresh.max(ssthresh);
        }
    }

    fn on_idle(&mut self, _now: Timestamp, _idle: Duration) {
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
