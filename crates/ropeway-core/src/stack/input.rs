//! A packet arrives: whose it is, and which room takes it.

use std::net::IpAddr;

use ropeway_packet::{
    FourTuple, IcmpErrorKind, IcmpMessage, IpPacket, Protocol, TcpFlags, TcpHeader, UnreachableKind, icmp,
    ip, parse_tcp, udp,
};

use super::Stack;
use super::settle::connection_id;
use crate::demux::Room;
use crate::event::ListenerId;
use crate::slab::Key;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Arrival, Connection, Env};
use crate::tcp::listen::half_open;
use crate::tcp::time_wait;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum, Transmit};

impl Stack {
    /// Takes a packet from the device. What is wrong with it is counted, never an error.
    pub fn handle_packet(&mut self, now: Timestamp, packet: Received) {
        self.now = self.now.max(now);
        self.take_packet(now, packet, false);
    }

    pub(super) fn take_packet(&mut self, now: Timestamp, received: Received, looped: bool) {
        self.counters.received += 1;
        let ip = match ip::parse(&received.packet) {
            Ok(ip) => ip,
            Err(error) => {
                tracing::debug!(%error, "dropping a malformed IP packet");
                self.counters.malformed_ip += 1;
                return;
            }
        };
        if !self.is_plausible(&ip, looped) {
            return;
        }
        if ip.fragment.is_some() {
            self.counters.fragments += 1;
            return;
        }
        match ip.protocol {
            Protocol::TCP => self.take_tcp(now, received, ip, looped),
            Protocol::UDP => self.take_udp(now, &received, &ip),
            Protocol::ICMP | Protocol::ICMPV6 => self.take_icmp(now, &received, &ip),
            _ => {
                self.counters.unknown_protocol += 1;
                let kind = match ip::protocol_offset(&received.packet).and_then(|at| u32::try_from(at).ok()) {
                    // RFC 4443 3.4
                    Some(pointer) if ip.src.is_ipv6() => IcmpErrorKind::ParameterProblem { code: 1, pointer },
                    // RFC 1122 3.2.2.1
                    _ => IcmpErrorKind::Unreachable(UnreachableKind::Protocol),
                };
                self.send_icmp_error(now, &received, &ip, kind);
            }
        }
    }

    /// Whether such a packet can have come to us on that way (RFC 1122 3.2.1.3, RFC 9293 3.9.2.3).
    fn is_plausible(&mut self, ip: &IpPacket, looped: bool) -> bool {
        let from_nobody = !self.addresses.is_unicast(ip.src);
        // From outside, nothing comes from us or from a loopback address: that is the land attack.
        let forged = !looped && self.addresses.is_local(ip.src);
        if from_nobody || forged {
            self.counters.martian_sources += 1;
            return false;
        }
        if self.addresses.is_local(ip.dst) && (looped || !ip.dst.is_loopback()) {
            return true;
        }
        if ip.protocol == Protocol::TCP && (ip.dst.is_multicast() || self.addresses.is_broadcast(ip.dst)) {
            // MUST-57
            self.counters.broadcast_segments += 1;
        } else {
            self.counters.not_ours += 1;
        }
        false
    }

    fn take_tcp(&mut self, now: Timestamp, received: Received, ip: IpPacket, looped: bool) {
        let (remote_addr, local_addr) = (ip.src, ip.dst);
        let verify = received.checksum == RxChecksum::Unverified;
        let segment = match parse_tcp(&received.packet, ip, verify) {
            Ok(segment) => segment,
            Err(error) => {
                tracing::debug!(%error, "dropping a TCP segment");
                match error {
                    ropeway_packet::TcpError::BadChecksum => self.counters.bad_checksums += 1,
                    _ => self.counters.malformed_transport += 1,
                }
                return;
            }
        };
        self.counters.tcp_received += 1;
        self.counters.malformed_options += u64::from(segment.malformed_options);
        let tuple = FourTuple {
            local_addr,
            remote_addr,
            local_port: segment.tcp.dst_port,
            remote_port: segment.tcp.src_port,
        };
        tracing::trace!(
            connection = %tuple,
            flags = ?segment.tcp.flags,
            seq = segment.tcp.seq.get(),
            ack = segment.tcp.ack.get(),
            len = segment.payload.len(),
            looped,
            "received"
        );
        let arrival = Arrival {
            header: segment.tcp,
            payload: received.packet.slice(segment.payload),
            malformed_options: segment.malformed_options,
        };
        match self.demux.find(&tuple, &self.rooms) {
            Some(Room::Connection(key)) => self.arrives_at_connection(now, key, arrival),
            Some(Room::HalfOpen(key)) => self.arrives_at_half_open(now, key, arrival),
            Some(Room::TimeWait(key)) => self.arrives_at_time_wait(now, key, &tuple, &arrival),
            None => self.arrives_at_listener_or_nobody(now, &tuple, &arrival, None),
        }
    }

    fn arrives_at_connection(&mut self, now: Timestamp, key: Key, arrival: Arrival) {
        let Some(connection) = self.rooms.connections.get_mut(key) else { return };
        let tuple = connection.tuple;
        let mut env = Env { now, config: &self.config, counters: &mut self.counters };
        let reset = connection.segment_arrives(arrival, &mut env);
        if let Some(reset) = reset {
            self.reply(&tuple, &reset);
        }
        self.settle(key, now);
    }

    /// SYN-RECEIVED of a passive open.
    fn arrives_at_half_open(&mut self, now: Timestamp, key: Key, arrival: Arrival) {
        let Some(entry) = self.rooms.half_open.get(key) else { return };
        let (tuple, listener) = (entry.tuple, entry.listener);
        match self.rooms.half_open.segment_arrives(key, &arrival.header, arrival.payload.len(), now) {
            half_open::Answer::Drop => {}
            half_open::Answer::Reply(header) => self.reply_for_listener(&tuple, listener, &header),
            half_open::Answer::BackToListen => {
                if let Some(entry) = self.rooms.half_open.remove(key) {
                    self.counters.half_open_reset += 1;
                    self.forget_half_open(key, &entry, Cause::ResetToListen);
                }
            }
            half_open::Answer::Complete => self.complete_handshake(now, key, &tuple, listener, arrival),
        }
    }

    /// The third segment of the handshake, with or without data.
    fn complete_handshake(
        &mut self,
        now: Timestamp,
        key: Key,
        tuple: &FourTuple,
        listener: ListenerId,
        arrival: Arrival,
    ) {
        let Some(queue) = self.listeners.get(listener) else { return };
        if queue.accept_queue.is_full() || self.rooms.connections.len() >= self.config.max_connections {
            // As Linux does by default: the peer will be asked again by our SYN-ACK.
            self.counters.accept_queue_overflows += 1;
            return;
        }
        let options = queue.options.clone();
        let Some(entry) = self.rooms.half_open.remove(key) else { return };
        self.demux.remove(tuple, Room::HalfOpen(key));
        if let Some(queue) = self.listeners.get_mut(listener) {
            queue.half_open -= 1;
        }
        let setup = self.setup(tuple, entry.iss, entry.timestamp_offset);
        let env = Env { now, config: &self.config, counters: &mut self.counters };
        let connection =
            Connection::from_half_open(*tuple, listener, options, &setup, &entry.handshake(), &env);
        let Some(key) = self.register(connection) else { return };
        self.arrives_at_connection(now, key, arrival);
        let established = self.rooms.connections.get(key).is_some_and(|new| new.state().is_synchronized());
        if !established {
            self.discard(key);
            return;
        }
        self.counters.passive_opens += 1;
        if let Some(queue) = self.listeners.get_mut(listener) {
            queue.accept_queue.push(connection_id(key));
            self.event_queue.push_back(super::Noticed::Listener(listener));
        }
    }

    fn arrives_at_time_wait(&mut self, now: Timestamp, key: Key, tuple: &FourTuple, arrival: &Arrival) {
        match self.rooms.time_wait.segment_arrives(key, &arrival.header, arrival.payload.len(), now) {
            time_wait::Answer::Drop => {}
            time_wait::Answer::Ack(header) => self.reply(tuple, &header),
            time_wait::Answer::NewIncarnation(above) => {
                if self.listeners.find(tuple.local(), 0).is_none() {
                    if let Some(ack) = self.rooms.time_wait.ack_for(key, now) {
                        self.reply(tuple, &ack);
                    }
                    return;
                }
                self.counters.time_wait_reused += 1;
                self.rooms.time_wait.remove(key);
                self.demux.remove(tuple, Room::TimeWait(key));
                self.report(tuple, State::TimeWait, Cause::Syn);
                self.arrives_at_listener_or_nobody(now, tuple, arrival, Some(above));
            }
        }
    }

    /// LISTEN (RFC 9293 3.10.7.2) or CLOSED (3.10.7.1). `above`: what an ISN must exceed.
    fn arrives_at_listener_or_nobody(
        &mut self,
        now: Timestamp,
        tuple: &FourTuple,
        arrival: &Arrival,
        above: Option<ropeway_packet::SeqNum>,
    ) {
        let flags = arrival.header.flags;
        let listener = self.listeners.find(tuple.local(), u64::from(tuple.remote_port));
        match listener {
            // In LISTEN a RST is ignored, and an ACK is for a connection that does not exist.
            Some(listener)
                if flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST) =>
            {
                if !arrival.malformed_options {
                    self.syn_for_listener(now, tuple, listener, &arrival.header, above);
                }
            }
            Some(_) if !flags.contains(TcpFlags::ACK) => {}
            _ => self.reset(tuple, &arrival.header, arrival.payload.len()),
        }
    }

    /// What matches nothing is reset.
    fn reset(&mut self, tuple: &FourTuple, header: &TcpHeader, payload_len: usize) {
        if let Some(reset) = reset_for(header, payload_len) {
            self.reply(tuple, &reset);
        }
    }

    fn take_udp(&mut self, now: Timestamp, received: &Received, ip: &IpPacket) {
        let verify = received.checksum == RxChecksum::Unverified;
        if udp::parse(&received.packet, ip, verify).is_err() {
            self.counters.malformed_transport += 1;
            return;
        }
        self.counters.udp_no_port += 1;
        // RFC 1122 4.1.3.1
        self.send_icmp_error(now, received, ip, IcmpErrorKind::Unreachable(UnreachableKind::Port));
    }

    fn send_icmp_error(&mut self, now: Timestamp, received: &Received, ip: &IpPacket, kind: IcmpErrorKind) {
        if !self.icmp_errors.allows(now) {
            self.counters.icmp_rate_limited += 1;
            return;
        }
        self.counters.icmp_errors_sent += 1;
        let packet = icmp::emit_error(ip.dst, ip.src, kind, &received.packet, self.default_options().ttl);
        self.push_reply(ip.src, Transmit::whole(packet.into()));
    }

    fn take_icmp(&mut self, now: Timestamp, received: &Received, ip: &IpPacket) {
        let Ok(message) = icmp::parse(&received.packet, ip) else {
            self.counters.malformed_transport += 1;
            return;
        };
        self.counters.icmp_received += 1;
        match message {
            IcmpMessage::EchoRequest { ident, seq, data } if self.config.echo_replies => {
                self.counters.echo_replies += 1;
                let data = received.packet.get(data).unwrap_or_default();
                let ttl = self.default_options().ttl;
                let reply = icmp::emit_echo_reply(ip.dst, ip.src, ident, seq, data, ttl);
                self.push_reply(ip.src, Transmit::whole(reply.into()));
            }
            IcmpMessage::PacketTooBig { mtu, ref quote } => {
                self.icmp_for_connection(now, received.packet.get(quote.clone()), |stack, key, refused| {
                    stack.packet_too_big(now, key, mtu, refused);
                });
            }
            IcmpMessage::Unreachable { ref quote, .. }
            | IcmpMessage::TimeExceeded { ref quote, .. }
            | IcmpMessage::ParameterProblem { ref quote, .. } => {
                let Some((error, hard)) = crate::icmp::error_of(&message) else { return };
                self.icmp_for_connection(now, received.packet.get(quote.clone()), |stack, key, _| {
                    stack.with_connection(now, connection_id(key), |connection, env| {
                        connection.icmp_error(error, hard, env);
                    });
                });
            }
            _ => {}
        }
    }

    /// Finds the connection that an ICMP error quotes (RFC 9293 3.9.2.2 MUST-54), and makes sure that the
    /// quoted sequence number is one that is in flight (RFC 5927 4.1).
    fn icmp_for_connection(
        &mut self,
        _now: Timestamp,
        quote: Option<&[u8]>,
        act: impl FnOnce(&mut Self, Key, u32),
    ) {
        let quoted = quote.and_then(icmp::parse_quote);
        let found = quoted.and_then(|quoted| {
            let (local_port, remote_port) = quoted.ports.filter(|_| quoted.ip.protocol == Protocol::TCP)?;
            let (local_addr, remote_addr): (IpAddr, IpAddr) = (quoted.ip.src, quoted.ip.dst);
            let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
            let Some(Room::Connection(key)) = self.demux.find(&tuple, &self.rooms) else { return None };
            let connection = self.rooms.connections.get(key)?;
            connection.quotes_outstanding(quoted.seq?).then_some((key, quoted.ip.total_len))
        });
        match found {
            Some((key, refused)) => act(self, key, refused),
            None => self.counters.icmp_ignored += 1,
        }
    }

    fn packet_too_big(&mut self, now: Timestamp, key: Key, mtu: u32, refused: u32) {
        let Some(connection) = self.rooms.connections.get(key) else { return };
        let remote = connection.tuple.remote_addr;
        let mtu = self.path_mtu.learn(remote, mtu, refused, now);
        self.with_connection(now, connection_id(key), |connection, _| connection.path_mtu_changed(mtu));
    }
}
