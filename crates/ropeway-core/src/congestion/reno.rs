//! NewReno: slow start and congestion avoidance of RFC 5681, by bytes (RFC 3465), from the window of RFC 6928.

use std::time::Duration;

use super::undo::Undo;
use super::window::{Window, scale};
use super::{Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Start};
use crate::time::Timestamp;

/// Makes controllers that follow RFC 5681 and RFC 6582: `reno`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NewReno;

impl ControllerFactory for NewReno {
    fn name(&self) -> &'static str {
        "reno"
    }

    fn build(&self, start: &Start) -> Box<dyn Controller> {
        Box::new(Reno::new(start))
    }
}

/// What remains of the window after a mark in congestion avoidance (RFC 8511 3-1): 0.8.
const BETA_ECN: (u64, u64) = (4, 5);

#[derive(Clone, Debug)]
struct Reno {
    window: Window,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 2.1).
    acked: u32,
    undo: Undo<Window>,
}

impl Reno {
    fn new(start: &Start) -> Self {
        Self { window: Window::new(start), acked: 0, undo: Undo::new() }
    }

    /// One segment for each window that is acknowledged, and for one acknowledgement no more than that.
    fn avoid_congestion(&mut self, acked: u32) {
        let cwnd = self.window.cwnd();
        self.acked += acked.min(cwnd);
        let mut grown = cwnd;
        if self.acked >= cwnd {
            self.acked -= cwnd;
            grown += self.window.mss();
        }
        self.window.avoid(grown);
    }
}

impl Controller for Reno {
    fn window(&self) -> u32 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.window.ssthresh()
    }

    // RFC 9293 3.8.2 MUST-19
    fn on_ack(&mut self, delivery: &Delivery) {
        self.undo.on_ack(delivery.una);
        let acked = self.window.countable(delivery);
        if self.window.in_slow_start() {
            self.window.slow_start(acked);
        } else if acked > 0 {
            self.avoid_congestion(acked);
        }
    }

    // RFC 8511 4-1
    fn on_congestion(&mut self, event: &CongestionEvent) {
        let goes_on = self.undo.begin(event, || self.window);
        self.acked = 0;
        // RFC 5681 3.1 (4): no more than half of it. A part of a segment would not be sent, and so it would only have the window
        // grow later.
        let half = event.flight_size / 2;
        let half = half - half % self.window.mss();
        match event.cause {
            Congestion::Ecn if !self.window.in_slow_start() => {
                let most = scale(event.flight_size, BETA_ECN);
                self.window.reduce(most - most % self.window.mss(), 2);
            }
            Congestion::Loss | Congestion::Ecn => self.window.reduce(half, 2),
            Congestion::Timeout { again } => {
                if !again {
                    // What is in flight has grown in this recovery, but the path has not.
                    let most = if goes_on { self.window.ssthresh() } else { u32::MAX };
                    self.window.set_ssthresh(half.min(most));
                }
                self.window.time_out(event.in_flight);
            }
            Congestion::LostHandshake => self.window.lose_handshake(),
        }
    }

    fn on_spurious(&mut self, _now: Timestamp) {
        if let Some(before) = self.undo.take() {
            self.window.give_back(&before);
        }
    }

    fn on_idle(&mut self, _now: Timestamp, _idle: Duration) {
        self.acked = 0;
        self.window.restart();
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.window.set_mss(mss);
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
