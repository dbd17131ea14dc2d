//! What goes out, and when to wake up.

use std::net::IpAddr;

use ropeway_packet::{ChecksumMode, FourTuple, IpParams, Payload, Protocol, TcpFlags, TcpHeader, emit_tcp};

use super::Stack;
use super::outbox::{Toil, Turn, Whom};
use crate::events::{self, Sending};
use crate::slab::Key;
use crate::tcp::connection::state::Cause;
use crate::tcp::connection::{Env, Handed};
use crate::tcp::listen::half_open::Overdue;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum, Transmit};

/// Things of one kind that one `handle_timeout` works off: timers, entries that expire, connections to be reset. Each may
/// take some microseconds if its memory is cold, and others wait meanwhile.
pub(super) const TIMEOUT_BUDGET: usize = 16;

impl Stack {
    /// The next packet to send.
    ///
    /// Packets between our own addresses never come out: they are taken in at once. From one `None` to the next that is a
    /// bounded number of them, and so is that of connections that turn out to have nothing to send; if more wait after
    /// `None`, `poll_timeout` says "now".
    #[must_use]
    pub fn poll_transmit(&mut self, now: Timestamp) -> Option<Transmit> {
        self.clock_is(now);
        let mut next = None;
        loop {
            self.next_transmit(now, &mut next);
            if next.is_some() {
                self.counters.sent += 1;
                self.handed.note();
                break;
            }
            if self.outbox.toil.is_enough() || !self.move_local(now) {
                self.outbox.pause();
                break;
            }
        }
        next
    }

    /// Tells how many of the packets that `poll_transmit` gave, the last ones, the device has not taken yet; 0 if
    /// it is never told. What has not left cannot be lost: it is not sent again, whatever the timers say.
    pub fn set_waiting(&mut self, packets: usize) {
        self.handed.set_waiting(packets);
    }

    /// Moves packets between our own addresses, a bounded number of them, and gives none to the device: for an owner
    /// whose device takes no more, or is never done.
    pub fn handle_local(&mut self, now: Timestamp) {
        self.clock_is(now);
        while !self.outbox.toil.is_enough() && self.move_local(now) {}
        self.outbox.toil = Toil::default();
    }

    /// Whether `poll_transmit` may have something to give. After a call that only reads, this tells whether the
    /// peer is to hear of it.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next packet for the device becomes `next`.
    fn next_transmit(&mut self, now: Timestamp, next: &mut Option<Transmit>) {
        if !self.outbox.has_others() {
            self.outbox.skip_others();
        }
        for _ in 0..Turn::ALL {
            match self.outbox.take_turn() {
                Turn::Connections => self.next_of_connections(now, next),
                Turn::Datagrams => *next = self.next_datagram(),
                turn => self.outbox.pop(turn, next),
            }
            if next.is_some() {
                return self.weigh_outbox();
            }
        }
        self.outbox.begin_anew();
        self.weigh_outbox();
    }

    #[inline]
    fn next_of_connections(&mut self, now: Timestamp, next: &mut Option<Transmit>) {
        while !self.outbox.toil.is_enough()
            && let Some(key) = self.outbox.ready.pop()
        {
            let Some(remote) = self.turn_of(key, now, self.handed, next) else {
                self.outbox.toil.turn();
                continue;
            };
            if !self.addresses.is_local(remote) {
                self.outbox.ready.spend(next.as_ref().map_or(0, Transmit::len));
                return;
            }
            // The address has become ours meanwhile.
            self.send_local(next);
        }
    }

    /// One step of what is between our own addresses: some connections send, and all of it goes in before more is
    /// sent, as with packets from a device. Says whether there was anything to do.
    fn move_local(&mut self, now: Timestamp) -> bool {
        let idle = !self.outbox.has_local();
        let mut next = None;
        while !self.outbox.toil.is_enough()
            && self.outbox.local() < Toil::TURNS
            && let Some(key) = self.outbox.ready_local.pop_front()
        {
            self.outbox.toil.turn();
            let remote = self.rooms.connections.get(key).map(|connection| connection.tuple.remote_addr);
            if remote.is_some_and(|remote| !self.addresses.is_local(remote)) {
                // The address is not ours any more.
                self.outbox.ready.push(key);
            } else if self.turn_of(key, now, Handed::NOWHERE, &mut next).is_some() {
                self.send_local(&mut next);
            }
        }
        // What has been sent goes in, but for the answers to it.
        for _ in 0..self.outbox.local().min(Toil::TURNS) {
            let Some(packet) = self.outbox.pop_local() else { break };
            self.take_packet(now, packet, true);
        }
        self.weigh_outbox();
        !idle
    }

    /// It is a connection's turn to send a segment. If it has one, that becomes `next`; says where it goes.
    #[inline]
    fn turn_of(
        &mut self,
        key: Key,
        now: Timestamp,
        handed: Handed,
        next: &mut Option<Transmit>,
    ) -> Option<IpAddr> {
        let connection = self.rooms.connections.get_mut(key)?;
        connection.scheduled.in_ready_list = false;
        let remote = connection.tuple.remote_addr;
        let pressure = self.ledger.pressure(&connection.scheduled.charged);
        let mut env = Env::new(
            now,
            &self.config,
            pressure,
            &mut self.counters,
            handed,
            &mut self.spares,
            &mut self.path_mtu,
        );
        env.out = Some(next);
        connection.borrow_flight(env.spares);
        let written = connection.poll_transmit(&mut env);
        if written.is_some() && connection.has_all_sent() {
            connection.skip_turn(now);
        }
        self.settle(key, now);
        written.map(|_| remote)
    }

    /// What was to be sent goes to ourselves.
    fn send_local(&mut self, next: &mut Option<Transmit>) {
        if let Some(transmit) = next.take() {
            self.push_local(&transmit);
        }
    }

    /// Sends a packet to ourselves.
    pub(super) fn push_local(&mut self, transmit: &Transmit) {
        self.counters.sent += 1;
        let packet = Received::alone(transmit.to_bytes())
            .with_checksum(RxChecksum::Verified)
            .with_segment_size(transmit.segment_size);
        self.outbox.push_local(packet);
    }

    /// Answers a stranger with a segment that no connection sends.
    pub(super) fn reply(&mut self, tuple: &FourTuple, header: &TcpHeader) {
        let (ttl, tos) = (self.default_options().ttl, self.default_options().tos);
        self.reply_with(tuple, header, (ttl, tos), Whom::Stranger, Sending::NEW);
    }

    /// Answers the peer of a connection, likewise.
    pub(super) fn reply_to_peer(&mut self, tuple: &FourTuple, header: &TcpHeader) {
        let (ttl, tos) = (self.default_options().ttl, self.default_options().tos);
        self.reply_with(tuple, header, (ttl, tos), Whom::Peer, Sending::NEW);
    }

    pub(super) fn reply_with(
        &mut self,
        tuple: &FourTuple,
        header: &TcpHeader,
        (ttl, tos): (u8, u8),
        whom: Whom,
        sending: Sending,
    ) {
        if header.flags.contains(TcpFlags::RST) {
            self.counters.resets_sent += 1;
        }
        self.counters.tcp_sent += 1;
        let told =
            events::Segment { now: self.now, tuple, header, len: 0, segment_size: None, ecn: sending.ecn };
        events::sent(&told, None, sending);
        let ip = IpParams {
            src: tuple.local_addr,
            dst: tuple.remote_addr,
            protocol: Protocol::TCP,
            hop_limit: ttl,
            traffic_class: tos,
            dont_fragment: true,
            ident: 0,
            flow_label: self.isn.flow_label(Protocol::TCP, tuple),
        };
        let checksum =
            if self.config.tx_checksum_offload { ChecksumMode::Partial } else { ChecksumMode::Full };
        let payload = Payload::new();
        let header = emit_tcp(&ip, header, &payload, checksum);
        self.push_reply(tuple.remote_addr, whom, Transmit::new(header, payload, checksum));
    }

    /// Queues an answer. One for the device is dropped if too many wait already. One to ourselves needs no bound: it
    /// takes the place of the packet that it answers.
    pub(super) fn push_reply(&mut self, to: IpAddr, whom: Whom, transmit: Transmit) {
        if self.addresses.is_local(to) {
            self.push_local(&transmit);
        } else if !self.outbox.push(whom, transmit, self.config.budget()) {
            self.counters.replies_dropped += 1;
        }
        self.weigh_outbox();
    }

    /// What waits here may have changed.
    pub(super) fn weigh_outbox(&mut self) {
        self.ledger.set_waiting(self.outbox.memory());
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; a moment in the past means at once.
    ///
    /// Where [events come first](crate::StackConfig::events_first), what waits for them is due at once too:
    /// [`poll_event`](Self::poll_event) is to be called before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let due = Some(self.now).filter(|_| !(self.due.is_empty() && self.unanswered.is_empty()));
        [due, self.next_timer()].into_iter().flatten().min()
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) has something to do at this moment, but for what waits until all events
    /// were taken.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        !self.due.is_empty() || self.is_due_unanswered() || self.next_timer().is_some_and(|next| next <= now)
    }

    /// The next deadline but for what is due at once.
    fn next_timer(&self) -> Option<Timestamp> {
        if self.outbox.has_local()
            || self.outbox.is_paused()
            || !self.unaccepted.is_empty()
            || self.is_shutting_down()
        {
            return Some(Timestamp::START);
        }
        let timers = [
            self.deadlines.earliest(),
            self.rooms.half_open.next_deadline(self.now),
            self.rooms.time_wait.next_deadline(self.now),
            self.fragments.next_deadline(self.config.reassembly_timeout),
        ];
        timers.into_iter().flatten().min()
    }

    /// Does what is due. The work of one call is bounded; what is left is due at once.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.clock_is(now);
        self.reclaim(now);
        self.expire_connections(now);
        self.expire_half_open(now);
        self.sweep_half_open();
        self.reset_unaccepted(now);
        self.shut_down_more(now);
        self.expire_fragments(now);
        for _ in 0..TIMEOUT_BUDGET {
            let Some(key) = self.rooms.time_wait.expired(now) else { break };
            self.end_time_wait(key, Cause::Timeout);
        }
    }

    fn expire_connections(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            let Some(key) = self.next_due(now) else { break };
            let Some(connection) = self.rooms.connections.get_mut(key) else { continue };
            connection.scheduled.in_due_list = false;
            let next = connection.next_deadline();
            if next.is_none_or(|next| next > now) {
                // The timer that was due was stopped, or restarted: an answer has taken an acknowledgement along, say.
                if let Some(next) = next {
                    self.deadlines.advance(key.index, next);
                }
                continue;
            }
            let pressure = self.ledger.pressure(&connection.scheduled.charged);
            let mut env = Env::new(
                now,
                &self.config,
                pressure,
                &mut self.counters,
                self.handed,
                &mut self.spares,
                &mut self.path_mtu,
            );
            connection.leaves_queue();
            connection.handle_timeout(&mut env);
            if connection.take_black_hole() {
                self.note_black_hole(now);
            }
            self.settle(key, now);
        }
    }

    /// A connection of which something may be due. It has no place in a queue any more.
    fn next_due(&mut self, now: Timestamp) -> Option<Key> {
        if let Some(key) = self.due.pop_front() {
            return Some(key);
        }
        if self.is_due_unanswered() {
            self.told = self.told.saturating_sub(1);
            return self.unanswered.pop_front();
        }
        let slot = self.deadlines.pop_due(now)?;
        self.rooms.connections.key_at(slot)
    }

    /// Whether something is due of which the application was told, and that it could have answered since.
    fn is_due_unanswered(&self) -> bool {
        (self.told > 0 || self.event_queue.is_empty()) && !self.unanswered.is_empty()
    }

    fn expire_half_open(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            let (rooms, listeners) = (&mut self.rooms, &self.listeners);
            match rooms.half_open.pop_overdue(now, |slot| listeners.patience_at(slot)) {
                None => break,
                Some(Overdue::Wait) => {}
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
