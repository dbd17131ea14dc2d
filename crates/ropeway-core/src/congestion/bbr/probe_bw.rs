//! ProbeBW (draft-ietf-ccwg-bbr-06, 5.3.3): slower, at the rate, and faster in turn, to learn whether there is more.

use super::{Control, INFINITY, Sample, State};
use crate::time::{Timestamp, micros};

/// `BBR.Headroom`, in percent.
const HEADROOM: u64 = 15;

/// Between probes, at least, in microseconds; up to a second is left to chance.
const WAIT: u64 = 2_000_000;
const RANDOM_WAIT: u64 = 1_000_000;

/// After so many round trips Reno would have lost something on a path of 25 Mbit/s and 30 ms.
const RENO_ROUNDS: u32 = 63;

/// `BBR.ack_phase`: what acknowledgements tell of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeBw {
    pub(super) ack_phase: AckPhase,
    /// `BBR.is_bw_probe_sample`: what arrives was sent by a probe that was not answered yet.
    pub(super) is_sample: bool,
    /// `BBR.prev_probe_too_high`
    pub(super) prev_too_high: bool,
    /// `BBR.prev_probe_precautionary`
    prev_precautionary: bool,
    /// `BBR.bw_probe_up_rounds`
    up_rounds: u8,
    /// `BBR.bw_probe_up_acked`
    up_acked: u64,
    /// `BBR.probe_up_acked_per_inc`
    up_acked_per_inc: u32,
    /// `BBR.rounds_since_probe_up`
    pub(super) rounds_since_probe_up: u32,
    /// `BBR.bw_probe_wait`, in microseconds.
    wait: u64,
    /// `BBR.cycle_stamp`
    cycle_stamp: Timestamp,
}

impl ProbeBw {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            ack_phase: AckPhase::Init,
            is_sample: false,
            prev_too_high: false,
            prev_precautionary: false,
            up_rounds: 0,
            up_acked: 0,
            up_acked_per_inc: INFINITY,
            rounds_since_probe_up: 0,
            wait: 0,
            cycle_stamp: now,
        }
    }
}

#[cfg(test)]
impl ProbeBw {
    pub(super) fn wait(&self) -> u64 {
        self.wait
    }
}

impl Control {
    /// `StartProbeBW_DOWN`
    pub(super) fn start_probe_bw_down(&mut self, now: Timestamp) {
        self.losses.reset();
        self.probe_bw.up_acked_per_inc = INFINITY;
        self.pick_probe_wait();
        self.probe_bw.cycle_stamp = now;
        self.probe_bw.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::ProbeBwDown;
    }

    /// `StartProbeBW_CRUISE`
    pub(super) fn start_probe_bw_cruise(&mut self) {
        self.state = State::ProbeBwCruise;
    }

    /// `StartProbeBW_REFILL`
    pub(super) fn start_probe_bw_refill(&mut self) {
        self.reset_short_term_model();
        self.probe_bw.up_rounds = 0;
        self.probe_bw.up_acked = 0;
        self.probe_bw.prev_precautionary = false;
        self.probe_bw.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::ProbeBwRefill;
    }

    /// `StartProbeBW_UP`
    fn start_probe_bw_up(&mut self, rs: &Sample) {
        self.probe_bw.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.full_bw.reset(rs.delivery_rate);
        self.state = State::ProbeBwUp;
        self.raise_inflight_longterm_slope();
    }

    /// `PickProbeWait`
    fn pick_probe_wait(&mut self) {
        let random = self.random();
        self.probe_bw.rounds_since_probe_up = u32::from(random & 1 == 1);
        self.probe_bw.wait = WAIT + (random >> 1) % RANDOM_WAIT;
    }

    /// `UpdateProbeBWCyclePhase`
    pub(super) fn update_probe_bw_cycle_phase(&mut self, rs: &Sample) {
        if !self.full_bw.reached || self.adapt_long_term_model(rs) {
            return;
        }
        match self.state {
            State::ProbeBwDown => {
                if self.is_time_to_probe_bw(rs) {
                    self.start_probe_bw_refill();
                } else if self.is_time_to_cruise() {
                    self.start_probe_bw_cruise();
                }
            }
            State::ProbeBwCruise => {
                if self.is_time_to_probe_bw(rs) {
                    self.start_probe_bw_refill();
                }
            }
            State::ProbeBwRefill => {
                if self.rounds.start {
                    self.probe_bw.is_sample = true;
                    self.start_probe_bw_up(rs);
                }
            }
            State::ProbeBwUp => {
                if self.is_time_to_go_down(rs) {
                    self.probe_bw.prev_too_high = false;
                    self.start_probe_bw_down(rs.now);
                }
            }
            State::Startup | State::Drain | State::ProbeRtt => {}
        }
    }

    /// `IsTimeToProbeBW`: the time is over, or as many rounds as Reno takes to grow by what is in flight.
    fn is_time_to_probe_bw(&self, rs: &Sample) -> bool {
        let waited = micros(rs.now.since(self.probe_bw.cycle_stamp)) > self.probe_bw.wait;
        let reno_rounds = (self.target_inflight() / self.mss).min(RENO_ROUNDS);
        waited || self.probe_bw.rounds_since_probe_up >= reno_rounds
    }

    /// `IsTimeToCruise`
    fn is_time_to_cruise(&self) -> bool {
        self.in_flight <= self.inflight_with_headroom() && self.in_flight <= self.inflight(self.max_bw.get())
    }

    /// `IsTimeToGoDown`
    fn is_time_to_go_down(&mut self, rs: &Sample) -> bool {
        if self.probe_bw.prev_too_high && self.in_flight >= self.inflight_longterm {
            self.probe_bw.prev_precautionary = true;
            return true;
        }
        if rs.is_cwnd_limited && self.cwnd >= self.inflight_longterm {
            // What limits the bandwidth is our own bound.
            self.full_bw.reset(rs.delivery_rate);
            return false;
        }
        self.full_bw.now
    }

    /// `InflightWithHeadroom`: leaves something to others.
    pub(super) fn inflight_with_headroom(&self) -> u32 {
        if self.inflight_longterm == INFINITY {
            return INFINITY;
        }
        let share = super::model::percent(u64::from(self.inflight_longterm), HEADROOM);
        let headroom = super::model::bytes(share).max(self.mss);
        self.inflight_longterm.saturating_sub(headroom).max(self.min_pipe_cwnd())
    }

    /// `RaiseInflightLongtermSlope`: twice as steep each round.
    fn raise_inflight_longterm_slope(&mut self) {
        let growth_this_round = 1u32 << self.probe_bw.up_rounds.min(30);
        self.probe_bw.up_rounds = (self.probe_bw.up_rounds + 1).min(30);
        self.probe_bw.up_acked_per_inc = (self.cwnd / growth_this_round).max(self.mss);
    }

    /// `ProbeInflightLongtermUpward`
    fn probe_inflight_longterm_upward(&mut self, rs: &Sample) {
        if !rs.is_cwnd_limited || self.cwnd < self.inflight_longterm {
            return;
        }
        self.probe_bw.up_acked += u64::from(rs.newly_acked);
        let per_inc = u64::from(self.probe_bw.up_acked_per_inc);
        let segments = self.probe_bw.up_acked / per_inc;
        self.probe_bw.up_acked %= per_inc;
        let more = segments.saturating_mul(u64::from(self.mss));
        self.inflight_longterm = super::model::bytes(u64::from(self.inflight_longterm).saturating_add(more));
        if self.rounds.start {
            self.raise_inflight_longterm_slope();
        }
    }

    /// `AdaptLongTermModel`. Tells whether it has decided about the state.
    fn adapt_long_term_model(&mut self, rs: &Sample) -> bool {
        if self.probe_bw.ack_phase == AckPhase::ProbeStarting && self.rounds.start {
            self.probe_bw.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.probe_bw.ack_phase == AckPhase::ProbeStopping && self.rounds.start {
            self.probe_bw.is_sample = false;
            self.probe_bw.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() {
                if !rs.is_app_limited {
                    self.max_bw.advance();
                }
                if self.probe_bw.prev_precautionary && !self.probe_bw.prev_too_high {
                    self.start_probe_bw_refill();
                    return true;
                }
            }
        }
        if self.inflight_longterm < INFINITY && !self.is_inflight_too_high(rs) {
            self.inflight_longterm = self.inflight_longterm.max(rs.tx_in_flight);
            if self.state == State::ProbeBwUp {
                self.probe_inflight_longterm_upward(rs);
            }
        }
        false
    }
}
