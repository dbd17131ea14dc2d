//! A datagram of which something is missing.

use std::collections::BTreeMap;

use bytes::Bytes;
use ropeway_packet::fragment::{Marks, whole_headers};
use ropeway_packet::{EcnCodepoint, Fragment, IpPacket};

use crate::buffer::chunk::Chunk;
use crate::time::Timestamp;
use crate::transmit::Received;

/// What one fragment costs besides its bytes, in a tree whose nodes may be half full and an allocation of its own.
const FRAGMENT_OVERHEAD: usize = 112;

/// Likewise a datagram: its places in the tables, and that of its source.
const DATAGRAM_OVERHEAD: usize = 992;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is kept, or it came before, or nothing is taken any more.
    Waits,
    /// Nothing is missing any more.
    Whole,
    /// It and others cannot be of one datagram. What was held is gone.
    Contradicts,
}

#[derive(Clone, Debug)]
pub(super) struct Datagram {
    /// When its first fragment came, and as which one.
    pub(super) began: Timestamp,
    pub(super) number: u64,
    pub(super) prefix: u64,
    /// By their offsets. No two overlap, and none is empty.
    pieces: BTreeMap<u16, Piece>,
    /// How many bytes they carry.
    carried: usize,
    /// Where the last one ends, if that has come.
    end: Option<usize>,
    marks: Marks,
    /// Fragments have contradicted each other: nothing is taken of it any more.
    refused: bool,
    /// What it takes, and what it was charged with.
    memory: usize,
    charged: usize,
}

/// What a fragment carries.
#[derive(Clone, Debug)]
struct Piece {
    /// Of the first fragment, the whole packet.
    bytes: Chunk,
    /// Where in it that begins.
    start: usize,
}

impl Piece {
    fn new(received: &Received, ip: &IpPacket, offset: u16) -> Option<Self> {
        let start = if offset == 0 { 0 } else { ip.payload.start };
        let bytes = received.packet.get(start..ip.payload.end)?;
        let chunk = Chunk::new(received.packet.slice_ref(bytes), received.true_size);
        let bytes = if chunk.is_worth_sharing(0, usize::MAX) { chunk } else { Chunk::copy_of(bytes) };
        Some(Self { bytes, start: ip.payload.start - start })
    }

    fn carried(&self) -> &[u8] {
        self.bytes.bytes().get(self.start..).unwrap_or_default()
    }

    fn memory(&self) -> usize {
        FRAGMENT_OVERHEAD + self.bytes.true_size()
    }
}

impl Datagram {
    pub(super) fn new(began: Timestamp, number: u64, prefix: u64) -> Self {
        Self {
            began,
            number,
            prefix,
            pieces: BTreeMap::new(),
            carried: 0,
            end: None,
            marks: Marks::default(),
            refused: false,
            memory: DATAGRAM_OVERHEAD,
            charged: 0,
        }
    }

    /// The memory that it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// What it was charged with before, and is from now on.
    pub(super) fn charge(&mut self) -> (usize, usize) {
        (std::mem::replace(&mut self.charged, self.memory), self.memory)
    }

    /// Whether its fragments have contradicted each other.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The packet of its first fragment.
    pub(super) fn first(&self) -> Option<&Bytes> {
        self.pieces.get(&0).map(|piece| piece.bytes.bytes())
    }

    /// A fragment that is not empty has come.
    pub(super) fn add(&mut self, received: &Received, ip: &IpPacket, place: Fragment) -> Added {
        let Some(piece) = Piece::new(received, ip, place.offset).filter(|_| !self.refused) else {
            return Added::Waits;
        };
        match self.fits(&piece, place) {
            Some(true) => {}
            Some(false) => return Added::Waits,
            None => {
                self.refuse();
                return Added::Contradicts;
            }
        }
        self.carried += piece.carried().len();
        self.memory += piece.memory();
        if !place.more {
            self.end = Some(usize::from(place.offset) + piece.carried().len());
        }
        self.marks = self.marks.with(EcnCodepoint::of(ip.traffic_class));
        self.pieces.insert(place.offset, piece);
        // None overlap, and none reaches beyond the end: so nothing is missing.
        if self.end == Some(self.carried) { Added::Whole } else { Added::Waits }
    }

    /// Whether a fragment is one that is missing, or (`Some(false)`) is one that is there already, to the byte. `None` if the
    /// two, or it and others, contradict each other.
    ///
    /// RFC 8200 4.5-7, RFC 8200 4.5-8: a sender has no reason to send fragments that overlap, an attacker has. RFC 791 lets the later
    /// one win, and others have let the earlier one win; so that no filter on the way sees another datagram than we do, there
    /// is none at all, in IPv4 too.
    fn fits(&self, piece: &Piece, place: Fragment) -> Option<bool> {
        let (offset, len) = (place.offset, piece.carried().len());
        let end = usize::from(offset) + len;
        if let Some(other) = self.pieces.get(&offset) {
            let same_end = place.more == (self.end != Some(end));
            return (same_end && other.carried() == piece.carried()).then_some(false);
        }
        let before = self.pieces.range(..offset).next_back();
        let overlaps =
            before.is_some_and(|(at, other)| usize::from(*at) + other.carried().len() > usize::from(offset));
        let after = self.pieces.range(offset..).next();
        let overlaps = overlaps || after.is_some_and(|(at, _)| end > usize::from(*at));
        let beyond = match place.more {
            // Something behind the last one.
            false => self.end.is_some() || after.is_some(),
            true => self.end.is_some_and(|last| end >= last),
        };
        (!overlaps && !beyond).then_some(true)
    }

    /// Keeps nothing but that it was refused: what comes of it later starts nothing anew (RFC 5722 4-1).
    fn refuse(&mut self) {
        self.pieces.clear();
        (self.carried, self.end) = (0, None);
        self.refused = true;
        self.memory = DATAGRAM_OVERHEAD;
    }

    /// The whole of it. `None` if there can be no such datagram.
    pub(super) fn join(self) -> Option<Bytes> {
        let mut whole = whole_headers(self.first()?, self.carried, self.marks)?;
        for piece in self.pieces.values() {
            whole.extend_from_slice(piece.carried());
        }
        Some(whole.into())
    }
}
