//! How a stack ends: in good order, or at once.

use std::net::Shutdown;

use super::Stack;
use super::settle::connection_id;
use crate::slab::Key;
use crate::tcp::connection::{Connection, Env};
use crate::time::Timestamp;

impl Stack {
    /// Shuts every connection down for writing, and takes and opens no more: a SYN is answered with a RST from now on.
    /// [`undelivered`](Self::undelivered) tells when all that was written has arrived.
    pub fn shut_down(&mut self, now: Timestamp) {
        self.shut_down = true;
        self.each_connection(now, |connection, _| {
            let _over = connection.shutdown(Shutdown::Write);
        });
    }

    /// Whether [`shut_down`](Self::shut_down) was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Connections with something written, or a FIN, that the peer has not acknowledged.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        self.undelivered
    }

    /// Says each connection's last words: the stack is about to end, and nothing will be sent again.
    ///
    /// A connection that has nothing unacknowledged and nothing unread ends with a FIN. Any other sends what the windows
    /// allow at this moment, then a RST: a FIN would say that all has arrived. `poll_transmit` gives the packets.
    /// Connections between our own addresses are left alone: both of their ends go with the stack.
    pub fn wind_up(&mut self, now: Timestamp) {
        self.shut_down = true;
        let addresses = self.addresses.clone();
        self.each_connection(now, |connection, _| {
            if !addresses.is_local(connection.tuple.remote_addr) {
                connection.wind_up();
            }
        });
    }

    /// After [`wind_up`](Self::wind_up), gives up the data that has not been sent: its RST comes next.
    pub fn cut_off(&mut self, now: Timestamp) {
        self.each_connection(now, |connection, _| connection.cut_off());
    }

    fn each_connection(&mut self, now: Timestamp, mut act: impl FnMut(&mut Connection, &mut Env<'_>)) {
        let keys: Vec<Key> = self.rooms.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.with_connection(now, connection_id(key), &mut act);
        }
    }
}
