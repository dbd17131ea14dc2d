//! Which room a segment belongs to: one table for all, keyed so that nobody can choose tuples that collide.

use std::net::IpAddr;

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
    /// What the last segment was for: the next is for the same, as a rule, or its handling asks for the same tuple again.
    last: Option<Last>,
    guesses: Guesses,
}

#[derive(Clone, Copy)]
struct Last {
    tuple: FourTuple,
    /// None if nobody had to ask for it.
    spread: Option<u64>,
    /// Where it lives, if that is known.
    room: Option<Room>,
}

/// The slots in which segments have lately found their connections. A few dozen connections that take turns are found without a
/// hash and a search. Anybody can make tuples that share a place here: so each guess is held against the connection itself, and
/// a spoiled one costs nothing but the search.
#[derive(Clone)]
struct Guesses([u32; Self::PLACES]);

impl Guesses {
    const PLACES: usize = 64;
    const NONE: Self = Self([u32::MAX; Self::PLACES]);

    #[inline]
    fn place_of(tuple: &FourTuple) -> usize {
        let address = match tuple.remote_addr {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => {
                address.segments().into_iter().fold(0, |all, part| all << 4 ^ u32::from(part))
            }
        };
        let ports = u32::from(tuple.local_port).rotate_left(16) ^ u32::from(tuple.remote_port);
        // The upper bits of a product depend on all of its factors.
        ((address ^ ports).wrapping_mul(0x9e37_79b9) >> 26) as usize
    }

    #[inline]
    fn connection(&self, tuple: &FourTuple, rooms: &Rooms) -> Option<u32> {
        let slot = *self.0.get(Self::place_of(tuple))?;
        let connection = rooms.connections.at(slot)?;
        // Only what is registered is what segments find.
        (connection.scheduled.registered && connection.tuple == *tuple).then_some(slot)
    }

    #[inline]
    fn note(&mut self, tuple: &FourTuple, room: Room) {
        if let Room::Connection(slot) = room
            && let Some(place) = self.0.get_mut(Self::place_of(tuple))
        {
            *place = slot;
        }
    }
}

impl std::fmt::Debug for Demux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demux").field("len", &self.table.len()).finish_non_exhaustive()
    }
}

impl Demux {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, table: Parts::new(), last: None, guesses: Guesses::NONE }
    }

    /// A number that no one outside can foresee, the same for all segments of one tuple.
    pub(crate) fn spread(&self, tuple: &FourTuple) -> u64 {
        match &self.last {
            Some(Last { tuple: same, spread: Some(spread), .. }) if same == tuple => *spread,
            _ => self.hash(tuple),
        }
    }

    fn hash(&self, tuple: &FourTuple) -> u64 {
        with_packed(tuple, |packed| SipHasher13::new_with_key(&self.key).hash(packed))
    }

    /// Whom a segment is for.
    #[inline]
    pub(crate) fn find_for(&mut self, tuple: &FourTuple, rooms: &Rooms) -> Option<Room> {
        if let Some(Last { tuple: same, room: Some(room), .. }) = &self.last
            && same == tuple
        {
            return Some(*room);
        }
        if let Some(slot) = self.guesses.connection(tuple, rooms) {
            let room = Some(Room::Connection(slot));
            self.last = Some(Last { tuple: *tuple, spread: None, room });
            return room;
        }
        let spread = self.spread(tuple);
        let room = self.look_up(tuple, spread, rooms);
        if let Some(room) = room {
            self.guesses.note(tuple, room);
        }
        self.last = Some(Last { tuple: *tuple, spread: Some(spread), room });
        room
    }

    pub(crate) fn find(&self, tuple: &FourTuple, rooms: &Rooms) -> Option<Room> {
        self.look_up(tuple, self.spread(tuple), rooms)
    }

    fn look_up(&self, tuple: &FourTuple, spread: u64, rooms: &Rooms) -> Option<Room> {
        let hash = Entry::kept(spread);
        let is_it =
            |entry: &Entry| entry.hash == hash && rooms.tuple(entry.room.room()).as_ref() == Some(tuple);
        self.table.find(Entry::placed_by(hash), is_it).map(|entry| entry.room.room())
    }

    /// Enters a room whose tuple is not in the table.
    pub(crate) fn insert(&mut self, tuple: &FourTuple, room: Room) {
        let entry = Entry { room: Packed::new(room), hash: Entry::kept(self.spread(tuple)) };
        self.table.insert(entry.place(), entry, Entry::place);
        self.now_in(tuple, Some(room));
        self.guesses.note(tuple, room);
    }

    /// A tuple lives elsewhere now.
    fn now_in(&mut self, tuple: &FourTuple, room: Option<Room>) {
        if let Some(last) = self.last.as_mut().filter(|last| last.tuple == *tuple) {
            last.room = room;
        }
    }

    /// A tuple moves from one room to another.
    pub(crate) fn replace(&mut self, tuple: &FourTuple, old: Room, new: Room) {
        let (old, hash) = (Packed::new(old), Entry::kept(self.spread(tuple)));
        self.now_in(tuple, None);
        if let Some(entry) = self.table.find_mut(Entry::placed_by(hash), |entry| entry.room == old) {
            entry.room = Packed::new(new);
        }
        self.guesses.note(tuple, new);
    }

    /// Strikes a room from the table.
    pub(crate) fn remove(&mut self, tuple: &FourTuple, room: Room) {
        let (room, hash) = (Packed::new(room), Entry::kept(self.spread(tuple)));
        self.now_in(tuple, None);
        self.table.remove(Entry::placed_by(hash), |entry| entry.room == room, Entry::place);
    }
}
