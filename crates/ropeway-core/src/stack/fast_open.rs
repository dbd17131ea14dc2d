//! Fast Open (RFC 7413): connects with data, and SYNs with data for a listener.

use std::net::{IpAddr, SocketAddr};

use ropeway_packet::{FastOpen as Cookie, FourTuple, SeqNum};

use super::settle::connection_id;
use super::{Noticed, Stack};
use crate::error::ConnectError;
use crate::event::{ConnectionId, ListenerId};
use crate::options::SocketOptions;
use crate::slab::Key;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Arrival, Connection, Env};
use crate::tcp::fast_open::keys::{FastOpenKeys, Worth};
use crate::tcp::fast_open::{Attempt, News};
use crate::tcp::listen::half_open::HalfOpenTable;
use crate::time::Timestamp;
use crate::tuple_slab::TupleKey;

/// What a SYN for a listener has come to.
pub(super) enum Tried {
    /// A connection is there, and its SYN-ACK is on its way.
    Opened,
    /// It is like any other; its SYN-ACK may bring a cookie.
    Usual(Option<Cookie>),
}

impl Stack {
    /// An active OPEN with data (RFC 7413; `sendto` with `MSG_FASTOPEN`): as much of `data` as the server is known to take goes
    /// with the SYN, if it has given us a cookie before; otherwise none, and the SYN asks for one. Says how much. What is left
    /// is to be sent when the connection is open, as after [`connect`](Self::connect), to which it is equal in all else.
    ///
    /// What goes with the SYN must be idempotent, like a GET: the server's application may get it more than once, since the
    /// network may repeat a SYN after its connection has ended (RFC 7413 2.1). It is sent again by itself if the server does
    /// not take it, and for as long as it is out it counts as written.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ropeway_core::{SocketOptions, Stack, StackConfig, Timestamp};
    ///
    /// let now = Timestamp::from_micros(1_000_000);
    /// let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    /// let server = "127.0.0.1:80".parse()?;
    /// let mut options = SocketOptions::default();
    /// options.fast_open = 16;
    /// let listener = stack.listen(server, 16, options)?;
    /// // The first time there is no cookie yet.
    /// let (first, sent) = stack.connect_with(now, None, server, SocketOptions::default(), b"GET /")?;
    /// assert_eq!(sent, 0);
    /// while stack.poll_transmit(now).is_some() {}
    /// let (second, sent) = stack.connect_with(now, None, server, SocketOptions::default(), b"GET /")?;
    /// assert_eq!(sent, 5);
    /// while stack.poll_transmit(now).is_some() {}
    /// assert!(stack.info(now, second)?.syn_data);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_with(
        &mut self,
        now: Timestamp,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
        data: &[u8],
    ) -> Result<(ConnectionId, usize), ConnectError> {
        self.open_actively(now, local, remote, options, Some(data))
    }

    /// Whether a [`connect_with`](Self::connect_with) from `local` to `remote` would send data with its SYN at this moment: who
    /// defers the SYN until there is something to send, as Linux's `TCP_FASTOPEN_CONNECT` does, has to know.
    #[must_use]
    pub fn sends_with_syn(
        &self,
        now: Timestamp,
        local: IpAddr,
        remote: SocketAddr,
        options: &SocketOptions,
    ) -> bool {
        let tuple = FourTuple {
            local_addr: local,
            remote_addr: remote.ip(),
            local_port: 0,
            remote_port: remote.port(),
        };
        self.fast_open_attempt(&tuple, options, now).is_some_and(|attempt| attempt.data)
    }

    /// The keys of the cookies that we give to clients. By default there is one, from the stack's seed.
    #[must_use]
    pub fn fast_open_keys(&self) -> FastOpenKeys {
        self.fast_open.keys
    }

    /// Sets the keys of the cookies that we give to clients (`TCP_FASTOPEN_KEY`). A server should change them now and then, by
    /// [`rotate`](FastOpenKeys::rotate): a cookie is good for as long as one of both keys is (RFC 7413 4.1.2).
    pub fn set_fast_open_keys(&mut self, keys: FastOpenKeys) {
        self.fast_open.keys = keys;
    }

    /// Forgets the cookies that servers gave us, and what else is known of how they take Fast Open.
    pub fn forget_fast_open_cookies(&mut self) {
        self.fast_open.cookies.clear();
        self.ledger.set_cookies(self.fast_open.cookies.memory());
    }

    /// What a SYN may do, if there is anything to try.
    pub(super) fn fast_open_attempt(
        &self,
        tuple: &FourTuple,
        options: &SocketOptions,
        now: Timestamp,
    ) -> Option<Attempt> {
        if self.fast_open.black_hole.pauses(self.config.fast_open_blackhole_timeout, now) {
            return None;
        }
        let attempt = self.fast_open.cookies.attempt(tuple, options.fast_open_no_cookie, now);
        (attempt.option.is_some() || attempt.data).then_some(attempt)
    }

    // RFC 7413 4.1.1-2
    /// A SYN for a listener that has room for it. With a good cookie, a connection is there at once (RFC 7413 4.2.2); whoever asks
    /// is given one (RFC 7413 4.2.1-2), and whoever has none that is good (RFC 7413 4.2.2-3). Only a listener that was asked to does
    /// that (RFC 7413 2-1).
    pub(super) fn try_fast_open(
        &mut self,
        now: Timestamp,
        (tuple, id): (&FourTuple, ListenerId),
        arrival: &mut Arrival,
        reused: Option<(TupleKey, SeqNum)>,
    ) -> Tried {
        let option = arrival.header.options.fast_open;
        let Some(listener) = self.listeners.get_mut(id) else { return Tried::Usual(None) };
        let most = if listener.asks_user { 0 } else { listener.options.fast_open };
        if most == 0 || (option.is_none() && arrival.payload.is_empty()) {
            return Tried::Usual(None);
        }
        self.counters.fast_open_cookies_requested += u64::from(option.is_some_and(|it| it.is_request()));
        // Before a cookie is looked at (RFC 7413 5.1).
        if !listener.fast_open.has_room(most, now) {
            self.counters.fast_open_overflows += 1;
            return Tried::Usual(None);
        }
        let new = || {
            let cookie = self.fast_open.keys.cookie_for(tuple);
            cookie.map(|new| new.as_experiment(option.is_some_and(|it| it.is_experiment())))
        };
        let worth = match option {
            _ if listener.options.fast_open_no_cookie => Worth::Good,
            None => return Tried::Usual(None),
            Some(request) if request.is_request() => return Tried::Usual(new()),
            Some(cookie) => self.fast_open.keys.check(tuple, cookie.cookie()),
        };
        let (new, told) = (new(), worth == Worth::Aging);
        if worth != Worth::Nothing && self.open_fast(now, (tuple, id), new.filter(|_| told), arrival, reused)
        {
            self.counters.fast_open_passive += 1;
            self.counters.fast_open_passive_alt_key += u64::from(told);
            return Tried::Opened;
        }
        self.counters.fast_open_passive_failed += 1;
        Tried::Usual(new)
    }

    fn open_fast(
        &mut self,
        now: Timestamp,
        (tuple, id): (&FourTuple, ListenerId),
        cookie: Option<Cookie>,
        arrival: &mut Arrival,
        reused: Option<(TupleKey, SeqNum)>,
    ) -> bool {
        let opening = (arrival.header.flags, arrival.ecn, reused);
        let Some(opening) = self.opening(now, tuple, id, opening) else { return false };
        let announced = self.announced(tuple, id);
        let Some(options) = self.listeners.get(id).map(|listener| listener.options.clone()) else {
            return false;
        };
        let handshake = HalfOpenTable::handshake_of(&arrival.header, &opening, &announced, now);
        let setup = self.setup(tuple, opening.iss, handshake.timestamp_offset);
        let pressure = self.ledger.pressure_towards(tuple.remote_addr);
        let mut env = Env::new(
            now,
            &self.config,
            pressure,
            &mut self.counters,
            self.handed,
            &mut self.spares,
            &mut self.path_mtu,
        );
        let parts = (*tuple, options, &setup);
        let connection = Connection::open_fast(parts, (id, cookie), &handshake, arrival, &mut env);
        if let Some((old, _)) = reused {
            self.counters.time_wait_reused += 1;
            self.end_time_wait(old, Cause::Syn);
        }
        let Some(key) = self.register(connection, None) else { return false };
        self.report(tuple, State::Listen, Cause::Syn);
        let Some(listener) = self.listeners.get_mut(id) else { return false };
        listener.fast_open.begin();
        let over = listener.accept_queue.push(connection_id(key), None);
        self.event_queue.push_back(Noticed::Listener(id));
        self.settle(key, now);
        if let Some(over) = over {
            self.close(now, over);
        }
        true
    }

    /// A handshake is complete in which Fast Open was used, or asked for.
    pub(super) fn learn(&mut self, now: Timestamp, tuple: &FourTuple, news: News) {
        match news {
            News::Answered(answered) => {
                self.fast_open.cookies.learn(tuple, &answered, now);
                self.ledger.set_cookies(self.fast_open.cookies.memory());
            }
            News::Complete(id) => {
                self.counters.passive_opens += 1;
                if let Some(listener) = self.listeners.get_mut(id) {
                    listener.fast_open.end(false, now);
                }
            }
        }
    }

    /// A connection is over: what that means for Fast Open.
    pub(super) fn fast_open_ends(&mut self, key: Key, now: Timestamp) {
        let Some(connection) = self.rooms.connections.get_mut(key) else { return };
        if let Some((id, reset)) = connection.end_early()
            && let Some(listener) = self.listeners.get_mut(id)
        {
            listener.fast_open.end(reset, now);
        }
        connection.suspect_lost_data();
        if connection.has_proved_fast_open() && !self.addresses.is_local(connection.tuple.remote_addr) {
            self.fast_open.black_hole.is_past();
        }
        if connection.take_black_hole() {
            self.note_black_hole(now);
        }
    }

    /// Takes note of a path that was found to swallow what Fast Open sends.
    pub(super) fn note_black_hole(&mut self, now: Timestamp) {
        self.counters.fast_open_active_failed += 1;
        self.counters.fast_open_black_holes += 1;
        self.fast_open.black_hole.found(now);
    }
}
