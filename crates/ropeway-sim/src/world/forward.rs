//! How packets get from link to link.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use ropeway_packet::{
    HeaderBuf, IcmpErrorKind, IcmpMessage, IpPacket, Payload, Protocol, UnreachableKind, fragment, icmp, ip,
};

use super::{Event, Kind, LinkId, NodeId, Packet, World};
use crate::record::Cause;
use crate::rules::Ruling;

/// What a packet goes on in that is larger than the next link's MTU, if routers may cut it (RFC 791 2.3, RFC 1191 3).
fn fragments(packet: &Packet, header: &IpPacket, mtu: u16) -> Option<Vec<Packet>> {
    if header.dont_fragment || header.dst.is_ipv6() {
        return None;
    }
    let payload = Payload::from(packet.bytes.clone());
    let pieces = fragment::split(&payload, mtu, header.ident)?;
    let piece = |(head, data): (HeaderBuf, Payload)| Packet {
        bytes: [&head[..], &data.to_vec()].concat().into(),
        ..packet.clone()
    };
    Some(pieces.map(piece).collect())
}

/// The hop limit of what routers send themselves.
const HOP_LIMIT: u8 = 64;

impl World {
    /// A packet that the stack of a host sends.
    pub(super) fn send(&mut self, node: NodeId, bytes: Bytes) {
        let packet = self.new_packet(node, bytes);
        let Ok(header) = ip::parse(&packet.bytes) else { return self.lost(node, &packet, Cause::Malformed) };
        match self.rules.judge(node, packet, &header) {
            Ruling::Send(packet) => {
                if packet.notes.rule {
                    self.record.changed(&packet);
                }
                self.send_unruled(node, packet);
            }
            Ruling::Twice(packet) => {
                self.send_unruled(node, packet.clone());
                self.send_unruled(node, packet);
            }
            Ruling::Later(packet, by) => {
                let at = self.now.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX >> 1));
                self.schedule(at, Event::Release(node, packet));
            }
            Ruling::Dropped(packet) => self.lost(node, &packet, Cause::Rule),
            Ruling::Held => {}
        }
    }

    /// Sends what a rule has kept.
    pub(crate) fn send_held(&mut self, held: Vec<(NodeId, Packet)>) {
        for (node, packet) in held {
            self.schedule(self.now, Event::Release(node, packet));
        }
    }

    /// A rule ends that has kept packets.
    pub(crate) fn drop_held(&mut self, held: Vec<(NodeId, Packet)>) {
        for (node, packet) in held {
            self.lost(node, &packet, Cause::Rule);
        }
    }

    /// A packet that no rule keeps.
    pub(super) fn send_unruled(&mut self, node: NodeId, packet: Packet) {
        let Ok(header) = ip::parse(&packet.bytes) else { return self.lost(node, &packet, Cause::Malformed) };
        let Some(target) = self.at_address(header.dst) else {
            // The router that it would go to says so.
            return match self.node(node).links.first().copied() {
                Some(link) => self.enter(node, link, packet, &header),
                None => self.lost(node, &packet, Cause::NoRoute),
            };
        };
        if self.cut.contains(&(node, target)) {
            return self.lost(node, &packet, Cause::Partition);
        }
        match self.route(node, target) {
            Some(link) => self.enter(node, link, packet, &header),
            None => self.lost(node, &packet, Cause::NoRoute),
        }
    }

    /// A packet that has come to `node`.
    pub(super) fn arrive(&mut self, node: NodeId, packet: Packet) {
        if let Kind::Host(_) = self.node(node).kind {
            // One that was on its way when the partition began.
            if self.cut.contains(&(packet.from, node)) {
                return self.lost(node, &packet, Cause::Partition);
            }
            return self.deliver(node, packet);
        }
        let Ok(header) = ip::parse(&packet.bytes) else { return self.lost(node, &packet, Cause::Malformed) };
        match self.at_address(header.dst) {
            Some(target) if target == node => self.answer_echo(node, &packet, &header),
            Some(target) => self.forward(node, target, packet, &header),
            None => self.refuse(node, &packet, &header, IcmpErrorKind::Unreachable(UnreachableKind::Host)),
        }
    }

    fn forward(&mut self, node: NodeId, target: NodeId, mut packet: Packet, header: &IpPacket) {
        if header.hop_limit <= 1 {
            self.lost(node, &packet, Cause::HopLimit);
            return self.refuse(node, &packet, header, IcmpErrorKind::TimeExceeded { code: 0 });
        }
        let Some(link) = self.route(node, target) else {
            self.lost(node, &packet, Cause::NoRoute);
            return self.refuse(node, &packet, header, IcmpErrorKind::Unreachable(UnreachableKind::Network));
        };
        packet.bytes = with_one_hop_less(packet.bytes);
        packet.notes = super::Notes { rule: packet.notes.rule, ..super::Notes::default() };
        self.enter(node, link, packet, header);
    }

    /// Puts a packet into a link if it fits; otherwise tells its sender the link's MTU.
    fn enter(&mut self, node: NodeId, id: LinkId, packet: Packet, header: &IpPacket) {
        let link = self.link_mut(id);
        let way = link.way_from(node);
        let mtu = link.pipe(way).config().mtu;
        if packet.bytes.len() <= usize::from(mtu) {
            return self.enter_link(id, way, packet);
        }
        if let Some(pieces) = fragments(&packet, header, mtu) {
            pieces.into_iter().for_each(|piece| self.enter_link(id, way, piece));
            return;
        }
        self.lost(node, &packet, Cause::TooBig);
        let too_big = IcmpErrorKind::PacketTooBig { mtu: mtu.into() };
        match self.node(node).kind {
            Kind::Router => self.refuse(node, &packet, header, too_big),
            // The host's own link has become narrower. Its driver would know; ours tells it as a router does.
            Kind::Host(_) => {
                let answer = icmp::emit_error(header.dst, header.src, too_big, &packet.bytes, HOP_LIMIT);
                self.tell(node, answer.into());
            }
        }
    }

    /// A router tells the sender of a packet why it went no further.
    fn refuse(&mut self, node: NodeId, packet: &Packet, header: &IpPacket, kind: IcmpErrorKind) {
        if kind == IcmpErrorKind::Unreachable(UnreachableKind::Host) {
            self.lost(node, packet, Cause::NoRoute);
        }
        let is_error = matches!(header.protocol, Protocol::ICMP | Protocol::ICMPV6)
            && !matches!(
                icmp::parse(&packet.bytes, header),
                Ok(IcmpMessage::EchoRequest { .. } | IcmpMessage::EchoReply { .. })
            );
        let is_later_fragment = header.fragment.is_some_and(|fragment| fragment.offset > 0);
        // RFC 1122 3.2.2, RFC 4443 2.4 e.
        if is_error || is_later_fragment || header.dst.is_multicast() || header.src.is_unspecified() {
            return;
        }
        let Some(own) = self.own_address(node, header.src) else { return };
        let answer = icmp::emit_error(own, header.src, kind, &packet.bytes, HOP_LIMIT);
        self.send_from_router(node, header.src, answer.into());
    }

    fn answer_echo(&mut self, node: NodeId, packet: &Packet, header: &IpPacket) {
        let Ok(IcmpMessage::EchoRequest { ident, seq, data }) = icmp::parse(&packet.bytes, header) else {
            return;
        };
        let data = packet.bytes.get(data).unwrap_or_default();
        let reply = icmp::emit_echo_reply(header.dst, header.src, ident, seq, data, HOP_LIMIT);
        self.send_from_router(node, header.src, reply.into());
    }

    fn send_from_router(&mut self, node: NodeId, to: IpAddr, bytes: Bytes) {
        let packet = self.new_packet(node, bytes);
        let Ok(header) = ip::parse(&packet.bytes) else { return };
        let link = self.at_address(to).and_then(|target| self.route(node, target));
        match link {
            Some(link) => self.enter(node, link, packet, &header),
            None => self.lost(node, &packet, Cause::NoRoute),
        }
    }

    fn own_address(&self, node: NodeId, like: IpAddr) -> Option<IpAddr> {
        self.node(node).addresses.iter().copied().find(|own| own.is_ipv4() == like.is_ipv4())
    }

    /// A packet went no further than `node`.
    pub(super) fn lost(&mut self, node: NodeId, packet: &Packet, cause: Cause) {
        self.record.lost_at(self.now, node, packet, cause);
    }
}

/// The same packet with a hop limit that is one less.
fn with_one_hop_less(packet: Bytes) -> Bytes {
    let mut packet = packet.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    match packet.as_mut() {
        // IPv4: the sum is one's complement, so it grows by what the field loses (RFC 1141).
        [first, _, _, _, _, _, _, _, ttl, _, hi, lo, ..] if *first >> 4 == 4 => {
            *ttl -= 1;
            let sum = u32::from(u16::from_be_bytes([*hi, *lo])) + 0x100;
            let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default();
            [*hi, *lo] = sum.to_be_bytes();
        }
        [_, _, _, _, _, _, _, hop_limit, ..] => *hop_limit -= 1,
        _ => {}
    }
    packet.freeze()
}
