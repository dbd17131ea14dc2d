//! What is known of the path (draft-ietf-ccwg-bbr-06, 5.5): round trips, bandwidth, delay, aggregation.

use super::{Control, INFINITY, Sample};
use crate::time::{Timestamp, micros};

/// `BBR.MinRTTFilterLen`, in microseconds.
const MIN_RTT_FILTER_LEN: u64 = 10_000_000;

/// Round trips that are told by packets: `UpdateRound`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    /// `BBR.round_count`
    pub(super) count: u64,
    /// `BBR.round_start`: the last acknowledgement began one.
    pub(super) start: bool,
    /// `BBR.next_round_delivered`
    next_delivered: u64,
}

impl Rounds {
    /// `StartRound`
    pub(super) fn begin(&mut self, delivered: u64) {
        self.next_delivered = delivered;
    }

    fn update(&mut self, prior_delivered: u64, delivered: u64) {
        self.start = prior_delivered >= self.next_delivered;
        if self.start {
            self.begin(delivered);
            self.count += 1;
        }
    }
}

/// `BBR.min_rtt`, in microseconds, and when it was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    rtt: u64,
    stamp: Timestamp,
}

impl MinRtt {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { rtt: u64::MAX, stamp: now }
    }

    /// In microseconds, if there is one.
    pub(super) fn get(&self) -> Option<u64> {
        Some(self.rtt).filter(|rtt| *rtt < u64::MAX)
    }
}

/// Bytes that pass at this rate, in bytes a second, in that time, in microseconds.
pub(super) fn volume(rate: u64, micros: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(micros) / 1_000_000).unwrap_or(u64::MAX)
}

/// So many percent of it.
pub(super) fn percent(of: u64, gain: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(gain) / 100).unwrap_or(u64::MAX)
}

/// Below what stands for no limit.
pub(super) fn bytes(volume: u64) -> u32 {
    u32::try_from(volume).unwrap_or(INFINITY).min(INFINITY - 1)
}

impl Control {
    /// `StartRound`
    pub(super) fn start_round(&mut self) {
        self.rounds.begin(self.delivered);
    }

    /// `UpdateMaxBw`
    pub(super) fn update_max_bw(&mut self, rs: &Sample) {
        self.rounds.update(rs.prior_delivered, self.delivered);
        if self.rounds.start {
            self.probe_bw.rounds_since_probe_up = self.probe_bw.rounds_since_probe_up.saturating_add(1);
            self.extra_acked.advance();
        }
        if rs.delivery_rate > 0 && (rs.delivery_rate >= self.max_bw.get() || !rs.is_app_limited) {
            self.max_bw.update(rs.delivery_rate);
        }
    }

    /// `UpdateACKAggregation`
    pub(super) fn update_ack_aggregation(&mut self, rs: &Sample) {
        let interval = micros(rs.now.since(self.extra_acked_interval_start));
        let mut expected = volume(self.bw, interval);
        if self.extra_acked_delivered <= expected {
            self.extra_acked_delivered = 0;
            self.extra_acked_interval_start = rs.now;
            expected = 0;
        }
        self.extra_acked_delivered += u64::from(rs.newly_acked);
        let extra = bytes(self.extra_acked_delivered - expected);
        self.extra_acked.update(extra.min(self.cwnd));
    }

    /// `BBR.extra_acked`: in Startup of one round trip.
    pub(super) fn extra_acked(&self) -> u32 {
        self.extra_acked.get(!self.full_bw.reached)
    }

    /// `UpdateMinRTT`
    pub(super) fn update_min_rtt(&mut self, rs: &Sample) {
        self.probe_rtt.update_min_delay(rs);
        let expired = micros(rs.now.since(self.min_rtt.stamp)) > MIN_RTT_FILTER_LEN;
        let (delay, stamp) = self.probe_rtt.min_delay();
        if delay < self.min_rtt.rtt || (expired && delay < u64::MAX) {
            self.min_rtt = MinRtt { rtt: delay, stamp: stamp.unwrap_or(rs.now) };
        }
    }

    /// `BoundBWForModel`
    pub(super) fn bound_bw_for_model(&mut self) {
        self.bw = self.max_bw.get().min(self.bw_shortterm);
    }

    /// `BDPMultiple`: so many percent of what is in flight if this rate is kept up for the shortest round trip.
    pub(super) fn bdp_multiple(&self, bw: u64, gain: u64) -> u32 {
        match self.min_rtt.get() {
            Some(rtt) => bytes(percent(volume(bw, rtt), gain)),
            None => self.initial_cwnd,
        }
    }

    /// `BBR.bdp`
    pub(super) fn bdp(&self) -> u32 {
        self.bdp_multiple(self.bw, 100)
    }

    /// `TargetInflight`
    pub(super) fn target_inflight(&self) -> u32 {
        self.bdp().min(self.cwnd)
    }

    /// `Inflight(bw, 1.0)`
    pub(super) fn inflight(&self, bw: u64) -> u32 {
        self.quantization_budget(self.bdp_multiple(bw, 100))
    }
}
