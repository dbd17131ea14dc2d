//! A packet arrives: whose it is, and which room takes it.

use std::mem;

use ropeway_packet::{
    EcnCodepoint, FourTuple, IcmpErrorKind, IpPacket, Protocol, TcpError, TcpFlags, UnreachableKind,
    WindowScale, ip, parse_tcp_header,
};

use super::Stack;
use crate::demux::Room;
use crate::events;
use crate::policy::PortPolicy;
use crate::slab::Key;
use crate::tcp::connection::state::Cause;
use crate::tcp::connection::{Arrival, Env, Reply};
use crate::tcp::listen::asks_to_open;
use crate::tcp::time_wait;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum};
use crate::tuple_slab::TupleKey;

/// Whom a packet is for, by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// Connections, sockets, listeners, and who answers for them.
    Stack,
    /// Whoever takes what is not for the stack.
    Program,
    /// It is dropped, and was counted.
    Nobody,
}

impl Stack {
    /// Takes a packet from the device. What is wrong with it is counted, never an error.
    pub fn handle_packet(&mut self, now: Timestamp, packet: Received) {
        self.clock_is(now);
        self.take_packet(now, packet, false);
    }

    /// Takes all packets of `batch`, in the order in which they came, and leaves it empty.
    ///
    /// It is like [`handle_packet`](Self::handle_packet) for one after the other, but cheaper: those that follow each other in
    /// a connection are taken as one ([`Merger`](ropeway_packet::train::Merger)), and nothing of them is copied for that.
    pub fn handle_batch(&mut self, now: Timestamp, batch: &mut Vec<Received>) {
        self.clock_is(now);
        if batch.len() > 1 && self.batch.get_or_insert_default().find_trains(batch) {
            for index in 0..batch.len() {
                if let Some(packet) = self.batch.as_mut().and_then(|found| found.take(index, batch)) {
                    self.take_packet(now, packet, false);
                }
            }
            batch.clear();
        }
        for packet in batch.drain(..) {
            self.take_packet(now, packet, false);
        }
    }

    // RFC 1122 3.2.2.1-1, RFC 8200 4-2
    pub(super) fn take_packet(&mut self, now: Timestamp, received: Received, looped: bool) {
        self.counters.received += 1 + received.rest.pieces.len() as u64;
        // What was read stays where it was written, here and below: it would be moved in pieces that are none of its fields.
        let parsed = ip::parse(&received.packet);
        let ip = match &parsed {
            Ok(ip) => ip,
            Err(error) => return self.refuse_malformed(now, &received, *error),
        };
        let destination = self.destination(ip, looped);
        if destination == Destination::Nobody {
            return;
        }
        if let Some(place) = ip.fragment {
            return self.take_fragment(now, &received, ip, place, looped);
        }
        if destination == Destination::Program {
            self.divert_unclaimed(&received, ip.protocol);
            return;
        }
        match ip.protocol {
            Protocol::TCP => self.take_tcp(now, received, ip),
            Protocol::UDP => self.take_udp(now, &received, ip),
            Protocol::ICMP | Protocol::ICMPV6 => self.take_icmp(now, &received, ip),
            protocol if self.divert_unclaimed(&received, protocol) => {}
            _ => {
                self.counters.unknown_protocol += 1;
                let kind = match ip::protocol_offset(&received.packet).and_then(|at| u32::try_from(at).ok()) {
                    // RFC 4443 3.4
                    Some(pointer) if ip.src.is_ipv6() => IcmpErrorKind::ParameterProblem { code: 1, pointer },
                    // RFC 1122 3.2.2.1
                    _ => IcmpErrorKind::Unreachable(UnreachableKind::Protocol),
                };
                self.send_icmp_error(now, &received, (ip.dst, ip.src), kind);
            }
        }
    }

    // RFC 1122 3.2.2-3
    /// Whom a packet is for, which can have come to us on that way (RFC 1122 3.2.1.3, RFC 9293 3.9.2.3
    /// MUST-63, RFC 4987 3.1-1).
    fn destination(&mut self, ip: &IpPacket, looped: bool) -> Destination {
        if !looped && self.addresses.has_passed((ip.src, ip.dst)) {
            return Destination::Stack;
        }
        // RFC 1122 4.1.3.6-1
        let from_nobody = !self.addresses.is_unicast(ip.src);
        // From outside, nothing comes from us or from a loopback address: that is the land attack.
        let forged = !looped && self.addresses.is_local(ip.src);
        if from_nobody || forged {
            self.counters.martian_sources += 1;
            return Destination::Nobody;
        }
        if self.addresses.is_local(ip.dst) && (looped || !ip.dst.is_loopback()) {
            if !looped {
                self.addresses.note_passed((ip.src, ip.dst));
            }
            return Destination::Stack;
        }
        // In a fragment of IPv6 the protocol may be an extension header's; it is asked again when the datagram is whole.
        let may_be = |protocol| ip.protocol == protocol || ip.fragment.is_some() && ip.dst.is_ipv6();
        let takes_any =
            may_be(Protocol::TCP) && self.any_address || may_be(Protocol::UDP) && self.udp.takes_any();
        if takes_any && !ip.dst.is_loopback() && self.addresses.is_unicast(ip.dst) {
            return Destination::Stack;
        }
        let to_many =
            ip.dst.is_multicast() && self.udp.has_joined(ip.dst) || self.addresses.is_broadcast(ip.dst);
        if may_be(Protocol::UDP) && to_many {
            return Destination::Stack;
        }
        let diverted = self.diverts(ip.protocol) || ip.fragment.is_some() && self.diverted.is_some();
        if diverted && !ip.dst.is_loopback() && !ip.dst.is_unspecified() {
            return Destination::Program;
        }
        if ip.protocol == Protocol::TCP && (ip.dst.is_multicast() || self.addresses.is_broadcast(ip.dst)) {
            // MUST-57
            self.counters.broadcast_segments += 1;
        } else {
            self.counters.not_ours += 1;
        }
        Destination::Nobody
    }

    fn take_tcp(&mut self, now: Timestamp, received: Received, ip: &IpPacket) {
        let (remote_addr, local_addr) = (ip.src, ip.dst);
        let verify = received.checksum == RxChecksum::Unverified;
        let parsed = parse_tcp_header(&received.packet, ip, verify);
        let segment = match &parsed {
            Ok(segment) => segment,
            Err(error) => {
                tracing::debug!(%error, "dropping a TCP segment");
                match error {
                    TcpError::BadChecksum => self.counters.bad_checksums += 1,
                    _ => self.counters.malformed_transport += 1,
                }
                return;
            }
        };
        self.reclaim(now);
        self.counters.tcp_received += 1 + received.rest.pieces.len() as u64;
        self.counters.malformed_options += u64::from(segment.malformed_options);
        if let Some(shift) =
            segment.header.options.window_scale.filter(|shift| *shift > WindowScale::MAX.get())
        {
            // RFC 7323 2.3-3
            tracing::debug!(remote = %remote_addr, shift, "the window scale is above 14 and counts as 14");
        }
        let tuple = FourTuple {
            local_addr,
            remote_addr,
            local_port: segment.header.dst_port,
            remote_port: segment.header.src_port,
        };
        let room = self.demux.find_for(&tuple, &self.rooms);
        // What is for no connection may be quoted.
        let quoted = (!matches!(room, Some(Room::Connection(_)))).then(|| received.clone());
        let arrival = &mut Arrival::new(ip, segment, received);
        self.counters.marks_received += u64::from(arrival.ecn == EcnCodepoint::Ce);
        let told = events::Segment {
            now,
            tuple: &tuple,
            header: &arrival.header,
            len: arrival.payload.len(),
            segment_size: arrival.segment_size,
            ecn: arrival.ecn,
        };
        events::received(&told, || self.peer_scale(room));
        match room {
            Some(Room::Connection(slot)) => {
                if let Some(key) = self.rooms.connections.key_at(slot) {
                    self.arrives_at_connection(now, key, arrival);
                }
            }
            Some(Room::HalfOpen(key)) if self.listener_of(key).is_some() => {
                self.arrives_at_half_open(now, key, &tuple, arrival);
            }
            Some(Room::HalfOpen(key)) => {
                // Its listener is closed.
                self.forget_half_open(key, Cause::Abort);
                self.arrives_at_port(now, &tuple, arrival, quoted);
            }
            Some(Room::TimeWait(key)) => self.arrives_at_time_wait(now, key, &tuple, arrival),
            None => self.arrives_at_port(now, &tuple, arrival, quoted),
        }
        if let Some(batch) = &mut self.batch {
            batch.give_back(mem::take(&mut arrival.payload));
        }
    }

    /// How the other end scales its windows, as far as a room knows.
    fn peer_scale(&self, room: Option<Room>) -> Option<WindowScale> {
        match room? {
            Room::Connection(slot) => {
                let key = self.rooms.connections.key_at(slot)?;
                self.rooms.connections.get(key).map(|connection| connection.peer_scale())
            }
            Room::HalfOpen(key) => self.rooms.half_open.peer_scale(key),
            Room::TimeWait(_) => None,
        }
    }

    pub(super) fn arrives_at_connection(&mut self, now: Timestamp, key: Key, arrival: &mut Arrival) {
        let Some(connection) = self.rooms.connections.get_mut(key) else { return };
        let tuple = connection.tuple;
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
        match connection.segment_arrives(arrival, &mut env) {
            None => {}
            Some(Reply::Reset(reset)) => self.reply_to_peer(&tuple, &reset),
            Some(Reply::Learned(news)) => self.learn(now, &tuple, news),
        }
        self.settle(key, now);
    }

    /// A segment that belongs to nothing, and the packet it came in: the packet policy is asked first.
    fn arrives_at_port(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        arrival: &mut Arrival,
        quoted: Option<Received>,
    ) {
        let policy = self.policy.of(Protocol::TCP, tuple.local_port);
        if policy == PortPolicy::Open {
            self.arrives_at_listener_or_nobody(now, tuple, arrival, quoted.as_ref());
            return;
        }
        self.counters.policy_refused += 1;
        match policy {
            PortPolicy::Refuse => self.reset(tuple, &arrival.header, arrival.payload.len()),
            PortPolicy::Prohibit if !arrival.header.flags.contains(TcpFlags::RST) => {
                let kind = IcmpErrorKind::Unreachable(UnreachableKind::AdminProhibited);
                if let Some(packet) = quoted {
                    self.send_icmp_error(now, &packet, (tuple.local_addr, tuple.remote_addr), kind);
                }
            }
            _ => {}
        }
    }

    fn arrives_at_time_wait(
        &mut self,
        now: Timestamp,
        key: TupleKey,
        tuple: &FourTuple,
        arrival: &mut Arrival,
    ) {
        let (offset, len) = (self.isn.timestamp_offset(tuple), arrival.payload.len());
        match self.rooms.time_wait.segment_arrives(key, &arrival.header, len, offset, now) {
            time_wait::Answer::Drop => {}
            time_wait::Answer::Ack(header) => self.reply_to_peer(tuple, &header),
            time_wait::Answer::NewIncarnation(above) => {
                let open = self.policy.of(Protocol::TCP, tuple.local_port) == PortPolicy::Open;
                let listener = self.listeners.find(tuple.local(), self.demux.spread(tuple));
                match listener.filter(|_| open && !arrival.malformed_options) {
                    Some(listener) => {
                        self.syn_for_listener(now, tuple, listener, arrival, Some((key, above)));
                    }
                    None => {
                        if let Some(ack) = self.rooms.time_wait.ack_for(key, offset, now) {
                            self.reply_to_peer(tuple, &ack);
                        }
                    }
                }
            }
        }
    }

    /// LISTEN (RFC 9293 3.10.7.2 R-02) or CLOSED (3.10.7.1).
    fn arrives_at_listener_or_nobody(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        arrival: &mut Arrival,
        packet: Option<&Received>,
    ) {
        let flags = arrival.header.flags;
        let listener =
            self.listeners.find(tuple.local(), self.demux.spread(tuple)).filter(|_| !self.shut_down);
        match listener {
            Some(listener) if asks_to_open(flags) => {
                if !arrival.malformed_options {
                    self.syn_for_listener(now, tuple, listener, arrival, None);
                }
            }
            // An ACK is for a connection that does not exist, unless it brings a cookie back; a RST is ignored.
            Some(listener) if flags.contains(TcpFlags::ACK) => {
                self.ack_for_listener(now, tuple, listener, arrival)
            }
            Some(_) => {}
            None if packet.is_some_and(|packet| self.divert_unclaimed(packet, Protocol::TCP)) => {}
            // `listen_any` has been closed; only its connections still have such addresses.
            None if !self.addresses.is_local(tuple.local_addr) => self.counters.not_ours += 1,
            None => self.reset(tuple, &arrival.header, arrival.payload.len()),
        }
    }
}
