//! Loss recovery reads the record of what is out and says what is lost; [`congestion`](crate::congestion) says how much
//! may be in flight, and PRR how to get there.

mod news;
pub(crate) mod prr;
pub(crate) mod rack;
pub(crate) mod rto;
pub(crate) mod tlp;
mod undo;

use std::time::Duration;

use ropeway_packet::SeqNum;

pub(crate) use self::news::{Dsack, News, Outcome, Reorder, Switches};
use self::prr::Prr;
use self::rack::{Path, Rack};
use self::tlp::{ProbeAnswer, Tlp};
use self::undo::Undo;
use crate::congestion::{Congestion, CongestionEvent, Controller, Phase};
use crate::spare::{Blank, Spare};
use crate::tcp::sender::Why;
use crate::tcp::sender::flight::Flight;
use crate::time::Timestamp;

/// Duplicate acknowledgements that mean a loss (RFC 5681 3.2), as long as nothing is known of reordering.
const DUP_THRESH: u32 = 3;

/// More reordering than this is not believed (`tcp_max_reordering`).
const MOST_REORDERING: u32 = 300;

/// F-RTO (RFC 5682 3.1): is a timeout spurious?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Frto {
    #[default]
    Off,
    /// The first acknowledgement after the timeout is awaited, or the second.
    Waiting,
    /// The first has come: until the next one only new data is sent (step 2.b).
    NewData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    switches: Switches,
    phase: Phase,
    /// The recovery point: SND.NXT when the phase began (`recover` of RFC 6582, `high_seq` of Linux).
    high: SeqNum,
    rack: Rack,
    episode: Spare<Episode>,
    /// DupThresh: how many of them mean a loss.
    dup_thresh: u32,
    /// D-SACKs, in segments, and retransmissions in all: more of the former is a lie.
    dsacked: u32,
    resent: u32,
}

/// What is remembered from the first sign of trouble until nothing of it can matter any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Episode {
    prr: Prr,
    tlp: Tlp,
    undo: Undo,
    frto: Frto,
    /// Duplicate acknowledgements in a row.
    duplicates: u32,
    /// Bytes that duplicates may stand for: no more than was out when the first came.
    budget: u32,
    /// A partial acknowledgement has come in this recovery.
    partial_seen: bool,
}

impl Blank for Episode {
    const BLANK: &'static Self = &Self {
        prr: Prr::NONE,
        tlp: Tlp::NONE,
        undo: Undo::NONE,
        frto: Frto::Off,
        duplicates: 0,
        budget: 0,
        partial_seen: false,
    };
}

impl Recovery {
    pub(crate) fn new(iss: SeqNum, switches: Switches) -> Self {
        Self {
            switches,
            phase: Phase::Open,
            high: iss,
            rack: Rack::default(),
            episode: Spare::default(),
            dup_thresh: DUP_THRESH,
            dsacked: 0,
            resent: 0,
        }
    }

    pub(crate) fn set_switches(&mut self, switches: Switches) {
        self.switches = switches;
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
        self.dup_thresh
    }

    /// More reordering was seen than three segments' worth.
    pub(crate) fn reorders(&self) -> bool {
        self.dup_thresh > DUP_THRESH
    }

    pub(crate) fn dsacked(&self) -> u64 {
        u64::from(self.dsacked)
    }

    pub(crate) fn reorderings(&self) -> u32 {
        self.rack.reorderings()
    }

    #[cfg(test)]
    pub(crate) fn tlp_end(&self) -> Option<SeqNum> {
        self.episode.tlp.end()
    }

    /// Whether RACK asks for what was sent in the order of time.
    pub(crate) fn needs_order(&self) -> bool {
        self.switches.sack && self.switches.rack
    }

    /// The congestion window, as PRR leaves it.
    pub(crate) fn window(&self, congestion: &dyn Controller) -> u32 {
        match self.phase {
            Phase::Recovery | Phase::Cwr if self.switches.prr => self.episode.prr.window(),
            // The first retransmission goes out at once (RFC 6675 5 (4.3)).
            Phase::Recovery if self.episode.prr.is_new() => {
                congestion.window().max(self.episode.prr.window())
            }
            _ => congestion.window(),
        }
    }

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
            self.rack.on_delivered(sent, now, retransmitted, is_earlier, min_rtt);
        }
    }

    /// Whether an echo is of something sent before the first retransmission (RFC 3522 3.2).
    pub(crate) fn predates_resending(&self, tsecr: Option<u32>) -> bool {
        self.episode.undo.is_earlier(tsecr)
    }

    fn path(&self, flight: &Flight, news: (Option<Duration>, Option<Duration>, Duration)) -> Path {
        let (min_rtt, srtt, granularity) = news;
        Path {
            min_rtt,
            srtt,
            recovering: matches!(self.phase, Phase::Recovery | Phase::Loss),
            dup_thresh_met: flight.sacked_segments() >= self.dup_thresh,
            granularity,
        }
    }

    /// An acknowledgement has marked in `flight` what has arrived. This marks what is lost, and tells the controller of
    /// what that means.
    pub(crate) fn on_ack(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if news.acked > 0 {
            if self.episode.duplicates > 0 {
                self.episode.duplicates = 0;
            }
            flight.infer_less(news.acked, news.mss);
            if matches!(self.phase, Phase::Open | Phase::Disorder) && news.una.after(self.high) {
                // It must not fall behind by half the sequence space.
                self.high = news.una - 1;
            }
        }
        self.take_reordering(flight, news);
        let probe_dsack = self.take_dsack(news);
        self.rack.update_window(news.prior_delivered, news.delivered_in_all);
        self.take_probe_answer(congestion, flight, news, probe_dsack);
        self.leave(flight, congestion, news, &mut outcome);
        match self.phase {
            Phase::Loss => self.after_timeout(flight, congestion, news, &mut outcome),
            Phase::Recovery => self.in_recovery(flight, congestion, news, &mut outcome),
            _ => self.in_order(flight, news, &mut outcome),
        }
        if self.episode.undo.is_disproved() && self.switches.undo && self.phase != Phase::Loss {
            // Every retransmission arrived twice.
            self.rack.on_undone();
            self.undo_reduction(flight, congestion, news.now, false, &mut outcome);
            if self.phase == Phase::Recovery || self.phase == Phase::Disorder {
                self.keep_open(flight);
            }
        }
        self.find_losses(flight, news, &mut outcome);
        if matches!(self.phase, Phase::Open | Phase::Disorder | Phase::Cwr) {
            if outcome.lost > 0 {
                self.begin(flight, congestion, news, &mut outcome);
            } else if self.phase != Phase::Cwr {
                self.keep_open(flight);
            }
        }
        let calm = self.phase == Phase::Open && !self.episode.undo.is_possible();
        if calm && !self.episode.tlp.is_out() && !self.episode.is_away() {
            self.episode.put_away();
        }
        outcome
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

    /// Something has arrived that was overtaken and not sent again: the network reorders (RFC 8985 6.2, step 3).
    fn take_reordering(&mut self, flight: &Flight, news: &News) {
        let Some(low) = news.overtaken else { return };
        if self.phase == Phase::Loss && !self.episode.undo.is_possible() {
            return;
        }
        self.rack.on_reordering();
        let high = flight.highest_sacked().map_or(news.una, |high| high.max(news.una));
        let metric = high.since(low).div_ceil(news.mss).min(MOST_REORDERING);
        self.dup_thresh = self.dup_thresh.max(metric);
    }

    /// Says whether the probe of the tail is what arrived twice.
    fn take_dsack(&mut self, news: &News) -> bool {
        let Some(dsack) = news.dsack else { return false };
        let of_probe = dsack.segments == 1 && self.episode.tlp.end() == Some(dsack.end);
        self.dsacked = self.dsacked.saturating_add(dsack.segments);
        // More than was sent twice cannot have arrived twice (RFC 3708 2).
        if self.dsacked > self.resent {
            return false;
        }
        if !of_probe {
            self.rack.on_dsack();
        }
        if self.episode.undo.is_possible() {
            self.episode.undo.on_dsack(dsack, news.una);
        }
        of_probe
    }

    fn take_probe_answer(
        &mut self,
        congestion: &mut dyn Controller,
        flight: &Flight,
        news: &News,
        dsack: bool,
    ) {
        if self.episode.tlp.is_out()
            && self.episode.tlp.on_ack(news.una, dsack, news.bare && news.sacked == 0 && news.acked == 0)
                == ProbeAnswer::Repaired
            && matches!(self.phase, Phase::Open | Phase::Disorder)
        {
            // RFC 8985 7.4.2: a loss was repaired without a recovery; the window falls all the same.
            let flight_size = flight.outstanding().saturating_add(news.acked);
            congestion.on_congestion(&CongestionEvent::new(
                news.now,
                Congestion::Loss,
                flight_size,
                news.nxt,
            ));
        }
    }

    /// Ends a phase whose recovery point is acknowledged.
    fn leave(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        if !news.una.at_or_after(self.high) {
            return;
        }
        match self.phase {
            Phase::Recovery => {
                self.recovered(flight, congestion, news, outcome);
                self.infer_anew(flight);
            }
            Phase::Cwr if news.una != self.high => self.set_phase(Phase::Open),
            _ => {}
        }
    }

    /// All that was outstanding when the phase began has arrived.
    fn recovered(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        if self.may_undo(news) {
            self.undo_reduction(flight, congestion, news.now, false, outcome);
        } else {
            self.rack.on_recovered();
            // A D-SACK may still tell, until the next recovery begins.
            self.episode.undo.nothing_out();
        }
        self.set_phase(Phase::Open);
    }

    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.give_up_frto();
    }

    fn infer_anew(&mut self, flight: &mut Flight) {
        flight.infer_nothing();
        if self.episode.duplicates > 0 {
            self.episode.duplicates = 0;
        }
    }

    /// Duplicates count while a loss may be found by them, or what is sent by them.
    fn count_duplicate(&mut self, flight: &mut Flight, news: &News, outcome: &mut Outcome) {
        if !self.switches.sack && news.duplicate {
            if self.episode.duplicates == 0 {
                self.episode.budget = flight.outstanding();
            }
            self.episode.duplicates = self.episode.duplicates.saturating_add(1);
            outcome.inferred += flight.infer(news.mss, self.episode.budget);
        }
    }

    /// Open or Disorder: what do duplicates say?
    fn in_order(&mut self, flight: &mut Flight, news: &News, outcome: &mut Outcome) {
        if self.switches.sack {
            return;
        }
        if news.acked > 0 {
            self.infer_anew(flight);
        }
        // RFC 6582 3.2 (2): duplicates of what a recovery or a timeout made us send again mean nothing. They come right behind
        // the recovery point: only when more is acknowledged, duplicates may mean a loss.
        if !news.una.after(self.high) {
            return;
        }
        self.count_duplicate(flight, news, outcome);
        if self.episode.duplicates >= self.dup_thresh {
            outcome.lost += flight.lose_first(news.mss, Why::Duplicates);
        }
    }

    fn in_recovery(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        if news.acked == 0 {
            self.count_duplicate(flight, news, outcome);
            return;
        }
        // RFC 4015: what fills the hole was late, not lost.
        if self.switches.undo && self.episode.undo.is_earlier(news.tsecr) {
            if flight.retransmitted() > 0 {
                return;
            }
            self.undo_reduction(flight, congestion, news.now, true, outcome);
            self.keep_open(flight);
            return;
        }
        if !self.switches.sack {
            // RFC 6582 3.2 (3): the next hole is known. Only when all of what was sent again is acknowledged.
            if flight.retransmitted() == 0 {
                outcome.lost += flight.lose_first(news.mss, Why::PartialAck);
                outcome.resends = true;
            }
            outcome.keeps_timer = std::mem::replace(&mut self.episode.partial_seen, true);
        }
    }

    /// F-RTO with SACK (RFC 5682 3.1) and without (2.1); Eifel (RFC 3522).
    fn after_timeout(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        if news.acked > 0 && self.may_undo(news) {
            outcome.spurious_timeout = true;
            self.undo_timeout(flight, congestion, news, outcome);
            return;
        }
        let recovered = news.una.at_or_after(self.high);
        if self.episode.frto != Frto::Off {
            // Step 3.b: what was sent once arrives, so not all is lost. Without SACK it may have arrived before the timeout,
            // and only be acknowledged now: the second acknowledgement tells (RFC 5682 2.1).
            if news.original && (self.switches.sack || news.nxt.after(self.high)) {
                outcome.spurious_timeout = true;
                self.undo_timeout(flight, congestion, news, outcome);
                return;
            }
            if news.nxt.after(self.high) {
                // Step 3.a
                if news.sacked > 0 || news.duplicate {
                    self.episode.frto = Frto::Off;
                }
            } else if news.acked > 0 && !recovered {
                self.high = news.nxt;
                // Step 2.b
                self.episode.frto = if news.can_send_new { Frto::NewData } else { Frto::Off };
                if self.episode.frto == Frto::NewData {
                    return;
                }
            }
        }
        if self.episode.frto == Frto::NewData {
            self.episode.frto = Frto::Waiting;
        }
        if recovered {
            self.recovered(flight, congestion, news, outcome);
            self.infer_anew(flight);
            return;
        }
        if !self.switches.sack {
            if news.nxt.after(self.high) {
                self.count_duplicate(flight, news, outcome);
            } else if news.acked > 0 {
                self.infer_anew(flight);
            }
        }
    }

    fn undo_timeout(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        self.undo_reduction(flight, congestion, news.now, true, outcome);
        self.set_phase(Phase::Open);
        self.infer_anew(flight);
        if !self.switches.sack {
            // What is still on its way makes duplicates that mean nothing.
            self.high = news.nxt;
        }
    }

    fn may_undo(&self, news: &News) -> bool {
        self.switches.undo
            && self.episode.undo.is_possible()
            && (self.episode.undo.is_disproved() || self.episode.undo.is_earlier(news.tsecr))
    }

    fn undo_reduction(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        now: Timestamp,
        find: bool,
        outcome: &mut Outcome,
    ) {
        if find {
            flight.find_all(self.needs_order());
        }
        if self.switches.undo {
            congestion.on_spurious(now);
            outcome.undone = true;
        }
        self.episode.undo.forget();
        self.rack.look_again();
    }

    /// The phase when nothing is lost: something may still be missing.
    fn keep_open(&mut self, flight: &Flight) {
        if self.phase == Phase::Cwr {
            return;
        }
        let missing =
            flight.sacked() > 0 || flight.inferred() > 0 || flight.lost() > 0 || flight.retransmitted() > 0;
        self.set_phase(if missing { Phase::Disorder } else { Phase::Open });
        if self.phase == Phase::Open && !self.episode.is_away() {
            self.episode.undo.nothing_out();
        }
    }

    fn find_losses(&mut self, flight: &mut Flight, news: &News, outcome: &mut Outcome) {
        if !self.switches.sack {
            return;
        }
        if !self.switches.rack {
            outcome.lost += self.find_by_blocks(flight, news.mss);
            return;
        }
        let path = self.path(flight, (news.min_rtt, news.srtt, news.granularity));
        let found = self.rack.detect(flight, &path, news.now);
        outcome.lost += found.lost;
        outcome.reorder = found.into();
    }

    /// RFC 6675 4, IsLost: more than DupThresh - 1 segments behind it have been reported.
    fn find_by_blocks(&self, flight: &mut Flight, mss: u32) -> u32 {
        let Some(high) = flight.highest_sacked() else { return 0 };
        if flight.sacked_segments() < self.dup_thresh {
            return 0;
        }
        flight.lose_below(high - (self.dup_thresh - 1) * mss)
    }

    /// RACK's timer: losses as they were found at `as_of`.
    pub(crate) fn on_reorder_timeout(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        as_of: Timestamp,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.rack.look_again();
        let path = self.path(flight, (news.min_rtt, news.srtt, news.granularity));
        let found = self.rack.detect(flight, &path, as_of);
        outcome.lost = found.lost;
        outcome.reorder = found.into();
        if outcome.lost > 0 && matches!(self.phase, Phase::Open | Phase::Disorder | Phase::Cwr) {
            self.begin(flight, congestion, news, &mut outcome);
        }
        outcome
    }

    /// Fast recovery begins (RFC 5681 3.2, RFC 6675 5 (4), RFC 9937 6.1).
    fn begin(
        &mut self,
        flight: &mut Flight,
        congestion: &mut dyn Controller,
        news: &News,
        outcome: &mut Outcome,
    ) {
        // What limited transmit has sent does not count (RFC 5681 3.2 (2)): it is what exceeds the window.
        let out = flight.outstanding().saturating_add(news.acked);
        if self.phase != Phase::Cwr {
            let flight_size = out.min(congestion.window());
            congestion.on_congestion(&CongestionEvent::new(
                news.now,
                Congestion::Loss,
                flight_size,
                news.nxt,
            ));
        }
        self.episode.undo.begin(news.una, flight.retransmitted().div_ceil(news.mss));
        self.phase = Phase::Recovery;
        self.high = news.nxt;
        self.episode.partial_seen = false;
        self.episode.frto = Frto::Off;
        self.episode.tlp.forget();
        let reported = flight.sacked().saturating_sub(news.sacked);
        let inferred = flight.inferred().saturating_sub(outcome.inferred);
        self.episode.prr.begin(out.saturating_sub(reported + inferred), congestion.window());
        outcome.began = true;
    }

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
        let reneged = flight.is_reneged();
        let path = self.path(flight, (news.min_rtt, news.srtt, news.granularity));
        self.infer_anew(flight);
        self.episode.budget = flight.outstanding();
        if self.needs_order() && !reneged {
            // What was sent lately may well be on its way.
            flight.lose_first(news.mss, Why::Timeout);
            let rack = &self.rack;
            flight.lose_sent(|sent_at| rack.is_overdue(sent_at, &path, news.now));
        } else {
            flight.lose_all(reneged, if reneged { Why::Reneging } else { Why::Timeout });
        }
        // One reduction for what is in flight (RFC 5681 3.1 (4)).
        let anew = new_recovery || news.una.at_or_after(self.high) || (self.phase == Phase::Loss && !again);
        let cause = Congestion::Timeout { again: !anew };
        let mut event = CongestionEvent::new(news.now, cause, flight_size, news.nxt);
        event.in_flight = flight.pipe();
        congestion.on_congestion(&event);
        if anew {
            self.episode.undo.begin(news.una, flight.retransmitted().div_ceil(news.mss));
        }
        self.phase = Phase::Loss;
        self.high = news.nxt;
        self.episode.frto =
            if self.switches.frto && (new_recovery || again) { Frto::Waiting } else { Frto::Off };
        self.episode.tlp.forget();
    }

    /// All that is out has not come through, but not because of congestion (RFC 1191 6.5).
    pub(crate) fn on_too_big(&mut self, flight: &mut Flight, nxt: SeqNum) {
        self.infer_anew(flight);
        self.episode.budget = flight.outstanding();
        flight.lose_all(false, Why::PathMtu);
        self.episode.undo.forget();
        self.phase = Phase::Loss;
        self.episode.frto = Frto::Off;
        self.high = nxt;
        self.episode.tlp.forget();
        self.rack.forget();
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
            self.resent = self.resent.saturating_add(1);
            self.episode.undo.on_resent(tsval);
        }
    }
}
