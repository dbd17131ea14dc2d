//! ICMP: which errors we send, and what those that arrive do to connections and UDP sockets.

use std::net::{IpAddr, Ipv6Addr};

use ropeway_packet::{FourTuple, IcmpErrorKind, IcmpMessage, IpPacket, Protocol, Quoted, icmp};

use super::Stack;
use super::outbox::Whom;
use super::settle::connection_id;
use crate::demux::Room;
use crate::icmp::error_of;
use crate::ip::path_mtu::least;
use crate::policy::EchoPolicy;
use crate::slab::Key;
use crate::time::Timestamp;
use crate::transmit::{Received, Transmit};

/// The headers of an ICMP error over IPv4.
const ICMP_OVERHEAD: usize = 28;

impl Stack {
    // RFC 1122 3.2.2-1
    /// An ICMP error from the first address to the second, about a packet.
    pub(super) fn send_icmp_error(
        &mut self,
        now: Timestamp,
        received: &Received,
        (from, to): (IpAddr, IpAddr),
        kind: IcmpErrorKind,
    ) {
        if !self.may_send_icmp_error(now, to) {
            return;
        }
        // Over IPv4 the device may take less than an error may have. IPv6 has no such links (RFC 8200 5).
        let mtu = usize::from(self.device_mtu(to));
        let quoted = received.with_its_checksum();
        let quote = match to {
            IpAddr::V4(_) => quoted.get(..mtu.saturating_sub(ICMP_OVERHEAD)),
            IpAddr::V6(_) => None,
        };
        let quote = quote.unwrap_or(&quoted);
        let packet = icmp::emit_error(from, to, kind, quote, self.default_options().ttl);
        self.push_reply(to, Whom::Stranger, Transmit::whole(packet.into()));
    }

    /// Whether an ICMP error may be sent to `to`, which is counted.
    pub(super) fn may_send_icmp_error(&mut self, now: Timestamp, to: IpAddr) -> bool {
        // Who has an address of an IPv6 network may have all of them.
        let network = match to {
            IpAddr::V4(_) => to,
            IpAddr::V6(to) => Ipv6Addr::from_bits(to.to_bits() >> 64 << 64).into(),
        };
        let tuple = FourTuple { local_addr: network, remote_addr: network, local_port: 0, remote_port: 0 };
        let allowed = self.icmp_errors.allows(now, self.demux.spread(&tuple));
        let counter = match allowed {
            true => &mut self.counters.icmp_errors_sent,
            false => &mut self.counters.icmp_rate_limited,
        };
        *counter += 1;
        allowed
    }

    // RFC 1122 3.2.2.1-2, RFC 1122 3.2.2.4-1, RFC 1122 3.2.2.5-1, RFC 1122 3.2.2.6-1
    pub(super) fn take_icmp(&mut self, now: Timestamp, received: &Received, ip: &IpPacket) {
        let Ok(message) = icmp::parse(&received.packet, ip) else {
            self.counters.malformed_transport += 1;
            return;
        };
        self.counters.icmp_received += 1;
        if !self.icmp_concerns_us(now, received, ip, &message) {
            self.divert_unclaimed(received, ip.protocol);
        }
    }

    /// Does what a message says. Says whether it was about anything here.
    fn icmp_concerns_us(
        &mut self,
        now: Timestamp,
        received: &Received,
        ip: &IpPacket,
        message: &IcmpMessage,
    ) -> bool {
        match message {
            IcmpMessage::EchoRequest { ident, seq, data } => match self.echo {
                EchoPolicy::Answer => {
                    self.counters.echo_replies += 1;
                    let data = received.packet.get(data.clone()).unwrap_or_default();
                    let ttl = self.default_options().ttl;
                    let reply = icmp::emit_echo_reply(ip.dst, ip.src, *ident, *seq, data, ttl);
                    if reply.len() > usize::from(least(ip.src)) {
                        self.echo_replies.note(ip.src, *ident, *seq, reply.len());
                    }
                    self.reply_in_fragments(ip.src, Transmit::whole(reply.into()));
                    true
                }
                EchoPolicy::Divert if self.diverts(ip.protocol) => false,
                EchoPolicy::Drop | EchoPolicy::Divert => {
                    self.counters.policy_refused += 1;
                    true
                }
            },
            IcmpMessage::PacketTooBig { mtu, quote } => {
                let quoted = received.packet.get(quote.clone()).and_then(icmp::parse_quote);
                if let Some((quoted, tuple)) = quoted.and_then(quoted_datagram) {
                    return self.udp_too_big(now, &quoted, &tuple, *mtu);
                }
                if let Some(quoted) = quoted.filter(|quoted| quoted.echo_reply.is_some()) {
                    return self.echo_reply_too_big(now, &quoted, *mtu);
                }
                self.icmp_for_connection(quoted, |stack, key, refused| {
                    stack.packet_too_big(now, key, *mtu, refused);
                })
            }
            IcmpMessage::Unreachable { quote, .. }
            | IcmpMessage::TimeExceeded { quote, .. }
            | IcmpMessage::ParameterProblem { quote, .. } => {
                let Some((error, hard)) = error_of(message) else { return false };
                let quoted = received.packet.get(quote.clone()).and_then(icmp::parse_quote);
                if let Some((quoted, tuple)) = quoted.and_then(quoted_datagram) {
                    return self.udp_icmp_error(&quoted, &tuple, error);
                }
                self.icmp_for_connection(quoted, |stack, key, _| {
                    stack.with_connection(now, connection_id(key), |connection, env| {
                        connection.icmp_error(error, hard, env);
                    });
                })
            }
            // Source quench is among these (RFC 9293 3.9.2.2 MUST-55).
            _ => false,
        }
    }

    // RFC 1122 3.2.2-2
    /// Finds the connection that an ICMP error quotes (RFC 9293 3.9.2.2 MUST-54), and makes sure that the
    /// quoted sequence number is one that is in flight (RFC 5927 4.1). Says whether there is one.
    fn icmp_for_connection(&mut self, quoted: Option<Quoted>, act: impl FnOnce(&mut Self, Key, u32)) -> bool {
        let found = quoted.and_then(|quoted| {
            let (local_port, remote_port) = quoted.ports.filter(|_| quoted.ip.protocol == Protocol::TCP)?;
            let (local_addr, remote_addr) = (quoted.ip.src, quoted.ip.dst);
            let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
            let Some(Room::Connection(slot)) = self.demux.find(&tuple, &self.rooms) else { return None };
            let key = self.rooms.connections.key_at(slot)?;
            let connection = self.rooms.connections.get(key)?;
            connection.quotes_outstanding(quoted.seq?).then_some((key, quoted.ip.total_len))
        });
        match found {
            Some((key, refused)) => act(self, key, refused),
            None => self.counters.icmp_ignored += 1,
        }
        found.is_some()
    }

    /// A router says that the reply to an echo request was too big for a link (RFC 8201 4). Whoever has not seen it is not believed.
    /// Says whether it is about one of ours.
    fn echo_reply_too_big(&mut self, now: Timestamp, quoted: &Quoted, mtu: u32) -> bool {
        let is_ours = self.addresses.is_local(quoted.ip.src) && self.echo_replies.may_have_sent(quoted);
        if is_ours && mtu < quoted.ip.total_len {
            self.path_mtu.learn(quoted.ip.dst, mtu, quoted.ip.total_len, now);
        } else {
            self.counters.icmp_ignored += 1;
        }
        is_ours
    }

    fn packet_too_big(&mut self, now: Timestamp, key: Key, mtu: u32, refused: u32) {
        let Some(connection) = self.rooms.connections.get(key) else { return };
        let remote = connection.tuple.remote_addr;
        if !connection.may_be_too_big(mtu, refused) {
            self.counters.icmp_ignored += 1;
            return;
        }
        // Several connections may have packets refused: what is known of the path by the first one's (RFC 8201 5.2)
        // has yet to reach the others.
        let learned = self.path_mtu.learn(remote, mtu, refused, now);
        let known = learned.or_else(|| self.path_mtu.get(remote, now).map(|path| path.most));
        let Some(most) = known else { return };
        self.with_connection(now, connection_id(key), |connection, env| connection.path_refuses(most, env));
    }
}

// RFC 1122 3.2.2-2
/// The quoted packet, if it is a UDP datagram whose ends are quoted, too.
fn quoted_datagram(quoted: Quoted) -> Option<(Quoted, FourTuple)> {
    let (local_port, remote_port) = quoted.ports.filter(|_| quoted.ip.protocol == Protocol::UDP)?;
    let (local_addr, remote_addr) = (quoted.ip.src, quoted.ip.dst);
    Some((quoted, FourTuple { local_addr, remote_addr, local_port, remote_port }))
}
