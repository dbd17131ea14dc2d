//! Which room a segment belongs to: one table for all, keyed so that nobody can choose tuples that collide.

use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

use crate::parts::Parts;
use crate::slab::Slab;
use crate::tcp::connection::Connection;
use crate::tcp::isn::with_packed;
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
}

/// What the table holds of a tuple. With the hash beside the room, nobody has to be asked for his tuple when a part of the
/// table is divided, and hardly ever another than the one that is looked for.
#[derive(Clone, Copy, Debug)]
struct Entry {
    room: Packed,
    hash: u32,
}

impl Entry {
    /// What of a hash is kept.
    fn kept(hash: u64) -> u32 {
        u32::try_from(hash >> 32).unwrap_or(u32::MAX)
    }

    /// The hash by which an entry has its place: all of its bits depend on those that are kept.
    fn placed_by(kept: u32) -> u64 {
        u64::from(kept).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn place(&self) -> u64 {
        Self::placed_by(self.hash)
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
    table: Parts<Entry>,
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

    /// A number that no one outside can foresee, the same for all segments of one tuple.
    pub(crate) fn spread(&self, tuple: &FourTuple) -> u64 {
        with_packed(tuple, |packed| SipHasher13::new_with_key(&self.key).hash(packed))
    }

    pub(crate) fn find(&self, tuple: &FourTuple, rooms: &Rooms) -> Option<Room> {
        let hash = Entry::kept(self.spread(tuple));
        let is_it =
            |entry: &Entry| entry.hash == hash && rooms.tuple(entry.room.room()).as_ref() == Some(tuple);
        self.table.find(Entry::placed_by(hash), is_it).map(|entry| entry.room.room())
    }

    /// Enters a room whose tuple is not in the table.
    pub(crate) fn insert(&mut self, tuple: &FourTuple, room: Room) {
        let entry = Entry { room: Packed::new(room), hash: Entry::kept(self.spread(tuple)) };
        self.table.insert(entry.place(), entry, Entry::place);
    }

    /// A tuple moves from one room to another.
    pub(crate) fn replace(&mut self, tuple: &FourTuple, old: Room, new: Room) {
        let (old, hash) = (Packed::new(old), Entry::kept(self.spread(tuple)));
        if let Some(entry) = self.table.find_mut(Entry::placed_by(hash), |entry| entry.room == old) {
            entry.room = Packed::new(new);
        }
    }

    /// Strikes a room from the table.
    pub(crate) fn remove(&mut self, tuple: &FourTuple, room: Room) {
        let (room, hash) = (Packed::new(room), Entry::kept(self.spread(tuple)));
        self.table.remove(Entry::placed_by(hash), |entry| entry.room == room, Entry::place);
    }
}
