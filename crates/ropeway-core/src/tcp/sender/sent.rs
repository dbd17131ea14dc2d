//! A range of sequence numbers that was sent, and what became of it.

use ropeway_packet::SeqNum;

use super::rate::Stamp;
use super::why::Why;
use crate::time::Timestamp;

/// What is known of a range that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NONE: Self = Self(0);
    /// The peer has it, behind a gap (RFC 2018).
    pub(crate) const SACKED: Self = Self(1);
    /// It is taken for lost.
    pub(crate) const LOST: Self = Self(1 << 1);
    /// It was sent again, and that transmission is not taken for lost.
    pub(crate) const RETRANSMITTED: Self = Self(1 << 2);
    /// It was sent again at some time: an acknowledgement does not tell which transmission it is of.
    pub(crate) const EVER_RETRANSMITTED: Self = Self(1 << 3);
    /// When it was sent, the application was what limited the rate.
    pub(crate) const APP_LIMITED: Self = Self(1 << 4);
    /// Its last number is the FIN's.
    pub(crate) const FIN: Self = Self(1 << 5);
    /// It was sent beyond the peer's window, to ask for a larger one.
    pub(crate) const PROBE: Self = Self(1 << 6);
    /// It is larger than others, to probe the path's MTU: its loss says nothing of congestion.
    pub(crate) const MTU_PROBE: Self = Self(1 << 7);

    /// Whether it has one of them.
    pub(crate) fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Taken for lost, and to be sent again.
    pub(crate) fn is_due(self) -> bool {
        self.has(Self::LOST) && !self.has(Self::RETRANSMITTED)
    }

    /// Nobody knows what became of its last transmission.
    pub(super) fn is_out(self) -> bool {
        !self.has(Self::SACKED) && !self.is_due()
    }
}

/// A range that was sent at one moment: a segment, or several that went out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) start: SeqNum,
    /// One more than its last sequence number.
    pub(crate) end: SeqNum,
    /// When it was sent the last time.
    pub(crate) at: Timestamp,
    pub(crate) marks: Marks,
    /// What took it for lost the last time. Nothing depends on it: it is told when it is sent again.
    pub(crate) why: Option<Why>,
    /// The most bytes of data that one of its segments has: where they meet.
    pub(crate) size: u16,
    /// So many segments.
    pub(crate) segments: u32,
    /// What had been delivered when it was sent the last time.
    pub(crate) stamp: Stamp,
}

impl Sent {
    pub(crate) fn len(&self) -> u32 {
        self.end.since(self.start)
    }

    pub(super) fn size(&self) -> u32 {
        u32::from(self.size.max(1))
    }

    /// It is only what it was up to there: what left behind that was not in flight yet.
    pub(crate) fn end_at(&mut self, end: SeqNum) {
        self.stamp.in_flight = self.stamp.in_flight.saturating_sub(self.end.since(end));
        self.end = end;
    }
}

/// A piece of the flight that is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: SeqNum,
    pub(crate) end: SeqNum,
    /// Its last number is the FIN's.
    pub(crate) fin: bool,
    /// It has probed a closed window.
    pub(crate) probe: bool,
    pub(crate) why: Option<Why>,
}
