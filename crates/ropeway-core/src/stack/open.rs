//! Opening: bind, listen, accept, connect (RFC 9293 3.9.1.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ropeway_packet::{FourTuple, Protocol, SeqNum};

use super::output::TIMEOUT_BUDGET;
use super::settle::{connection_id, connection_key};
use super::{Binding, BindingId, Stack};
use crate::demux::Room;
use crate::error::{ConnectError, ListenError, UnknownId};
use crate::event::{ConnectionId, ListenerId};
use crate::ledger::Measure;
use crate::options::SocketOptions;
use crate::ports::{Claim, Sharing};
use crate::slab::Key;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Connection, Env, Setup};
use crate::time::Timestamp;
use crate::tuple_slab::TupleKey;

impl Stack {
    /// Reserves a local address; port 0 chooses a free one. Release it before `listen` or `connect` uses it.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(
        &mut self,
        local: SocketAddr,
        options: &SocketOptions,
    ) -> Result<(BindingId, SocketAddr), ListenError> {
        let local = self.choose_local(Protocol::TCP, local, Sharing::of(options))?;
        let sharing = Sharing::of(options);
        let key =
            self.bindings.insert_with(|_| Binding { local, sharing }).ok_or(ListenError::PortsExhausted)?;
        self.ports.tcp.claim(local, Claim::Binding(sharing));
        Ok((BindingId { index: key.index, generation: key.generation }, local))
    }

    /// Gives a reserved address back.
    pub fn release_binding(&mut self, id: BindingId) {
        let key = Key { index: id.index, generation: id.generation };
        if let Some(Binding { local, sharing }) = self.bindings.remove(key) {
            self.ports.tcp.release(local, Claim::Binding(sharing));
        }
    }

    /// A passive OPEN: waits for connections to `local`; port 0 chooses a free one. Neither existing
    /// connections nor half-open ones are disturbed (RFC 9293 3.9.1.1 MUST-41, MUST-42).
    ///
    /// As on Linux, one more connection than `backlog` says may wait to be accepted, and as many handshakes may be
    /// under way; a backlog above [`max_connections`](crate::StackConfig::max_connections) counts as that. A listener on
    /// `::` takes IPv4 connections too, as on Linux; one on an IPv4-mapped address, such as `::ffff:0.0.0.0`, takes
    /// only those, and is a listener on that IPv4 address in every respect.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: SocketOptions,
    ) -> Result<ListenerId, ListenError> {
        let local = self.choose_local(Protocol::TCP, local, Sharing::of(&options))?;
        let backlog = backlog.min(self.config.max_connections);
        let sharing = Sharing::of(&options);
        let id = self.listeners.insert(local, backlog, options).ok_or(ListenError::PortsExhausted)?;
        self.ports.tcp.claim(local, Claim::Listener(sharing));
        self.set_patience(id);
        Ok(id)
    }

    /// What the listener's options say of its handshakes.
    fn set_patience(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(id) else { return };
        listener.patience = self.rooms.half_open.patience(&listener.options);
    }

    /// A passive OPEN for every address and port that no other listener has, ours or not: `poll_incoming` gives
    /// each SYN, and nothing is answered before `accept_incoming` or `reject_incoming`. The local end of such a
    /// connection is where the peer wanted to go. `backlog` bounds what waits as that of [`listen`](Self::listen) does.
    ///
    /// # Errors
    /// [`ListenError::AddressInUse`] if there is such a listener already.
    pub fn listen_any(&mut self, backlog: usize, options: SocketOptions) -> Result<ListenerId, ListenError> {
        let backlog = backlog.min(self.config.max_connections);
        let id = self.listeners.insert_any(backlog, options).ok_or(ListenError::AddressInUse)?;
        self.any_address = true;
        self.set_patience(id);
        Ok(id)
    }

    /// Turns a listener into an active open from its address (RFC 9293 3.10.1, 3.10.2: SEND in LISTEN). What
    /// waited there is reset, as when it is closed.
    ///
    /// # Errors
    /// See [`ConnectError`]; the listener is gone all the same.
    pub fn connect_from_listener(
        &mut self,
        now: Timestamp,
        id: ListenerId,
        remote: SocketAddr,
    ) -> Result<ConnectionId, ConnectError> {
        let Some(listener) = self.listeners.get(id) else { return Err(ConnectError::AddressNotAvailable) };
        let (local, options) = (listener.local, SocketOptions::clone(&listener.options));
        self.close_listener(now, id);
        self.connect(now, Some(local), remote, options)
    }

    /// The next connection whose handshake is complete, with the peer's address; `None` if there is none yet.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn accept(
        &mut self,
        now: Timestamp,
        id: ListenerId,
    ) -> Result<Option<(ConnectionId, SocketAddr)>, UnknownId> {
        self.clock_is(now);
        loop {
            let listener = self.listeners.get_mut(id).ok_or(UnknownId)?;
            let Some(next) = listener.accept_queue.pop() else { return Ok(None) };
            if let Some(remote) = self.hand_over(now, next) {
                return Ok(Some((next, remote)));
            }
        }
    }

    /// The application holds the connection from now on. Gives its remote end.
    pub(super) fn hand_over(&mut self, now: Timestamp, id: ConnectionId) -> Option<SocketAddr> {
        let connection = self.rooms.connections.get_mut(connection_key(id))?;
        connection.is_accepted(now, &self.config);
        let remote = connection.tuple.remote();
        self.settle(connection_key(id), now);
        Some(remote)
    }

    /// Whether `accept` would give a connection.
    #[must_use]
    pub fn is_acceptable(&self, id: ListenerId) -> bool {
        self.listeners.get(id).is_some_and(|listener| !listener.accept_queue.is_empty())
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn listener_addr(&self, id: ListenerId) -> Result<SocketAddr, UnknownId> {
        Ok(self.listeners.get(id).ok_or(UnknownId)?.local)
    }

    /// The options that accepted connections start with.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn listener_options(&self, id: ListenerId) -> Result<&SocketOptions, UnknownId> {
        Ok(&self.listeners.get(id).ok_or(UnknownId)?.options)
    }

    /// Changes the options that connections accepted from now on start with.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn update_listener_options(
        &mut self,
        id: ListenerId,
        change: impl FnOnce(&mut SocketOptions),
    ) -> Result<(), UnknownId> {
        let listener = self.listeners.get_mut(id).ok_or(UnknownId)?;
        let before = Sharing::of(&listener.options);
        let options = Arc::make_mut(&mut listener.options);
        change(options);
        options.normalize();
        let after = Sharing::of(&listener.options);
        if before != after && !listener.asks_user {
            self.ports.tcp.release(listener.local, Claim::Listener(before));
            self.ports.tcp.claim(listener.local, Claim::Listener(after));
        }
        self.set_patience(id);
        Ok(())
    }

    /// Stops listening. Connections that wait to be accepted are reset, as Linux does; handshakes that are
    /// under way are forgotten: if there are many, their memory is given back with the next calls of `handle_timeout`.
    pub fn close_listener(&mut self, now: Timestamp, id: ListenerId) {
        self.clock_is(now);
        let Some(listener) = self.listeners.close(id) else { return };
        if listener.half_open + listener.refused > 0 {
            self.rooms.half_open.start_sweep();
            self.sweep_half_open();
        }
        if !listener.asks_user {
            self.ports.tcp.release(listener.local, Claim::Listener(Sharing::of(&listener.options)));
        }
        if !listener.accept_queue.is_empty() {
            self.unaccepted.push_back(listener.accept_queue);
        }
        self.reset_unaccepted(now);
    }

    /// Resets connections whose listener is gone; if there are many, the rest is due at once.
    pub(super) fn reset_unaccepted(&mut self, now: Timestamp) {
        for _ in 0..TIMEOUT_BUDGET {
            let Some(queue) = self.unaccepted.front_mut() else { break };
            let waiting = queue.pop();
            if queue.is_empty() {
                self.unaccepted.pop_front();
            }
            let Some(waiting) = waiting else { continue };
            self.abort(now, waiting);
            self.close(now, waiting);
        }
    }

    /// An active OPEN: the SYN goes out with the next `poll_transmit`, and `Event::Ready` tells the outcome.
    ///
    /// Without a local address the stack chooses one, and a port (RFC 9293 3.9.1.1 MUST-44, MUST-45). An
    /// unspecified remote address means ourselves, as on Linux. An IPv4-mapped address is that IPv4 address.
    ///
    /// When it finds no free port, it may take over a tuple in TIME-WAIT: see
    /// [`TimeWaitReuse`](crate::TimeWaitReuse).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        &mut self,
        now: Timestamp,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<ConnectionId, ConnectError> {
        self.open_actively(now, local, remote, options, None).map(|(id, _)| id)
    }

    /// An active open. `data` goes with the SYN as far as may be; says how much.
    pub(super) fn open_actively(
        &mut self,
        now: Timestamp,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
        data: Option<&[u8]>,
    ) -> Result<(ConnectionId, usize), ConnectError> {
        self.clock_is(now);
        if self.shut_down {
            return Err(ConnectError::ShutDown);
        }
        let remote = self.effective_remote(local, remote)?;
        let (local_addr, local_port) = self.effective_local(local, remote)?;
        if self.rooms.connections.len() >= self.config.max_connections {
            return Err(ConnectError::TooManyConnections);
        }
        let pressure = self.ledger.pressure_towards(remote.ip());
        if pressure.calls_for(Measure::RefuseConnections) {
            self.counters.opens_refused += 1;
            self.reclaim(now);
            return Err(ConnectError::OutOfMemory);
        }
        let (tuple, taken_over) = self.choose_tuple(now, local_addr, local_port, remote)?;
        let iss = match taken_over {
            Some((_, old)) => self.isn.isn_beyond(&tuple, now, old.snd_nxt),
            None => self.isn.isn(&tuple, now),
        };
        let mut setup = self.setup(&tuple, iss, self.isn.timestamp_offset(&tuple));
        if let Some((key, old)) = taken_over {
            setup.old_ts_recent = Some(old.ts_recent);
            self.counters.time_wait_reused += 1;
            self.end_time_wait(key, Cause::Timeout);
        }
        let options = self.shared_options.share(options);
        let fast_open = data.and_then(|data| Some((self.fast_open_attempt(&tuple, &options, now)?, data)));
        let mut env = Env::new(
            now,
            &self.config,
            pressure,
            &mut self.counters,
            self.handed,
            &mut self.spares,
            &mut self.path_mtu,
        );
        let mut connection = Connection::open(tuple, options, &setup, &env);
        let sent = fast_open.map_or(0, |(attempt, data)| connection.try_fast_open(&attempt, data, &mut env));
        self.counters.active_opens += 1;
        let key = self.register(connection, None).ok_or(ConnectError::TooManyConnections)?;
        self.settle(key, now);
        Ok((connection_id(key), sent))
    }

    pub(super) fn effective_remote(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<SocketAddr, ConnectError> {
        let of_ipv4 = local.is_some_and(|local| local.ip().to_canonical().is_ipv4());
        let ip = match remote.ip().to_canonical() {
            ip if !ip.is_unspecified() => ip,
            ip if ip.is_ipv4() || of_ipv4 => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        // MUST-46
        if remote.port() == 0 || !self.addresses.is_unicast(ip) {
            return Err(ConnectError::InvalidRemote);
        }
        Ok(SocketAddr::new(ip, remote.port()))
    }

    pub(super) fn effective_local(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<(IpAddr, u16), ConnectError> {
        // RFC 9293 3.9.1.1 MUST-43
        let asked = match local.map(|local| local.ip().to_canonical()) {
            // `::` is of either family.
            None | Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => None,
            Some(ip) if ip.is_ipv4() != remote.is_ipv4() => return Err(ConnectError::FamilyMismatch),
            Some(ip) => Some(ip).filter(|ip| !ip.is_unspecified()),
        };
        let ip = match asked {
            Some(ip) if !self.addresses.is_local(ip) => return Err(ConnectError::AddressNotAvailable),
            Some(ip) => ip,
            None => self.addresses.source_for(remote.ip()).ok_or(ConnectError::NetworkUnreachable)?,
        };
        // A loopback address cannot be seen from outside.
        if ip.is_loopback() && !self.addresses.is_local(remote.ip()) {
            return Err(ConnectError::NetworkUnreachable);
        }
        Ok((ip, local.map_or(0, |local| local.port())))
    }

    /// What a new connection needs from the stack.
    pub(super) fn setup(&self, tuple: &FourTuple, iss: SeqNum, timestamp_offset: u32) -> Setup {
        Setup {
            iss,
            timestamp_offset,
            flow_label: self.isn.flow_label(Protocol::TCP, tuple),
            path: self.path_mtu.get(tuple.remote_addr, self.now),
            device_mtu: self.device_mtu(tuple.remote_addr),
            old_ts_recent: None,
        }
    }

    /// Gives a connection its place, so that segments find it: the one that its tuple had in the SYN queue, or a new one.
    pub(super) fn register(
        &mut self,
        mut connection: Box<Connection>,
        queued: Option<TupleKey>,
    ) -> Option<Key> {
        let (tuple, opened) = (connection.tuple, connection.state() == State::SynSent);
        connection.scheduled.registered = true;
        let key = self.rooms.connections.insert_with(|_| connection);
        let room = key.map(|key| Room::Connection(key.index));
        match (queued.map(Room::HalfOpen), room) {
            (Some(queued), Some(room)) => self.demux.replace(&tuple, queued, room),
            (Some(queued), None) => self.demux.remove(&tuple, queued),
            (None, Some(room)) => self.demux.insert(&tuple, room),
            (None, None) => {}
        }
        let key = key?;
        if let Some(connection) = self.rooms.connections.get_mut(key) {
            connection.scheduled.charged = self.ledger.open(tuple.remote_addr);
        }
        self.ports.tcp.flow_begins(&tuple, opened);
        Some(key)
    }

    /// Takes a connection away that never came to be.
    pub(super) fn discard(&mut self, key: Key) {
        let Some(connection) = self.forget(key) else { return };
        self.undelivered -= usize::from(connection.scheduled.undelivered);
        self.orphans -= usize::from(connection.scheduled.orphan);
        if connection.scheduled.registered {
            self.demux.remove(&connection.tuple, Room::Connection(key.index));
            self.ports.tcp.flow_ends(&connection.tuple);
        }
    }
}
