//! SYN-SENT (RFC 9293 3.10.7.3).

use std::ops::ControlFlow;

use ropeway_packet::{TcpFlags, WindowScale};

use super::{Arrival, Step, Verdict};
use crate::ecn::EcnFeedback;
use crate::error::ConnectionError;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::Cause;
use crate::tcp::connection::timers::Timer;
use crate::tcp::connection::{Connection, Env, FinalReset, Negotiated, Probe};
use crate::tcp::ecn::Ecn;
use crate::tcp::ecn::handshake::{agree, answered};

impl Connection {
    /// RFC 9293 3.10.7.3 R-03
    pub(in crate::tcp::connection) fn arrives_in_syn_sent(
        &mut self,
        segment: &mut Arrival,
        env: &mut Env<'_>,
    ) -> Step {
        let has_ack = segment.has(TcpFlags::ACK);
        // First: an acknowledgement of what we did not send.
        if has_ack && !self.answers_our_syn(segment.ack()) {
            return ControlFlow::Break(match reset_for(&segment.header, segment.payload.len()) {
                Some(reset) => Verdict::Reset(reset),
                None => Verdict::Drop,
            });
        }
        // Second: nobody listens there. Without an acknowledgement of our SYN anybody could say so.
        if segment.has(TcpFlags::RST) {
            if has_ack {
                env.counters.resets_received += 1;
                self.fail(ConnectionError::Refused, Cause::Reset, env);
            }
            return ControlFlow::Break(Verdict::Drop);
        }
        // Fourth and fifth: without a SYN there is nothing to learn.
        if !segment.has(TcpFlags::SYN) {
            return ControlFlow::Break(Verdict::Drop);
        }
        if has_ack && self.probe.is_some() {
            // A probe has its answer; the peer's half-open connection ends with a RST.
            self.probe = Some(Probe::Open);
            self.finish_with(FinalReset { seq: segment.ack(), acknowledges: false }, Cause::Abort);
            return ControlFlow::Break(Verdict::Drop);
        }
        if !has_ack && self.is_from_old_incarnation(&segment.header) {
            env.counters.paws_dropped += 1;
            return ControlFlow::Break(Verdict::Drop);
        }
        let negotiated = self.negotiate(segment, has_ack);
        self.peer_syn(segment.seq(), &negotiated, segment.ecn, env.now);
        self.receiver.open_window(self.initial_window().into());
        if has_ack {
            self.take_syn_ack(segment, env);
            self.established(segment, Cause::SynAck, env);
            self.take_ack_of_syn_data(segment, env);
            self.cut_off_syn(segment);
            if segment.len() > 0 || segment.has(TcpFlags::URG) {
                return self.take_rest_of_syn(segment, env);
            }
            if self.options.defer_accept.is_some() && self.receiver.owe_ack() {
                // As in Linux: a server that waits for data has no use for it.
                self.set_timer(Timer::DelayedAck, env.now + self.delayed_ack(env));
            } else {
                self.ack_after_events(env);
            }
            return ControlFlow::Continue(());
        }
        // Simultaneous open (MUST-10). What else the segment brought is not acknowledged yet: it may be an old duplicate.
        self.transition(Cause::Syn);
        self.sender.set_wnd(u32::from(segment.header.window));
        self.syn_due = true;
        self.output_due = true;
        self.cut_off_syn(segment);
        if segment.len() > 0 {
            // A copy, so that the packet's slab is not pinned for as long as the handshake takes.
            let payload = segment.payload.copy().into();
            self.rare.rest_of_syn = Some(Box::new(Arrival { payload, ..segment.clone() }));
        }
        ControlFlow::Break(Verdict::Drop)
    }

    /// Data and FIN that come with a SYN begin after it.
    pub(in crate::tcp::connection) fn cut_off_syn(&self, segment: &mut Arrival) {
        segment.clear(TcpFlags::SYN);
        segment.header.seq = self.receiver.rcv().nxt;
        self.trim(segment);
    }

    /// What came with the SYN, now that the connection is open.
    pub(in crate::tcp::connection) fn take_rest_of_syn(
        &mut self,
        segment: &mut Arrival,
        env: &mut Env<'_>,
    ) -> Step {
        self.ack_now();
        self.check_urg(segment, self.receiver.rcv().irs);
        let has_text = !segment.payload.is_empty();
        self.take_text(segment, env)?;
        self.check_fin(segment, has_text, env);
        ControlFlow::Continue(())
    }

    // RFC 3168 6.1.1-9
    /// What a SYN-ACK agrees to, or in a simultaneous open both SYNs. Having asked without ECN once, we must not send what may be
    /// marked, although we echo what is (RFC 3168 6.1.1-4).
    fn agree_on_ecn(&self, segment: &Arrival, has_ack: bool) -> Ecn {
        let (asked, flags) = (self.options.ecn.asks_for(), segment.header.flags);
        let feedback = if has_ack { answered(asked, flags) } else { agree(asked, flags, segment.ecn) };
        // With Accurate ECN, the peer's answer shows that it counts (RFC 9768 3.1.5-1).
        Ecn::agreed(feedback, feedback == EcnFeedback::Accurate || !self.falls_back())
    }

    /// An option is in use when both SYNs have it (RFC 7323 2.2-1).
    fn negotiate(&self, segment: &Arrival, has_ack: bool) -> Negotiated {
        let theirs = &segment.header.options;
        Negotiated {
            ecn: self.agree_on_ecn(segment, has_ack),
            peer_mss: theirs.mss,
            wscale: self
                .receiver
                .rcv()
                .wscale
                .and_then(|own| Some((WindowScale::new(theirs.window_scale?), own))),
            timestamps: theirs
                .timestamps
                .filter(|_| self.offers_timestamps)
                .map(|timestamps| timestamps.tsval),
            sack: self.offers_sack && theirs.sack_permitted,
        }
    }
}
