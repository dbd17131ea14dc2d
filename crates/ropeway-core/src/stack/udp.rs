//! The user's calls on UDP sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ropeway_packet::{FourTuple, Protocol};

use super::{Noticed, Stack};
use crate::error::{ConnectionError, DatagramError, GroupError, ListenError, RecvError, UnknownId};
use crate::event::Readiness;
use crate::ports::{Claim, Sharing};
use crate::slab::Key;
use crate::time::Timestamp;
use crate::udp::datagram::{Datagram, DatagramTrain, Outgoing, UdpId, UdpInfo};
use crate::udp::options::UdpOptions;
use crate::udp::{self, Hold, Socket};

/// As in Linux (`igmp_max_memberships` is 20; IPv6 has no bound of its own).
const MAX_GROUPS: usize = 64;

/// Of a socket that shares nothing.
const ALONE: Sharing = Sharing { reuse_addr: false, reuse_port: false, only_v6: false };

impl Stack {
    /// What a socket begins with: TTL and DSCP are those of the stack's settings.
    #[must_use]
    pub fn udp_default_options(&self) -> UdpOptions {
        UdpOptions::of_stack(self.default_options())
    }

    /// Makes a socket on a local address; port 0 chooses a free one. An IPv4-mapped address is that IPv4 address. `::` takes IPv4,
    /// too, unless [`UdpOptions::only_v6`] is set. A group or a broadcast address may be bound to: then the socket takes what goes
    /// there, and nothing else.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn udp_bind(
        &mut self,
        local: SocketAddr,
        options: UdpOptions,
    ) -> Result<(UdpId, SocketAddr), ListenError> {
        let sharing = Sharing {
            reuse_addr: options.reuse_addr,
            reuse_port: options.reuse_port,
            only_v6: options.only_v6,
        };
        let local = self.choose_local(Protocol::UDP, local, sharing)?;
        let socket = Socket::new(local, Hold::Port, sharing, options);
        let id = self.udp.insert(socket).ok_or(ListenError::PortsExhausted)?;
        self.ports.udp.claim(local, Claim::Binding(sharing));
        self.weigh_datagrams();
        Ok((id, local))
    }

    /// Makes the socket that takes every datagram which no other socket takes, whatever its address and port, ours or not. What it
    /// [sends](Self::udp_send) says where it comes from: as a rule, from where the question went to.
    ///
    /// # Errors
    /// [`ListenError::AddressInUse`] if there is such a socket already.
    pub fn udp_listen_any(&mut self, options: UdpOptions) -> Result<UdpId, ListenError> {
        if self.udp.takes_any() {
            return Err(ListenError::AddressInUse);
        }
        let anywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let socket = Socket::new(anywhere, Hold::Anything, ALONE, options);
        let id = self.udp.insert(socket).ok_or(ListenError::PortsExhausted)?;
        self.weigh_datagrams();
        Ok(id)
    }

    /// Makes a socket that is connected to a peer, on a port that the stack chooses: others may have the same port towards other peers,
    /// so there may be many more of these than ports.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn udp_open(
        &mut self,
        now: Timestamp,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> Result<UdpId, DatagramError> {
        self.clock_is(now);
        let unspecified = match remote.ip().to_canonical() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let remote = self.udp_remote(SocketAddr::new(unspecified, 0), remote, options.broadcast)?;
        let source = self.udp_source(unspecified, remote.ip())?;
        let port = self.choose_udp_port(source, remote).ok_or(DatagramError::PortsExhausted)?;
        let tuple = FourTuple::new(SocketAddr::new(source, port), remote);
        let mut socket = Socket::new(tuple.local(), Hold::Flow(tuple), ALONE, options);
        socket.remote = Some(remote);
        let id = self.udp.insert(socket).ok_or(DatagramError::PortsExhausted)?;
        self.ports.udp.flow_begins(&tuple, true);
        self.weigh_datagrams();
        Ok(id)
    }

    // RFC 8085 5.1-2
    /// Connects a socket to a peer: from now on it takes datagrams from there only, and hears of ICMP errors (RFC 1122 4.1.3.3). It
    /// may be connected anew, unless it was [opened](Self::udp_open) as one. What waits to be read stays.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn udp_connect(
        &mut self,
        now: Timestamp,
        id: UdpId,
        remote: SocketAddr,
    ) -> Result<(), DatagramError> {
        self.clock_is(now);
        let socket = self.udp.get(id).ok_or(DatagramError::UnknownSocket)?;
        let (bound, broadcast) = (socket.bound, socket.options.broadcast);
        if socket.hold != Hold::Port {
            return Err(DatagramError::InvalidAddress);
        }
        let remote = self.udp_remote(bound, remote, broadcast)?;
        let source = self.udp_source(bound.ip(), remote.ip())?;
        self.udp.move_to(id, SocketAddr::new(source, bound.port()), Some(remote));
        Ok(())
    }

    /// The address that a socket is on; unspecified if that is every one.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, UnknownId> {
        Ok(self.udp.get(id).ok_or(UnknownId)?.local)
    }

    /// Whom a socket is connected to.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn udp_peer_addr(&self, id: UdpId) -> Result<Option<SocketAddr>, UnknownId> {
        Ok(self.udp.get(id).ok_or(UnknownId)?.remote)
    }

    /// Takes the next datagram.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if there is none; [`RecvError::Failed`] once for each ICMP error, before whatever waits.
    pub fn udp_recv(&mut self, id: UdpId) -> Result<Datagram, RecvError> {
        self.udp_read(id, |socket| socket.receive.pop())
    }

    /// Takes the next datagram, and those behind it that are alike, up to `most` bytes and `segments` datagrams in all; if the first
    /// one alone is longer, just that.
    ///
    /// # Errors
    /// Those of [`udp_recv`](Self::udp_recv).
    pub fn udp_recv_train(
        &mut self,
        id: UdpId,
        most: usize,
        segments: usize,
    ) -> Result<DatagramTrain, RecvError> {
        self.udp_read(id, |socket| socket.receive.pop_train(most, segments))
    }

    /// Shows the next datagram, and leaves it there.
    ///
    /// # Errors
    /// Those of [`udp_recv`](Self::udp_recv).
    pub fn udp_peek(&mut self, id: UdpId) -> Result<Datagram, RecvError> {
        self.udp_read(id, |socket| socket.receive.peek())
    }

    fn udp_read<R>(
        &mut self,
        id: UdpId,
        read: impl FnOnce(&mut Socket) -> Option<R>,
    ) -> Result<R, RecvError> {
        let read = |socket: &mut Socket| match socket.error.take() {
            Some(error) => Err(RecvError::Failed(error)),
            None => read(socket).ok_or(RecvError::WouldBlock),
        };
        let result = self.udp.read(id, read).unwrap_or(Err(RecvError::NotConnected));
        self.weigh_datagrams();
        result
    }

    /// Whether a queue of what was received has become fuller than half since this was asked last. Whoever gives the stack packets
    /// lets the applications read then, before it goes on: nothing holds datagrams back, and those that find the queue full are lost.
    pub fn udp_fills(&mut self) -> bool {
        self.udp.take_fills()
    }

    /// What a socket can do now. An unknown id can do nothing. One that is connected can write only in the shard that has its flow.
    #[must_use]
    pub fn udp_readiness(&self, id: UdpId) -> Readiness {
        let Some(socket) = self.udp.get(id) else { return Readiness::EMPTY };
        let flow = socket.remote.map(|remote| FourTuple::new(socket.local, remote));
        socket.readiness(flow.is_none_or(|flow| self.has_flow(&flow)))
    }

    /// The number of the shard in which a datagram is to be sent, so that answers to it come to the same one.
    ///
    /// # Errors
    /// Those of [`udp_send`](Self::udp_send).
    pub fn udp_shard(&self, id: UdpId, how: &Outgoing) -> Result<usize, DatagramError> {
        let tuple = self.udp_ends(id, how)?.tuple;
        Ok(self.steering().map_or(0, |steering| steering.shard_of(&tuple)))
    }

    /// The pending error, which is cleared by asking (`SO_ERROR`).
    pub fn udp_take_error(&mut self, id: UdpId) -> Option<ConnectionError> {
        self.udp.get_mut(id)?.error.take()
    }

    /// How a socket fares.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn udp_info(&self, id: UdpId) -> Result<UdpInfo, UnknownId> {
        Ok(self.udp.get(id).ok_or(UnknownId)?.info())
    }

    /// A socket's options.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn udp_options(&self, id: UdpId) -> Result<&UdpOptions, UnknownId> {
        Ok(&self.udp.get(id).ok_or(UnknownId)?.options)
    }

    /// Changes a socket's options. How it shares its port was decided when it was bound.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn udp_update_options(
        &mut self,
        id: UdpId,
        change: impl FnOnce(&mut UdpOptions),
    ) -> Result<(), UnknownId> {
        let socket = self.udp.get_mut(id).ok_or(UnknownId)?;
        let had_room = socket.has_room();
        change(&mut socket.options);
        socket.options.normalize();
        if !had_room && socket.has_room() {
            self.udp_notice(udp::key(id), Readiness::WRITABLE);
        }
        Ok(())
    }

    /// Joins a multicast group, and with the socket the host. As in Linux, what goes to a group that the host has joined is
    /// taken by each socket on its port.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn udp_join(&mut self, id: UdpId, group: IpAddr) -> Result<(), GroupError> {
        let socket = self.udp.get(id).ok_or(GroupError::UnknownSocket)?;
        if !group.is_multicast() {
            return Err(GroupError::NotAGroup);
        }
        if socket.groups.contains(&group) {
            return Err(GroupError::AlreadyJoined);
        }
        if socket.groups.len() >= MAX_GROUPS {
            return Err(GroupError::TooMany);
        }
        self.udp.join(id, group);
        Ok(())
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn udp_leave(&mut self, id: UdpId, group: IpAddr) -> Result<(), GroupError> {
        self.udp.get(id).ok_or(GroupError::UnknownSocket)?;
        match (group.is_multicast(), self.udp.leave(id, group)) {
            (false, _) => Err(GroupError::NotAGroup),
            (true, false) => Err(GroupError::NotJoined),
            (true, true) => Ok(()),
        }
    }

    /// The application lets go of a socket; the id is dead from here on. What waits to leave still does, and what waits to be read is
    /// lost.
    pub fn udp_close(&mut self, now: Timestamp, id: UdpId) {
        self.clock_is(now);
        let Some(socket) = self.udp.get(id) else { return };
        match socket.hold {
            Hold::Port => self.ports.udp.release(socket.bound, Claim::Binding(socket.sharing)),
            Hold::Flow(tuple) => self.ports.udp.flow_ends(&tuple),
            Hold::Anything => {}
        }
        self.udp.close(id);
        self.weigh_datagrams();
    }

    /// Where a datagram from a socket on `bound` goes to.
    pub(super) fn udp_remote(
        &self,
        bound: SocketAddr,
        remote: SocketAddr,
        broadcast: bool,
    ) -> Result<SocketAddr, DatagramError> {
        let of_ipv4 = bound.is_ipv4();
        let ip = match remote.ip().to_canonical() {
            // As in Linux, the unspecified address is this host.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        if remote.port() == 0 {
            return Err(DatagramError::InvalidAddress);
        }
        match (of_ipv4, ip.is_ipv4()) {
            (true, false) => return Err(DatagramError::FamilyMismatch),
            // Only `::` is of both families, unless it was not to be.
            (false, true) if !bound.ip().is_unspecified() => return Err(DatagramError::NetworkUnreachable),
            _ => {}
        }
        if self.addresses.is_broadcast(ip) && !broadcast {
            return Err(DatagramError::BroadcastRefused);
        }
        Ok(SocketAddr::new(ip, remote.port()))
    }

    // RFC 1122 4.1.3.6-2
    /// Our address towards `remote`, for a socket that is bound to `bound`.
    pub(super) fn udp_source(&self, bound: IpAddr, remote: IpAddr) -> Result<IpAddr, DatagramError> {
        let is_fixed =
            !bound.is_unspecified() && !bound.is_multicast() && !self.addresses.is_broadcast(bound);
        if is_fixed {
            if !self.addresses.is_local(bound) {
                return Err(DatagramError::AddressNotAvailable);
            }
            // A loopback address cannot be seen from outside.
            if bound.is_loopback() && !self.addresses.is_local(remote) && !self.is_to_many(remote) {
                return Err(DatagramError::InvalidAddress);
            }
            return Ok(bound);
        }
        let loopback = || self.is_to_many(remote).then(|| loopback_of(remote));
        self.addresses.source_for(remote).or_else(loopback).ok_or(DatagramError::NetworkUnreachable)
    }

    /// Whether packets to this address may have several receivers.
    pub(super) fn is_to_many(&self, address: IpAddr) -> bool {
        address.is_multicast() || self.addresses.is_broadcast(address)
    }

    /// A socket can do more than before, and its owner is to be told.
    pub(super) fn udp_notice(&mut self, key: Key, gained: Readiness) {
        let Some(socket) = self.udp.at_mut(key).filter(|socket| !socket.closed) else { return };
        let in_queue = socket.gained != Readiness::EMPTY;
        socket.gained |= gained;
        if !in_queue {
            self.event_queue.push_back(Noticed::Udp(key));
        }
    }

    /// What datagrams take, and diverted packets, may have changed.
    pub(super) fn weigh_datagrams(&mut self) {
        let diverted = self.diverted.as_ref().map_or(0, |diverted| diverted.memory());
        self.ledger.set_datagrams(self.udp.memory() + diverted);
    }
}

fn loopback_of(remote: IpAddr) -> IpAddr {
    if remote.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}
