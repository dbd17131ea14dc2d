//! What follows from a change of a connection, whoever made it: this is called after each.

use ropeway_packet::FourTuple;

use super::{Noticed, Stack};
use crate::demux::Room;
use crate::event::{ConnectionId, Readiness};
use crate::ledger::Measure;
use crate::slab::Key;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Connection, Holder};
use crate::time::Timestamp;
use crate::tuple_slab::TupleKey;

pub(super) fn connection_id(key: Key) -> ConnectionId {
    ConnectionId { index: key.index, generation: key.generation }
}

pub(super) fn connection_key(id: ConnectionId) -> Key {
    Key { index: id.index, generation: id.generation }
}

/// A connection is, or is not, one of those that are counted.
fn count_among(count: &mut usize, counted: &mut bool, is: bool) {
    if is != *counted {
        *count = if is { *count + 1 } else { *count - 1 };
        *counted = is;
    }
}

impl Stack {
    pub(super) fn settle(&mut self, key: Key, now: Timestamp) {
        let Some(mut connection) = self.rooms.connections.get_mut(key) else { return };
        if connection.is_ending() {
            self.settle_end(key, now);
            let Some(still_there) = self.rooms.connections.get_mut(key) else { return };
            connection = still_there;
        }
        connection.return_spares(&mut self.spares);
        self.ledger.set_spare(self.spares.slabs.memory());
        let undelivered = connection.is_undelivered();
        count_among(&mut self.undelivered, &mut connection.scheduled.undelivered, undelivered);
        let holds = connection.charge();
        self.ledger.charge(&mut connection.scheduled.charged, holds);
        if connection.wants_transmit() && !connection.scheduled.in_ready_list {
            if connection.has_all_delivered() {
                connection.skip_turn(now);
            } else {
                connection.scheduled.in_ready_list = true;
                connection.await_turn(now);
                match self.addresses.is_local(connection.tuple.remote_addr) {
                    true => self.outbox.ready_local.push_back(key),
                    false => self.outbox.ready.push(key),
                }
            }
        }
        match connection.new_deadline() {
            Some(deadline) if deadline > now => self.deadlines.advance(key.index, deadline),
            Some(_) if !connection.scheduled.in_due_list => {
                connection.scheduled.in_due_list = true;
                let answerable = self.config.events_first && connection.has_received();
                let due = if answerable { &mut self.unanswered } else { &mut self.due };
                due.push_back(key);
            }
            _ => {}
        }
        let has_news = connection.scheduled.gained != Readiness::EMPTY;
        if has_news && connection.holder == Holder::Application && !connection.scheduled.in_event_queue {
            connection.scheduled.in_event_queue = true;
            self.event_queue.push_back(Noticed::Connection(key));
        }
    }

    /// Nobody holds it any more, or it is over: then it leaves the tables, and is gone when it has nothing more to say.
    fn settle_end(&mut self, key: Key, now: Timestamp) {
        self.look_after_orphan(key);
        let Some(connection) = self.rooms.connections.get(key) else { return };
        let over = matches!(connection.state(), State::TimeWait | State::Closed);
        if over && connection.scheduled.registered {
            self.leave_table(key, now);
        }
        let Some(connection) = self.rooms.connections.get_mut(key) else { return };
        let orphan = connection.is_orphan();
        count_among(&mut self.orphans, &mut connection.scheduled.orphan, orphan);
        if connection.is_done() {
            count_among(&mut self.undelivered, &mut connection.scheduled.undelivered, false);
            connection.return_spares(&mut self.spares);
            self.ledger.set_spare(self.spares.slabs.memory());
            self.forget(key);
        }
    }

    /// The state has no place in the table of connections any more.
    fn leave_table(&mut self, key: Key, now: Timestamp) {
        self.fast_open_ends(key, now);
        let Some(connection) = self.rooms.connections.get(key) else { return };
        if connection.state() == State::TimeWait {
            self.move_to_time_wait(key, now);
            return;
        }
        self.counters.bytes_lost += connection.bytes_lost();
        if let Some(tuple) = self.unregister(key) {
            self.ports.tcp.flow_ends(&tuple);
        }
    }

    /// A connection that nobody holds any more is reset if there are too many of them, or memory is scarce.
    fn look_after_orphan(&mut self, key: Key) {
        let Some(connection) =
            self.rooms.connections.get_mut(key).filter(|connection| connection.is_orphan())
        else {
            return;
        };
        let too_many = !connection.scheduled.orphan && self.orphans >= self.config.max_orphans;
        let pressure = self.ledger.pressure(&connection.scheduled.charged);
        if too_many || pressure.calls_for(Measure::ResetOrphans) {
            self.counters.orphans_reset += 1;
            connection.abort();
        }
    }

    /// The connection leaves its room.
    pub(super) fn forget(&mut self, key: Key) -> Option<Box<Connection>> {
        let connection = self.rooms.connections.remove(key)?;
        self.deadlines.remove(key.index);
        self.ledger.close(connection.scheduled.charged);
        if self.rooms.connections.len() == 0 {
            self.spares.slabs.clear();
            self.ledger.set_spare(0);
        }
        Some(connection)
    }

    /// What the tables of small entries take may have changed.
    pub(super) fn weigh_tables(&mut self) {
        self.ledger.set_tables(self.rooms.half_open.memory(), self.rooms.time_wait.memory());
    }

    /// The tuple moves to TIME-WAIT's own table; the connection stays as long as somebody may read from it.
    fn move_to_time_wait(&mut self, key: Key, now: Timestamp) {
        let Some(connection) = self.rooms.connections.get(key) else { return };
        let (tuple, parts) = (connection.tuple, connection.time_wait());
        if self.config.max_time_wait == 0 {
            self.unregister(key);
            self.ports.tcp.flow_ends(&tuple);
            self.report(&tuple, State::TimeWait, Cause::Timeout);
            return;
        }
        // An eighth of the budget, likewise.
        let full = self.rooms.time_wait.len() >= self.config.max_time_wait
            || self.rooms.time_wait.memory() >= self.config.budget() / 8;
        if full && let Some(oldest) = self.rooms.time_wait.oldest() {
            self.counters.time_wait_overflows += 1;
            self.end_time_wait(oldest, Cause::Timeout);
        }
        match self.rooms.time_wait.insert(&tuple, &parts, now) {
            Some(entry) => {
                self.demux.replace(&tuple, Room::Connection(key.index), Room::TimeWait(entry));
                if let Some(connection) = self.rooms.connections.get_mut(key) {
                    connection.scheduled.registered = false;
                }
                if parts.ts_recent.is_some() {
                    self.ports.tcp.flow_waits(&tuple);
                }
            }
            None => {
                self.unregister(key);
                self.ports.tcp.flow_ends(&tuple);
            }
        }
        self.weigh_tables();
    }

    /// TIME-WAIT is over, in time or before.
    pub(super) fn end_time_wait(&mut self, key: TupleKey, cause: Cause) {
        let Some(tuple) = self.rooms.time_wait.remove(key) else { return };
        self.demux.remove(&tuple, Room::TimeWait(key));
        self.ports.tcp.flow_ends(&tuple);
        self.report(&tuple, State::TimeWait, cause);
        self.weigh_tables();
    }

    /// Segments do not find the connection any more. Gives its tuple.
    fn unregister(&mut self, key: Key) -> Option<FourTuple> {
        let connection = self.rooms.connections.get_mut(key)?;
        connection.scheduled.registered = false;
        let tuple = connection.tuple;
        self.demux.remove(&tuple, Room::Connection(key.index));
        Some(tuple)
    }
}
