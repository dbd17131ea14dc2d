//! ProbeRTT (draft-ietf-ccwg-bbr-06, 5.3.4): the queue is drained now and then, to measure the round trip without it.

use std::time::Duration;

use super::probe_bw::AckPhase;
use super::{Control, Sample, State};
use crate::time::{Timestamp, micros};

/// `BBR.ProbeRTTInterval` and `BBR.ProbeRTTDuration`, in microseconds.
const INTERVAL: u64 = 5_000_000;
const DURATION: u64 = 200_000;

/// ProbeRTT takes a round trip at least, and another one until the path is full again. It is to cost some percent, and so where
/// one takes longer than `DURATION`, it comes as much more seldom: each 25 round trips. The draft has no such rule.
const ROUNDS: u64 = INTERVAL / DURATION;

/// And there it is left out if there is no queue: a round trip longer than the shortest by this part, or less, measures it anew.
const NEAR: u64 = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeRtt {
    /// `BBR.probe_rtt_min_delay`, in microseconds.
    min_delay: u64,
    /// `BBR.probe_rtt_min_stamp`
    min_stamp: Option<Timestamp>,
    /// `BBR.probe_rtt_expired`
    expired: bool,
    /// `BBR.probe_rtt_done_stamp`
    done_stamp: Option<Timestamp>,
    /// `BBR.probe_rtt_round_done`
    round_done: bool,
    /// `MarkConnectionAppLimited`: what is sent while so much is delivered, from the first to the second, tells nothing of the
    /// path's rate.
    limited: (u64, u64),
}

impl Default for ProbeRtt {
    fn default() -> Self {
        Self {
            min_delay: u64::MAX,
            min_stamp: None,
            expired: false,
            done_stamp: None,
            round_done: false,
            limited: (1, 0),
        }
    }
}

impl ProbeRtt {
    /// The first half of `UpdateMinRTT`.
    pub(super) fn update_min_delay(&mut self, rs: &Sample) {
        let passed = self.min_stamp.map_or(0, |stamp| micros(rs.now.since(stamp)));
        self.expired = passed > self.interval();
        let Some(rtt) = rs.rtt.map(micros) else { return };
        if rtt < self.min_delay || self.expired {
            self.min_delay = rtt;
            self.min_stamp = Some(rs.now);
        } else if self.min_delay > DURATION && rtt - self.min_delay <= self.min_delay / NEAR {
            self.min_stamp = Some(rs.now);
        }
    }

    fn interval(&self) -> u64 {
        self.min_delay.saturating_mul(ROUNDS).max(INTERVAL)
    }

    pub(super) fn min_delay(&self) -> (u64, Option<Timestamp>) {
        (self.min_delay, self.min_stamp)
    }

    /// Whether ProbeRTT is what limited the rate of what was sent when so much was delivered.
    pub(super) fn has_limited(&self, delivered: u64) -> bool {
        (self.limited.0..=self.limited.1).contains(&delivered)
    }

    fn mark_app_limited(&mut self, delivered: u64, in_flight: u32) {
        if !self.has_limited(delivered) {
            self.limited.0 = delivered;
        }
        self.limited.1 = delivered.saturating_add(u64::from(in_flight));
    }
}

impl Control {
    /// `CheckProbeRTT`
    pub(super) fn check_probe_rtt(&mut self, rs: &Sample) {
        if self.state != State::ProbeRtt && self.probe_rtt.expired && !self.idle_restart {
            self.save_cwnd();
            self.state = State::ProbeRtt;
            self.probe_rtt.done_stamp = None;
            self.probe_bw.ack_phase = AckPhase::ProbeStopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(rs);
        }
        if rs.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// `HandleProbeRTT`
    fn handle_probe_rtt(&mut self, rs: &Sample) {
        self.probe_rtt.mark_app_limited(self.delivered, self.in_flight);
        if self.probe_rtt.done_stamp.is_none() {
            if self.in_flight <= self.probe_rtt_cwnd() {
                self.probe_rtt.done_stamp = Some(rs.now + Duration::from_micros(DURATION));
                self.probe_rtt.round_done = false;
                self.start_round();
            }
            return;
        }
        self.probe_rtt.round_done |= self.rounds.start;
        if self.probe_rtt.round_done {
            self.check_probe_rtt_done(rs.now);
        }
    }

    /// `CheckProbeRTTDone`
    pub(super) fn check_probe_rtt_done(&mut self, now: Timestamp) {
        if self.probe_rtt.done_stamp.is_some_and(|done| now > done) {
            self.probe_rtt.min_stamp = Some(now);
            self.restore_cwnd();
            self.exit_probe_rtt(now);
        }
    }

    /// `ExitProbeRTT`
    fn exit_probe_rtt(&mut self, now: Timestamp) {
        self.reset_short_term_model();
        if self.full_bw.reached {
            self.start_probe_bw_down(now);
            self.start_probe_bw_cruise();
        } else {
            self.enter_startup();
        }
    }

    /// `ProbeRTTCwnd`
    pub(super) fn probe_rtt_cwnd(&self) -> u32 {
        self.bdp_multiple(self.bw, State::ProbeRtt.cwnd_gain()).max(self.min_pipe_cwnd())
    }
}
