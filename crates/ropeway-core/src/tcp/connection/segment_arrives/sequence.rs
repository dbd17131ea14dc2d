//! First, check the sequence number (RFC 9293 3.10.7.4), after PAWS (RFC 7323 5.3).

use std::ops::ControlFlow;

use ropeway_packet::TcpFlags;

use super::{Arrival, Step, Verdict};
use crate::tcp::connection::paws::Paws;
use crate::tcp::connection::state::State;
use crate::tcp::connection::{Connection, Env};

impl Connection {
    pub(super) fn check_sequence(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Step {
        // RFC 7323 5.3-1: before anything else; RFC 7323 5.3-2: and never again.
        match self.check_paws(&segment.header, env) {
            Paws::Pass => {}
            Paws::Old => {
                env.counters.paws_dropped += 1;
                // The original, overtaken by its retransmission, looks like that.
                self.note_old(segment);
                return ControlFlow::Break(Verdict::Ack);
            }
            Paws::Missing => return ControlFlow::Break(Verdict::Drop),
        }
        self.unify_simultaneous_open(segment);
        // RFC 9293 3.10.7.4 R-04
        if !self.receiver.rcv().is_acceptable(segment.seq(), segment.len()) {
            // MUST-66: with the window closed, ACK, RST and URG of what begins at RCV.NXT still count. A FIN
            // alone needs no room: it is taken, as Linux does, or its sender would repeat it and we our ACK.
            if self.receiver.rcv().wnd() == 0 && segment.seq() == self.receiver.rcv().nxt {
                self.ack_now();
                if segment.payload.is_empty() {
                    self.peer_heard(env.now);
                    return ControlFlow::Continue(());
                }
                segment.payload.truncate(0);
                segment.clear(TcpFlags::FIN);
            } else if self.acknowledges_from_behind(segment) {
                if self.challenge.allows(env) {
                    self.ack_now();
                }
                self.peer_heard(env.now);
                return ControlFlow::Continue(());
            } else {
                env.counters.out_of_window += 1;
                self.note_old(segment);
                // The last segment again, because our acknowledgement was lost: the echo is of this copy, or
                // the peer measures how long it waited. Linux takes it as in the window.
                let repeats_last = segment.seq() + segment.len() == self.receiver.rcv().nxt;
                // RFC 7323 5.2-2
                let forgeable = segment.has(TcpFlags::RST) || segment.has(TcpFlags::SYN);
                if repeats_last && !forgeable && self.is_recent_ack(segment) {
                    self.update_ts_recent(segment.seq(), &segment.header, env.now);
                }
                // RFC 5961 3.2-1
                let verdict = if segment.has(TcpFlags::RST) { Verdict::Drop } else { Verdict::Ack };
                return ControlFlow::Break(verdict);
            }
        }
        self.peer_heard(env.now);
        self.note_old(segment);
        self.trim(segment);
        ControlFlow::Continue(())
    }

    // RFC 2883 4.3-1
    /// What of a segment lies before RCV.NXT has come before, its FIN too (RFC 2883 4-1).
    fn note_old(&mut self, segment: &mut Arrival) {
        let counts = !segment.has(TcpFlags::RST) && !segment.has(TcpFlags::SYN);
        if counts && self.state().is_synchronized() {
            segment.repeats |= self.receiver.see_old(segment.seq(), segment.len());
        }
    }

    /// A bare segment from before what is expected is answered, as all that is old. But one from just before is a
    /// keep-alive probe, a sign of life (RFC 9293 3.8.4); and one that acknowledges something new counts. A peer who
    /// believes that we have not taken what lies beyond our window acknowledges from before it. If it has taken what
    /// we believe to lie beyond its own, we do the same, and each would call the other's acknowledgements old for ever.
    fn acknowledges_from_behind(&self, segment: &Arrival) -> bool {
        let (seq, rcv) = (segment.seq(), self.receiver.rcv());
        let just_before = seq + 1 == rcv.nxt;
        let tells_news = segment.has(TcpFlags::ACK)
            && self.sender.snd().is_new_ack(segment.ack())
            && seq.within(rcv.nxt - rcv.widest(), rcv.widest());
        segment.len() == 0
            && (just_before || tells_news)
            && !segment.has(TcpFlags::RST)
            && self.state().is_synchronized()
    }

    /// In a simultaneous open the peer's SYN-ACK repeats the SYN that we have: only its ACK is news
    /// (RFC 9293 3.5, figure 8).
    fn unify_simultaneous_open(&self, segment: &mut Arrival) {
        let rcv = self.receiver.rcv();
        let repeats_syn = segment.has(TcpFlags::SYN | TcpFlags::ACK) && segment.seq() == rcv.irs;
        if self.state() == State::SynReceived && repeats_syn && segment.ack() == self.sender.snd().nxt {
            segment.unscaled = true;
            segment.clear(TcpFlags::SYN);
            segment.header.seq = rcv.nxt;
        }
    }

    /// Cuts off what lies outside the window. What a RST carries does not matter (RFC 9293 3.5.3 SHLD-2).
    pub(super) fn trim(&self, segment: &mut Arrival) {
        if segment.has(TcpFlags::SYN) || segment.has(TcpFlags::RST) {
            return;
        }
        let rcv = self.receiver.rcv();
        if segment.seq().before(rcv.nxt) {
            let old = rcv.nxt.since(segment.seq());
            // Something of it is new, if only its FIN.
            let bytes = (old as usize).min(segment.payload.len());
            segment.payload.skip(bytes);
            segment.header.seq = rcv.nxt;
        }
        let room = rcv.edge.since(segment.seq());
        if segment.len() > room {
            segment.payload.truncate(room as usize);
            segment.clear(TcpFlags::FIN);
        }
    }
}
