//! Fifth, check the ACK field (RFC 9293 3.10.7.4), with RFC 5681, 5961, 6298 and 6582.

use std::ops::ControlFlow;
use std::time::Duration;

use ropeway_packet::{SackBlocks, SeqNum, TcpFlags, TcpHeader};

use super::{Arrival, Step, Verdict};
use crate::event::Readiness;
use crate::events::{self, Change};
use crate::recovery::Outcome;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::timers::Timer;
use crate::tcp::connection::{Connection, Env};
use crate::tcp::sender::AckNews;
use crate::time::Timestamp;

impl Connection {
    pub(super) fn check_ack(&mut self, segment: &Arrival, env: &mut Env<'_>) -> Step {
        // RFC 9293 3.10.7.4 R-08, here and below
        if !segment.has(TcpFlags::ACK) {
            return ControlFlow::Break(Verdict::Drop);
        }
        let ack = segment.ack();
        if self.state() == State::SynReceived {
            if !self.sender.snd().is_new_ack(ack) {
                return ControlFlow::Break(match reset_for(&segment.header, segment.payload.len()) {
                    Some(reset) => Verdict::Reset(reset),
                    None => Verdict::Drop,
                });
            }
            self.established(segment, Cause::AckOfSyn, env);
        }
        if ack.after(self.sender.snd().nxt) {
            env.counters.unacceptable_acks += 1;
            return ControlFlow::Break(Verdict::Ack);
        }
        // RFC 5961 5.2, MAY-12: an acknowledgement this old is a guess.
        if !self.is_recent_ack(segment) {
            env.counters.unacceptable_acks += 1;
            return ControlFlow::Break(Verdict::Challenge);
        }
        let (window, before) = (self.window_of(segment), self.sender.snd().una);
        // With nothing out, a D-SACK may still tell that a probe or a retransmission was needless.
        let tells = self.receiver.uses_sack() && segment.header.options.sack != SackBlocks::EMPTY;
        let matters = ack.after(self.sender.snd().una) || self.sender.outstanding() > 0 || tells;
        let outcome = matters.then(|| self.take_ack(segment, window, env));
        // SHLD-15, MUST-34: the window may shrink; what is in flight stays there.
        let updated = ack == self.sender.snd().una && self.sender.update_window(segment.seq(), ack, window);
        if updated {
            self.output_due = true;
            if window > 0 {
                self.stop_persist();
            }
        }
        if outcome.is_some() || updated {
            let change = Change::Ack(&outcome.unwrap_or_default());
            events::changed(env.now, &self.tuple, &self.sender, change);
        }
        self.fit_send_buffer(self.sender.snd().una.since(before), env);
        self.check_ack_of_fin(env);
        ControlFlow::Continue(())
    }

    /// Whether a segment acknowledges what somebody who sees our segments may acknowledge (RFC 5961 5.2-1).
    pub(in crate::tcp::connection) fn is_recent_ack(&self, segment: &Arrival) -> bool {
        let ack = segment.ack();
        let snd = self.sender.snd();
        let oldest = snd.una - snd.max_wnd;
        segment.has(TcpFlags::ACK) && ack.at_or_after(oldest) && ack.at_or_before(snd.nxt)
    }

    /// SEG.WND, scaled (RFC 7323 2.3-1) unless it comes with SYN (RFC 7323 2.2-3), unsigned (MUST-1).
    fn window_of(&self, segment: &Arrival) -> u32 {
        let field = segment.header.window;
        match self.sender.snd().wscale {
            Some(scale) if !segment.has(TcpFlags::SYN) && !segment.unscaled => scale.unscale(field),
            _ => u32::from(field),
        }
    }

    /// ESTABLISHED: our SYN has been acknowledged.
    pub(super) fn established(&mut self, segment: &Arrival, cause: Cause, env: &mut Env<'_>) {
        self.transition(cause);
        self.note_early_sending(segment);
        let echo = self.echo(&segment.header, env.now);
        let numbers = (segment.seq(), segment.ack(), self.window_of(segment));
        self.sender.on_established(env.now, numbers, echo);
        self.sender.set_pacing(env.now, env.config.pacing, self.options.max_pacing_rate);
        events::changed(env.now, &self.tuple, &self.sender, Change::Established);
        self.unsent_timeouts = 0;
        if !self.rare.is_away() {
            self.settle_rto_events(env.now);
        }
        // As in Linux, `tcpi_last_data_recv` counts from here.
        self.statistics.last_data_received = Some(env.now);
        self.begin_tuning(env);
        if cause == Cause::AckOfSyn {
            self.take_third_segment(segment, env);
        }
        self.soft_error = None;
        // Its timer may have gone off at the same moment.
        self.syn_due = false;
        self.timers.stop(Timer::Retransmit);
        self.unanswered_since = None;
        if self.sender.outstanding() > 0 {
            // Data went before the handshake was complete (RFC 7413).
            self.arm_retransmit(env.now);
            self.arm_tail_probe(env.now);
        }
        self.probing_starts(env.now);
        if self.sender.fin_queued() {
            // CLOSE was called in SYN-RECEIVED.
            self.transition(Cause::Close);
        }
        self.output_due = true;
        self.gain(Readiness::WRITABLE);
    }

    /// The acknowledgement goes to the sender; what follows from it for timers and users is done here.
    pub(in crate::tcp::connection) fn take_ack(
        &mut self,
        segment: &Arrival,
        window: u32,
        env: &mut Env<'_>,
    ) -> Outcome {
        let news = AckNews {
            now: env.now,
            ack: segment.ack(),
            blocks: if self.receiver.uses_sack() { segment.header.options.sack } else { SackBlocks::EMPTY },
            echo: self.echo(&segment.header, env.now),
            duplicate: self.is_duplicate(segment, window),
            bare: segment.payload.is_empty() && window == self.sender.snd().wnd,
            window_limited: self.statistics.is_cwnd_limited(),
            max_pacing_rate: self.options.max_pacing_rate,
            paces: env.config.pacing,
            signal: self.signal(segment),
        };
        let first_due = self.first_due_in_doubt();
        let mut acked = self.sender.on_ack(&news, &mut env.spares.slabs);
        if !self.rare.is_away() {
            self.settle_mtu_search(first_due, &mut acked, env);
            self.settle_rto_events(env.now);
        }
        self.statistics.delivered += u64::from(acked.delivered);
        self.note_feedback(&acked, &news, segment, env);
        env.counters.fast_retransmits += u64::from(acked.outcome.began);
        env.counters.spurious_timeouts += u64::from(acked.outcome.spurious_timeout);
        env.counters.undone += u64::from(acked.outcome.undone);
        self.set_reorder(acked.outcome.reorder);
        self.output_due = true;
        if acked.advanced == 0 {
            return acked.outcome;
        }
        // Progress outranks what routers say (RFC 5927 7.2).
        self.timers.stop(Timer::Repacketize);
        self.unsent_timeouts = 0;
        // Something got through: what trouble there was is over.
        self.soft_error = None;
        self.stop_persist();
        self.statistics.bytes_acked += u64::from(acked.advanced);
        if self.sender.outstanding() == 0 {
            // RFC 6298 5-2
            self.timers.stop(Timer::Retransmit);
            self.timers.stop(Timer::Probe);
            self.timers.stop(Timer::Reorder);
            self.unanswered_since = None;
        } else {
            self.unanswered_since = Some(env.now);
            // RFC 6298 5-3; RFC 6582 3.2 (3): of the partial ones only the first restarts the timer.
            if let Some(timeout) = acked.timer {
                self.arm_retransmit_after(env.now, timeout);
                self.arm_tail_probe(env.now);
            }
        }
        acked.outcome
    }

    /// The timestamp that a segment echoes, and the round trip that this tells of (RFC 7323 4.1).
    fn echo(&self, header: &TcpHeader, now: Timestamp) -> Option<(u32, Duration)> {
        let tsecr = header.options.timestamps?.tsecr;
        self.echoed_rtt(header, now).map(|rtt| (tsecr, rtt))
    }

    /// RFC 5681 2: the five signs of a duplicate acknowledgement.
    fn is_duplicate(&self, segment: &Arrival, window: u32) -> bool {
        segment.ack() == self.sender.snd().una
            && self.sender.outstanding() > 0
            && segment.payload.is_empty()
            && !segment.header.flags.intersects(TcpFlags::SYN | TcpFlags::FIN)
            && window == self.sender.snd().wnd
            && window > 0
    }

    fn check_ack_of_fin(&mut self, env: &mut Env<'_>) {
        let waits = matches!(self.state(), State::FinWait1 | State::Closing | State::LastAck);
        if !waits || !self.sender.fin_is_acknowledged() {
            return;
        }
        match self.state() {
            State::LastAck => self.finish(Cause::AckOfFin),
            State::Closing => self.enter_time_wait(Cause::AckOfFin, env),
            _ => {
                self.transition(Cause::AckOfFin);
                self.arm_fin_wait_2(env);
                self.gain(Readiness::FIN_ACKED);
            }
        }
    }

    /// TIME-WAIT: from here on the table of the stack answers, and what is unread can be read.
    pub(super) fn enter_time_wait(&mut self, cause: Cause, env: &Env<'_>) {
        // The last ACK and the table announce the same window.
        self.receiver.move_edge(self.affordable_room(env));
        self.transition(cause);
        self.timers.stop_all();
        self.output_due = false;
        if self.owes_ack() {
            self.ack_now();
        }
        self.gain(
            Readiness::READABLE | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED | Readiness::FIN_ACKED,
        );
    }

    /// An active open has been answered by `ack`.
    pub(super) fn answers_our_syn(&self, ack: SeqNum) -> bool {
        ack.after(self.sender.snd().iss) && ack.at_or_before(self.sender.snd().nxt)
    }
}
