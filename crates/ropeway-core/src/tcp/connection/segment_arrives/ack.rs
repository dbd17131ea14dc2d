//! Fifth, check the ACK field (RFC 9293 3.10.7.4), with RFC 5681, 5961, 6298 and 6582.

use std::ops::ControlFlow;

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader};

use super::{Arrival, Step, Verdict};
use crate::congestion::{AckSample, LossSample};
use crate::event::Readiness;
use crate::recovery::AckOutcome;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::timers::Timer;
use crate::tcp::connection::{Connection, Env};

impl Connection {
    pub(super) fn check_ack(&mut self, segment: &Arrival, env: &mut Env<'_>) -> Step {
        // RFC 9293 3.10.7.4 R-08, here and below
        if !segment.has(TcpFlags::ACK) {
            return ControlFlow::Break(Verdict::Drop);
        }
        let ack = segment.ack();
        if self.state() == State::SynReceived {
            if !self.snd.is_new_ack(ack) {
                return ControlFlow::Break(match reset_for(&segment.header, segment.payload.len()) {
                    Some(reset) => Verdict::Reset(reset),
                    None => Verdict::Drop,
                });
            }
            self.established(segment, Cause::AckOfSyn, env);
        }
        if ack.after(self.snd.max) {
            env.counters.unacceptable_acks += 1;
            return ControlFlow::Break(Verdict::Ack);
        }
        // RFC 5961 5.2, MAY-12: an acknowledgement this old is a guess.
        if !self.is_recent_ack(segment) {
            env.counters.unacceptable_acks += 1;
            return ControlFlow::Break(Verdict::Challenge);
        }
        let window = self.window_of(segment);
        if ack.after(self.snd.una) {
            self.acknowledged(&segment.header, env);
        } else if self.is_duplicate(segment, window) {
            self.duplicate_acknowledgement(env);
        }
        // SHLD-15, MUST-34: the window may shrink; what is in flight stays there.
        if ack == self.snd.una && self.snd.update_window(segment.seq(), ack, window) {
            self.output_due = true;
            if window > 0 {
                self.stop_persist();
            }
        }
        self.check_ack_of_fin(env);
        ControlFlow::Continue(())
    }

    /// Whether a segment acknowledges what somebody who sees our segments may acknowledge (RFC 5961 5.2-1).
    pub(super) fn is_recent_ack(&self, segment: &Arrival) -> bool {
        let ack = segment.ack();
        let oldest = self.snd.una - self.snd.max_wnd;
        segment.has(TcpFlags::ACK) && ack.at_or_after(oldest) && ack.at_or_before(self.snd.max)
    }

    /// SEG.WND, scaled (RFC 7323 2.3-1) unless it comes with SYN (RFC 7323 2.2-3), unsigned (MUST-1).
    fn window_of(&self, segment: &Arrival) -> u32 {
        let field = segment.header.window;
        match self.snd.wscale {
            Some(scale) if !segment.has(TcpFlags::SYN) && !segment.unscaled => scale.unscale(field),
            _ => u32::from(field),
        }
    }

    /// ESTABLISHED: our SYN has been acknowledged.
    pub(super) fn established(&mut self, segment: &Arrival, cause: Cause, env: &mut Env<'_>) {
        self.transition(cause);
        self.snd.wl1 = segment.seq();
        self.snd.wl2 = segment.ack();
        self.snd.wnd = self.window_of(segment);
        self.snd.max_wnd = self.snd.wnd;
        self.sample_round_trip(&segment.header, env);
        if self.retransmits > 0 {
            self.rto.after_lost_handshake();
            self.congestion.on_lost_handshake();
        }
        self.retransmits = 0;
        self.unsent_timeouts = 0;
        self.soft_error = None;
        // Its timer may have gone off at the same moment.
        self.syn_due = false;
        self.snd.una = self.snd.iss + 1;
        self.snd.small = self.snd.una;
        self.timers.stop(Timer::Retransmit);
        self.unanswered_since = None;
        self.probing_starts(env.now);
        if self.fin_queued {
            // CLOSE was called in SYN-RECEIVED.
            self.transition(Cause::Close);
        }
        self.output_due = true;
        self.gain(Readiness::WRITABLE);
    }

    /// SND.UNA moves forward.
    fn acknowledged(&mut self, header: &TcpHeader, env: &mut Env<'_>) {
        let ack = header.ack;
        let acked = ack.since(self.snd.una);
        let mss = u32::from(self.snd.mss);
        // RFC 7323 4.1-2
        self.sample_round_trip(header, env);
        self.snd.una = ack;
        // Progress outranks what routers say (RFC 5927 7.2).
        self.timers.stop(Timer::Repacketize);
        if self.snd.nxt.before(ack) {
            self.snd.nxt = ack;
        }
        self.snd.small = self.snd.small.max(ack);
        self.send_buffer.acknowledge(ack);
        self.retransmits = 0;
        self.unsent_timeouts = 0;
        // What was to follow at once has not: as in Linux, MSG_MORE holds until the next acknowledgement.
        self.more_to_come = false;
        // Something got through: what trouble there was is over.
        self.soft_error = None;
        self.stop_persist();
        self.statistics.bytes_acked += u64::from(acked);
        self.statistics.delivered += u64::from(acked.div_ceil(mss));
        let outcome = self.recovery.on_ack(ack, acked, mss);
        match outcome {
            AckOutcome::Normal => {
                let cwnd = self.congestion.cwnd();
                let slow_start = cwnd < self.congestion.ssthresh();
                let cwnd_limited =
                    self.statistics.is_cwnd_limited() || (slow_start && self.snd.fills_half_of(cwnd));
                self.congestion.on_ack(env.now, AckSample { acked, cwnd_limited });
            }
            AckOutcome::Partial { .. } => {}
            AckOutcome::Recovered => self.congestion.on_recovered(env.now, self.snd.outstanding()),
        }
        if self.snd.outstanding() == 0 {
            // RFC 6298 5-2
            self.timers.stop(Timer::Retransmit);
            self.unanswered_since = None;
        } else {
            self.unanswered_since = Some(env.now);
            // RFC 6298 5-3; RFC 6582 3.2 (3): of the partial ones only the first restarts the timer.
            if outcome != (AckOutcome::Partial { first: false }) {
                self.arm_retransmit(env.now);
            }
        }
        self.output_due = true;
    }

    /// A round trip is measured once per flight (RFC 7323 4.2-1), and never from what was sent twice
    /// (RFC 6298 3-1, Karn's rule), unless timestamps tell which transmission is acknowledged (RFC 7323 4).
    fn sample_round_trip(&mut self, header: &TcpHeader, env: &Env<'_>) {
        match self.timed {
            Some((end, sent)) if header.ack.at_or_after(end) => {
                self.timed = None;
                self.rto.sample(env.now.since(sent));
            }
            Some(_) => {}
            None => {
                if let Some(rtt) = self.echoed_rtt(header, env.now) {
                    self.rto.sample(rtt);
                }
            }
        }
    }

    /// RFC 5681 2: the five signs of a duplicate acknowledgement.
    fn is_duplicate(&self, segment: &Arrival, window: u32) -> bool {
        segment.ack() == self.snd.una
            && self.snd.outstanding() > 0
            && segment.payload.is_empty()
            && !segment.header.flags.intersects(TcpFlags::SYN | TcpFlags::FIN)
            && window == self.snd.wnd
            && window > 0
    }

    fn duplicate_acknowledgement(&mut self, env: &mut Env<'_>) {
        let mss = u32::from(self.snd.mss);
        let in_flight = self.snd.outstanding();
        self.output_due = true;
        if self.recovery.on_duplicate_ack(self.snd.una, self.snd.max, mss) {
            env.counters.fast_retransmits += 1;
            self.congestion.on_loss(env.now, LossSample { in_flight, first: true });
        }
    }

    /// The sequence number of our FIN, if it has been sent: the one after the last byte.
    fn fin_is_acknowledged(&self) -> bool {
        self.fin_queued && self.snd.una.after(self.send_buffer.end())
    }

    fn check_ack_of_fin(&mut self, env: &mut Env<'_>) {
        let waits = matches!(self.state(), State::FinWait1 | State::Closing | State::LastAck);
        if !waits || !self.fin_is_acknowledged() {
            return;
        }
        match self.state() {
            State::LastAck => self.finish(Cause::AckOfFin),
            State::Closing => self.enter_time_wait(Cause::AckOfFin),
            _ => {
                self.transition(Cause::AckOfFin);
                self.arm_fin_wait_2(env);
                self.gain(Readiness::FIN_ACKED);
            }
        }
    }

    /// TIME-WAIT: from here on the table of the stack answers, and what is unread can be read.
    pub(super) fn enter_time_wait(&mut self, cause: Cause) {
        // The last ACK and the table announce the same window.
        self.rcv.edge += self.edge_advance();
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
        ack.after(self.snd.iss) && ack.at_or_before(self.snd.max)
    }
}
