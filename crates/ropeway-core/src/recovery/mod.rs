//! Loss recovery reads the record of what is out and says what is lost; [`congestion`](crate::congestion) says how much
//! may be in flight, and PRR how to get there.

mod detection;
mod duplicates;
mod frto;
mod marks;
mod news;
pub(crate) mod prr;
pub(crate) mod rack;
pub(crate) mod rto;
pub(crate) mod tlp;
mod undo;

use std::time::Duration;

use ropeway_packet::SeqNum;

use self::detection::Detection;
use self::duplicates::Duplicates;
use self::frto::{Frto, Verdict};
pub(crate) use self::news::{Dsack, News, Outcome, Reorder, Switches};
use self::prr::Prr;
use self::tlp::{ProbeAnswer, Tlp};
use self::undo::Undo;
use crate::config::StackConfig;
use crate::congestion::{Congestion, CongestionEvent, Controller, Departure, Phase};
use crate::options::SocketOptions;
use crate::spare::{Blank, Spare};
use crate::tcp::sender::Why;
use crate::tcp::sender::flight::{Flight, Marks};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    switches: Switches,
    phase: Phase,
    /// The recovery point: SND.NXT when the phase began (`recover` of RFC 6582, `high_seq` of Linux).
    high: SeqNum,
    detection: Detection,
    episode: Spare<Episode>,
}

/// What is remembered from the first sign of trouble until nothing of it can matter any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Episode {
    prr: Prr,
    tlp: Tlp,
    undo: Undo,
    frto: Frto,
    duplicates: Duplicates,
}

impl Blank for Episode {
    const BLANK: &'static Self = &Self {
        prr: Prr::NONE,
        tlp: Tlp::NONE,
        undo: Undo::NONE,
        frto: Frto::Off,
        duplicates: Duplicates::NONE,
    };
}

/// What has happened, what it happened to, and what follows.
struct Case<'a> {
    flight: &'a mut Flight,
    congestion: &'a mut dyn Controller,
    news: &'a News,
    outcome: Outcome,
}

impl Case<'_> {
    fn lose_first(&mut self, why: Why) {
        let Self { flight, congestion, news, outcome } = self;
        let told = &mut |lost: &Departure| congestion.on_lost(news.now, lost);
        outcome.lost += flight.lose_first(why, told);
    }
}

impl Recovery {
    pub(crate) fn new(iss: SeqNum, options: &SocketOptions, config: &StackConfig) -> Self {
        Self {
            switches: Switches::of(options, config),
            phase: Phase::Open,
            high: iss,
            detection: Detection::new(options),
            episode: Spare::default(),
        }
    }

    /// Both ends use SACK.
    pub(crate) fn use_sack(&mut self) {
        self.switches.sack = true;
    }

    /// The socket's options have changed. The order of time, for which RACK asks, is kept from the beginning or not at all.
    pub(crate) fn configure(&mut self, options: &SocketOptions, config: &StackConfig) {
        let Switches { sack, rack, .. } = self.switches;
        self.switches = Switches { sack, rack, ..Switches::of(options, config) };
        self.detection.configure(options);
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn high(&self) -> SeqNum {
        self.high
    }

    pub(crate) fn dup_thresh(&self) -> u32 {
        self.detection.dup_thresh()
    }

    /// More reordering was seen than three segments' worth.
    pub(crate) fn reorders(&self) -> bool {
        self.detection.reorders()
    }

    pub(crate) fn dsacked(&self) -> u64 {
        u64::from(self.detection.dsacked())
    }

    pub(crate) fn reorderings(&self) -> u32 {
        self.detection.rack.reorderings()
    }

    #[cfg(test)]
    pub(crate) fn tlp_end(&self) -> Option<SeqNum> {
        self.episode.tlp.end()
    }

    /// Whether RACK asks for what was sent in the order of time.
    pub(crate) fn needs_order(&self) -> bool {
        self.switches.needs_order()
    }

    /// The congestion window, as PRR leaves it.
    pub(crate) fn window(&self, congestion: &dyn Controller) -> u32 {
        match self.phase {
            Phase::Recovery | Phase::Cwr if self.switches.prr && !congestion.governs_recovery() => {
                self.episode.prr.window()
            }
            // The first retransmission goes out at once (RFC 6675 5 (4.3)).
            Phase::Recovery if self.episode.prr.is_new() => {
                congestion.window().max(self.episode.prr.window())
            }
            _ => congestion.window(),
        }
    }

    // RFC 5682 2.1-2
    /// Whether new data goes first now, and what is due waits for the next acknowledgement (RFC 5682 3.1, step 2.b).
    pub(crate) fn wants_new_data(&self) -> bool {
        self.episode.frto == Frto::NewData
    }

    /// There was no new data after all: what is due goes out again.
    pub(crate) fn give_up_frto(&mut self) {
        if self.episode.frto != Frto::Off {
            self.episode.frto = Frto::Off;
        }
    }

    // RFC 8985 7.3-2
    /// What a probe's timeout finds: nothing else is known to be missing, and no probe is out (RFC 8985 7.3).
    pub(crate) fn may_probe(&self) -> bool {
        self.switches.tlp
            && self.switches.sack
            && matches!(self.phase, Phase::Open | Phase::Cwr)
            && !self.episode.tlp.is_out()
    }

    /// A range has arrived that no acknowledgement had shown yet.
    pub(crate) fn on_delivered(
        &mut self,
        sent: (Timestamp, SeqNum),
        retransmitted: bool,
        is_earlier: bool,
        (now, min_rtt): (Timestamp, Option<Duration>),
    ) {
        if self.needs_order() {
            self.detection.rack.on_delivered(sent, now, retransmitted, is_earlier, min_rtt);
        }
    }

    /// Whether an echo is of something sent before the first retransmission (RFC 3522 3.2).
    pub(crate) fn predates_resending(&self, tsecr: Option<u32>) -> bool {
        self.episode.undo.is_earlier(tsecr)
    }

    /// An acknowledgement has marked in `flight` what has arrived. This marks what is lost, and tells the controller of
    /// what that means.
    pub(crate) fn on_ack(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
    ) -> Outcome {
        let case = &mut Case { flight, congestion, news, outcome: Outcome::default() };
        let marked = self.take_mark(case);
        if !marked && self.is_calm(case) {
            self.high = news.una - 1;
            self.detection.rack.update_window(news.prior_delivered, news.delivered_in_all);
            self.find_losses(case, news.now);
            debug_assert!(case.outcome.lost == 0, "nothing is missing, and something is lost");
            return case.outcome;
        }
        if news.acked > 0 {
            self.forget_duplicates();
            case.flight.infer_less(news.acked, news.mss);
            if matches!(self.phase, Phase::Open | Phase::Disorder) && news.una.after(self.high) {
                // It must not fall behind by half the sequence space.
                self.high = news.una - 1;
            }
        }
        if self.phase != Phase::Loss || self.episode.undo.is_possible() {
            self.detection.take_reordering(case.flight, news);
        }
        let probe_dsack = self.take_dsack(case);
        self.detection.rack.update_window(news.prior_delivered, news.delivered_in_all);
        self.take_probe_answer(case, probe_dsack);
        self.leave(case);
        match self.phase {
            Phase::Loss => self.after_timeout(case),
            Phase::Recovery => self.in_recovery(case),
            _ => self.in_order(case),
        }
        if self.episode.undo.is_disproved() && self.switches.undo && self.phase != Phase::Loss {
            // Every retransmission arrived twice.
            self.detection.rack.on_undone();
            self.undo_reduction(case, false);
            if self.phase == Phase::Recovery || self.phase == Phase::Disorder {
                self.keep_open(case);
            }
        }
        self.find_losses(case, news.now);
        if matches!(self.phase, Phase::Open | Phase::Disorder | Phase::Cwr) {
            if case.outcome.lost > 0 {
                self.begin(case);
            } else if self.phase != Phase::Cwr {
                self.keep_open(case);
            }
        }
        if marked && matches!(self.phase, Phase::Open | Phase::Disorder) {
            self.reduce_for_mark(case);
        }
        let calm = self.phase == Phase::Open && !self.episode.undo.is_possible();
        if calm && !self.episode.tlp.is_out() && !self.episode.is_away() {
            self.episode.put_away();
        }
        case.outcome
    }

    /// Whether nothing is missing, nothing was, and nothing is said but how far the peer has come: by far the most frequent case,
    /// in which all the rest has nothing to do.
    fn is_calm(&self, case: &Case<'_>) -> bool {
        let news = case.news;
        let plain = news.acked > 0 && news.sacked == 0 && news.dsack.is_none() && news.overtaken.is_none();
        plain
            && self.switches.sack
            && self.phase == Phase::Open
            && self.episode.is_away()
            && case.flight.is_untroubled()
            && news.una.after(self.high)
    }

    /// PRR's part of an acknowledgement, once all else is known.
    pub(crate) fn pace_reduction(
        &mut self,
        (delivered, acked): (u32, u32),
        outcome: &Outcome,
        (pipe, ssthresh): (u32, u32),
        mss: u32,
    ) {
        if matches!(self.phase, Phase::Recovery | Phase::Cwr) {
            self.episode.prr.on_ack(delivered, pipe, ssthresh, mss, acked > 0 && outcome.lost == 0);
            if outcome.resends {
                self.episode.prr.allow(pipe.saturating_add(mss));
            }
        }
    }

    /// Says whether the probe of the tail is what arrived twice.
    fn take_dsack(&mut self, case: &Case<'_>) -> bool {
        let Some(dsack) = case.news.dsack else { return false };
        let of_probe = dsack.segments == 1 && self.episode.tlp.end() == Some(dsack.end);
        if !self.detection.take_dsack(dsack.segments) {
            return false;
        }
        if !of_probe {
            self.detection.rack.on_dsack();
        }
        if self.episode.undo.is_possible() {
            self.episode.undo.on_dsack(dsack, case.news.una);
        }
        of_probe
    }

    fn take_probe_answer(&mut self, case: &mut Case<'_>, dsack: bool) {
        let news = case.news;
        let bare = news.bare && news.sacked == 0 && news.acked == 0;
        if self.episode.tlp.is_out()
            && self.episode.tlp.on_ack(news.una, dsack, bare) == ProbeAnswer::Repaired
            && matches!(self.phase, Phase::Open | Phase::Disorder)
        {
            // RFC 8985 7.4.2: a loss was repaired without a recovery; the window falls all the same.
            let flight_size = case.flight.outstanding().saturating_add(case.news.acked);
            case.congestion.on_congestion(&CongestionEvent::new(
                case.news.now,
                Congestion::Loss,
                flight_size,
                case.news.nxt,
            ));
            case.outcome.reduced = true;
        }
    }

    // RFC 6675 5-3
    /// Ends a phase whose recovery point is acknowledged.
    fn leave(&mut self, case: &mut Case<'_>) {
        if !case.news.una.at_or_after(self.high) {
            return;
        }
        match self.phase {
            Phase::Recovery => {
                self.recovered(case);
                self.infer_anew(case);
            }
            // Until something beyond it is acknowledged, the peer may not have seen our CWR. But with nothing out, nothing more
            // is to be reduced, and a new flight is to find the window that there is.
            Phase::Cwr if case.news.una != self.high || case.flight.is_empty() => {
                self.high = case.news.una - 1;
                self.set_phase(Phase::Open);
            }
            _ => {}
        }
    }

    // RFC 9937 6.2-5
    /// All that was outstanding when the phase began has arrived.
    fn recovered(&mut self, case: &mut Case<'_>) {
        if self.may_undo(case) {
            self.undo_reduction(case, false);
        } else {
            self.detection.rack.on_recovered();
            // A D-SACK may still tell, until the next recovery begins.
            self.episode.undo.nothing_out();
        }
        self.set_phase(Phase::Open);
    }

    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.give_up_frto();
    }

    fn infer_anew(&mut self, case: &mut Case<'_>) {
        case.flight.infer_nothing();
        self.forget_duplicates();
    }

    fn forget_duplicates(&mut self) {
        if self.episode.duplicates.count() > 0 {
            self.episode.duplicates.forget();
        }
    }

    /// Duplicates count while a loss may be found by them, or what is sent by them.
    fn count_duplicate(&mut self, case: &mut Case<'_>) {
        if !self.switches.sack && case.news.duplicate {
            case.outcome.inferred += self.episode.duplicates.on_duplicate(case.flight, case.news);
        }
    }

    // RFC 6675 5-1
    /// Open or Disorder: what do duplicates say?
    fn in_order(&mut self, case: &mut Case<'_>) {
        if self.switches.sack {
            return;
        }
        if case.news.acked > 0 {
            self.infer_anew(case);
        }
        // RFC 6582 3.2 (2): duplicates of what a recovery or a timeout made us send again mean nothing. They come right behind
        // the recovery point: only when more is acknowledged, duplicates may mean a loss. A mark made us send nothing again.
        if self.phase != Phase::Cwr && !case.news.una.after(self.high) {
            return;
        }
        self.count_duplicate(case);
        if self.episode.duplicates.count() >= self.detection.dup_thresh() {
            let probed = case.flight.first().is_some_and(|first| first.marks.has(Marks::MTU_PROBE));
            case.lose_first(Why::Duplicates);
            if probed {
                // No recovery begins, but the other duplicates of what followed the probe mean no more than those of one.
                self.high = case.news.nxt;
            }
        }
    }

    fn in_recovery(&mut self, case: &mut Case<'_>) {
        if case.news.acked == 0 {
            self.count_duplicate(case);
            return;
        }
        // RFC 4015: what fills the hole was late, not lost.
        if self.switches.undo && self.episode.undo.is_late(case.news) {
            if case.flight.retransmitted() > 0 {
                return;
            }
            self.undo_reduction(case, true);
            if !self.switches.sack {
                // What was sent again makes one duplicate; others mean a loss.
                self.high = case.news.una - 1;
            }
            self.keep_open(case);
            return;
        }
        if !self.switches.sack {
            // RFC 6582 3.2 (3): the next hole is known. Only when all of what was sent again is acknowledged.
            if case.flight.retransmitted() == 0 {
                case.lose_first(Why::PartialAck);
                case.outcome.resends = true;
            }
            case.outcome.keeps_timer = !self.episode.duplicates.on_partial();
        }
    }

    /// Was the timeout spurious? By Eifel detection (RFC 3522) and F-RTO.
    fn after_timeout(&mut self, case: &mut Case<'_>) {
        if case.news.acked > 0 && self.may_undo(case) {
            case.outcome.spurious_timeout = true;
            self.undo_timeout(case);
            return;
        }
        let recovered = case.news.una.at_or_after(self.high);
        if self.episode.frto != Frto::Off {
            match self.episode.frto.on_ack(case.news, self.switches.sack, &mut self.high) {
                Verdict::Spurious => {
                    case.outcome.spurious_timeout = true;
                    self.undo_timeout(case);
                    return;
                }
                Verdict::Undecided => return,
                Verdict::Real => {}
            }
        }
        if recovered {
            self.recovered(case);
            self.infer_anew(case);
            return;
        }
        if !self.switches.sack {
            if case.news.nxt.after(self.high) {
                self.count_duplicate(case);
            } else if case.news.acked > 0 {
                self.infer_anew(case);
            }
        }
    }

    // RFC 5682 4-1
    fn undo_timeout(&mut self, case: &mut Case<'_>) {
        self.undo_reduction(case, true);
        self.set_phase(Phase::Open);
        self.infer_anew(case);
        if !self.switches.sack {
            // What is still on its way makes duplicates that mean nothing.
            self.high = case.news.nxt;
        }
    }

    fn may_undo(&self, case: &Case<'_>) -> bool {
        self.switches.undo
            && self.episode.undo.is_possible()
            && (self.episode.undo.is_disproved() || self.episode.undo.is_late(case.news))
    }

    fn undo_reduction(&mut self, case: &mut Case<'_>, find: bool) {
        if find {
            case.flight.find_all(self.needs_order());
        }
        if self.switches.undo && !self.episode.undo.is_forbidden() {
            case.congestion.on_spurious(case.news.now);
            case.outcome.undone = true;
        }
        self.episode.undo.forget();
        self.detection.rack.look_again();
    }

    /// The phase when nothing is lost: something may still be missing.
    fn keep_open(&mut self, case: &Case<'_>) {
        if self.phase == Phase::Cwr {
            return;
        }
        let flight = &case.flight;
        let missing =
            flight.sacked() > 0 || flight.inferred() > 0 || flight.lost() > 0 || flight.retransmitted() > 0;
        self.set_phase(if missing { Phase::Disorder } else { Phase::Open });
        if self.phase == Phase::Open && !self.episode.is_away() {
            self.episode.undo.nothing_out();
        }
    }

    fn find_losses(&mut self, case: &mut Case<'_>, as_of: Timestamp) {
        let Case { flight, congestion, news, .. } = case;
        let told = &mut |lost: &Departure| congestion.on_lost(news.now, lost);
        let found = self.detection.find(flight, news, (self.switches, self.phase), as_of, told);
        case.outcome.lost += found.lost;
        case.outcome.reorder = found.into();
    }

    /// RACK's timer: losses as they were found at `as_of`.
    pub(crate) fn on_reorder_timeout(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        as_of: Timestamp,
    ) -> Outcome {
        let case = &mut Case { flight, congestion, news, outcome: Outcome::default() };
        self.detection.rack.look_again();
        self.find_losses(case, as_of);
        if case.outcome.lost > 0 && matches!(self.phase, Phase::Open | Phase::Disorder | Phase::Cwr) {
            self.begin(case);
        }
        case.outcome
    }

    // RFC 6675 5-3, RFC 8985 7.1-1
    /// Fast recovery begins (RFC 5681 3.2, RFC 6675 5 (4), RFC 9937 6.1).
    fn begin(&mut self, case: &mut Case<'_>) {
        // What limited transmit has sent does not count (RFC 5681 3.2 (2)): it is what exceeds the window.
        let out = case.flight.outstanding().saturating_add(case.news.acked);
        if self.phase != Phase::Cwr {
            let flight_size = out.min(case.congestion.window());
            case.congestion.on_congestion(&CongestionEvent::new(
                case.news.now,
                Congestion::Loss,
                flight_size,
                case.news.nxt,
            ));
            case.outcome.reduced = true;
        }
        self.episode.undo.begin(case.news.una, case.flight.retransmitted().div_ceil(case.news.mss));
        self.phase = Phase::Recovery;
        self.episode.duplicates.begin_recovery();
        self.episode.frto = Frto::Off;
        self.episode.tlp.forget();
        self.begin_reduction(case, out);
        case.outcome.began = true;
    }

    // RFC 6675 5-4, RFC 8985 9.3-2
    /// From here on to SND.NXT, PRR says how the window comes down. `out`: SND.NXT - SND.UNA before this acknowledgement.
    fn begin_reduction(&mut self, case: &Case<'_>, out: u32) {
        self.high = case.news.nxt;
        let reported = case.flight.sacked().saturating_sub(case.news.sacked);
        let inferred = case.flight.inferred().saturating_sub(case.outcome.inferred);
        self.episode.prr.begin(out.saturating_sub(reported + inferred), case.congestion.window());
    }

    // RFC 5682 2.1-1, RFC 6675 5.1-1, RFC 5682 2.1-6, RFC 5682 3.1-6, RFC 8985 7.1-1
    /// The retransmission timer went off (RFC 6298 5, RFC 5682 3.1 step 1). `again`: not for the first time.
    pub(crate) fn on_timeout(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        again: bool,
    ) {
        let flight_size = flight.outstanding();
        let new_recovery = !matches!(self.phase, Phase::Recovery | Phase::Loss);
        flight.infer_nothing();
        self.episode.duplicates.begin(flight);
        let told = &mut |lost: &Departure| congestion.on_lost(news.now, lost);
        self.detection.time_out(flight, news, (self.switches, self.phase), told);
        // One reduction for what is in flight (RFC 5681 3.1 (4)).
        let reduced = matches!(self.phase, Phase::Recovery | Phase::Loss | Phase::Cwr);
        let anew = !reduced || news.una.at_or_after(self.high) || (self.phase == Phase::Loss && !again);
        let cause = Congestion::Timeout { again: !anew };
        let mut event = CongestionEvent::new(news.now, cause, flight_size, news.nxt);
        event.in_flight = flight.pipe();
        congestion.on_congestion(&event);
        if anew {
            self.episode.undo.begin(news.una, flight.retransmitted().div_ceil(news.mss));
        }
        self.phase = Phase::Loss;
        self.high = news.nxt;
        self.episode.frto.begin(self.switches.frto && (new_recovery || again));
        self.episode.tlp.forget();
    }

    /// All that is out has not come through, but not because of congestion (RFC 1191 6.5).
    pub(crate) fn on_not_taken(&mut self, flight: &mut Flight, nxt: SeqNum, why: Why) {
        self.episode.undo.forget();
        self.on_black_hole(flight, nxt, why);
    }

    /// It seems to be too large, although no router says so. If it proves to be, what the timeouts have done is undone.
    pub(crate) fn on_black_hole(&mut self, flight: &mut Flight, nxt: SeqNum, why: Why) {
        flight.infer_nothing();
        self.episode.duplicates.begin(flight);
        flight.lose_all(false, why, &mut |_| {});
        self.phase = Phase::Loss;
        self.episode.frto = Frto::Off;
        self.high = nxt;
        self.episode.tlp.forget();
        self.detection.rack.forget();
    }

    /// A router has refused a probe of the path's MTU. Without SACK, duplicates of what followed it mean nothing.
    pub(crate) fn on_mtu_probe_refused(&mut self, nxt: SeqNum) {
        if !self.switches.sack && matches!(self.phase, Phase::Open | Phase::Disorder) {
            self.high = nxt;
        }
    }

    /// What was too large gets through in smaller segments: the timeouts were not due to congestion (RFC 4821 7.7).
    pub(crate) fn on_black_hole_proved(&mut self, congestion: &mut dyn Controller, now: Timestamp) {
        if !self.episode.undo.is_forbidden() {
            congestion.on_spurious(now);
        }
        self.episode.undo.forget();
    }

    /// A probe of the tail has been sent (RFC 8985 7.3).
    pub(crate) fn on_probe_sent(&mut self, nxt: SeqNum, is_retrans: bool) {
        self.episode.tlp.on_sent(nxt, is_retrans);
    }

    /// A segment is sent. `again`: with what our timestamp says, if there are timestamps.
    pub(crate) fn on_sent(&mut self, len: u32, again: bool, tsval: Option<u32>) {
        if matches!(self.phase, Phase::Recovery | Phase::Cwr) {
            self.episode.prr.on_sent(len);
        }
        if again {
            self.detection.on_resent();
            self.episode.undo.on_resent(tsval);
        }
    }
}
