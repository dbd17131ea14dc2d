//! STATUS (RFC 9293 3.9.1.6): readiness, errors, and what `TCP_INFO` tells.

use std::time::Duration;

use ropeway_packet::WindowScale;

use super::state::State;
use super::{Connection, Holder};
use crate::buffer::send::length_u32;
use crate::config::StackConfig;
use crate::error::ConnectionError;
use crate::event::Readiness;
use crate::info::{SenderLimit, TcpInfo};
use crate::ledger::Charge;
use crate::tcp::ecn::accurate::Accurate;
use crate::time::Timestamp;

/// What a connection takes besides what it says itself: its place in the slab, in the queue of deadlines, in the
/// demultiplexer and among the flows of its port.
const PLACES: usize = 64;

/// What each connection takes.
const FIXED: usize = size_of::<Connection>() + PLACES;

/// A writer is woken when one in so many parts of the send buffer is free. Where the buffer limits an upload, half of
/// such a part is missing on the way, on average.
const WAKE_PARTS: usize = 16;

/// What a connection counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) segments_in: u64,
    pub(crate) segments_out: u64,
    /// Modulo 2^32, as in Linux.
    pub(crate) data_segments_out: u32,
    pub(crate) data_segments_in: u32,
    /// Segments that arrived beyond a gap, and were kept.
    pub(crate) out_of_order: u32,
    pub(crate) retransmitted: u32,
    pub(crate) bytes_retransmitted: u64,
    pub(crate) delivered: u64,
    pub(crate) bytes_acked: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) last_data_sent: Option<Timestamp>,
    pub(crate) last_data_received: Option<Timestamp>,
    /// Bytes written that the peer had not acknowledged when the connection ended.
    pub(crate) bytes_lost: u32,
    /// What limits the sender, and since when.
    limited_by: SenderLimit,
    limited_since: Option<Timestamp>,
    /// Microseconds, as are the two below.
    rwnd_limited: u64,
    sndbuf_limited: u64,
    /// Since when data is outstanding or waiting.
    busy_since: Option<Timestamp>,
    busy: u64,
}

impl Statistics {
    /// Books the time that the sender was held back by the peer's window.
    pub(crate) fn limit(&mut self, limit: SenderLimit, now: Timestamp) {
        if limit == self.limited_by {
            return;
        }
        self.rwnd_limited = self.rwnd_limited(now);
        self.sndbuf_limited = self.sndbuf_limited(now);
        self.limited_by = limit;
        self.limited_since = Some(now);
    }

    fn rwnd_limited(&self, now: Timestamp) -> u64 {
        match (self.limited_by, self.limited_since) {
            (SenderLimit::ReceiveWindow, Some(since)) => {
                self.rwnd_limited + now.as_micros().saturating_sub(since.as_micros())
            }
            _ => self.rwnd_limited,
        }
    }

    fn sndbuf_limited(&self, now: Timestamp) -> u64 {
        match (self.limited_by, self.limited_since) {
            (SenderLimit::SendBuffer, Some(since)) => {
                self.sndbuf_limited + now.as_micros().saturating_sub(since.as_micros())
            }
            _ => self.sndbuf_limited,
        }
    }

    /// Books the time with data outstanding or waiting.
    pub(crate) fn busy(&mut self, is_busy: bool, now: Timestamp) {
        match (is_busy, self.busy_since) {
            (true, None) => self.busy_since = Some(now),
            (false, Some(since)) => {
                self.busy += now.as_micros().saturating_sub(since.as_micros());
                self.busy_since = None;
            }
            _ => {}
        }
    }

    fn busy_time(&self, now: Timestamp) -> u64 {
        let since = self.busy_since.map_or(0, |since| now.as_micros().saturating_sub(since.as_micros()));
        self.busy + since
    }

    pub(crate) fn is_cwnd_limited(&self) -> bool {
        self.limited_by == SenderLimit::CongestionWindow
    }
}

impl Connection {
    /// Whether it is worth waking a writer: a part of the send buffer is free that is too small for the peer to notice
    /// that it was missing.
    pub(super) fn is_writable(&self) -> bool {
        self.has_room((self.send_buffer() / WAKE_PARTS).max(1))
    }

    /// Whether `send` has an answer: it takes `room` bytes, or says that it never will.
    pub(super) fn has_room(&self, room: usize) -> bool {
        if self.sender.fin_queued() || matches!(self.state(), State::Closed | State::TimeWait) {
            return true;
        }
        let opening = matches!(self.state(), State::SynSent | State::SynReceived);
        let free = self.send_buffer().saturating_sub(self.sender.buffer().len());
        (!opening || self.is_open_early()) && !self.held_back && free >= room && self.is_below_lowat()
    }

    /// Whether little enough waits unsent (`TCP_NOTSENT_LOWAT`).
    pub(super) fn is_below_lowat(&self) -> bool {
        self.options.notsent_lowat.is_none_or(|lowat| self.sender.not_sent() < lowat.max(1))
    }

    /// How much may be written until enough waits unsent: a segment at least, as in Linux, or small ones would be sent.
    pub(super) fn room_below_lowat(&self) -> usize {
        self.options.notsent_lowat.map_or(usize::MAX, |lowat| {
            lowat.saturating_sub(self.sender.not_sent()).max(usize::from(self.sender.snd().mss))
        })
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let over = matches!(self.state(), State::Closed | State::TimeWait);
        let read_closed = over || self.receiver.is_read_shut() || self.receiver.fin_received();
        let mut ready = Readiness::EMPTY;
        if read_closed || self.receiver.unread() > 0 {
            ready |= Readiness::READABLE;
        }
        if read_closed {
            ready |= Readiness::READ_CLOSED;
        }
        if self.has_room(1) {
            ready |= Readiness::WRITABLE;
        }
        if over || self.sender.fin_queued() {
            ready |= Readiness::WRITE_CLOSED;
        }
        if self.error.is_some() {
            ready |= Readiness::ERROR;
        }
        if self.urgent_remaining().is_some() {
            ready |= Readiness::PRIORITY;
        }
        if over || self.state() == State::FinWait2 {
            ready |= Readiness::FIN_ACKED;
        }
        ready
    }

    /// `SO_ERROR`: the error that ended the connection, or else trouble on the way (RFC 9293 3.9.1.8
    /// MUST-47).
    pub(crate) fn take_error(&mut self) -> Option<ConnectionError> {
        self.error.take().or_else(|| self.soft_error.take())
    }

    /// Whether the handshake is complete and the connection not over.
    pub(crate) fn is_connected(&self) -> bool {
        (self.state().is_synchronized() && self.state() != State::TimeWait) || self.is_open_early()
    }

    /// Bytes to read before the urgent mark.
    pub(crate) fn urgent_remaining(&self) -> Option<usize> {
        self.receiver.urgent_remaining()
    }

    /// Whether anything has arrived in order behind the peer's SYN.
    pub(crate) fn has_received(&self) -> bool {
        self.receiver.rcv().has_moved()
    }

    /// Whether received bytes still wait to be acknowledged.
    pub(crate) fn owes_ack(&self) -> bool {
        self.receiver.owes_ack()
    }

    /// What it holds.
    pub(crate) fn charge(&self) -> Charge {
        Charge {
            send: length_u32(self.sender.buffer().memory()),
            receive: length_u32(self.receive_memory()),
            reassembly: length_u32(self.reassembly_memory()),
            records: length_u32(FIXED + self.sender.records() + self.rare_memory()),
        }
    }

    /// What few connections have, in bytes.
    fn rare_memory(&self) -> usize {
        let search = if self.rare.is_away() { None } else { self.rare.search.as_deref() };
        self.accurate().map_or(0, size_of_val) + search.map_or(0, size_of_val) + self.fast_open_memory()
    }

    /// Memory that unread data takes, in bytes.
    pub(crate) fn receive_memory(&self) -> usize {
        self.receiver.unread_memory()
    }

    /// Memory that data takes which cannot be read yet, in bytes: it lies beyond a gap, or came with a SYN.
    pub(crate) fn reassembly_memory(&self) -> usize {
        let rest = self.rare.rest_of_syn.as_ref().map_or(0, |rest| size_of_val(&**rest) + rest.payload.len());
        self.receiver.reassembly_memory() + rest
    }

    /// Bytes written that the peer had not acknowledged when the connection ended.
    pub(crate) fn bytes_lost(&self) -> u64 {
        self.statistics.bytes_lost.into()
    }

    /// Whether something was written, or the FIN, that the peer has not acknowledged.
    pub(crate) fn is_undelivered(&self) -> bool {
        match self.state() {
            State::Closed | State::TimeWait | State::FinWait2 => false,
            _ => self.sender.fin_queued() || !self.sender.buffer().is_empty(),
        }
    }

    /// Whether nobody needs this any more.
    pub(crate) fn is_done(&self) -> bool {
        let over = matches!(self.state(), State::Closed | State::TimeWait);
        self.holder == Holder::Nobody && over && !self.output_due
    }

    /// Whether the record of what is out agrees with the send sequence space, and its sums with its marks.
    #[cfg(feature = "model")]
    pub(crate) fn is_consistent(&self) -> bool {
        matches!(self.state(), State::Closed | State::TimeWait) || self.sender.is_consistent()
    }

    /// How long an acknowledgement waits at most.
    fn ato(&self, config: &StackConfig) -> Duration {
        let delay = self.options.delayed_ack.unwrap_or(config.delayed_ack);
        self.receiver.ato(delay, self.options.ack_thinning.as_ref())
    }

    pub(crate) fn info(&self, now: Timestamp, config: &StackConfig) -> TcpInfo {
        let statistics = &self.statistics;
        let rcv = self.receiver.rcv();
        let (snd, rto, flight) = (self.sender.snd(), self.sender.rto(), self.sender.flight());
        let (recovery, rate) = (self.sender.recovery(), self.sender.delivery_rate());
        let counters = |accurate: &Accurate| (accurate.delivered, accurate.received);
        let (delivered, received) = self.accurate().map(counters).unwrap_or_default();
        let (syn_data, fast_open_failure) = self.fast_open_info();
        TcpInfo {
            state: self.state(),
            rto: rto.base(),
            backoff: rto.backoff(),
            total_rto: self.rare.rto_events.total,
            total_rto_recoveries: self.rare.rto_events.recoveries,
            total_rto_time: self.rare.rto_events.time(now),
            ato: self.ato(config),
            retransmits: self.sender.retransmits(),
            probes: self.probing.unanswered,
            srtt: rto.srtt().unwrap_or_default(),
            rttvar: rto.rttvar(),
            min_rtt: rto.min_rtt(),
            cwnd: self.sender.cwnd(),
            ssthresh: self.sender.ssthresh(),
            unacked: self.sender.outstanding(),
            sacked: flight.sacked(),
            lost: flight.lost(),
            retrans_out: flight.retransmitted(),
            in_flight: flight.pipe(),
            ca_state: recovery.phase(),
            reordering: recovery.dup_thresh(),
            reord_seen: recovery.reorderings(),
            dsack_dups: recovery.dsacked(),
            retransmitted: statistics.retransmitted.into(),
            bytes_retransmitted: statistics.bytes_retransmitted,
            delivered: statistics.delivered,
            delivered_ce: self
                .accurate()
                .map_or(self.rare.delivered_ce, |accurate| accurate.delivered.marked),
            received_ce: received.marked,
            delivered_ce_bytes: delivered.ce_bytes,
            delivered_e0_bytes: delivered.e0_bytes,
            delivered_e1_bytes: delivered.e1_bytes,
            received_ce_bytes: received.ce_bytes,
            received_e0_bytes: received.e0_bytes,
            received_e1_bytes: received.e1_bytes,
            bytes_acked: statistics.bytes_acked,
            bytes_sent: statistics.bytes_sent,
            bytes_received: statistics.bytes_received,
            not_sent: self.sender.not_sent(),
            unread: self.receiver.unread(),
            receive_memory: self.receive_memory(),
            reassembly_memory: self.reassembly_memory(),
            pacing_rate: self.sender.pacing_rate(),
            max_pacing_rate: self.options.max_pacing_rate,
            delivery_rate: rate.map(|(rate, _)| rate),
            delivery_rate_app_limited: rate.is_some_and(|(_, limited)| limited),
            segments_in: statistics.segments_in,
            segments_out: statistics.segments_out,
            data_segments_in: u64::from(statistics.data_segments_in),
            data_segments_out: u64::from(statistics.data_segments_out),
            out_of_order: statistics.out_of_order.into(),
            snd_wnd: snd.wnd,
            rcv_wnd: rcv.wnd(),
            rcv_rtt: self.receiver.rtt(),
            rcv_space: self.receiver.space(),
            rcv_ssthresh: length_u32(self.clamped(self.recv_buffer(), 0)).min(rcv.widest()),
            recv_buffer: self.recv_buffer(),
            send_buffer: self.send_buffer(),
            snd_wscale: snd.wscale.map(WindowScale::get),
            rcv_wscale: rcv.wscale.map(WindowScale::get),
            timestamps: self.timestamps.is_some(),
            sack: self.receiver.uses_sack(),
            syn_data,
            fast_open_child: self.is_fast_open_child(),
            fast_open_failure,
            ecn: self.ecn.feedback(),
            ecn_seen: self.ecn.was_seen(),
            snd_mss: snd.mss,
            rcv_mss: rcv.mss,
            advmss: rcv.advmss,
            pmtu: self.path_mtu,
            mtu_search: self.rare.search.as_ref().map(|search| search.info(self.path_mtu)),
            limited_by: statistics.limited_by,
            busy_time: Duration::from_micros(statistics.busy_time(now)),
            rwnd_limited: Duration::from_micros(statistics.rwnd_limited(now)),
            sndbuf_limited: Duration::from_micros(statistics.sndbuf_limited(now)),
            last_data_sent: statistics.last_data_sent.map(|at| now.since(at)),
            last_ack_recv: self.probing.last_heard.map(|at| now.since(at)),
            last_data_recv: statistics.last_data_received.map(|at| now.since(at)),
            congestion: self.options.congestion.name(),
        }
    }
}
