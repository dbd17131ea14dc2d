//! Startup and Drain (draft-ietf-ccwg-bbr-06, 5.3.1 and 5.3.2), and how it is seen that the path is full.

use super::{Control, Phase, Sample, State};

/// Rounds without growth that mean that the path is full.
const FULL_BW_COUNT: u8 = 3;

/// Growth, in percent of what was.
const FULL_BW_GROWTH: u64 = 125;

/// `BBRStartupFullLossCnt`: so many ranges of losses in a round end Startup.
const FULL_LOSS_COUNT: u32 = 6;

/// After so many rounds Drain ends, whatever is in flight.
const DRAIN_ROUNDS: u64 = 3;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullBw {
    /// `BBR.full_bw_reached`: ever.
    pub(super) reached: bool,
    /// `BBR.full_bw_now`: since it is looked for.
    pub(super) now: bool,
    /// `BBR.full_bw_count`
    count: u8,
    /// `BBR.full_bw`
    bw: u64,
    /// `BBR.drain_start_round`
    drain_start_round: u64,
}

impl FullBw {
    /// `ResetFullBW`; growth counts from `bw` on.
    pub(super) fn reset(&mut self, bw: u64) {
        (self.now, self.count, self.bw) = (false, 0, bw);
    }
}

impl Control {
    pub(super) fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    /// `CheckFullBWReached`
    pub(super) fn check_full_bw_reached(&mut self, rs: &Sample) {
        if self.full_bw.now || !self.rounds.start || rs.is_app_limited {
            return;
        }
        if rs.delivery_rate >= super::model::percent(self.full_bw.bw, FULL_BW_GROWTH) {
            self.full_bw.reset(rs.delivery_rate);
            return;
        }
        self.full_bw.count += 1;
        self.full_bw.now = self.full_bw.count >= FULL_BW_COUNT;
        self.full_bw.reached |= self.full_bw.now;
    }

    /// `CheckStartupDone`
    pub(super) fn check_startup_done(&mut self, rs: &Sample) {
        self.check_startup_high_loss(rs);
        if self.state == State::Startup && self.full_bw.reached {
            self.enter_drain();
        }
    }

    /// `CheckStartupHighLoss`: a whole round trip of a recovery lost too much, or, where no more than one loss can be seen in
    /// a round trip, anything.
    fn check_startup_high_loss(&mut self, rs: &Sample) {
        if self.full_bw.reached || self.phase != Phase::Recovery {
            return;
        }
        let high = if self.has_selective_acks {
            self.losses.round_start
                && self.losses.in_round
                && self.losses.ranges >= FULL_LOSS_COUNT
                && self.is_inflight_too_high(rs)
        } else {
            self.losses.in_round
        };
        if high {
            self.undo.state = Some(State::Startup);
            self.leave_startup();
        }
    }

    /// It was too much: what arrived of it in a round trip is what the path holds.
    pub(super) fn leave_startup(&mut self) {
        (self.full_bw.now, self.full_bw.reached) = (true, true);
        self.inflight_longterm = self.bdp().max(super::model::bytes(self.losses.inflight_latest));
    }

    fn enter_drain(&mut self) {
        self.state = State::Drain;
        self.full_bw.drain_start_round = self.rounds.count;
    }

    /// `CheckDrainDone`
    pub(super) fn check_drain_done(&mut self, rs: &Sample) {
        if self.state == State::Drain
            && (self.in_flight <= self.inflight(self.bw)
                || self.rounds.count > self.full_bw.drain_start_round + DRAIN_ROUNDS)
        {
            self.start_probe_bw_down(rs.now);
        }
    }
}
