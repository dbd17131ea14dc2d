//! What a connection sends, and in which order: its SYN, probes, what is lost, new data, acknowledgements.

use ropeway_packet::{
    ChecksumMode, EcnCodepoint, HeaderBuf, Payload, SackBlocks, SeqNum, TcpFlags, TcpHeader, TcpOptions,
    Timestamps, WindowScale,
};

use super::state::State;
use super::timers::Timer;
use super::{CORK_LIMIT, Connection, Env, FinalReset, Written};
use crate::ecn::EcnFeedback;
use crate::event::Readiness;
use crate::events::{self, Change, Sending};
use crate::info::SenderLimit;
use crate::tcp::ecn::handshake;
use crate::tcp::sender::{Limits, Next, Plan, Why};
use crate::time::Timestamp;
use crate::transmit::Transmit;

/// The longest IPv6 and TCP headers, in bytes.
const LONGEST_HEADERS: u32 = 40 + 60;

impl Connection {
    /// The next segment to send, if there is one. After `None` there is nothing until something happens.
    pub(crate) fn poll_transmit(&mut self, env: &mut Env<'_>) -> Option<Written> {
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
        self.note_busy(env.now);
        let was_writable = self.is_writable();
        let reflection = if self.ecn.reflects() { self.send_ack(env) } else { None };
        let segment = reflection
            .or_else(|| self.probe(env))
            .or_else(|| self.send_data(env))
            .or_else(|| self.send_ack(env));
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
    fn send_syn(&mut self, env: &mut Env<'_>) -> Written {
        self.syn_due = false;
        let answering = self.state() == State::SynReceived;
        let tsval = self.offers_timestamps.then(|| self.tsval(env.now));
        let first = self.sender.on_syn_sent(env.now, tsval);
        if !first && !answering {
            self.count_retransmission(0, env);
        }
        self.handed = env.handed.next();
        self.arm_retransmit(env.now);
        self.output_due = self.receiver.is_ack_due();
        let payload = if first { self.data_of_syn(tsval, env) } else { Payload::new() };
        let header = TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: self.sender.snd().iss,
            ack: if answering { self.receiver.rcv().nxt } else { SeqNum::new(0) },
            flags: self.syn_flags(answering),
            window: if answering { self.window_beside_syn_data() } else { self.initial_window() },
            urgent: 0,
            options: self.syn_options(first, env),
        };
        if answering {
            self.receiver.open_window(header.window.into());
            self.receiver.ack_sent(true);
            // RFC 7323 4.3-1: what came with the SYN is acknowledged, too.
            if let Some(state) = &mut self.timestamps {
                state.last_ack_sent = self.receiver.rcv().nxt;
            }
            self.syn_ack_leaves(first, env);
        }
        let sending = if first { Sending::NEW } else { Sending::SYN_AGAIN };
        self.transmit(&header, payload, sending, env)
    }

    /// The flags of a SYN, or a SYN-ACK. A SYN that was not answered asks for nothing that may have been in its way
    /// (RFC 3168 6.1.1.1-1).
    fn syn_flags(&self, answering: bool) -> TcpFlags {
        if answering {
            let field = self.accurate().map_or(EcnCodepoint::NotEct, |accurate| accurate.syn_ack);
            return TcpFlags::SYN | TcpFlags::ACK | handshake::syn_ack_flags(self.ecn.feedback(), field);
        }
        let asked = if self.falls_back() { EcnFeedback::None } else { self.options.ecn.asks_for() };
        TcpFlags::SYN | handshake::syn_flags(asked)
    }

    /// Whether SYNs that ask for ECN have not been answered: one of RFC 3168, or two of Accurate ECN (RFC 9768 3.1.4.1-1).
    pub(super) fn falls_back(&self) -> bool {
        let patience = u32::from(self.options.ecn.asks_for() == EcnFeedback::Accurate);
        self.options.ecn_fallback && self.sender.retransmits() > patience
    }

    /// The sequence number of a segment without data: one that a peer takes which has closed or shrunk its
    /// window under what is in flight. That scaling rounds a window down does not count as shrinking it; but what
    /// a probe has sent into a closed window was most likely not taken.
    pub(super) fn acceptable_seq(&self) -> SeqNum {
        self.sender.acceptable_seq(self.state().is_synchronized())
    }

    /// RFC 9293 3.10.5
    fn send_reset(&mut self, reset: FinalReset, env: &mut Env<'_>) -> Written {
        env.counters.resets_sent += 1;
        // RFC 7323 5.2-3
        let timestamps = self.timestamps.as_ref();
        let timestamps =
            timestamps.map(|state| Timestamps { tsval: self.tsval(env.now), tsecr: state.recent });
        let (ack, flags) = match reset.acknowledges {
            true => (self.receiver.rcv().nxt, TcpFlags::RST | TcpFlags::ACK),
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
        self.transmit(&header, Payload::new(), Sending::NEW, env)
    }

    fn send_ack(&mut self, env: &mut Env<'_>) -> Option<Written> {
        let synchronized = self.state().is_synchronized() || self.state() == State::SynReceived;
        if !self.receiver.is_ack_due() || !synchronized {
            return None;
        }
        Some(self.emit(self.acceptable_seq(), TcpFlags::ACK, 0, Sending::NEW, env))
    }

    /// Whether the state allows to send data or the FIN.
    pub(super) fn is_open_for_sending(&self) -> bool {
        matches!(
            self.state(),
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        ) || self.is_open_early() // RFC 7413 4.2.2-5
    }

    /// What the user and the options of a segment leave to the sender.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            nodelay: self.options.nodelay,
            cork: self.options.cork,
            buffer: self.send_buffer(),
            options: self.room_for_blocks(),
            train: 0,
        }
    }

    /// How many bytes may go as one train: none if each segment must have something of its own.
    fn longest_train(&mut self, env: &Env<'_>) -> u32 {
        let all = u32::from(env.config.longest_train);
        if all == 0 || self.sender.urgent().is_some() { 0 } else { all.saturating_sub(LONGEST_HEADERS) }
    }

    /// Data and the FIN.
    fn send_data(&mut self, env: &mut Env<'_>) -> Option<Written> {
        if !self.is_open_for_sending() {
            return None;
        }
        let limits = Limits { train: self.longest_train(env), ..self.limits() };
        let next = match self.mtu_probe(env) {
            None => self.sender.next(env.now, &limits),
            Some(len) => self.sender.next_or_mtu_probe(env.now, &limits, len.into()),
        };
        match next {
            Next::Segment(plan) => {
                self.statistics.limit(SenderLimit::Application, env.now);
                self.stop_persist();
                return Some(self.send_segment(plan, env));
            }
            Next::Nothing => self.nothing_to_send(env.now),
            Next::Paced(at) => {
                self.statistics.limit(SenderLimit::Pacing, env.now);
                self.set_timer(Timer::Pace, at);
                self.stop_waiting();
            }
            Next::Small { corked } => {
                self.statistics.limit(SenderLimit::SmallSegment, env.now);
                self.stop_waiting();
                // RFC 9293 3.9.1.2 MUST-60: nothing is held back for ever.
                if corked && !self.timers.is_set(Timer::Cork) {
                    self.set_timer(Timer::Cork, env.now + CORK_LIMIT);
                }
            }
            Next::Wait(limit) => {
                self.statistics.limit(limit, env.now);
                self.stop_waiting();
                // Nothing in flight will bring an acknowledgement that opens the window (RFC 9293 3.8.6
                // MUST-35); what lies beyond it does not time out (SHLD-17).
                if limit == SenderLimit::ReceiveWindow && !self.sender.is_in_flight() {
                    self.timers.stop(Timer::Retransmit);
                    self.arm_persist(env.now);
                }
            }
        }
        None
    }

    /// Sends a segment of data, and books it.
    pub(super) fn send_segment(&mut self, plan: Plan, env: &mut Env<'_>) -> Written {
        let mut flags = TcpFlags::ACK;
        if plan.fin {
            flags |= TcpFlags::FIN;
        }
        if self.sender.pushes(&plan) {
            flags |= TcpFlags::PSH;
        }
        if plan.again {
            self.count_retransmission(plan.len, env);
            self.forget_mtu_probe(plan.seq, plan.end());
        } else if plan.why == Some(Why::MtuProbe) {
            self.mtu_probe_sent(&plan, env);
        }
        let starts_flight = !self.sender.is_in_flight();
        let first_again = self.receiver.uses_sack() && plan.again && plan.seq == self.sender.snd().una;
        if self.sender.on_sent(&plan, env.now, self.own_tsval(env.now)) {
            self.timers.stop(Timer::Cork);
        }
        if starts_flight {
            self.sender.set_pacing_after_idle(env.now, self.options.max_pacing_rate);
        }
        self.receiver.data_sent(env.now, self.delayed_ack(env), plan.again);
        self.statistics.bytes_sent += u64::from(plan.len);
        let segments = &mut self.statistics.data_segments_out;
        *segments = segments.wrapping_add(plan.segments());
        self.statistics.last_data_sent = Some(env.now);
        self.handed = env.handed.next();
        // RFC 6298 5-1, RFC 6298 5-6
        if starts_flight || first_again || !self.timers.is_set(Timer::Retransmit) {
            self.arm_retransmit(env.now);
        }
        if !plan.again {
            self.arm_tail_probe(env.now);
        }
        self.emit_plan(&plan, flags, env)
    }

    // RFC 3168 6.1.2-4, RFC 3168 6.1.6-1
    /// A segment of data, or a FIN, that the sender has booked.
    pub(super) fn emit_plan(&mut self, plan: &Plan, flags: TcpFlags, env: &mut Env<'_>) -> Written {
        let mut sending = Sending::from(plan);
        let mut flags = flags;
        if self.ecn.is_on() && plan.len > 0 && !plan.again && plan.why != Some(Why::WindowProbe) {
            sending.ecn = self.ecn.codepoint_of_data();
            flags |= self.ecn.data_sent();
        }
        let segment = self.emit(plan.seq, flags, plan.len as usize, sending, env);
        events::changed(env.now, &self.tuple, &self.sender, Change::Sent);
        segment
    }

    /// What our timestamp says, if there are timestamps.
    pub(super) fn own_tsval(&self, now: Timestamp) -> Option<u32> {
        self.timestamps.as_ref().map(|_| self.tsval(now))
    }

    pub(super) fn note_busy(&mut self, now: Timestamp) {
        self.statistics.busy(self.sender.outstanding() > 0 || !self.sender.buffer().is_empty(), now);
    }

    /// How many SACK blocks fit beside the other options (RFC 2018 3).
    fn most_blocks(&self) -> usize {
        if self.timestamps.is_some() { SackBlocks::MAX - 1 } else { SackBlocks::MAX }
    }

    /// How much shorter a segment of data is for the sake of its SACK blocks: not at all if they would be most of it.
    fn room_for_blocks(&self) -> u32 {
        let len = self.receiver.sack_option_len(self.most_blocks());
        if 4 * len < u32::from(self.sender.snd().mss) { len } else { 0 }
    }

    /// How many blocks a segment with so many bytes of data has room for.
    fn room_for_sack(&self, len: usize) -> usize {
        let room = usize::from(self.sender.snd().mss).saturating_sub(len).saturating_sub(4) / 8;
        // One without data is short in any case.
        if len > 0 { self.most_blocks().min(room) } else { self.most_blocks() }
    }

    pub(super) fn count_retransmission(&mut self, len: u32, env: &mut Env<'_>) {
        env.counters.tcp_retransmitted += 1;
        self.statistics.retransmitted = self.statistics.retransmitted.saturating_add(1);
        self.statistics.bytes_retransmitted += u64::from(len);
    }

    /// Any segment but a SYN: `len` bytes of the send buffer from `seq` on.
    pub(super) fn emit(
        &mut self,
        seq: SeqNum,
        mut flags: TcpFlags,
        len: usize,
        mut sending: Sending,
        env: &mut Env<'_>,
    ) -> Written {
        let payload = if len > 0 { self.sender.buffer_mut().slice(seq, len) } else { Payload::new() };
        let urgent = self.urgent_field(seq);
        if urgent > 0 {
            flags |= TcpFlags::URG;
        }
        let (mut accurate_ecn, mut blocks) = (None, self.room_for_sack(len));
        if self.ecn.is_on() {
            let pure = flags == TcpFlags::ACK && len == 0;
            if sending.ecn == EcnCodepoint::NotEct {
                sending.ecn = self.ecn.codepoint_of_rest();
            }
            let told = self.feed_back(pure, len, blocks, env.now);
            flags |= told.0;
            (accurate_ecn, blocks) = (told.1, told.2);
        }
        let timestamps = self.timestamps.as_mut().map(|state| {
            state.last_ack_sent = self.receiver.rcv().nxt;
            state.recent
        });
        // RFC 7323 3.2-1
        let timestamps = timestamps.map(|tsecr| Timestamps { tsval: self.tsval(env.now), tsecr });
        let room = self.affordable_room(env);
        env.counters.windows_closed += u64::from(room < self.receive_room(self.receiver.unread()));
        let header = TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq,
            ack: self.receiver.rcv().nxt,
            flags,
            window: self.receiver.announce_window(room),
            urgent,
            options: TcpOptions {
                timestamps,
                sack: self.receiver.sack_blocks(blocks),
                accurate_ecn,
                ..TcpOptions::default()
            },
        };
        self.receiver.ack_sent(!payload.is_empty());
        self.timers.stop(Timer::DelayedAck);
        self.transmit(&header, payload, sending, env)
    }

    /// The urgent pointer counts from the segment's own sequence number to the byte after the urgent ones
    /// (RFC 9293 3.8.5 MUST-30, MUST-62). One farther away is told of as far as the field reaches (MUST-31).
    fn urgent_field(&mut self, seq: SeqNum) -> u16 {
        let Some(up) = self.sender.urgent() else { return 0 };
        if up.after(seq) { u16::try_from(up.since(seq)).unwrap_or(u16::MAX) } else { 0 }
    }

    fn transmit(
        &mut self,
        header: &TcpHeader,
        payload: Payload,
        sending: Sending,
        env: &mut Env<'_>,
    ) -> Written {
        let (now, tuple, len, segment_size) = (env.now, &self.tuple, payload.len(), sending.segment_size);
        let segments = segment_size.map_or(1, |size| len.div_ceil(usize::from(size.max(1)))) as u64;
        self.statistics.segments_out += segments;
        env.counters.tcp_sent += segments;
        let told = events::Segment { now, tuple, header, len, segment_size, ecn: sending.ecn };
        events::sent(&told, Some(self.receiver.rcv().wscale.unwrap_or(WindowScale::ZERO)), sending);
        // Whoever cuts a train completes the checksums of its segments.
        let partial = env.config.tx_checksum_offload || segment_size.is_some();
        let checksum = if partial { ChecksumMode::Partial } else { ChecksumMode::Full };
        if let Some(out) = env.out.as_deref_mut() {
            let accurate_ecn = self.ecn.feedback() == EcnFeedback::Accurate;
            let packet =
                Transmit { header: HeaderBuf::default(), payload, checksum, segment_size, accurate_ecn };
            let Transmit { header: place, payload, .. } = out.insert(packet);
            place.write_tcp(&self.ip_params(sending.ecn), header, payload, checksum);
        }
        Written
    }
}
