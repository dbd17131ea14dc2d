//! BBR, version 3 (draft-ietf-ccwg-bbr-06): a model of the path decides, and not each loss.
//!
//! The names are the draft's. What its pseudocode calls `Infinity` is the largest number here. Each file has the part of
//! the state that it decides about: `rounds` and `model` what is known of the path, `loss` what losses say of it, `startup`,
//! `probe_bw` and `probe_rtt` the states, `control` what the sender is told.

mod control;
mod filter;
mod loss;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::filter::{MaxBw, RoundsMax};
use self::loss::{Losses, Undo};
use self::model::{MinRtt, Rounds};
use self::probe_bw::ProbeBw;
use self::probe_rtt::ProbeRtt;
use self::startup::FullBw;
use super::window::{MAX_MSS, MAX_WINDOW, initial_window};
use super::{Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Departure, Phase, Start};
use crate::time::Timestamp;

/// Nothing limits it.
const INFINITY: u32 = u32::MAX;

/// Makes controllers that follow draft-ietf-ccwg-bbr-06, version 3 of BBR: `bbr`.
///
/// A flow measures how fast data arrives, and how long the shortest round trip takes, and sends at that rate with little more
/// in flight than their product. It probes for more every two to three seconds, or as often as Reno would have lost something.
/// A loss alone does not slow it down, 2 % of a round trip that probes do, and in other rounds it follows what still
/// arrives. It always paces, whatever [`StackConfig::pacing`](crate::StackConfig::pacing) says.
///
/// **ECN.** The draft leaves the answer to marks open, but asks for one. `bbr` itself answers a mark as it answers a loss
/// outside of a probe: once a round trip its short-term limits fall to what arrived, to 0.7 of what they were at most.
/// [`with_marks`](Self::with_marks) takes marks for losses of the same size instead, so that they end a probe, too.
///
/// ```
/// use ropeway_core::SocketOptions;
/// use ropeway_core::congestion::{Algorithm, Bbr};
///
/// let mut options = SocketOptions::default();
/// options.congestion = "bbr".parse()?;
/// options.congestion = Algorithm::custom(Bbr::with_marks());
/// # Ok::<(), ropeway_core::UnknownAlgorithm>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bbr {
    marks: bool,
}

impl Bbr {
    pub(super) const DEFAULT: Self = Self { marks: false };

    /// One for which bytes that are marked (RFC 3168, RFC 9768) count as lost, against the same 2 % of what was in flight.
    #[must_use]
    pub const fn with_marks() -> Self {
        Self { marks: true }
    }
}

impl ControllerFactory for Bbr {
    fn name(&self) -> &'static str {
        "bbr"
    }

    fn build(&self, start: &Start) -> Box<dyn Controller> {
        Box::new(Control::new(start, self.marks))
    }
}

/// `BBR.state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    ProbeBwDown,
    ProbeBwCruise,
    ProbeBwRefill,
    ProbeBwUp,
    ProbeRtt,
}

impl State {
    /// `IsInAProbeBWState`
    fn is_probe_bw(self) -> bool {
        matches!(self, Self::ProbeBwDown | Self::ProbeBwCruise | Self::ProbeBwRefill | Self::ProbeBwUp)
    }

    /// `IsProbingBW`
    fn is_probing_bw(self) -> bool {
        matches!(self, Self::Startup | Self::ProbeBwRefill | Self::ProbeBwUp)
    }

    /// `BBR.pacing_gain`, in percent: in Startup 4 ln 2.
    fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::ProbeBwDown => 90,
            Self::ProbeBwUp => 125,
            Self::ProbeBwCruise | Self::ProbeBwRefill | Self::ProbeRtt => 100,
        }
    }

    /// `BBR.cwnd_gain`, in percent.
    fn cwnd_gain(self) -> u64 {
        match self {
            Self::ProbeBwUp => 225,
            Self::ProbeRtt => 50,
            _ => 200,
        }
    }
}

/// `RS`, and what else an acknowledgement tells.
#[derive(Clone, Copy, Debug)]
struct Sample {
    now: Timestamp,
    newly_acked: u32,
    /// Bytes delivered since the newest of it was sent.
    delivered: u64,
    /// Bytes a second; 0: none.
    delivery_rate: u64,
    /// `P.delivered` of the newest.
    prior_delivered: u64,
    tx_in_flight: u32,
    lost: u32,
    rtt: Option<Duration>,
    is_app_limited: bool,
    is_cwnd_limited: bool,
}

/// A flow: `C` and `BBR`.
#[derive(Clone, Debug)]
struct Control {
    /// `C.SMSS`
    mss: u32,
    /// `C.cwnd`
    cwnd: u32,
    initial_cwnd: u32,
    /// `BBR.prior_cwnd`: what it was before a recovery, or ProbeRTT.
    prior_cwnd: u32,
    /// `C.pacing_rate`, in bytes a second; 0: none yet.
    pacing_rate: u64,
    /// `C.send_quantum`
    send_quantum: u32,
    /// `C.delivered`
    delivered: u64,
    /// `C.inflight`
    in_flight: u32,
    state: State,
    /// What the sender was about when the last acknowledgement came.
    phase: Phase,
    /// Restarting after being idle.
    idle_restart: bool,
    /// Marks count as losses.
    marks: bool,
    /// `C.has_selective_acks`
    has_selective_acks: bool,
    /// The next random number comes from it.
    random: u64,
    /// `BBR.bw`
    bw: u64,
    max_bw: MaxBw,
    min_rtt: MinRtt,
    rounds: Rounds,
    full_bw: FullBw,
    losses: Losses,
    undo: Undo,
    probe_bw: ProbeBw,
    probe_rtt: ProbeRtt,
    extra_acked: RoundsMax,
    extra_acked_delivered: u64,
    extra_acked_interval_start: Timestamp,
    /// `BBR.inflight_longterm`
    inflight_longterm: u32,
    /// `BBR.bw_shortterm`
    bw_shortterm: u64,
    /// `BBR.inflight_shortterm`
    inflight_shortterm: u32,
}

impl Control {
    /// `OnInit`
    fn new(start: &Start, marks: bool) -> Self {
        let mss = start.mss.clamp(1, MAX_MSS);
        let initial_cwnd = initial_window(mss);
        let cwnd = start.window.map_or(initial_cwnd, |(cwnd, _)| cwnd).clamp(mss, MAX_WINDOW);
        Self {
            mss,
            cwnd,
            initial_cwnd,
            prior_cwnd: 0,
            pacing_rate: 0,
            send_quantum: 2 * mss,
            delivered: 0,
            in_flight: 0,
            state: State::Startup,
            phase: Phase::Open,
            idle_restart: false,
            marks,
            has_selective_acks: true,
            random: start.seed,
            bw: 0,
            max_bw: MaxBw::default(),
            min_rtt: MinRtt::new(start.now),
            rounds: Rounds::default(),
            full_bw: FullBw::default(),
            losses: Losses::default(),
            undo: Undo::default(),
            probe_bw: ProbeBw::new(start.now),
            probe_rtt: ProbeRtt::default(),
            extra_acked: RoundsMax::default(),
            extra_acked_delivered: 0,
            extra_acked_interval_start: start.now,
            inflight_longterm: INFINITY,
            bw_shortterm: u64::MAX,
            inflight_shortterm: INFINITY,
        }
    }

    /// Of numbers that look random, the next one: SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn note_delivered(&mut self, newest: &Departure) {
        self.delivered = self.delivered.max(newest.delivered.saturating_add(newest.delivered_since));
    }

    /// `GenerateRateSample`, as far as it is left to do. `None`: nothing has arrived.
    fn sample(&self, delivery: &Delivery) -> Option<Sample> {
        let newest = delivery.newest.filter(|_| delivery.delivered > 0)?;
        let rate = delivery.rate;
        Some(Sample {
            now: delivery.now,
            newly_acked: delivery.delivered,
            delivered: newest.delivered_since,
            delivery_rate: rate.map_or(0, |rate| rate.bytes_per_second()),
            prior_delivered: newest.delivered,
            tx_in_flight: newest.in_flight,
            lost: newest.lost_since.saturating_add(if self.marks { self.losses.marked } else { 0 }),
            rtt: delivery.rtt,
            is_app_limited: newest.app_limited || self.probe_rtt.has_limited(newest.delivered),
            is_cwnd_limited: delivery.window_limited,
        })
    }

    /// `UpdateModelAndState`
    fn update_model_and_state(&mut self, rs: &Sample) {
        self.update_latest_delivery_signals(rs);
        self.update_congestion_signals(rs);
        self.heed_marks(rs);
        self.update_ack_aggregation(rs);
        self.check_full_bw_reached(rs);
        self.check_startup_done(rs);
        self.check_drain_done(rs);
        self.update_probe_bw_cycle_phase(rs);
        self.update_min_rtt(rs);
        self.check_probe_rtt(rs);
        self.advance_latest_delivery_signals(rs);
        self.bound_bw_for_model();
    }
}

impl Controller for Control {
    fn window(&self) -> u32 {
        self.cwnd
    }

    /// It is in slow start until the path is full.
    fn ssthresh(&self) -> u32 {
        if self.full_bw.reached { self.cwnd } else { u32::MAX }
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate).filter(|rate| *rate > 0)
    }

    /// The initial window goes out at once, as in Linux.
    fn quantum(&self) -> Option<u32> {
        (self.delivered > 0).then_some(self.send_quantum)
    }

    fn governs_recovery(&self) -> bool {
        true
    }

    /// `HandleRestartFromIdle`: nothing was in flight, and not because all of it was lost.
    fn on_sent(&mut self, now: Timestamp, len: u32, in_flight: u32) {
        if in_flight <= len && self.phase != Phase::Loss {
            self.idle_restart = true;
            self.extra_acked_interval_start = now;
            if self.state.is_probe_bw() {
                self.set_pacing_rate_with_gain(100);
            } else if self.state == State::ProbeRtt {
                self.check_probe_rtt_done(now);
            }
        }
        self.in_flight = in_flight;
    }

    fn on_ack(&mut self, delivery: &Delivery) {
        if let Some(newest) = &delivery.newest {
            self.note_delivered(newest);
        }
        self.in_flight = delivery.in_flight;
        self.has_selective_acks = delivery.sack;
        let was_repairing = is_repairing(self.phase);
        self.phase = delivery.phase;
        self.undo.is_open = is_repairing(self.phase);
        if was_repairing && !self.undo.is_open {
            self.restore_cwnd();
        }
        if self.pacing_rate == 0 {
            self.init_pacing_rate(delivery.srtt);
        }
        if delivery.marked > 0 {
            self.note_marks(delivery.marked);
        }
        let Some(rs) = self.sample(delivery) else { return };
        self.update_model_and_state(&rs);
        self.set_pacing_rate();
        self.set_send_quantum();
        self.set_cwnd(&rs);
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Departure) {
        self.note_delivered(lost);
        self.handle_lost_packet(now, lost);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        match event.cause {
            Congestion::Loss | Congestion::Ecn => self.note_loss(),
            Congestion::Timeout { .. } => {
                self.note_loss();
                self.save_cwnd();
                self.in_flight = event.in_flight;
                self.cwnd = event.in_flight.saturating_add(self.mss).min(self.cwnd).max(self.mss);
                self.phase = Phase::Loss;
            }
            // RFC 5681 3.1
            Congestion::LostHandshake => self.cwnd = self.mss,
        }
    }

    fn on_spurious(&mut self, _now: Timestamp) {
        self.handle_spurious_loss_detection();
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.mss = mss.clamp(1, MAX_MSS);
        self.initial_cwnd = initial_window(self.mss);
        self.send_quantum = self.send_quantum.max(2 * self.mss);
        self.cwnd = self.cwnd.max(self.mss);
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

/// `InLossRecovery`
fn is_repairing(phase: Phase) -> bool {
    matches!(phase, Phase::Recovery | Phase::Loss)
}
