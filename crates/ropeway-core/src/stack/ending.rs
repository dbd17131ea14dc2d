//! How a stack ends: in good order, or at once. Each connection is told, a bounded number of them at a time.

use std::net::Shutdown;

use super::Stack;
use super::settle::connection_id;
use crate::event::ConnectionId;
use crate::slab::Key;
use crate::time::Timestamp;

/// So many pages of 64 connections are told in one step.
const STEP: u32 = 1;

/// What all connections are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    ShutDown,
    WindUp,
    CutOff,
}

/// What is being told, and the page of connections that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    word: Word,
    page: u32,
}

impl Stack {
    /// Shuts every connection down for writing, and takes and opens no more: a SYN is answered with a RST from now on.
    /// [`undelivered`](Self::undelivered) tells when all that was written has arrived.
    ///
    /// If there are many connections, the next calls of [`handle_timeout`](Self::handle_timeout) shut the rest down, and
    /// whatever is done with one of them finds it shut down.
    pub fn shut_down(&mut self, now: Timestamp) {
        self.shut_down = true;
        self.tell_some(now, Word::ShutDown);
    }

    /// Whether [`shut_down`](Self::shut_down) was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Connections with something written, or a FIN, that the peer has not acknowledged. While there are connections that
    /// `shut_down` has not reached yet, it is not 0.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        self.undelivered + usize::from(self.farewell.is_some())
    }

    /// Says the last words of some connections: the stack is about to end, and nothing will be sent again. Says whether
    /// there are more, which takes another call; each does a bounded part.
    ///
    /// A connection that has nothing unacknowledged and nothing unread ends with a FIN. Any other sends what the windows
    /// allow at this moment, then a RST: a FIN would say that all has arrived. `poll_transmit` gives the packets.
    /// Connections between our own addresses are left alone: both of their ends go with the stack.
    #[must_use]
    pub fn wind_up(&mut self, now: Timestamp) -> bool {
        self.shut_down = true;
        self.tell_some(now, Word::WindUp)
    }

    /// After [`wind_up`](Self::wind_up), gives up the data that some connections have not sent: their RST comes next. Says
    /// whether there are more, likewise.
    #[must_use]
    pub fn cut_off(&mut self, now: Timestamp) -> bool {
        self.tell_some(now, Word::CutOff)
    }

    /// Goes on with shutting down, if that has begun.
    pub(super) fn shut_down_more(&mut self, now: Timestamp) {
        if let Some(Farewell { word: Word::ShutDown, .. }) = self.farewell {
            self.tell_some(now, Word::ShutDown);
        }
    }

    /// Whether `shut_down` has yet to reach some connections.
    pub(super) fn is_shutting_down(&self) -> bool {
        self.farewell.is_some_and(|farewell| farewell.word == Word::ShutDown)
    }

    /// Before something is done with a connection that `shut_down` may not have reached.
    pub(super) fn shut_down_first(&mut self, now: Timestamp, id: ConnectionId) {
        if self.is_shutting_down() {
            self.tell(now, id, Word::ShutDown);
        }
    }

    /// Tells the next connections. Says whether there are more.
    fn tell_some(&mut self, now: Timestamp, word: Word) -> bool {
        let page = self.farewell.filter(|farewell| farewell.word == word).map_or(0, |farewell| farewell.page);
        let (keys, next): (Vec<Key>, _) = self.rooms.connections.keys_from(page, STEP);
        self.farewell = next.map(|page| Farewell { word, page });
        for key in keys {
            self.tell(now, connection_id(key), word);
        }
        next.is_some()
    }

    fn tell(&mut self, now: Timestamp, id: ConnectionId, word: Word) {
        let remote = self.connection(id).map(|connection| connection.tuple.remote_addr);
        if word == Word::WindUp && remote.is_ok_and(|remote| self.addresses.is_local(remote)) {
            return;
        }
        self.act_on(now, id, |connection, env| match word {
            Word::ShutDown => {
                let _over = connection.shutdown(Shutdown::Write, env);
            }
            Word::WindUp => connection.wind_up(),
            Word::CutOff => connection.cut_off(),
        });
    }
}
