//! Seventh, process the segment text (RFC 9293 3.10.7.4).

use std::ops::ControlFlow;

use ropeway_packet::TcpFlags;

use super::{Arrival, Step, Verdict};
use crate::buffer::reassembly::PIECE_OVERHEAD;
use crate::buffer::send::length_u32;
use crate::event::Readiness;
use crate::ledger::{Floor, Measure};
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::timers::Timer;
use crate::tcp::connection::{Connection, Env, FinalReset, Holder};
use crate::tcp::receiver::{AckTiming, Text, Took};
use crate::time::Timestamp;

impl Connection {
    pub(super) fn take_text(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Step {
        let cut = segment.cut();
        let mut payload = std::mem::take(&mut segment.payload);
        let receives = matches!(self.state(), State::Established | State::FinWait1 | State::FinWait2)
            || self.is_open_early();
        if payload.is_empty() || !receives {
            return ControlFlow::Continue(());
        }
        if self.holder == Holder::Nobody {
            // SHLD-3: nobody will ever read it, and the peer is to know.
            tracing::debug!(connection = %self.tuple, "data after close: resetting the connection");
            // Its number is what the peer expects next, so that it is believed (RFC 5961 3.2), whatever of ours is
            // still on its way.
            self.finish_with(FinalReset { seq: segment.ack(), acknowledges: false }, Cause::Abort);
            return ControlFlow::Break(Verdict::Drop);
        }
        let keeps = env.pressure.keeps_promises(payload.len());
        let len = if keeps { payload.len() } else { self.memory_for(segment, payload.len(), env) };
        if len < payload.len() {
            // As if it had been lost on its way: nothing of it is acknowledged, and it will come again. But the peer hears
            // that we are there, and what we expect. The window stays where it was promised (RFC 9293 3.8.6 SHLD-14).
            env.counters.promised_dropped += u64::from(cut.0);
            self.receiver.refuse(segment.header.seq, cut.0);
            payload.truncate(len);
            segment.clear(TcpFlags::FIN);
        }
        if payload.is_empty() {
            return ControlFlow::Break(Verdict::Drop);
        }
        let pause = self.statistics.last_data_received.replace(env.now).map(|at| env.now.since(at));
        let (seq, len) = (segment.seq(), length_u32(payload.len()));
        self.tune_recv_buffer(&segment.header, (seq, len), cut.1, pause.unwrap_or_default(), env);
        let before = self.receiver.rcv().nxt;
        let pushed = segment.has(TcpFlags::PSH);
        let tight = env.pressure.calls_for(Measure::CloseWindows);
        let data = if keeps { payload } else { payload.copy().into() };
        let mut text = Text { seq, data, pushed, repeats: segment.repeats, cut, tight };
        if seq != before {
            self.renege_if_scarce(env);
        }
        let buffer = self.recv_buffer();
        let timing = AckTiming {
            now: env.now,
            delay: self.delayed_ack(env),
            at_once: self.options.quick_ack,
            quick: env.config.quick_acks,
            rto: self.sender.rto().current(),
            unheld: env.config.events_first && matches!(self.holder, Holder::AcceptQueue(_)),
            thinning: self.options.ack_thinning.as_ref(),
        };
        self.receiver.borrow_queue(env.spares);
        match self.receiver.take_text(&mut text, buffer, &timing) {
            Took::InOrder { ack_by } => {
                self.statistics.bytes_received += u64::from(self.receiver.rcv().nxt.since(before));
                self.gain(Readiness::READABLE);
                self.ack_by(ack_by);
            }
            Took::Held { tell_by } => {
                self.ack_by(tell_by);
                env.counters.out_of_order += u64::from(cut.0);
                self.statistics.out_of_order = self.statistics.out_of_order.saturating_add(cut.0);
            }
            Took::Dropped => env.counters.reassembly_overflows += 1,
        }
        segment.payload = text.data;
        // The FIN, if there is one, follows the text.
        segment.header.seq = seq + len;
        ControlFlow::Continue(())
    }

    /// How much of a segment's text may be held, within the floor. What is held beyond gaps makes room for it, since it has just
    /// arrived; and of what is next in order, its beginning is enough.
    fn memory_for(&mut self, segment: &Arrival, len: usize, env: &mut Env<'_>) -> usize {
        let limit = Floor::of(&env.config.auto_recv_buffer).memory;
        if segment.seq() != self.receiver.rcv().nxt {
            let left = limit.saturating_sub(self.receiver.unread_memory());
            let takes = len + PIECE_OVERHEAD;
            if takes <= left && takes + self.receiver.reassembly_memory() > left {
                self.renege(env);
            }
            return if takes <= left { len } else { 0 };
        }
        if self.receiver.room_in_order(len, limit) < len {
            self.renege(env);
        }
        self.receiver.room_in_order(len, limit).min(len)
    }

    /// Memory is scarce: what is held beyond gaps is dropped, unless it is little.
    pub(crate) fn renege_if_scarce(&mut self, env: &mut Env<'_>) {
        let Some(fair) = env.pressure.to_hold() else { return };
        if self.receiver.held_memory() > fair.max(Floor::of(&env.config.auto_recv_buffer).memory) {
            self.renege(env);
        }
    }

    fn renege(&mut self, env: &mut Env<'_>) {
        env.counters.bytes_reneged += self.receiver.renege() as u64;
    }

    /// An acknowledgement is due then, if none is before.
    fn ack_by(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at
            && self.timers.get(Timer::DelayedAck).is_none_or(|set| at < set)
        {
            self.set_timer(Timer::DelayedAck, at);
        }
    }
}
