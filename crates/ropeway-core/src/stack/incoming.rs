//! A listener for any address: each SYN waits for the user's decision, and what becomes of it is asked for.

use ropeway_packet::{
    FourTuple, IcmpErrorKind, IpParams, Payload, Protocol, TcpFlags, TcpHeader, UnreachableKind, emit_tcp,
    icmp,
};

use super::outbox::Whom;
use super::{Noticed, Stack};
use crate::demux::Room;
use crate::event::ListenerId;
use crate::events::Sending;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::listen::Listener;
use crate::tcp::listen::incoming::{Accepted, Incoming, Rejection};
use crate::time::Timestamp;
use crate::transmit::Transmit;
use crate::tuple_slab::TupleKey;

/// So many SYNs for a listener that was closed are passed over in one call.
const MAX_SKIPPED: usize = 256;

impl Stack {
    /// The next SYN that waits for the user's decision.
    pub fn poll_incoming(&mut self, id: ListenerId) -> Option<Incoming> {
        self.listeners.get(id).filter(|listener| listener.asks_user)?;
        for _ in 0..MAX_SKIPPED {
            let key = self.rooms.half_open.tell()?;
            if self.listener_of(key) == Some(id) {
                let tuple = self.rooms.half_open.tuple(key)?;
                return Some(Incoming::new(tuple, self.rooms.half_open.syn_options(key)?));
            }
        }
        // There may be more behind those of a listener that was closed.
        self.event_queue.push_back(Noticed::Incoming(id));
        None
    }

    fn undecided(&self, incoming: &Incoming) -> Option<(TupleKey, ListenerId)> {
        let Some(Room::HalfOpen(key)) = self.demux.find(&incoming.tuple, &self.rooms) else { return None };
        let same_syn = self.rooms.half_open.syn_options(key)?.seq == incoming.syn.seq;
        if !same_syn || !self.rooms.half_open.is_undecided(key) {
            return None;
        }
        Some((key, self.listener_of(key)?))
    }

    /// As many answers may wait as SYNs could.
    fn decided(&self, id: ListenerId) -> Whom {
        Whom::Decided(self.listeners.get(id).map_or(0, |listener| listener.accept_queue.capacity()))
    }

    /// Answers a SYN with a SYN-ACK. When the handshake is complete or has come to nothing, there is an
    /// [`Event::IncomingSettled`](crate::Event::IncomingSettled), and [`poll_accepted`](Self::poll_accepted)
    /// tells which. Says whether the SYN was still waiting.
    pub fn accept_incoming(&mut self, now: Timestamp, incoming: &Incoming) -> bool {
        self.clock_is(now);
        let Some((key, id)) = self.undecided(incoming) else { return false };
        if !self.rooms.half_open.decide(key, now) {
            return false;
        }
        self.send_syn_ack(now, &incoming.tuple, (key, id), None, self.decided(id), Sending::NEW);
        true
    }

    /// What has become of a SYN that was answered by [`accept_incoming`](Self::accept_incoming).
    pub fn poll_accepted(&mut self, now: Timestamp, id: ListenerId, incoming: &Incoming) -> Accepted {
        self.clock_is(now);
        let tuple = &incoming.tuple;
        let Some(listener) = self.listeners.get_mut(id) else { return Accepted::Gone };
        if let Some(found) = listener.accept_queue.take(tuple) {
            self.hand_over(now, found);
            return Accepted::Connection(found);
        }
        match self.demux.find(tuple, &self.rooms) {
            Some(Room::HalfOpen(key)) if !self.rooms.half_open.is_refused(key) => Accepted::Waiting,
            _ => Accepted::Gone,
        }
    }

    /// Takes the word back after [`accept_incoming`](Self::accept_incoming): a connection is reset, and a
    /// handshake forgotten, so that its last segment is answered with a RST.
    pub fn abandon_incoming(&mut self, now: Timestamp, id: ListenerId, incoming: &Incoming) {
        match self.poll_accepted(now, id, incoming) {
            Accepted::Gone => {}
            Accepted::Connection(id) => {
                self.abort(now, id);
                self.close(now, id);
            }
            Accepted::Waiting => {
                if let Some(Room::HalfOpen(key)) = self.demux.find(&incoming.tuple, &self.rooms)
                    && self.rooms.half_open.syn_options(key).is_some_and(|syn| syn.seq == incoming.syn.seq)
                {
                    self.forget_half_open(key, Cause::Abort);
                }
            }
        }
    }

    /// Turns a SYN away. Says whether it was still waiting.
    pub fn reject_incoming(&mut self, now: Timestamp, incoming: &Incoming, how: Rejection) -> bool {
        self.clock_is(now);
        let Some((key, id)) = self.undecided(incoming) else { return false };
        let tuple = incoming.tuple;
        if how == Rejection::Drop && self.listeners.get_mut(id).is_some_and(Listener::may_remember_refusal) {
            // The entry stays for a while, for the peer's further SYNs to find.
            self.rooms.half_open.refuse(key);
            return true;
        }
        let syn = TcpHeader {
            src_port: tuple.remote_port,
            dst_port: tuple.local_port,
            seq: incoming.syn.seq,
            flags: TcpFlags::SYN,
            ..TcpHeader::default()
        };
        match how {
            Rejection::Unreachable => self.answer_syn(now, &tuple, &syn, UnreachableKind::AdminProhibited),
            Rejection::HostUnreachable => self.answer_syn(now, &tuple, &syn, UnreachableKind::Host),
            Rejection::NetworkUnreachable => self.answer_syn(now, &tuple, &syn, UnreachableKind::Network),
            Rejection::Reset => {
                if let Some(reset) = reset_for(&syn, 0) {
                    self.reply_for_listener(&tuple, id, &reset, self.decided(id), Sending::NEW);
                }
            }
            Rejection::Drop => {}
        }
        self.report(&tuple, State::SynReceived, Cause::ResetToListen);
        self.demux.remove(&tuple, Room::HalfOpen(key));
        self.strike_half_open(key);
        true
    }

    /// Answers a SYN that is not at hand any more with an ICMP error, quoting its header.
    fn answer_syn(&mut self, now: Timestamp, tuple: &FourTuple, syn: &TcpHeader, kind: UnreachableKind) {
        if !self.may_send_icmp_error(now, tuple.remote_addr) {
            return;
        }
        let ip = IpParams {
            src: tuple.remote_addr,
            dst: tuple.local_addr,
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let quote = emit_tcp(&ip, syn, &Payload::new(), ropeway_packet::ChecksumMode::Full);
        let kind = IcmpErrorKind::Unreachable(kind);
        let ttl = self.config.socket.ttl;
        let packet = icmp::emit_error(tuple.local_addr, tuple.remote_addr, kind, &quote, ttl);
        self.push_reply(tuple.remote_addr, Whom::Stranger, Transmit::whole(packet.into()));
    }
}
