//! Datagrams that come in, and those that go out.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use ropeway_packet::{
    Checksum, ChecksumMode, FourTuple, HeaderBuf, IcmpErrorKind, IpPacket, IpParams, Payload, Protocol,
    Quoted, UdpError, UnreachableKind, udp as wire,
};

use super::Stack;
use crate::error::{ConnectionError, DatagramError};
use crate::event::Readiness;
use crate::policy::PortPolicy;
use crate::slab::Key;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum, Transmit};
use crate::udp::datagram::{Outgoing, UdpId};
use crate::udp::socket::Sent;
use crate::udp::{self, Arrival, Refused};

/// As many datagrams may be sent with one call as in Linux (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;

/// All that waits to leave may take this part of the memory budget.
const PART: usize = 32;

/// Packets up to this size pass wherever IPv4 does as it is used, so nobody has to ask what is known of the path.
const PASSES_ANYWHERE: usize = 552;

/// What of a datagram its packets have in common.
pub(super) struct Ends {
    pub(super) tuple: FourTuple,
    ip: IpParams,
}

impl Stack {
    // RFC 8200 8.1-2, RFC 6864 4.1-2
    pub(super) fn take_udp(&mut self, now: Timestamp, received: &Received, ip: &IpPacket) {
        let verify = received.checksum == RxChecksum::Unverified;
        let datagram = match wire::parse(&received.packet, ip, verify) {
            Ok(datagram) => datagram,
            // RFC 1122 4.1.3.4-2
            Err(UdpError::BadChecksum | UdpError::MissingChecksum) => {
                self.counters.udp_bad_checksums += 1;
                return;
            }
            Err(_) => {
                self.counters.malformed_transport += 1;
                return;
            }
        };
        let tuple = FourTuple {
            local_addr: ip.dst,
            remote_addr: ip.src,
            local_port: datagram.header.dst_port,
            remote_port: datagram.header.src_port,
        };
        let arrival = Arrival {
            data: received.packet.slice(datagram.payload),
            true_size: received.true_size,
            segment_size: received.segment_size,
            remote: tuple.remote(),
            // RFC 1122 4.1.3.5-1
            local: tuple.local(),
            traffic_class: ip.traffic_class,
        };
        self.counters.udp_received += arrival.count() as u64;
        if self.is_to_many(ip.dst) {
            self.udp_to_many(received, &tuple, &arrival);
            return;
        }
        let found = self.udp.find(&tuple, || self.demux.spread(&tuple));
        if let Some(udp::Found::Connected(key)) = found {
            self.udp_deliver(key, &arrival);
            return;
        }
        let policy = self.policy.of(Protocol::UDP, tuple.local_port);
        match (found, policy) {
            (Some(found), PortPolicy::Open) => self.udp_deliver(found.key(), &arrival),
            _ => self.udp_unclaimed(now, received, ip, policy),
        }
    }

    /// Nobody takes it.
    fn udp_unclaimed(&mut self, now: Timestamp, received: &Received, ip: &IpPacket, policy: PortPolicy) {
        if policy == PortPolicy::Open && self.divert_unclaimed(received, Protocol::UDP) {
            return;
        }
        if !self.addresses.is_local(ip.dst) {
            // It came for the socket that takes anything, which has been closed.
            self.counters.not_ours += 1;
            return;
        }
        let kind = match policy {
            // RFC 1122 4.1.3.1-1
            PortPolicy::Open | PortPolicy::Refuse => UnreachableKind::Port,
            PortPolicy::Prohibit => UnreachableKind::AdminProhibited,
            PortPolicy::Drop => {
                self.counters.policy_refused += 1;
                return;
            }
        };
        self.counters.udp_no_port += 1;
        self.send_icmp_error(now, received, (ip.dst, ip.src), IcmpErrorKind::Unreachable(kind));
    }

    /// To a group or to everybody: each socket on the port gets it. Nobody is told if there is none (RFC 1122 3.2.2).
    fn udp_to_many(&mut self, received: &Received, tuple: &FourTuple, arrival: &Arrival) {
        let takers = self.udp.find_all(tuple);
        let open = self.policy.of(Protocol::UDP, tuple.local_port) == PortPolicy::Open;
        if takers.is_empty() || !open {
            if !open || !self.divert_unclaimed(received, Protocol::UDP) {
                self.counters.udp_no_port += 1;
            }
            return;
        }
        for key in takers {
            self.udp_deliver(key, arrival);
        }
    }

    fn udp_deliver(&mut self, key: Key, arrival: &Arrival) {
        let memory = (self.config.budget(), self.ledger.left());
        let dropped = arrival.count() as u64;
        match self.udp.deliver(key, arrival, memory) {
            Ok(()) => {
                self.weigh_datagrams();
                self.udp_notice(key, Readiness::READABLE);
            }
            Err(Refused::Full) => self.counters.udp_queue_full += dropped,
            Err(Refused::Scarce) => self.counters.udp_memory_dropped += dropped,
        }
    }

    // RFC 1122 3.2.2.1-3, RFC 8085 5.2-2
    /// An ICMP error about a datagram. A socket hears of it if it is connected (RFC 1122 4.1.3.3), and as in Linux if the error is
    /// one that lasts, or the socket has asked for all.
    /// Says whether there is such a socket.
    pub(super) fn udp_icmp_error(
        &mut self,
        quoted: &Quoted,
        tuple: &FourTuple,
        error: ConnectionError,
    ) -> bool {
        // RFC 1122 4.1.3.3-1
        let lasts = matches!(
            error,
            ConnectionError::Refused | ConnectionError::ProtocolUnreachable | ConnectionError::Prohibited
        );
        let Some(key) = self.udp_sender_of(quoted, tuple) else {
            self.counters.icmp_ignored += 1;
            return false;
        };
        if let Some(socket) = self.udp.at_mut(key)
            && (lasts || socket.options.all_errors)
            && socket.remote.is_some()
        {
            socket.error = Some(error);
            self.udp_notice(key, Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE);
        }
        true
    }

    /// A router says that a datagram was too big for a link. Says whether a socket has sent it.
    pub(super) fn udp_too_big(
        &mut self,
        now: Timestamp,
        quoted: &Quoted,
        tuple: &FourTuple,
        mtu: u32,
    ) -> bool {
        let is_ours = self.udp_sender_of(quoted, tuple).is_some();
        if !is_ours || mtu >= quoted.ip.total_len {
            self.counters.icmp_ignored += 1;
        } else {
            self.path_mtu.learn(tuple.remote_addr, mtu, quoted.ip.total_len, now);
        }
        is_ours
    }

    /// The socket that has sent what is quoted: an error about what was never sent is a forgery.
    fn udp_sender_of(&self, quoted: &Quoted, tuple: &FourTuple) -> Option<Key> {
        let key = self.udp.find(tuple, || self.demux.spread(tuple))?.key();
        let sent = self.udp.at(key)?.sent.as_ref()?;
        sent.may_have_sent(quoted, self.label_of(tuple)).then_some(key)
    }

    // RFC 6864 4.1-1
    /// What packets of a flow are known by: the flow label of IPv6, and the identification of IPv4, which means nothing else in a
    /// packet that routers may not fragment (RFC 6864 4.1).
    fn label_of(&self, tuple: &FourTuple) -> u32 {
        match self.isn.flow_label(Protocol::UDP, tuple) {
            0 => u32::from(self.isn.ident(tuple)),
            label => label,
        }
    }

    // RFC 6864 4.3-2
    /// Sends a datagram, or several of one size. It is taken whole or not at all. To an address of ours it has arrived when this
    /// returns.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn udp_send(
        &mut self,
        now: Timestamp,
        id: UdpId,
        data: &[u8],
        how: &Outgoing,
    ) -> Result<(), DatagramError> {
        self.clock_is(now);
        let ends = self.udp_ends(id, how)?;
        let socket = self.udp.get_mut(id).ok_or(DatagramError::UnknownSocket)?;
        if let Some(error) = socket.error.take() {
            return Err(DatagramError::Failed(error));
        }
        let size = how.segment_size.map(usize::from).filter(|size| (1..data.len()).contains(size));
        let longest = size.unwrap_or(data.len());
        if data.len() > wire::longest_payload(ends.ip.dst) {
            return Err(DatagramError::TooLong);
        }
        if data.len().div_ceil(longest.max(1)) > MAX_SEGMENTS {
            return Err(DatagramError::TooManySegments);
        }
        let fits = self.fits_path(&ends, longest);
        // As in Linux, several of one call are not cut.
        if !fits && (size.is_some() || self.udp.get(id).is_some_and(|socket| socket.options.dont_fragment)) {
            return Err(DatagramError::TooLong);
        }
        let leaves = !self.addresses.is_local(ends.ip.dst) && ends.ip.hop_limit > 0;
        if leaves {
            self.udp_has_room(id)?;
        }
        let returns = self.udp_returns(id, ends.ip.dst);
        for packet in self.udp_packets(id, &ends, data, size)? {
            self.counters.udp_sent +=
                packet.segment_size.map_or(1, |size| packet.payload.len().div_ceil(usize::from(size)) as u64);
            if returns {
                self.udp_loop(now, &packet);
            }
            if leaves && fits {
                self.udp_queue(id, packet);
            } else if leaves {
                let fragments = self.in_fragments(ends.ip.dst, packet).ok_or(DatagramError::TooLong)?;
                fragments.into_iter().for_each(|fragment| self.udp_queue(id, fragment));
            }
        }
        Ok(())
    }

    // RFC 8085 5.1-1
    /// From where to where a datagram goes, and what its IP header says.
    pub(super) fn udp_ends(&self, id: UdpId, how: &Outgoing) -> Result<Ends, DatagramError> {
        let socket = self.udp.get(id).ok_or(DatagramError::UnknownSocket)?;
        let options = &socket.options;
        let remote = match (how.to, socket.remote) {
            (Some(to), _) => {
                let bound = if socket.takes_any() { how.from.unwrap_or(socket.bound) } else { socket.bound };
                let only_v6 = socket.sharing.only_v6 && to.ip().to_canonical().is_ipv4();
                if only_v6 {
                    return Err(DatagramError::NetworkUnreachable);
                }
                self.udp_remote(bound, to, options.broadcast)?
            }
            (None, Some(remote)) => remote,
            (None, None) => return Err(DatagramError::NoDestination),
        };
        let from = how.from.map(|from| SocketAddr::new(from.ip().to_canonical(), from.port()));
        let local = match from {
            Some(from) if socket.takes_any() => from,
            _ if socket.takes_any() => return Err(DatagramError::InvalidAddress),
            // RFC 1122 4.1.3.5-2
            Some(from) if !from.ip().is_unspecified() => {
                if from.is_ipv4() != remote.is_ipv4() {
                    return Err(DatagramError::InvalidAddress);
                }
                SocketAddr::new(self.udp_source(from.ip(), remote.ip())?, socket.local.port())
            }
            _ => SocketAddr::new(self.udp_source(socket.local.ip(), remote.ip())?, socket.local.port()),
        };
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(DatagramError::FamilyMismatch);
        }
        if socket.takes_any() && (!self.addresses.is_unicast(local.ip()) || local.port() == 0) {
            return Err(DatagramError::AddressNotAvailable);
        }
        let tuple = FourTuple::new(local, remote);
        let label = self.label_of(&tuple);
        let class = if remote.is_ipv4() { options.tos } else { options.tclass };
        let ip = IpParams {
            src: tuple.local_addr,
            dst: tuple.remote_addr,
            protocol: Protocol::UDP,
            // RFC 1122 4.1.4-1
            hop_limit: if tuple.remote_addr.is_multicast() { options.multicast_ttl } else { options.ttl },
            traffic_class: how.ecn.map_or(class, |ecn| ecn.within(class)),
            dont_fragment: true,
            ident: u16::try_from(label).unwrap_or_default(),
            flow_label: label,
        };
        Ok(Ends { tuple, ip })
    }

    // RFC 1122 3.3.3-2
    /// Whether a datagram of so many bytes goes as one packet, and not in fragments (RFC 8085 3.2-1).
    fn fits_path(&self, ends: &Ends, len: usize) -> bool {
        let packet = ends.ip.header_len() + wire::HEADER_LEN + len;
        self.addresses.is_local(ends.ip.dst)
            || packet <= PASSES_ANYWHERE.min(usize::from(self.config.mtu))
            || packet <= usize::from(self.path_mtu(ends.ip.dst))
    }

    /// Whether a socket may send: what waits to leave is bounded for each, and for all together.
    fn udp_has_room(&mut self, id: UdpId) -> Result<(), DatagramError> {
        let crowded = self.udp.unsent >= self.config.budget() / PART;
        let socket = self.udp.get_mut(id).ok_or(DatagramError::UnknownSocket)?;
        if !socket.has_room() {
            socket.blocked = true;
            return Err(DatagramError::WouldBlock);
        }
        if crowded {
            if !std::mem::replace(&mut socket.crowded, true) {
                self.udp.is_crowded_out(id);
            }
            return Err(DatagramError::WouldBlock);
        }
        Ok(())
    }

    /// Whether what goes there comes to this host, too.
    fn udp_returns(&self, id: UdpId, to: IpAddr) -> bool {
        let Some(socket) = self.udp.get(id) else { return false };
        match to {
            IpAddr::V4(group) if group.is_multicast() => {
                socket.options.multicast_loop_v4 && self.udp.has_joined(to)
            }
            IpAddr::V6(group) if group.is_multicast() => {
                socket.options.multicast_loop_v6 && self.udp.has_joined(to)
            }
            _ => self.addresses.is_local(to) || self.addresses.is_broadcast(to),
        }
    }

    /// The packets of a call: one, unless a train has to be cut because the device takes none so long.
    fn udp_packets(
        &mut self,
        id: UdpId,
        ends: &Ends,
        data: &[u8],
        size: Option<usize>,
    ) -> Result<Vec<Transmit>, DatagramError> {
        let (to_us, headers) =
            (self.addresses.is_local(ends.ip.dst), ends.ip.header_len() + wire::HEADER_LEN);
        let carries = to_us || headers + data.len() <= usize::from(self.config.longest_train);
        let socket = self.udp.get_mut(id).ok_or(DatagramError::UnknownSocket)?;
        let sent = socket.sent.get_or_insert_default();
        let Some(size) = size else {
            return Ok(vec![whole_datagram(ends, data, sent)?]);
        };
        if !carries {
            return data.chunks(size).map(|piece| whole_datagram(ends, piece, sent)).collect();
        }
        // Nobody asks for more of them than are remembered, so the others are copied without a look.
        sent.note_len(wire::HEADER_LEN + size);
        let pieces = data.len().div_ceil(size);
        let copy = Bytes::copy_from_slice(data);
        for piece in copy.chunks(size).skip(pieces.saturating_sub(Sent::REMEMBERED)) {
            let mut sum = Checksum::new();
            sum.add_bytes(piece);
            note(sent, &headers_of(ends, piece.len(), sum, ChecksumMode::Full)?);
        }
        let header = headers_of(ends, data.len(), Checksum::new(), ChecksumMode::Partial)?;
        let train = Transmit::new(header, Payload::from(copy), ChecksumMode::Partial);
        Ok(vec![train.with_segment_size(u16::try_from(size).ok())])
    }

    /// A packet comes to ourselves, at once: it needs no queue but the receiver's.
    fn udp_loop(&mut self, now: Timestamp, packet: &Transmit) {
        self.counters.sent += 1;
        let received = Received::alone(packet.to_bytes())
            .with_checksum(RxChecksum::Verified)
            .with_segment_size(packet.segment_size);
        self.take_packet(now, received, true);
    }

    fn udp_queue(&mut self, id: UdpId, packet: Transmit) {
        let Some(socket) = self.udp.get_mut(id) else { return };
        let takes = memory_of(&packet);
        socket.outgoing.push_back(packet);
        socket.unsent += takes;
        let joins = !std::mem::replace(&mut socket.in_line, true);
        self.udp.unsent += takes;
        self.outbox.datagram_waits(takes);
        if joins {
            self.outbox.push_sender(udp::key(id));
        }
        self.weigh_outbox();
    }

    /// It is a socket's turn to send a packet.
    pub(super) fn next_datagram(&mut self) -> Option<Transmit> {
        let key = self.outbox.pop_sender()?;
        let socket = self.udp.at_mut(key)?;
        let packet = socket.outgoing.pop_front();
        let takes = packet.as_ref().map_or(0, memory_of);
        socket.unsent -= takes;
        socket.in_line = !socket.outgoing.is_empty();
        let (again, closed) = (socket.in_line, socket.closed);
        // As in Linux, a writer is woken when half of its buffer is free.
        let woken = socket.blocked && socket.unsent <= socket.options.send_buffer / 2;
        socket.blocked &= !woken;
        self.udp.unsent -= takes;
        self.outbox.datagram_leaves(takes);
        if again {
            self.outbox.push_sender(key);
        } else if closed {
            self.udp.bury(key);
            self.weigh_datagrams();
        }
        if woken {
            self.udp_notice(key, Readiness::WRITABLE);
        }
        if self.udp.unsent < self.config.budget() / PART
            && let Some(next) = self.udp.next_crowded()
        {
            if let Some(socket) = self.udp.at_mut(next) {
                socket.crowded = false;
            }
            self.udp_notice(next, Readiness::WRITABLE);
        }
        packet
    }
}

/// A packet that waits, and its place.
fn memory_of(packet: &Transmit) -> usize {
    size_of::<Transmit>() + packet.payload.len()
}

// RFC 1122 4.1.3.4-1, RFC 8085 3.4-1
/// The packet of one datagram.
fn whole_datagram(ends: &Ends, data: &[u8], sent: &mut Sent) -> Result<Transmit, DatagramError> {
    let mut sum = Checksum::new();
    let mut copy = BytesMut::zeroed(data.len());
    sum.add_copy(data, &mut copy);
    let header = headers_of(ends, data.len(), sum, ChecksumMode::Full)?;
    note(sent, &header);
    Ok(Transmit::new(header, Payload::from(copy.freeze()), ChecksumMode::Full))
}

fn headers_of(
    ends: &Ends,
    len: usize,
    sum: Checksum,
    checksum: ChecksumMode,
) -> Result<HeaderBuf, DatagramError> {
    let (from, to) = (ends.tuple.local_port, ends.tuple.remote_port);
    wire::emit_headers(&ends.ip, from, to, len, sum, checksum).map_err(|_| DatagramError::TooLong)
}

/// Remembers that a datagram goes out.
fn note(sent: &mut Sent, headers: &HeaderBuf) {
    if let Some(&[l0, l1, c0, c1]) = headers.last_chunk::<4>() {
        sent.note(u16::from_be_bytes([l0, l1]), u16::from_be_bytes([c0, c1]));
    }
}
