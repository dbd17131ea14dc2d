//! Which room a segment belongs to: one table for all, keyed so that nobody can choose tuples that collide.

use std::hash::Hasher;

use hashbrown::HashTable;
use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

use crate::slab::{Key, Slab};
use crate::tcp::connection::Connection;
use crate::tcp::isn::write_tuple;
use crate::tcp::listen::half_open::HalfOpenTable;
use crate::tcp::time_wait::TimeWaitTable;

/// Where a four-tuple lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// From SYN-SENT to LAST-ACK or CLOSING.
    Connection(Key),
    /// A listener's SYN-RECEIVED.
    HalfOpen(Key),
    TimeWait(Key),
}

/// The rooms themselves. They know the tuples; the demultiplexer only knows the rooms.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) connections: Slab<Box<Connection>>,
    pub(crate) half_open: HalfOpenTable,
    pub(crate) time_wait: TimeWaitTable,
}

impl Rooms {
    fn tuple(&self, room: Room) -> Option<&FourTuple> {
        match room {
            Room::Connection(key) => self.connections.get(key).map(|connection| &connection.tuple),
            Room::HalfOpen(key) => self.half_open.get(key).map(|entry| &entry.tuple),
            Room::TimeWait(key) => self.time_wait.get(key).map(|entry| &entry.tuple),
        }
    }
}

pub(crate) struct Demux {
    key: [u8; 16],
    table: HashTable<Room>,
}

impl std::fmt::Debug for Demux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demux").field("len", &self.table.len()).finish_non_exhaustive()
    }
}

impl Demux {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, table: HashTable::new() }
    }

    fn hash(key: &[u8; 16], tuple: &FourTuple) -> u64 {
        let mut hasher = SipHasher13::new_with_key(key);
        write_tuple(&mut hasher, tuple);
        hasher.finish()
    }

    pub(crate) fn find(&self, tuple: &FourTuple, rooms: &Rooms) -> Option<Room> {
        let hash = Self::hash(&self.key, tuple);
        self.table.find(hash, |room| rooms.tuple(*room) == Some(tuple)).copied()
    }

    /// Enters a room whose tuple is not in the table. The room must hold it already.
    pub(crate) fn insert(&mut self, tuple: &FourTuple, room: Room, rooms: &Rooms) {
        let hash = Self::hash(&self.key, tuple);
        let rehash = |room: &Room| rooms.tuple(*room).map_or(0, |tuple| Self::hash(&self.key, tuple));
        self.table.insert_unique(hash, room, rehash);
    }

    /// Strikes a room from the table; it may be empty already.
    pub(crate) fn remove(&mut self, tuple: &FourTuple, room: Room) {
        let hash = Self::hash(&self.key, tuple);
        if let Ok(entry) = self.table.find_entry(hash, |candidate| *candidate == room) {
            entry.remove();
        }
    }
}
