//! What goes out, and when to wake up.

use ropeway_packet::{ChecksumMode, FourTuple, IpParams, Payload, Protocol, TcpFlags, TcpHeader, emit_tcp};

use super::Stack;
use crate::demux::Room;
use crate::tcp::connection::Env;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::listen::half_open::Overdue;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum, Transmit};

/// Answers beyond this many that wait to be sent are dropped: whoever floods us gets no amplifier.
const MAX_REPLIES: usize = 1024;

/// Packets to ourselves that one `poll_transmit` works off before it lets others have a turn.
const LOOPBACK_BUDGET: usize = 256;

/// Timers of one kind that one `handle_timeout` works off: enough for a burst, short enough for others.
const TIMEOUT_BUDGET: usize = 256;

impl Stack {
    /// The next packet to send.
    ///
    /// Packets between our own addresses never come out: they are taken in at once, a bounded number of them;
    /// if more wait after `None`, `poll_timeout` says "now".
    #[must_use]
    pub fn poll_transmit(&mut self, now: Timestamp) -> Option<Transmit> {
        self.now = self.now.max(now);
        let mut budget = LOOPBACK_BUDGET;
        loop {
            if let Some((transmit, looped)) = self.next_transmit(now) {
                self.counters.sent += 1;
                if !looped {
                    return Some(transmit);
                }
                let packet = Received {
                    packet: transmit.to_bytes(),
                    checksum: RxChecksum::Verified,
                    segment_size: None,
                };
                self.loopback.push_back(packet);
                continue;
            }
            if budget == 0 {
                return None;
            }
            // All that is queued goes in before anything is sent, as with packets from a device.
            if self.loopback.is_empty() {
                return None;
            }
            while budget > 0
                && let Some(packet) = self.loopback.pop_front()
            {
                budget -= 1;
                self.take_packet(now, packet, true);
            }
        }
    }

    /// Whether `poll_transmit` may have something to give. After a call that only reads, this tells whether the
    /// peer is to hear of it.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.replies.is_empty() || !self.ready.is_empty() || !self.loopback.is_empty()
    }

    /// The next packet, and whether it is for ourselves.
    fn next_transmit(&mut self, now: Timestamp) -> Option<(Transmit, bool)> {
        if let Some(transmit) = self.replies.pop_front() {
            return Some((transmit, false));
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(connection) = self.rooms.connections.get_mut(key) else { continue };
            connection.scheduled.in_ready_list = false;
            let remote = connection.tuple.remote_addr;
            let mut env = Env { now, config: &self.config, counters: &mut self.counters };
            let transmit = connection.poll_transmit(&mut env);
            self.settle(key, now);
            if let Some(transmit) = transmit {
                return Some((transmit, self.addresses.is_local(remote)));
            }
        }
        None
    }

    /// Queues a segment that no connection sends, with the default options.
    pub(super) fn reply(&mut self, tuple: &FourTuple, header: &TcpHeader) {
        let (ttl, tos) = (self.default_options().ttl, self.default_options().tos);
        self.reply_with(tuple, header, ttl, tos);
    }

    pub(super) fn reply_with(&mut self, tuple: &FourTuple, header: &TcpHeader, ttl: u8, tos: u8) {
        if header.flags.contains(TcpFlags::RST) {
            self.counters.resets_sent += 1;
        }
        self.counters.tcp_sent += 1;
        let ip = IpParams {
            src: tuple.local_addr,
            dst: tuple.remote_addr,
            protocol: Protocol::TCP,
            hop_limit: ttl,
            traffic_class: tos,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let checksum =
            if self.config.tx_checksum_offload { ChecksumMode::Partial } else { ChecksumMode::Full };
        let payload = Payload::new();
        let header = emit_tcp(&ip, header, &payload, checksum);
        self.push_reply(tuple.remote_addr, Transmit { header, payload, checksum, segment_size: None });
    }

    /// Queues an answer, if not too many wait already.
    pub(super) fn push_reply(&mut self, to: std::net::IpAddr, transmit: Transmit) {
        if self.replies.len() >= MAX_REPLIES || self.loopback.len() >= MAX_REPLIES {
            self.counters.replies_dropped += 1;
        } else if self.addresses.is_local(to) {
            self.counters.sent += 1;
            let packet =
                Received { packet: transmit.to_bytes(), checksum: RxChecksum::Verified, segment_size: None };
            self.loopback.push_back(packet);
        } else {
            self.replies.push_back(transmit);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; a moment in the past means at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if !self.loopback.is_empty() {
            return Some(Timestamp::START);
        }
        let timers = [
            self.deadlines.earliest(),
            self.rooms.half_open.next_deadline(self.now),
            self.rooms.time_wait.next_deadline(self.now),
        ];
        timers.into_iter().flatten().min()
    }

    /// Does what is due. The work of one call is bounded; what is left is due at once.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.expire_connections(now);
        self.expire_half_open(now);
        for _ in 0..TIMEOUT_BUDGET {
            let Some((key, tuple)) = self.rooms.time_wait.pop_expired(now) else { break };
            self.demux.remove(&tuple, Room::TimeWait(key), &self.rooms);
            self.report(&tuple, State::TimeWait, Cause::Timeout);
        }
    }

    fn expire_connections(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            let Some(slot) = self.deadlines.pop_due(now) else { break };
            let Some(key) = self.rooms.connections.key_at(slot) else { continue };
            let Some(connection) = self.rooms.connections.get_mut(key) else { continue };
            let mut env = Env { now, config: &self.config, counters: &mut self.counters };
            connection.handle_timeout(&mut env);
            self.settle(key, now);
        }
    }

    fn expire_half_open(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            match self.rooms.half_open.pop_overdue(now) {
                None => break,
                Some(Overdue::Retransmit(key)) => {
                    self.counters.tcp_retransmitted += 1;
                    self.answer_half_open(now, key);
                }
                Some(Overdue::Reap(key)) => {
                    self.counters.half_open_reaped += 1;
                    self.forget_half_open(key, Cause::Timeout);
                }
            }
        }
    }
}
