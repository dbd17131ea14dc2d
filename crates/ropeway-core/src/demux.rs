//! Which room a segment belongs to: one table for all, keyed so that nobody can choose tuples that collide.

use std::hash::Hasher;

use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

use crate::parts::Parts;
use crate::slab::Slab;
use crate::tcp::connection::Connection;
use crate::tcp::isn::write_tuple;
use crate::tcp::listen::half_open::HalfOpenTable;
use crate::tcp::time_wait::TimeWaitTable;
use crate::tuple_slab::TupleKey;

/// Where a four-tuple lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// From SYN-SENT to LAST-ACK or CLOSING, in this slot.
    Connection(u32),
    /// A listener's SYN-RECEIVED.
    HalfOpen(TupleKey),
    TimeWait(TupleKey),
}

/// A room in four bytes: two bits say which kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed(u32);

impl Packed {
    const SHIFT: u32 = 30;
    const HALF_OPEN: u32 = 1;
    const TIME_WAIT: u32 = 2;

    fn new(room: Room) -> Self {
        match room {
            Room::Connection(slot) => Self(slot),
            Room::HalfOpen(key) => Self(key.get() | Self::HALF_OPEN << Self::SHIFT),
            Room::TimeWait(key) => Self(key.get() | Self::TIME_WAIT << Self::SHIFT),
        }
    }

    fn room(self) -> Room {
        let number = self.0 & ((1 << Self::SHIFT) - 1);
        match self.0 >> Self::SHIFT {
            Self::HALF_OPEN => Room::HalfOpen(TupleKey::from_number(number)),
            Self::TIME_WAIT => Room::TimeWait(TupleKey::from_number(number)),
            _ => Room::Connection(number),
        }
    }

    /// The hash of the tuple that lives there.
    fn hash(self, key: &[u8; 16], rooms: &Rooms) -> u64 {
        rooms.tuple(self.room()).map_or(0, |tuple| Demux::hash(key, &tuple))
    }
}

/// The rooms themselves. They know the tuples; the demultiplexer only knows the rooms.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    pub(crate) connections: Slab<Box<Connection>>,
    pub(crate) half_open: HalfOpenTable,
    pub(crate) time_wait: TimeWaitTable,
}

impl Rooms {
    fn tuple(&self, room: Room) -> Option<FourTuple> {
        match room {
            Room::Connection(slot) => self.connections.at(slot).map(|connection| connection.tuple),
            Room::HalfOpen(key) => self.half_open.tuple(key),
            Room::TimeWait(key) => self.time_wait.tuple(key),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Demux {
    key: [u8; 16],
    table: Parts<Packed>,
}

impl std::fmt::Debug for Demux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demux").field("len", &self.table.len()).finish_non_exhaustive()
    }
}

impl Demux {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, table: Parts::new() }
    }

    fn hash(key: &[u8; 16], tuple: &FourTuple) -> u64 {
        let mut hasher = SipHasher13::new_with_key(key);
        write_tuple(&mut hasher, tuple);
        hasher.finish()
    }

    /// A number that no one outside can foresee, the same for all segments of one tuple.
    pub(crate) fn spread(&self, tuple: &FourTuple) -> u64 {
        Self::hash(&self.key, tuple)
    }

    pub(crate) fn find(&self, tuple: &FourTuple, rooms: &Rooms) -> Option<Room> {
        let is_it = |packed: &Packed| rooms.tuple(packed.room()).as_ref() == Some(tuple);
        self.table.find(Self::hash(&self.key, tuple), is_it).map(|packed| packed.room())
    }

    /// Enters a room whose tuple is not in the table. The room must hold it already.
    pub(crate) fn insert(&mut self, tuple: &FourTuple, room: Room, rooms: &Rooms) {
        let key = self.key;
        self.table.insert(Self::hash(&key, tuple), Packed::new(room), |packed| packed.hash(&key, rooms));
    }

    /// Strikes a room from the table; it may be empty already.
    pub(crate) fn remove(&mut self, tuple: &FourTuple, room: Room, rooms: &Rooms) {
        let key = self.key;
        let packed = Packed::new(room);
        self.table.remove(Self::hash(&key, tuple), |other| *other == packed, |other| other.hash(&key, rooms));
    }
}
