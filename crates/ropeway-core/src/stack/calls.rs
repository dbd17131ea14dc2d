//! The user's calls on open connections.

use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use ropeway_packet::{FourTuple, Payload};

use super::Stack;
use super::settle::{connection_id, connection_key};
use crate::demux::Room;
use crate::error::{ConnectionError, RecvError, SendError, ShutdownError, UnknownId};
use crate::event::{ConnectionId, Event, Readiness};
use crate::info::TcpInfo;
use crate::options::SocketOptions;
use crate::tcp::connection::state::State;
use crate::tcp::connection::{Connection, Env, SendFlags};
use crate::time::Timestamp;
use crate::udp;

use super::Noticed;

impl Stack {
    /// Takes as much of `data` as the send buffer has room for, at least one byte.
    ///
    /// Before the connection is established, data is queued (RFC 9293 3.10.2). Empty data is taken at once
    /// if there is room at all.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was taken then.
    pub fn send(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        data: &[u8],
        flags: SendFlags,
    ) -> Result<usize, SendError> {
        self.send_vectored(now, id, &[IoSlice::new(data)], flags)
    }

    /// Like [`send`](Self::send), gathering from several places.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was taken then.
    pub fn send_vectored(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        data: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> Result<usize, SendError> {
        self.with_connection(now, id, |connection, env| connection.send(data, flags, env))
            .unwrap_or(Err(SendError::NotConnected))
    }

    /// Like [`send`](Self::send), but copies nothing from 512 bytes on: `data` is left with what did not fit.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was taken then.
    pub fn send_bytes(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        data: &mut Bytes,
        flags: SendFlags,
    ) -> Result<usize, SendError> {
        self.with_connection(now, id, |connection, env| connection.send_bytes(data, flags, env))
            .unwrap_or(Err(SendError::NotConnected))
    }

    /// Moves up to `max` bytes out, `max` being at least 1. An empty payload is the end of the stream.
    ///
    /// # Errors
    /// See [`RecvError`].
    pub fn recv(&mut self, now: Timestamp, id: ConnectionId, max: usize) -> Result<Payload, RecvError> {
        self.clock_is(now);
        self.shut_down_first(now, id);
        if self.connection(id).is_ok_and(Connection::has_nothing_to_read) {
            // It changes nothing, so nothing follows from it.
            return Err(RecvError::WouldBlock);
        }
        self.act_on(now, id, |connection, env| connection.recv(max, env))
            .unwrap_or(Err(RecvError::NotConnected))
    }

    /// Copies what has arrived, as much as fits, without taking it. 0 is the end of the stream.
    ///
    /// # Errors
    /// See [`RecvError`].
    pub fn peek(&mut self, id: ConnectionId, buf: &mut [u8]) -> Result<usize, RecvError> {
        let Some(connection) = self.rooms.connections.get_mut(connection_key(id)) else {
            return Err(RecvError::NotConnected);
        };
        connection.peek(buf)
    }

    /// Shuts down one or both directions. For writing: a FIN follows what was written (RFC 9293 3.6). For
    /// reading: what is unread, and what still arrives, is acknowledged and discarded.
    ///
    /// # Errors
    /// [`ShutdownError::NotConnected`] if the connection is over, or never was.
    pub fn shutdown(&mut self, now: Timestamp, id: ConnectionId, how: Shutdown) -> Result<(), ShutdownError> {
        self.with_connection(now, id, |connection, env| connection.shutdown(how, env))
            .unwrap_or(Err(ShutdownError::NotConnected))
    }

    /// The application lets go of the connection; the id is dead from here on.
    ///
    /// What was written is still sent, then a FIN, in the background. With unread data, or with `linger` set
    /// to zero, the peer gets a RST instead (RFC 9293 3.6.1 SHLD-3).
    pub fn close(&mut self, now: Timestamp, id: ConnectionId) {
        self.with_connection(now, id, Connection::close);
    }

    /// Sends a RST and discards what was not sent (RFC 9293 3.10.5). The id stays until [`close`](Self::close).
    pub fn abort(&mut self, now: Timestamp, id: ConnectionId) {
        self.with_connection(now, id, |connection, _| connection.abort());
    }

    /// What the connection can do now. An unknown id can be read and written to its end.
    #[must_use]
    pub fn readiness(&self, id: ConnectionId) -> Readiness {
        let connection = self.rooms.connections.get(connection_key(id));
        connection.map_or(Readiness::OVER, |connection| connection.readiness())
    }

    /// The pending error, which is cleared by asking (`SO_ERROR`): what ended the connection, or trouble on
    /// the way that did not (RFC 9293 3.9.1.8 MUST-47).
    pub fn take_error(&mut self, id: ConnectionId) -> Option<ConnectionError> {
        self.rooms.connections.get_mut(connection_key(id))?.take_error()
    }

    /// Both ends' addresses and ports.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn tuple(&self, id: ConnectionId) -> Result<FourTuple, UnknownId> {
        Ok(self.connection(id)?.tuple)
    }

    /// Whether the handshake is complete and the connection not over.
    #[must_use]
    pub fn is_connected(&self, id: ConnectionId) -> bool {
        self.connection(id).is_ok_and(Connection::is_connected)
    }

    /// What `TCP_INFO` tells.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn info(&self, now: Timestamp, id: ConnectionId) -> Result<TcpInfo, UnknownId> {
        let connection = self.connection(id)?;
        let mut info = connection.info(now, &self.config);
        let waits = matches!(self.demux.find(&connection.tuple, &self.rooms), Some(Room::TimeWait(_)));
        if info.state == State::TimeWait && !waits {
            info.state = State::Closed;
        }
        Ok(info)
    }

    /// Whether each connection's record of what it has sent agrees with its sequence numbers, and the sums of what is lost,
    /// reported and sent again with the marks in it: for the model check.
    #[cfg(feature = "model")]
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.rooms.connections.iter().all(|connection| connection.is_consistent())
    }

    /// The connection's options.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn options(&self, id: ConnectionId) -> Result<&SocketOptions, UnknownId> {
        Ok(&self.connection(id)?.options)
    }

    /// Changes the connection's options; what they ask for happens at once.
    ///
    /// # Errors
    /// [`UnknownId`]
    pub fn update_options(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        change: impl FnOnce(&mut SocketOptions),
    ) -> Result<(), UnknownId> {
        let before = Arc::clone(&self.connection(id)?.options);
        let mut options = SocketOptions::clone(&before);
        change(&mut options);
        let options = self.shared_options.share(options);
        self.with_connection(now, id, |connection, env| {
            connection.options = options;
            connection.options_changed(&before, env);
        })
        .ok_or(UnknownId)
    }

    /// How many bytes are to be read before the urgent mark, if one is pending (RFC 9293 3.8.5 MUST-33).
    #[must_use]
    pub fn urgent_remaining(&self, id: ConnectionId) -> Option<usize> {
        self.connection(id).ok()?.urgent_remaining()
    }

    /// Something to look at, if there is.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(noticed) = self.event_queue.pop_front() {
            match noticed {
                Noticed::Listener(id) => return Some(Event::Acceptable(id)),
                Noticed::Incoming(id) => return Some(Event::Incoming(id)),
                Noticed::Settled(id, tuple) => return Some(Event::IncomingSettled(id, tuple)),
                Noticed::Diverted => return Some(Event::Diverted),
                Noticed::Udp(key) => {
                    let Some(socket) = self.udp.at_mut(key).filter(|socket| !socket.closed) else { continue };
                    return Some(Event::Udp(udp::id(key), std::mem::take(&mut socket.gained)));
                }
                Noticed::Connection(key) => {
                    let Some(connection) = self.rooms.connections.get_mut(key) else { continue };
                    connection.scheduled.in_event_queue = false;
                    let gained = std::mem::take(&mut connection.scheduled.gained);
                    return Some(Event::Ready(connection_id(key), gained));
                }
            }
        }
        self.told = self.unanswered.len();
        None
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Result<&Connection, UnknownId> {
        self.rooms.connections.get(connection_key(id)).map(Box::as_ref).ok_or(UnknownId)
    }

    /// Acknowledges what has been received, if anything is not yet: the application waits for more, so no answer of
    /// its own will take the acknowledgement along. For a path on which one more segment costs next to nothing.
    pub fn acknowledge(&mut self, now: Timestamp, id: ConnectionId) {
        if self.connection(id).is_ok_and(Connection::owes_ack) {
            self.with_connection(now, id, |connection, _| connection.acknowledge());
        }
    }

    /// Lets `act` work on a connection, and sees to what follows from it.
    pub(super) fn with_connection<R>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, &mut Env<'_>) -> R,
    ) -> Option<R> {
        self.clock_is(now);
        self.shut_down_first(now, id);
        self.act_on(now, id, act)
    }

    pub(super) fn act_on<R>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, &mut Env<'_>) -> R,
    ) -> Option<R> {
        let key = connection_key(id);
        let connection = self.rooms.connections.get_mut(key)?;
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
        let result = act(connection, &mut env);
        self.settle(key, now);
        Some(result)
    }
}
