//! CUBIC (RFC 9438), in integers: equal on every platform.

mod epoch;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::epoch::Epoch;
use super::hystart::{Growth, HyStart};
use super::undo::Undo;
use super::window::{Window, scale};
use super::{Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Start};
use crate::time::Timestamp;

/// Makes controllers that follow RFC 9438: `cubic`.
///
/// The first slow start is HyStart++ (RFC 9406). A socket that is to have CUBIC without it:
///
/// ```
/// use ropeway_core::SocketOptions;
/// use ropeway_core::congestion::{Algorithm, Cubic};
///
/// let mut options = SocketOptions::default();
/// options.congestion = Algorithm::custom(Cubic::without_hystart());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cubic {
    hystart: bool,
}

impl Cubic {
    pub(super) const DEFAULT: Self = Self { hystart: true };

    /// CUBIC as it is recommended: with HyStart++.
    #[must_use]
    pub const fn new() -> Self {
        Self::DEFAULT
    }

    /// CUBIC whose slow start goes on until something is lost (RFC 5681).
    #[must_use]
    pub const fn without_hystart() -> Self {
        Self { hystart: false }
    }
}

impl Default for Cubic {
    fn default() -> Self {
        Self::DEFAULT
    }
}

// RFC 9293 3.8.2 MAY-18
impl ControllerFactory for Cubic {
    fn name(&self) -> &'static str {
        "cubic"
    }

    fn build(&self, start: &Start) -> Box<dyn Controller> {
        Box::new(Control::new(*self, start))
    }
}

#[derive(Clone, Debug)]
struct Control {
    hystart: Option<HyStart>,
    state: State,
    undo: Undo<State>,
}

/// What a congestion event changes, and what is given back if it was none (RFC 9438 4.9.2).
#[derive(Clone, Debug)]
struct State {
    window: Window,
    /// *W_max*. `None`: there was no loss, or a timeout, and the window at the beginning of congestion avoidance counts.
    w_max: Option<u32>,
    /// *cwnd_prior*: the window when the threshold was set.
    cwnd_prior: u32,
    /// The current congestion avoidance stage. `None`: it begins with the next acknowledgement.
    epoch: Option<Box<Epoch>>,
}

impl Control {
    fn new(settings: Cubic, start: &Start) -> Self {
        let window = Window::new(start);
        let state = State { window, w_max: None, cwnd_prior: window.cwnd(), epoch: None };
        Self { hystart: settings.hystart.then(HyStart::new), state, undo: Undo::new() }
    }

    /// The time until now is not counted as time in which the path was probed.
    fn skip_time(&mut self, now: Timestamp) {
        if let Some(epoch) = &mut self.state.epoch {
            epoch.skip(now);
        }
    }

    // RFC 9438 4.10-1, RFC 9438 4.10-2
    fn slow_start(&mut self, delivery: &Delivery, acked: u32) {
        let state = &mut self.state;
        // RFC 9406 4.3: only the first slow start; later ones know where to end.
        let first = self.hystart.as_mut().filter(|_| state.window.in_initial_slow_start());
        match first.map_or(Growth::SlowStart { divisor: 1 }, |hystart| hystart.on_ack(delivery)) {
            Growth::SlowStart { divisor } => state.window.slow_start(acked / divisor),
            Growth::Over => {
                // RFC 9438 4.10
                state.window.leave_slow_start();
                state.cwnd_prior = state.window.cwnd();
            }
        }
    }
}

impl State {
    fn avoid_congestion(&mut self, delivery: &Delivery, acked: u32) {
        let (cwnd, mss) = (self.window.cwnd(), self.window.mss());
        let epoch =
            self.epoch.get_or_insert_with(|| Box::new(Epoch::new(delivery.now, cwnd, self.w_max, mss)));
        self.w_max.get_or_insert(cwnd);
        let rtt = delivery.srtt.or(delivery.rtt).unwrap_or_default();
        epoch.advance(delivery.now);
        self.window.avoid(epoch.window(acked, cwnd, self.cwnd_prior, rtt, mss));
    }

    // RFC 9438 4.7-1
    /// RFC 9438 4.7: a peak below the last one means that somebody else is there, and gets some room.
    fn converge_fast(&mut self) {
        let cwnd = self.window.cwnd();
        self.w_max = Some(match self.w_max {
            Some(w_max) if cwnd < w_max => scale(cwnd, (17, 20)),
            _ => cwnd,
        });
    }

    // RFC 8511 4-1, RFC 9438 4.6-3, RFC 9438 4.6-5
    /// RFC 9438 4.6, from the window, as Linux does: it does not grow while the application is the limit (section 5.8), so it
    /// stands for what the path has carried.
    fn reduce(&mut self, event: &CongestionEvent) {
        self.converge_fast();
        self.cwnd_prior = self.window.cwnd();
        let (cwnd, slow_start) = (self.window.cwnd(), self.window.in_slow_start());
        match event.cause {
            Congestion::Ecn if slow_start => self.window.reduce(beta(cwnd), 1),
            Congestion::Ecn => self.window.reduce(scale(cwnd, BETA_ECN), 1),
            _ => self.window.reduce(beta(cwnd), 2),
        }
        self.epoch = None;
    }

    // RFC 9438 4.9.2-1, RFC 9438 4.9.1-1, RFC 9438 4.9.2-2
    /// RFC 9438 4.9.2, unless the window has got there by itself.
    fn give_back(&mut self, before: &Self) {
        if self.window.cwnd() < before.window.cwnd() {
            self.window.give_back(&before.window);
            self.w_max = before.w_max;
            self.cwnd_prior = before.cwnd_prior;
            self.epoch = before.epoch.clone().filter(|_| self.window.mss() == before.window.mss());
        }
    }

    // RFC 9438 4.8-1
    /// RFC 9438 4.8. `most`: no threshold above this.
    fn time_out(&mut self, event: &CongestionEvent, again: bool, most: u32) {
        if !again {
            self.cwnd_prior = self.window.cwnd();
            self.window.set_ssthresh(beta(self.window.cwnd()).min(most));
        }
        self.window.time_out(event.in_flight);
        self.w_max = None;
        self.epoch = None;
    }
}

/// What remains of the window after a mark in congestion avoidance (RFC 8511 3.1-1): 0.85.
const BETA_ECN: (u64, u64) = (17, 20);

// RFC 9438 4.6-1
/// *β_cubic*, 0.7
fn beta(bytes: u32) -> u32 {
    scale(bytes, (7, 10))
}

impl Controller for Control {
    fn window(&self) -> u32 {
        self.state.window.cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.state.window.ssthresh()
    }

    /// While nothing was in flight, the path was not probed (RFC 9438 4.2).
    fn on_sent(&mut self, now: Timestamp, len: u32, in_flight: u32) {
        if in_flight <= len {
            self.skip_time(now);
        }
    }

    // RFC 9293 3.8.2 MUST-19
    fn on_ack(&mut self, delivery: &Delivery) {
        self.undo.on_ack(delivery.una);
        let acked = self.state.window.countable(delivery);
        if self.state.window.in_slow_start() {
            self.skip_time(delivery.now);
            self.slow_start(delivery, acked);
        } else if acked > 0 {
            self.state.avoid_congestion(delivery, acked);
        } else if !delivery.window_limited {
            self.skip_time(delivery.now);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        let goes_on = self.undo.begin(event, || self.state.clone());
        match event.cause {
            Congestion::Loss | Congestion::Ecn => self.state.reduce(event),
            Congestion::Timeout { again } => {
                // What is in flight has grown in this recovery, but the path has not.
                let most = if goes_on { self.ssthresh() } else { u32::MAX };
                self.state.time_out(event, again, most);
            }
            Congestion::LostHandshake => {
                self.state.window.lose_handshake();
                self.state.epoch = None;
            }
        }
    }

    fn on_spurious(&mut self, _now: Timestamp) {
        if let Some(before) = self.undo.take() {
            self.state.give_back(&before);
            self.hystart = self.hystart.take().map(|_| HyStart::new());
        }
    }

    fn on_idle(&mut self, now: Timestamp, _idle: Duration) {
        self.skip_time(now);
        self.state.window.restart();
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.state.window.set_mss(mss);
        // Its curve is drawn in segments.
        self.state.epoch = None;
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}
