//! What the sender is told (draft-ietf-ccwg-bbr-06, 5.6): how fast, how much at once, and how much in flight.

use std::time::Duration;

use super::model::{bytes, percent, volume};
use super::{Control, INFINITY, MAX_WINDOW, Sample, State, is_repairing};
use crate::time::micros;

/// 100 - `BBR.PacingMarginPercent`
const PACING_MARGIN: u64 = 99;

/// A quantum is what passes in so many microseconds, and no more than this.
const QUANTUM_MICROS: u64 = 1000;
const MOST_QUANTUM: u64 = 64 * 1024;

impl Control {
    /// `InitPacingRate`: the initial window in a round trip, or in a millisecond if none is known.
    pub(super) fn init_pacing_rate(&mut self, srtt: Option<Duration>) {
        let Some(srtt) = srtt.map(micros).filter(|srtt| *srtt > 0) else { return };
        let nominal = u64::from(self.cwnd) * 1_000_000 / srtt;
        self.pacing_rate = percent(nominal, State::Startup.pacing_gain()).max(1);
    }

    /// `SetPacingRateWithGain`
    pub(super) fn set_pacing_rate_with_gain(&mut self, gain: u64) {
        let rate = percent(percent(self.bw, gain), PACING_MARGIN);
        if rate > 0 && (self.full_bw.reached || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    pub(super) fn set_pacing_rate(&mut self) {
        self.set_pacing_rate_with_gain(self.state.pacing_gain());
    }

    /// `SetSendQuantum`
    pub(super) fn set_send_quantum(&mut self) {
        let quantum = bytes(volume(self.pacing_rate, QUANTUM_MICROS).min(MOST_QUANTUM));
        self.send_quantum = quantum.max(2 * self.mss);
    }

    /// `BBR.MinPipeCwnd`
    pub(super) fn min_pipe_cwnd(&self) -> u32 {
        4 * self.mss
    }

    /// `QuantizationBudget`: three quanta are `BBR.offload_budget` (`UpdateOffloadBudget`).
    pub(super) fn quantization_budget(&self, inflight_cap: u32) -> u32 {
        let inflight_cap = inflight_cap.max(3 * self.send_quantum).max(self.min_pipe_cwnd());
        if self.state == State::ProbeBwUp { inflight_cap.saturating_add(2 * self.mss) } else { inflight_cap }
    }

    /// `UpdateMaxInflight`
    fn max_inflight(&self) -> u32 {
        let inflight_cap = self.bdp_multiple(self.bw, self.state.cwnd_gain());
        self.quantization_budget(inflight_cap.saturating_add(self.extra_acked()))
    }

    /// `SetCwnd`
    pub(super) fn set_cwnd(&mut self, rs: &Sample) {
        let max_inflight = self.max_inflight();
        let grown = self.cwnd.saturating_add(rs.newly_acked);
        if self.full_bw.reached {
            self.cwnd = grown.min(max_inflight);
        } else if self.cwnd < max_inflight || self.delivered < u64::from(self.initial_cwnd) {
            self.cwnd = grown;
        }
        self.cwnd = self.cwnd.max(self.min_pipe_cwnd());
        if self.state == State::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        self.bound_cwnd_for_model();
        self.cwnd = self.cwnd.min(MAX_WINDOW);
    }

    /// `BoundCwndForModel`
    fn bound_cwnd_for_model(&mut self) {
        let cap = match self.state {
            State::ProbeBwCruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::ProbeBwDown | State::ProbeBwRefill | State::ProbeBwUp => self.inflight_longterm,
            State::Startup | State::Drain => INFINITY,
        };
        let cap = cap.min(self.inflight_shortterm).max(self.min_pipe_cwnd());
        self.cwnd = self.cwnd.min(cap);
    }

    /// `SaveCwnd`
    pub(super) fn save_cwnd(&mut self) {
        let keeps = is_repairing(self.phase) || self.state == State::ProbeRtt;
        self.prior_cwnd = if keeps { self.prior_cwnd.max(self.cwnd) } else { self.cwnd };
    }

    /// `RestoreCwnd`
    pub(super) fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }
}
