//! IP fragments: those that come in, and those that go out.

use std::net::IpAddr;

use bytes::Bytes;
use ropeway_packet::{ChecksumMode, Fragment, IcmpErrorKind, IpError, IpPacket, fragment, icmp, ip};

use super::Stack;
use super::output::TIMEOUT_BUDGET;
use crate::ip::path_mtu::least;
use crate::ip::reassembly::{Expired, Limits, Taken};
use crate::time::Timestamp;
use crate::transmit::{Received, Transmit};

/// Fragments that wait may take this part of the memory budget at most, and of what they have and is left.
const PART: usize = 8;

/// The codes of ICMP errors: "fragment reassembly time exceeded" (RFC 792, RFC 4443 3.3), and "first fragment has incomplete
/// header chain" (RFC 7112 5).
const REASSEMBLY_TIME: u8 = 1;
const INCOMPLETE_CHAIN: u8 = 3;

/// Datagrams of other shards that wait until the owner takes them there: more are dropped.
const MAX_PASSED_ON: usize = 1024;

/// The addresses and the protocol stand in so many bytes, unless there are long extension headers.
const HEAD: usize = 128;

impl Stack {
    // RFC 5722 4-3, RFC 7112 5-3
    /// A fragment has come, from where it can have come from.
    #[cold]
    pub(super) fn take_fragment(
        &mut self,
        now: Timestamp,
        received: &Received,
        ip: &IpPacket,
        place: Fragment,
        looped: bool,
    ) {
        self.counters.fragments += 1;
        if place.offset == 0 && !fragment::has_all_headers(&received.packet, ip) {
            // RFC 7112 5-2, RFC 8200 4.5-6
            self.counters.malformed_ip += 1;
            let kind = IcmpErrorKind::ParameterProblem { code: INCOMPLETE_CHAIN, pointer: 0 };
            self.tell_about(now, received, (ip.dst, ip.src), kind);
            return;
        }
        let limits = self.fragment_limits();
        let taken = self.fragments.take(now, received, ip, place, limits);
        self.weigh_fragments();
        match taken {
            Taken::Waits | Taken::Displaced => {}
            Taken::Empty | Taken::Impossible => self.counters.malformed_ip += 1,
            Taken::Contradicts => {
                tracing::debug!(remote = %ip.src, "dropping a datagram whose fragments overlap");
                self.counters.datagrams_overlapping += 1;
            }
            Taken::Whole(datagram) => {
                self.counters.datagrams_reassembled += 1;
                self.take_reassembled(now, datagram, looped);
            }
        }
    }

    // RFC 6864 5.2-2
    /// A datagram is whole: whatever takes packets takes it.
    fn take_reassembled(&mut self, now: Timestamp, datagram: Bytes, looped: bool) {
        let received = Received::alone(datagram);
        if let Some(shard) = self.other_shard_of(&received.packet) {
            self.pass_on(shard, received);
            return;
        }
        // There are no fragments of fragments.
        if ip::parse(&received.packet).is_ok_and(|ip| ip.fragment.is_some()) {
            self.counters.malformed_ip += 1;
            return;
        }
        // Its fragments were counted.
        self.counters.received -= 1;
        self.take_packet(now, received, looped);
    }

    // RFC 1122 3.2.2.5-2
    /// A packet whose headers are wrong (RFC 8200 4-1, RFC 8200 4.2-1, RFC 8200 4.5-4, RFC 8200 4.5-5): its sender is told what is,
    /// if it is one of IPv6 to us.
    #[cold]
    pub(super) fn refuse_malformed(&mut self, now: Timestamp, received: &Received, error: IpError) {
        tracing::debug!(%error, "dropping a malformed IP packet");
        self.counters.malformed_ip += 1;
        let Some((code, pointer)) = error.parameter_problem(false) else { return };
        let Some(quoted) = icmp::parse_quote(&received.packet) else { return };
        let (src, dst) = (quoted.ip.src, quoted.ip.dst);
        let from_outside = self.addresses.is_unicast(src) && !self.addresses.is_local(src);
        if src.is_ipv6() && from_outside && self.addresses.is_on_device(dst) {
            self.tell_about(now, received, (dst, src), IcmpErrorKind::ParameterProblem { code, pointer });
        }
    }

    // RFC 1122 3.2.2-3
    /// An ICMP error about a packet that may be one itself, or may have gone to many: then nobody is told (RFC 1122 3.2.2, RFC 4443 2.4 e).
    fn tell_about(
        &mut self,
        now: Timestamp,
        received: &Received,
        ends: (IpAddr, IpAddr),
        kind: IcmpErrorKind,
    ) {
        if self.addresses.is_unicast(ends.0) && !icmp::is_error(&received.packet) {
            self.send_icmp_error(now, received, ends, kind);
        }
    }

    /// Gives up datagrams whose time is over. Whoever has sent the first fragment of one is told (RFC 1122 3.3.2-4,
    /// RFC 8200 4.5-3).
    pub(super) fn expire_fragments(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            let Some(expired) = self.fragments.expire(now, self.config.reassembly_timeout) else { break };
            let Expired { first, refused } = expired;
            self.counters.datagrams_timed_out += u64::from(!refused);
            if let Some(first) = first.map(Received::new)
                && let Ok(ip) = ip::parse(&first.packet)
            {
                let kind = IcmpErrorKind::TimeExceeded { code: REASSEMBLY_TIME };
                self.tell_about(now, &first, (ip.dst, ip.src), kind);
            }
            self.weigh_fragments();
        }
    }

    /// Memory is scarce: the oldest of what waits are given up.
    pub(super) fn shed_fragments(&mut self) {
        if self.fragments.memory() > 0 {
            self.fragments.shed(self.fragment_limits().memory);
            self.weigh_fragments();
        }
    }

    fn fragment_limits(&self) -> Limits {
        let budget = self.ledger.left().saturating_add(self.fragments.memory()).min(self.config.budget());
        let memory = self.config.reassembly_memory.min(budget / PART);
        Limits { memory, per_source: memory.div_ceil(2) }
    }

    fn weigh_fragments(&mut self) {
        self.counters.datagrams_displaced = self.fragments.displaced();
        self.ledger.set_fragments(self.fragments.memory());
    }

    /// Answers a stranger with a datagram that may need fragments: all of them are queued, or none.
    pub(super) fn reply_in_fragments(&mut self, to: IpAddr, datagram: Transmit) {
        let packets = self.in_fragments(to, datagram).unwrap_or_default();
        if self.addresses.is_local(to) {
            packets.iter().for_each(|packet| self.push_local(packet));
        } else if !self.outbox.push_all(packets, self.config.budget()) {
            self.counters.replies_dropped += 1;
        }
        self.weigh_outbox();
    }

    /// A datagram that was put together here is another shard's.
    fn pass_on(&mut self, shard: usize, received: Received) {
        let Some(host) = &mut self.host else { return };
        if host.passed_on.len() < MAX_PASSED_ON {
            host.passed_on.push_back((shard, received));
        }
    }

    /// A datagram that was put together out of fragments and belongs to a flow of another [shard](Self::shards), with the number of
    /// that one, which is to take it as any other packet. There may be some after packets were handled.
    #[must_use]
    pub fn poll_passed_on(&mut self) -> Option<(usize, Received)> {
        self.host.as_mut()?.passed_on.pop_front()
    }

    // RFC 791 3.2-5, RFC 8200 4.5-12, RFC 8200 4.5-13, RFC 6864 4.2-1
    /// The packets that a datagram to `to` leaves in: the fragments that the path asks for, all with one new identification, or just
    /// one packet (RFC 1122 3.3.3-1, RFC 7112 5-1, RFC 8200 5-2). Routers may cut those of IPv4 further: none has the DF bit. Whoever wants that does not call this. TCP never
    /// needs fragments (RFC 8900 4.1).
    ///
    /// `None` if it cannot be cut so that it passes.
    pub(super) fn in_fragments(&mut self, to: IpAddr, datagram: Transmit) -> Option<Vec<Transmit>> {
        // No path is believed to take less, if the device does.
        if datagram.len() <= usize::from(least(to).min(self.device_mtu(to))) {
            return Some(vec![datagram]);
        }
        let mtu = self.path_mtu(to);
        let fits = datagram.len() <= usize::from(mtu);
        if fits && to.is_ipv6() {
            return Some(vec![datagram]);
        }
        let whole = datagram.into_payload();
        let head = whole.slices(0..HEAD).to_payload().into_bytes();
        let quoted = icmp::parse_quote(&head)?.ip;
        let ident = self.identifications.next(quoted.src, quoted.dst, quoted.protocol.0);
        let pieces = fragment::split(&whole, mtu, ident)?;
        if !fits {
            self.counters.datagrams_fragmented += 1;
            self.counters.fragments_sent += pieces.len() as u64;
        }
        Some(pieces.map(|(header, data)| Transmit::new(header, data, ChecksumMode::Full)).collect())
    }
}
