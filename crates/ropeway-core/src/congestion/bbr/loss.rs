//! What losses say of the path (draft-ietf-ccwg-bbr-06, 5.5.10), and what becomes of that if there were none (5.5.11).

use ropeway_packet::SeqNum;

use super::model::{bytes, percent};
use super::{Control, Departure, INFINITY, Sample, State};
use crate::time::Timestamp;

/// `BBR.LossThresh`, in percent.
const LOSS_THRESH: u64 = 2;

/// `BBR.Beta`, in percent.
const BETA: u64 = 70;

/// Of the round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    /// `BBR.is_loss_in_round`
    pub(super) in_round: bool,
    /// `BBR.loss_round_start`
    pub(super) round_start: bool,
    /// `BBR.loss_round_delivered`
    round_delivered: u64,
    /// Ranges without a gap between them that were lost in this round.
    pub(super) ranges: u32,
    /// Where the last of them ends.
    end: Option<SeqNum>,
    /// Bytes that came with a mark in this round.
    pub(super) marked: u32,
    /// `BBR.bw_latest`
    bw_latest: u64,
    /// `BBR.inflight_latest`
    pub(super) inflight_latest: u64,
}

impl Losses {
    /// `ResetCongestionSignals`
    pub(super) fn reset(&mut self) {
        (self.in_round, self.bw_latest, self.inflight_latest) = (false, 0, 0);
    }
}

/// What stood before a recovery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undo {
    /// The recovery goes on.
    pub(super) is_open: bool,
    /// `BBR.undo_state`
    pub(super) state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u32,
    inflight_longterm: u32,
}

impl Control {
    /// `UpdateLatestDeliverySignals`
    pub(super) fn update_latest_delivery_signals(&mut self, rs: &Sample) {
        let losses = &mut self.losses;
        losses.bw_latest = losses.bw_latest.max(rs.delivery_rate);
        losses.inflight_latest = losses.inflight_latest.max(rs.delivered);
        losses.round_start = rs.prior_delivered >= losses.round_delivered;
        if losses.round_start {
            losses.round_delivered = self.delivered;
        }
    }

    /// `AdvanceLatestDeliverySignals`; what was lost in the round has been looked at.
    pub(super) fn advance_latest_delivery_signals(&mut self, rs: &Sample) {
        if self.losses.round_start {
            self.losses.bw_latest = rs.delivery_rate;
            self.losses.inflight_latest = rs.delivered;
            self.losses.in_round = false;
            (self.losses.ranges, self.losses.marked) = (0, 0);
        }
    }

    /// `UpdateCongestionSignals`
    pub(super) fn update_congestion_signals(&mut self, rs: &Sample) {
        self.update_max_bw(rs);
        if self.losses.round_start && self.losses.in_round && !self.state.is_probing_bw() {
            self.init_lower_bounds();
            self.loss_lower_bounds();
        }
    }

    fn init_lower_bounds(&mut self) {
        if self.bw_shortterm == u64::MAX {
            self.bw_shortterm = self.max_bw.get();
        }
        if self.inflight_shortterm == INFINITY {
            self.inflight_shortterm = self.cwnd;
        }
    }

    fn loss_lower_bounds(&mut self) {
        self.bw_shortterm = self.losses.bw_latest.max(percent(self.bw_shortterm, BETA));
        let reduced = bytes(percent(u64::from(self.inflight_shortterm), BETA));
        self.inflight_shortterm = bytes(self.losses.inflight_latest).max(reduced);
    }

    /// `ResetShortTermModel`
    pub(super) fn reset_short_term_model(&mut self) {
        (self.bw_shortterm, self.inflight_shortterm) = (u64::MAX, INFINITY);
    }

    /// `NoteLoss`
    pub(super) fn note_loss(&mut self) {
        if !self.losses.in_round {
            self.losses.round_delivered = self.delivered;
            self.save_state_upon_loss();
        }
        self.losses.in_round = true;
    }

    /// So many bytes came with a mark: something was too much in this round.
    pub(super) fn note_marks(&mut self, marked: u32) {
        self.note_loss();
        self.losses.marked = self.losses.marked.saturating_add(marked);
    }

    /// If marks count as losses: what they say of a probe.
    pub(super) fn heed_marks(&mut self, rs: &Sample) {
        if !self.marks || self.losses.marked == 0 || !self.is_inflight_too_high(rs) {
            return;
        }
        if self.probe_bw.is_sample {
            self.handle_inflight_too_high(rs);
        } else if self.state == State::Startup && self.losses.round_start {
            self.leave_startup();
        }
    }

    /// `HandleLostPacket`
    pub(super) fn handle_lost_packet(&mut self, now: Timestamp, lost: &Departure) {
        self.note_loss();
        if self.losses.end != Some(lost.start) {
            self.losses.ranges = self.losses.ranges.saturating_add(1);
        }
        self.losses.end = Some(lost.start + lost.len);
        if !self.probe_bw.is_sample {
            return;
        }
        let mut rs = Sample {
            now,
            newly_acked: 0,
            delivered: 0,
            delivery_rate: 0,
            prior_delivered: lost.delivered,
            tx_in_flight: lost.in_flight,
            lost: lost.lost_since,
            rtt: None,
            is_app_limited: lost.app_limited || self.probe_rtt.has_limited(lost.delivered),
            is_cwnd_limited: false,
        };
        if self.is_inflight_too_high(&rs) {
            rs.tx_in_flight = inflight_at_loss(&rs, lost.len);
            self.handle_inflight_too_high(&rs);
        }
    }

    /// `IsInflightTooHigh`
    pub(super) fn is_inflight_too_high(&self, rs: &Sample) -> bool {
        u64::from(rs.lost) * 100 > u64::from(rs.tx_in_flight) * LOSS_THRESH
            || (rs.lost > 0 && !self.has_selective_acks)
    }

    /// `HandleInflightTooHigh`
    pub(super) fn handle_inflight_too_high(&mut self, rs: &Sample) {
        self.probe_bw.prev_too_high = true;
        self.probe_bw.is_sample = false;
        if !rs.is_app_limited {
            let least = bytes(percent(u64::from(self.target_inflight()), BETA));
            self.inflight_longterm = rs.tx_in_flight.max(least);
        }
        if self.state == State::ProbeBwUp {
            self.undo.state = Some(State::ProbeBwUp);
            self.start_probe_bw_down(rs.now);
        }
    }

    /// `SaveStateUponLoss`: when a recovery begins, and not again while it goes on, whatever it has already cost.
    fn save_state_upon_loss(&mut self) {
        self.save_cwnd();
        if self.undo.is_open {
            return;
        }
        self.undo = Undo {
            is_open: true,
            state: None,
            bw_shortterm: self.bw_shortterm,
            inflight_shortterm: self.inflight_shortterm,
            inflight_longterm: self.inflight_longterm,
        };
    }

    /// `HandleSpuriousLossDetection`
    pub(super) fn handle_spurious_loss_detection(&mut self) {
        self.restore_cwnd();
        self.losses.in_round = false;
        self.full_bw.reset(0);
        self.bw_shortterm = self.bw_shortterm.max(self.undo.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(self.undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(self.undo.inflight_longterm);
        match self.undo.state.take() {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_bw.reached = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            Some(State::ProbeBwUp) if !matches!(self.state, State::ProbeBwUp | State::ProbeRtt) => {
                self.start_probe_bw_refill();
            }
            _ => {}
        }
    }
}

/// `InflightAtLoss`: how much was in flight when so much was lost that it was too much. What is lost as one, `len` bytes,
/// may have been many segments.
pub(super) fn inflight_at_loss(rs: &Sample, len: u32) -> u32 {
    let inflight_prev = u64::from(rs.tx_in_flight.saturating_sub(len));
    let lost_prev = u64::from(rs.lost.saturating_sub(len));
    let room = (inflight_prev * LOSS_THRESH).saturating_sub(lost_prev * 100);
    bytes(inflight_prev + room / (100 - LOSS_THRESH))
}
