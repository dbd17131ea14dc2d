//! What a connection sends, and in which order: its SYN, probes, what is lost, new data, acknowledgements.

use ropeway_packet::{
    ChecksumMode, Payload, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, WindowScale, emit_tcp,
};

use super::state::State;
use super::timers::Timer;
use super::window::Allowed;
use super::{Connection, Env, FinalReset};
use crate::buffer::send::length_u32;
use crate::event::Readiness;
use crate::info::SenderLimit;
use crate::transmit::Transmit;

/// A segment of data that is to be sent.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seq: SeqNum,
    len: u32,
    fin: bool,
}

impl Plan {
    fn end(&self) -> SeqNum {
        self.seq + self.len + u32::from(self.fin)
    }
}

impl Connection {
    /// The next segment to send, if there is one. After `None` there is nothing until something happens.
    pub(crate) fn poll_transmit(&mut self, env: &mut Env<'_>) -> Option<Transmit> {
        if matches!(self.state(), State::Closed | State::TimeWait) {
            self.output_due = false;
            return match self.reset_due.take() {
                Some(reset) => Some(self.send_reset(reset, env)),
                // The last ACK. Whatever else TIME-WAIT answers comes from its own table.
                None => self.send_ack(env),
            };
        }
        if self.syn_due {
            return Some(self.send_syn(env));
        }
        self.statistics.busy(self.snd.outstanding() > 0 || !self.send_buffer.is_empty(), env.now);
        let was_writable = self.is_writable();
        let segment = self.probe(env).or_else(|| self.send_data(env)).or_else(|| self.send_ack(env));
        if !was_writable && self.is_writable() {
            self.gain(Readiness::WRITABLE);
        }
        self.output_due = segment.is_some();
        if segment.is_none() && self.winds_up {
            self.abort();
            return self.poll_transmit(env);
        }
        segment
    }

    /// A SYN, or in SYN-RECEIVED a SYN-ACK.
    fn send_syn(&mut self, env: &mut Env<'_>) -> Transmit {
        self.syn_due = false;
        let first = self.snd.max == self.snd.iss;
        let answering = self.state() == State::SynReceived;
        self.snd.nxt = self.snd.iss + 1;
        self.snd.max = self.snd.nxt;
        if first {
            self.timed = Some((self.snd.nxt, env.now));
        } else if !answering {
            self.timed = None;
            self.count_retransmission(0, env);
        }
        self.handed = env.handed.next();
        self.arm_retransmit(env.now);
        self.output_due = self.acks.is_due();
        let header = TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: self.snd.iss,
            ack: if answering { self.rcv.nxt } else { SeqNum::new(0) },
            flags: if answering { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN },
            window: self.initial_window(),
            urgent: 0,
            options: self.syn_options(env),
        };
        if answering {
            self.rcv.edge = self.rcv.nxt + u32::from(header.window);
            self.acks.sent(true);
        }
        self.transmit(&header, Payload::new(), env)
    }

    /// The sequence number of a segment without data: one that a peer takes which has closed or shrunk its
    /// window under what is in flight. That scaling rounds a window down does not count as shrinking it; but what
    /// a probe has sent into a closed window was most likely not taken.
    pub(super) fn acceptable_seq(&self) -> SeqNum {
        let edge = self.snd.una + self.snd.wnd;
        let probed = self.snd.nxt != self.snd.max;
        let rounding = self.snd.wscale.filter(|_| !probed).unwrap_or(WindowScale::ZERO).unscale(1) - 1;
        if self.state().is_synchronized() && (edge + rounding).before(self.snd.max) {
            edge
        } else {
            self.snd.max
        }
    }

    /// RFC 9293 3.10.5
    fn send_reset(&mut self, reset: FinalReset, env: &mut Env<'_>) -> Transmit {
        env.counters.resets_sent += 1;
        // RFC 7323 5.2-3
        let timestamps = self.timestamps.as_ref();
        let timestamps =
            timestamps.map(|state| Timestamps { tsval: self.tsval(env.now), tsecr: state.recent });
        let (ack, flags) = match reset.acknowledges {
            true => (self.rcv.nxt, TcpFlags::RST | TcpFlags::ACK),
            false => (SeqNum::new(0), TcpFlags::RST),
        };
        let header = TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: reset.seq,
            ack,
            flags,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        self.transmit(&header, Payload::new(), env)
    }

    fn send_ack(&mut self, env: &mut Env<'_>) -> Option<Transmit> {
        let synchronized = self.state().is_synchronized() || self.state() == State::SynReceived;
        if !self.acks.is_due() || !synchronized {
            return None;
        }
        Some(self.emit(self.acceptable_seq(), TcpFlags::ACK, 0, env))
    }

    /// Whether the state allows to send data or the FIN.
    pub(super) fn is_open_for_sending(&self) -> bool {
        matches!(
            self.state(),
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        )
    }

    /// Data and the FIN.
    fn send_data(&mut self, env: &mut Env<'_>) -> Option<Transmit> {
        if !self.is_open_for_sending() {
            return None;
        }
        let plan = self.plan_resend().or_else(|| self.plan_next(env))?;
        self.restart_after_idle(env);
        let mut flags = TcpFlags::ACK;
        if plan.fin {
            flags |= TcpFlags::FIN;
        }
        // RFC 9293 3.9.1.2 MUST-61, SHLD-27: the last byte there is gets pushed, and no other, unless its write said
        // that more follows.
        if plan.len > 0 && plan.seq + plan.len == self.send_buffer.end() && self.pushes {
            flags |= TcpFlags::PSH;
        }
        self.account(plan, env);
        Some(self.emit(plan.seq, flags, plan.len as usize, env))
    }

    /// The first unacknowledged segment, if recovery wants it sent again, whatever became of the window
    /// (RFC 9293 3.8.6 MAY-7).
    fn plan_resend(&mut self) -> Option<Plan> {
        if !self.recovery.resend_due() {
            return None;
        }
        let seq = self.snd.una;
        let sent = self.snd.max.since(seq);
        let data = self.send_buffer.end().since(seq).min(sent);
        let len = data.min(u32::from(self.snd.mss));
        let fin = self.fin_queued && len == data && sent > data;
        self.recovery.resend_done(seq + len + u32::from(fin));
        (len > 0 || fin).then_some(Plan { seq, len, fin })
    }

    /// What follows SND.NXT, as far as the windows allow.
    fn plan_next(&mut self, env: &mut Env<'_>) -> Option<Plan> {
        let seq = self.snd.nxt;
        let end = self.send_buffer.end();
        let unsent = if end.after(seq) { end.since(seq) } else { 0 };
        let fin = self.fin_queued && seq.at_or_before(end);
        if unsent == 0 && !fin {
            self.statistics.limit(SenderLimit::Application, env.now);
            self.stop_persist();
            self.stop_waiting();
            return None;
        }
        match self.allowed(unsent, fin, env) {
            Allowed::Send(len) => {
                self.statistics.limit(SenderLimit::Application, env.now);
                self.stop_persist();
                let window = self.snd.wnd.saturating_sub(self.snd.in_flight());
                Some(Plan { seq, len, fin: fin && len == unsent && window > len })
                    .filter(|plan| plan.len > 0 || plan.fin)
            }
            Allowed::Wait(limit) => {
                self.statistics.limit(limit, env.now);
                self.stop_waiting();
                // Nothing in flight will bring an acknowledgement that opens the window (RFC 9293 3.8.6
                // MUST-35); what lies beyond it does not time out (SHLD-17).
                if limit == SenderLimit::ReceiveWindow && self.snd.in_flight() == 0 {
                    self.timers.stop(Timer::Retransmit);
                    self.arm_persist(env.now);
                }
                None
            }
        }
    }

    /// RFC 5681 4.1: a window that was not used for a retransmission timeout proves nothing any more.
    fn restart_after_idle(&mut self, env: &Env<'_>) {
        if self.snd.outstanding() == 0
            && self.statistics.last_data_sent.is_some_and(|at| env.now.since(at) > self.rto.base())
        {
            self.congestion.on_idle();
        }
    }

    /// Books a segment of data as sent.
    fn account(&mut self, plan: Plan, env: &mut Env<'_>) {
        let end = plan.end();
        let starts_flight = self.snd.in_flight() == 0;
        let is_new = end.after(self.snd.max);
        if plan.seq.before(self.snd.max) {
            self.count_retransmission(plan.len, env);
            // Karn: what is sent twice is not timed (RFC 9293 3.8.1 MUST-18, RFC 6298 3-1).
            self.timed = None;
        } else if self.timed.is_none() {
            // RFC 6298 3-2
            self.timed = Some((end, env.now));
        }
        if plan.seq == self.snd.nxt {
            self.snd.nxt = end;
        }
        if is_new {
            self.snd.max = end;
            self.snd.note_flight();
            if plan.len < u32::from(self.snd.mss) {
                self.snd.small = end;
            }
        }
        if self.send_buffer.end() == plan.seq + plan.len {
            self.release_small = false;
            self.timers.stop(Timer::Cork);
        }
        self.data_sent(env);
        self.statistics.bytes_sent += u64::from(plan.len);
        self.statistics.last_data_sent = Some(env.now);
        self.handed = env.handed.next();
        // RFC 6298 5-1, RFC 6298 5-6
        if starts_flight || !self.timers.is_set(Timer::Retransmit) {
            self.arm_retransmit(env.now);
        }
    }

    pub(super) fn count_retransmission(&mut self, len: u32, env: &mut Env<'_>) {
        env.counters.tcp_retransmitted += 1;
        self.statistics.retransmitted += 1;
        self.statistics.bytes_retransmitted += u64::from(len);
        if len > 0 {
            tracing::debug!(connection = %self.tuple, len, "retransmitting");
        }
    }

    /// Any segment but a SYN: `len` bytes of the send buffer from `seq` on.
    pub(super) fn emit(
        &mut self,
        seq: SeqNum,
        mut flags: TcpFlags,
        len: usize,
        env: &mut Env<'_>,
    ) -> Transmit {
        let payload = if len > 0 { self.send_buffer.slice(seq, len) } else { Payload::new() };
        let urgent = self.urgent_field(seq);
        if urgent > 0 {
            flags |= TcpFlags::URG;
        }
        let timestamps = self.timestamps.as_mut().map(|state| {
            state.last_ack_sent = self.rcv.nxt;
            state.recent
        });
        // RFC 7323 3.2-1
        let timestamps = timestamps.map(|tsecr| Timestamps { tsval: self.tsval(env.now), tsecr });
        let header = TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq,
            ack: self.rcv.nxt,
            flags,
            window: self.announce_window(),
            urgent,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        };
        self.acks.sent(!payload.is_empty());
        self.timers.stop(Timer::DelayedAck);
        self.transmit(&header, payload, env)
    }

    /// The urgent pointer counts from the segment's own sequence number to the byte after the urgent ones
    /// (RFC 9293 3.8.5 MUST-30, MUST-62). One farther away is told of as far as the field reaches (MUST-31).
    fn urgent_field(&mut self, seq: SeqNum) -> u16 {
        let Some(up) = self.snd.up else { return 0 };
        if up.at_or_before(self.snd.una) {
            self.snd.up = None;
            return 0;
        }
        if up.after(seq) { u16::try_from(up.since(seq)).unwrap_or(u16::MAX) } else { 0 }
    }

    fn transmit(&mut self, header: &TcpHeader, payload: Payload, env: &mut Env<'_>) -> Transmit {
        self.statistics.segments_out += 1;
        env.counters.tcp_sent += 1;
        tracing::trace!(
            connection = %self.tuple,
            flags = ?header.flags,
            seq = header.seq.get(),
            ack = header.ack.get(),
            len = length_u32(payload.len()),
            "sending"
        );
        let checksum =
            if env.config.tx_checksum_offload { ChecksumMode::Partial } else { ChecksumMode::Full };
        Transmit {
            header: emit_tcp(&self.ip_params(), header, &payload, checksum),
            payload,
            checksum,
            segment_size: None,
        }
    }
}
