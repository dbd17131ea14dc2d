//! From a SYN to an established connection: the SYN queue, SYN cookies.

use std::net::IpAddr;

use ropeway_packet::{EcnCodepoint, FastOpen as Cookie, FourTuple, SeqNum, TcpFlags, TcpHeader, WindowScale};

use super::fast_open::Tried;
use super::outbox::Whom;
use super::settle::connection_id;
use super::{Noticed, Stack};
use crate::config::SynCookieMode;
use crate::demux::Room;
use crate::ecn::{EcnFeedback, EcnOption};
use crate::event::ListenerId;
use crate::events::Sending;
use crate::ledger::Measure;
use crate::options::Extensions;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::{Cause, State, report};
use crate::tcp::connection::{
    Arrival, Connection, Env, Handshake, announced_scale, default_mss, header_overhead, timestamp_clock,
};
use crate::tcp::ecn::accurate::first_option;
use crate::tcp::ecn::handshake::{agree, syn_ack_flags};
use crate::tcp::listen::half_open::{Announced, Answer, Opening};
use crate::tcp::listen::syn_cookie::{Remembered, syn_ack_options};
use crate::time::Timestamp;
use crate::tuple_slab::TupleKey;

/// After the last cookie was sent, acknowledgements are still looked at for one: two ticks of its clock.
const COOKIES_LINGER: std::time::Duration = std::time::Duration::from_secs(128);

impl Stack {
    /// A SYN for a listener (RFC 9293 3.10.7.2): an entry in the SYN queue, and a SYN-ACK; or a cookie. Data in
    /// the SYN is not kept, since an entry has no buffers: it is not acknowledged, so the peer sends it again. With Fast Open
    /// it may be a connection at once, which keeps the data.
    ///
    /// When the queue is full and cookies are off, the newest SYN is dropped: the entries that are there
    /// keep their place until they complete or are reaped. `reused`: the TIME-WAIT that this SYN takes over if
    /// there is room for it, and what our ISN must exceed then.
    pub(super) fn syn_for_listener(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        id: ListenerId,
        arrival: &mut Arrival,
        reused: Option<(TupleKey, SeqNum)>,
    ) {
        self.counters.syns_received += 1;
        if !self.has_room_to_accept(id, tuple.remote_addr) {
            if self.config.abort_on_overflow {
                self.reset(tuple, &arrival.header, 0);
            }
            return;
        }
        let Some(listener) = self.listeners.get(id) else { return };
        let undecided = listener.asks_user;
        let queue_full = listener.syn_queue_is_full() || self.half_open_has_its_share();
        let prefix_full = self.rooms.half_open.prefix_has(tuple, self.config.half_open_per_prefix);
        let cookies_may = !undecided && reused.is_none();
        let always = cookies_may && self.config.syn_cookies == SynCookieMode::Always;
        // RFC 4987 3.7-1: an entry while there is room, then cookies.
        if !(queue_full || prefix_full || always) {
            if let Tried::Usual(cookie) = self.try_fast_open(now, (tuple, id), arrival, reused) {
                self.open_half(now, tuple, id, (&arrival.header, arrival.ecn), (reused, cookie));
            }
            return;
        }
        self.counters.syn_queue_overflows += u64::from(queue_full);
        self.counters.prefix_overflows += u64::from(prefix_full);
        if cookies_may && self.config.syn_cookies != SynCookieMode::Never {
            self.send_cookie(now, tuple, id, (&arrival.header, arrival.ecn));
        } else {
            self.counters.syns_dropped += 1;
        }
    }

    fn open_half(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        id: ListenerId,
        (syn, ecn): (&TcpHeader, EcnCodepoint),
        (reused, cookie): (Option<(TupleKey, SeqNum)>, Option<Cookie>),
    ) {
        let Some(opening) = self.opening(now, tuple, id, (syn.flags, ecn, reused)) else { return };
        let Some(key) = self.rooms.half_open.insert(tuple, id.index, syn, &opening, now) else { return };
        if let Some((old, _)) = reused {
            self.counters.time_wait_reused += 1;
            self.end_time_wait(old, Cause::Syn);
        }
        self.demux.insert(tuple, Room::HalfOpen(key));
        self.weigh_tables();
        self.report(tuple, State::Listen, Cause::Syn);
        let Some(listener) = self.listeners.get_mut(id) else { return };
        listener.half_open += 1;
        if listener.asks_user {
            self.event_queue.push_back(Noticed::Incoming(id));
            return;
        }
        self.send_syn_ack(now, tuple, (key, id), cookie, Whom::Stranger, Sending::NEW);
    }

    /// What a SYN and our settings make of a connection to be. `reused`: what of an old one is to be exceeded.
    pub(super) fn opening(
        &self,
        now: Timestamp,
        tuple: &FourTuple,
        id: ListenerId,
        (flags, ecn, reused): (TcpFlags, EcnCodepoint, Option<(TupleKey, SeqNum)>),
    ) -> Option<Opening> {
        let listener = self.listeners.get(id)?;
        let iss = match reused {
            Some((_, above)) => self.isn.isn_beyond(tuple, now, above),
            None => self.isn.isn(tuple, now),
        };
        let uses = Extensions::of(&listener.options, &self.config);
        Some(Opening {
            iss,
            wscale: self.own_scale(id),
            timestamps: uses.timestamps,
            sack: uses.sack,
            ecn: agree(listener.options.ecn.agrees_to(), flags, ecn),
            field: ecn,
            undecided: listener.asks_user,
        })
    }

    /// Sends the SYN-ACK of an entry again.
    pub(super) fn answer_half_open(&mut self, now: Timestamp, key: TupleKey) {
        let (Some(tuple), Some(slot)) = (self.rooms.half_open.tuple(key), self.rooms.half_open.listener(key))
        else {
            return;
        };
        if let Some(id) = self.listeners.id_at(slot) {
            self.send_syn_ack(now, &tuple, (key, id), None, Whom::Stranger, Sending::SYN_AGAIN);
        }
    }

    pub(super) fn send_syn_ack(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        (key, id): (TupleKey, ListenerId),
        cookie: Option<Cookie>,
        whom: Whom,
        sending: Sending,
    ) {
        let announced = self.announced(tuple, id);
        if let Some(mut header) = self.rooms.half_open.syn_ack(key, &announced, now) {
            header.options.fast_open = cookie;
            self.reply_for_listener(tuple, id, &header, whom, sending);
        }
    }

    /// The window scale that SYN-ACKs of a listener announce.
    fn own_scale(&self, id: ListenerId) -> Option<WindowScale> {
        let options = &self.listeners.get(id)?.options;
        let scales = Extensions::of(options, &self.config).window_scaling;
        scales.then(|| announced_scale(options, &self.config))
    }

    pub(super) fn announced(&self, tuple: &FourTuple, id: ListenerId) -> Announced {
        // RFC 9293 3.7.1 MUST-67
        let mtu = self.device_mtu(tuple.remote_addr).saturating_sub(header_overhead(tuple));
        let options = self.listeners.get(id).map(|listener| &listener.options);
        let limit = options.and_then(|options| options.max_segment);
        Announced {
            timestamp_offset: self.isn.timestamp_offset(tuple),
            advmss: limit.map_or(mtu, |limit| limit.min(mtu)).max(1),
            window: self.listeners.get(id).map_or(0, |listener| listener.initial_window(&self.config)),
            strict_timestamps: self.config.strict_timestamps,
            ecn_option: options
                .filter(|options| options.ecn_option != EcnOption::Off)
                .map(|_| first_option()),
            ecn_fallback: options.is_some_and(|options| options.ecn_fallback),
            deferral: self.listeners.get(id).map_or(0, |listener| listener.patience.deferral),
        }
    }

    /// A SYN-ACK that remembers the SYN by itself (RFC 4987 3.6).
    fn send_cookie(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        id: ListenerId,
        (syn, ecn): (&TcpHeader, EcnCodepoint),
    ) {
        let announced = self.announced(tuple, id);
        let own_scale = self.own_scale(id);
        let Some(listener) = self.listeners.get_mut(id) else { return };
        listener.cookie_sent = Some(now);
        let (field, ecn) = (ecn, agree(listener.options.ecn.agrees_to(), syn.flags, ecn));
        let uses = Extensions::of(&listener.options, &self.config);
        let clock = uses.timestamps.then(|| timestamp_clock(now, announced.timestamp_offset));
        self.counters.cookies_sent += 1;
        let options =
            syn_ack_options(syn, announced.advmss, own_scale, clock, uses.sack, (ecn, announced.ecn_option));
        // Without a timestamp there is no place to remember ECN of RFC 3168 either; Accurate ECN, the third segment tells of.
        let ecn = if options.timestamps.is_some() || ecn == EcnFeedback::Accurate {
            ecn
        } else {
            EcnFeedback::None
        };
        let said = Remembered {
            mss: syn.options.mss.unwrap_or(default_mss(tuple)),
            scaled: options.window_scale.is_some(),
        };
        let iss = self.cookies.make(tuple, syn.seq, said, now);
        let header = TcpHeader {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: iss,
            ack: syn.seq + 1,
            flags: TcpFlags::SYN | TcpFlags::ACK | syn_ack_flags(ecn, field),
            window: announced.window,
            urgent: 0,
            options,
        };
        self.reply_for_listener(tuple, id, &header, Whom::Stranger, Sending::NEW);
    }

    /// An ACK for a listener, and no entry: if it brings back a cookie, the handshake is complete. What it
    /// does not, is for a connection that does not exist (RFC 9293 3.10.7.2).
    pub(super) fn ack_for_listener(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        id: ListenerId,
        arrival: &mut Arrival,
    ) {
        let lately = self.listeners.get(id).and_then(|listener| listener.cookie_sent);
        let lately = lately.is_some_and(|sent| now.since(sent) < COOKIES_LINGER);
        let flags = arrival.header.flags;
        if !lately || flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
            self.reset(tuple, &arrival.header, arrival.payload.len());
            return;
        }
        let Some(recovered) = self.cookies.check(tuple, &arrival.header, now) else {
            self.counters.cookies_failed += 1;
            self.reset(tuple, &arrival.header, arrival.payload.len());
            return;
        };
        // RFC 7323 3.2-3
        if self.config.strict_timestamps && recovered.lacks_timestamps() {
            return;
        }
        if let Some(timestamps) = &mut arrival.header.options.timestamps {
            // The echo's low bits are options, not time: it tells of no round trip.
            timestamps.tsecr = 0;
        }
        let Some(listener) = self.listeners.get(id) else { return };
        let own_scale = self.own_scale(id);
        let uses = Extensions::of(&listener.options, &self.config);
        let handshake = Handshake {
            irs: arrival.header.seq - 1,
            timestamp_offset: self.isn.timestamp_offset(tuple),
            announced_window: u32::from(listener.initial_window(&self.config)),
            negotiated: recovered.negotiated(
                own_scale,
                uses.timestamps,
                uses.sack,
                (listener.options.ecn.agrees_to(), flags),
            ),
            answered_at: None,
            sent_again_after: None,
            timed_out_at: None,
            retransmits: 0,
        };
        if self.has_room_to_accept(id, tuple.remote_addr) {
            let iss = arrival.header.ack - 1;
            self.report(tuple, State::Listen, Cause::Syn);
            if self.establish(now, tuple, (id, None), iss, &handshake, arrival) {
                self.counters.cookies_accepted += 1;
            }
        } else if self.config.abort_on_overflow {
            self.reset(tuple, &arrival.header, arrival.payload.len());
        }
    }

    /// A segment for a half-open connection: SYN-RECEIVED of a passive open.
    pub(super) fn arrives_at_half_open(
        &mut self,
        now: Timestamp,
        key: TupleKey,
        tuple: &FourTuple,
        arrival: &mut Arrival,
    ) {
        let Some(id) = self.listener_of(key) else { return };
        let announced = self.announced(tuple, id);
        let len = arrival.payload.len();
        match self.rooms.half_open.segment_arrives(key, (&arrival.header, arrival.ecn), len, &announced, now)
        {
            Answer::Drop => {}
            Answer::Reply(header) => {
                let again = header.flags.contains(TcpFlags::SYN);
                let sending = Sending { again, ..Sending::NEW };
                self.reply_for_listener(tuple, id, &header, Whom::Stranger, sending);
            }
            Answer::Refuse(reset) => {
                self.reply_for_listener(tuple, id, &reset, Whom::Stranger, Sending::NEW);
                self.forget_half_open(key, Cause::Abort);
            }
            Answer::BackToListen => {
                self.counters.half_open_reset += 1;
                self.forget_half_open(key, Cause::ResetToListen);
            }
            Answer::Defer => self.counters.accepts_deferred += 1,
            Answer::Complete => self.complete_handshake(now, (key, id), tuple, &announced, arrival),
        }
    }

    /// The third segment of the handshake, with or without data.
    fn complete_handshake(
        &mut self,
        now: Timestamp,
        (key, id): (TupleKey, ListenerId),
        tuple: &FourTuple,
        announced: &Announced,
        arrival: &mut Arrival,
    ) {
        if !self.has_room_to_accept(id, tuple.remote_addr) {
            // As Linux does by default, the ACK is dropped: our SYN-ACK will ask for it again.
            if self.config.abort_on_overflow {
                self.reset(tuple, &arrival.header, arrival.payload.len());
                self.forget_half_open(key, Cause::Abort);
            }
            return;
        }
        let Some(iss) = self.rooms.half_open.iss(key) else { return };
        let Some(handshake) = self.rooms.half_open.handshake(key, announced, now) else { return };
        self.establish(now, tuple, (id, Some(key)), iss, &handshake, arrival);
    }

    fn has_room_to_accept(&mut self, id: ListenerId, remote: IpAddr) -> bool {
        if self.ledger.pressure_towards(remote).calls_for(Measure::RefuseConnections) {
            self.counters.opens_refused += 1;
            return false;
        }
        let full = self.listeners.get(id).is_none_or(|listener| listener.accept_queue.is_full())
            || self.rooms.connections.len() >= self.config.max_connections;
        self.counters.accept_queue_overflows += u64::from(full);
        !full
    }

    /// Whether the SYN queue takes as much of the budget as it may: an eighth.
    /// Pages count as a whole: until a flood's last entry on one has timed out, SYNs get cookies though there are free slots.
    fn half_open_has_its_share(&self) -> bool {
        self.rooms.half_open.memory() >= self.config.budget() / 8
    }

    /// Makes the connection, lets the segment that completed it arrive there, and queues it to be accepted. `queued`: the
    /// place that its tuple has had in the SYN queue.
    fn establish(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        (id, queued): (ListenerId, Option<TupleKey>),
        iss: SeqNum,
        handshake: &Handshake,
        arrival: &mut Arrival,
    ) -> bool {
        let Some(options) = self.listeners.get(id).map(|listener| listener.options.clone()) else {
            return false;
        };
        if let Some(queued) = queued {
            self.strike_half_open(queued);
        }
        let setup = self.setup(tuple, iss, handshake.timestamp_offset);
        let pressure = self.ledger.pressure_towards(tuple.remote_addr);
        let env = Env::new(
            now,
            &self.config,
            pressure,
            &mut self.counters,
            self.handed,
            &mut self.spares,
            &mut self.path_mtu,
        );
        let connection = Connection::from_half_open(*tuple, id, options, &setup, handshake, &env);
        let Some(key) = self.register(connection, queued) else { return false };
        self.arrives_at_connection(now, key, arrival);
        if !self.rooms.connections.get(key).is_some_and(|new| new.state().is_synchronized()) {
            self.discard(key);
            return false;
        }
        self.counters.passive_opens += 1;
        let Some(listener) = self.listeners.get_mut(id) else { return true };
        let asked_for = listener.asks_user.then_some(*tuple);
        let over = listener.accept_queue.push(connection_id(key), asked_for);
        let news = if listener.asks_user { Noticed::Settled(id, *tuple) } else { Noticed::Listener(id) };
        self.event_queue.push_back(news);
        if let Some(over) = over {
            self.close(now, over);
        }
        true
    }

    /// The listener that a half-open connection belongs to, unless it is closed.
    pub(super) fn listener_of(&self, key: TupleKey) -> Option<ListenerId> {
        self.rooms.half_open.listener(key).and_then(|slot| self.listeners.id_at(slot))
    }

    /// The half-open connection has come to nothing.
    pub(super) fn forget_half_open(&mut self, key: TupleKey, cause: Cause) {
        let Some(tuple) = self.rooms.half_open.tuple(key) else { return };
        self.report(&tuple, State::SynReceived, cause);
        let asks =
            self.listener_of(key).filter(|id| self.listeners.get(*id).is_some_and(|who| who.asks_user));
        let told = self.rooms.half_open.is_refused(key);
        self.demux.remove(&tuple, Room::HalfOpen(key));
        self.strike_half_open(key);
        if let Some(id) = asks.filter(|_| !told) {
            self.event_queue.push_back(Noticed::Settled(id, tuple));
        }
    }

    /// Takes an entry out of all books but the demultiplexer's.
    pub(super) fn strike_half_open(&mut self, key: TupleKey) {
        let Some(slot) = self.rooms.half_open.listener(key) else { return };
        let refused = self.rooms.half_open.is_refused(key);
        self.rooms.half_open.remove(key);
        self.weigh_tables();
        self.listeners.entry_ends(slot, refused);
    }

    /// Forgets entries of closed listeners, a bounded number of them; what is left is due at once.
    pub(super) fn sweep_half_open(&mut self) {
        for key in self.rooms.half_open.sweep().unwrap_or_default() {
            if self.listener_of(key).is_none() {
                self.forget_half_open(key, Cause::Abort);
            }
        }
        if self.listeners.forsaken() == 0 {
            self.rooms.half_open.end_sweep();
        }
    }

    /// What matches nothing is reset.
    pub(super) fn reset(&mut self, tuple: &FourTuple, header: &TcpHeader, payload_len: usize) {
        if let Some(reset) = reset_for(header, payload_len) {
            self.reply(tuple, &reset);
        }
    }

    /// A transition outside of a `Connection`.
    pub(super) fn report(&self, tuple: &FourTuple, from: State, cause: Cause) {
        if let Err(illegal) = report(tuple, from, cause) {
            tracing::error!(connection = %tuple, %illegal, "a table made an illegal transition");
            debug_assert!(false, "{illegal}");
        }
    }

    /// Queues a segment with the IP options of a listener.
    pub(super) fn reply_for_listener(
        &mut self,
        tuple: &FourTuple,
        id: ListenerId,
        header: &TcpHeader,
        whom: Whom,
        sending: Sending,
    ) {
        let Some(listener) = self.listeners.get(id) else { return };
        let (ttl, tos) = (listener.options.ttl, listener.options.tos);
        self.reply_with(tuple, header, (ttl, tos), whom, sending);
    }
}
