//! How scarce memory is, and what is done about it.

use super::Floor;
use crate::buffer::send::length_u32;
use crate::config::BufferRange;

/// What is done when memory is scarce, in this order. Each begins when a source prefix has taken so many sixteenths of what
/// it could have: of what it has, and what is left. For one that is alone, that is a share of the budget; of several, each
/// finds less left, so none can have it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Buffers that tune themselves stay as large as they are.
    StopGrowth = 8,
    /// Windows close from the left: what was announced is taken, and no more than the floor is announced anew to whoever does
    /// not read. Writers wait likewise.
    CloseWindows = 10,
    /// What a connection holds beyond gaps is dropped, if it is more than a fair part of what is left.
    DropBeyond = 11,
    /// Connections that nobody holds any more are reset, and streams get no more than the floor.
    ResetOrphans = 12,
    /// No connection is opened or taken.
    RefuseConnections = 13,
    /// What arrives is dropped as if it had been lost on its way, promised or not, but for the floor.
    DropPromised = 14,
}

/// How scarce memory is for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// So much of what its prefix could have is taken.
    sixteenths: u8,
    /// So many bytes are left.
    left: usize,
    /// So many of them are left to streams. The last quarter is for connections: who comes later finds some of it.
    to_streams: usize,
}

/// How far a buffer that tunes itself may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    most: u32,
    /// Memory is scarce: it stays as it is.
    stopped: bool,
    denied: bool,
}

impl Growth {
    /// A buffer of `size` bytes wants to have so many. Says how many it gets.
    pub(crate) fn grow(&mut self, size: u32, wanted: u32) -> u32 {
        let wanted = wanted.min(self.most);
        self.denied |= self.stopped && wanted > size;
        if self.stopped { size } else { size.max(wanted) }
    }

    /// Whether a buffer did not get what it wanted because memory is scarce.
    pub(crate) fn was_denied(self) -> bool {
        self.denied
    }
}

impl Pressure {
    /// None: so many bytes are left.
    pub(super) fn none(left: usize) -> Self {
        Self { sixteenths: 0, left, to_streams: left }
    }

    /// A prefix has taken so many bytes, and so many are left.
    pub(super) fn new(taken: usize, left: usize) -> Self {
        // By far the most frequent case costs no division.
        if taken < left {
            return Self::none(left);
        }
        let could_have = taken.saturating_add(left).max(1);
        let sixteenths = u8::try_from(taken.saturating_mul(16) / could_have).unwrap_or(16);
        Self { sixteenths, left, to_streams: left.saturating_sub(could_have / 4) }
    }

    pub(crate) fn calls_for(self, measure: Measure) -> bool {
        self.sixteenths >= measure as u8
    }

    /// How far a buffer of this range may grow.
    pub(crate) fn growth(self, range: &BufferRange) -> Growth {
        Growth { most: length_u32(range.max), stopped: self.calls_for(Measure::StopGrowth), denied: false }
    }

    /// How much of a receive buffer of so many bytes may be promised, if so much of it is unread. Whoever reads finds a window
    /// that is a fair part of what is left; each byte that stays unread closes it by sixteen.
    pub(crate) fn to_receive(self, buffer: usize, unread: usize, floor: Floor) -> usize {
        if !self.calls_for(Measure::CloseWindows) {
            return buffer.min(unread.saturating_add(self.to_streams));
        }
        let fair = self.fair_part().saturating_sub(unread.saturating_mul(16));
        let window = fair.max(floor.bytes.saturating_sub(unread));
        buffer.min(unread.saturating_add(window))
    }

    /// How much more memory a send buffer may take that takes so much, but for the floor; nothing, if that depends on its size
    /// only.
    pub(crate) fn to_send(self, memory: usize) -> Option<usize> {
        match self.calls_for(Measure::CloseWindows) {
            true => Some(self.fair_part().saturating_sub(memory)),
            false => (self.sixteenths > 0).then_some(self.to_streams),
        }
    }

    /// How much a connection may hold that holds something beyond gaps, but for the floor; nothing, if there is enough.
    pub(crate) fn to_hold(self) -> Option<usize> {
        self.calls_for(Measure::DropBeyond).then(|| self.fair_part())
    }

    /// Whether one connection may well take so much more than it needs.
    pub(crate) fn can_spare(self, bytes: usize) -> bool {
        !self.calls_for(Measure::CloseWindows) && self.fair_part() >= bytes
    }

    /// What one connection may take of what is left.
    fn fair_part(self) -> usize {
        self.to_streams / 8
    }

    /// Whether a segment with so many bytes is taken, as was promised, though it is beyond the floor.
    pub(crate) fn keeps_promises(self, len: usize) -> bool {
        self.sixteenths == 0 || (!self.calls_for(Measure::DropPromised) && len.saturating_mul(2) <= self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scarcity(taken: usize, left: usize) -> Pressure {
        Pressure::new(taken, left)
    }

    #[test]
    fn a_floor_remains_and_what_is_unread_closes_the_window_first() {
        let floor = Floor { bytes: 4096, memory: 6144 };
        let roomy = scarcity(9 << 20, 7 << 20);
        assert_eq!(
            (roomy.to_receive(1 << 20, 1 << 19, floor), roomy.to_send(1 << 19)),
            (1 << 20, Some(3 << 20))
        );
        let scarce = scarcity(10 << 20, 6 << 20);
        assert_eq!(
            (scarce.to_receive(1 << 20, 0, floor), scarce.to_send(1000)),
            (2 << 17, Some((2 << 17) - 1000))
        );
        assert_eq!(scarce.to_receive(1 << 20, 10_000, floor), 10_000 + (2 << 17) - 160_000);
        assert_eq!(scarce.to_receive(1 << 20, 400_000, floor), 400_000);
        assert_eq!(scarcity(1, 1000).to_send(1 << 20), None, "nothing is scarce");
        // The last quarter is not for streams.
        let close = scarcity(500, 500);
        assert_eq!((close.to_receive(1000, 100, floor), close.to_send(500)), (350, Some(250)));
        let none = scarcity(10, 0);
        assert_eq!((none.to_receive(1 << 20, 0, floor), none.to_send(1)), (4096, Some(0)));
        assert_eq!(none.to_receive(1 << 20, 4000, floor), 4096);
        assert_eq!(none.to_receive(1 << 20, 5000, floor), 5000);
        assert_eq!(none.to_receive(100, 0, floor), 100);
        assert_eq!(none.to_receive(usize::MAX, usize::MAX - 1, floor), usize::MAX - 1);
    }

    #[test]
    fn what_was_promised_is_taken_while_it_fits() {
        assert!(scarcity(10, 1_000).keeps_promises(usize::MAX), "nothing is scarce");
        assert!(scarcity(13_000, 3_000).keeps_promises(1_500));
        assert!(!scarcity(13_000, 3_000).keeps_promises(1_501));
        assert!(!scarcity(14_000, 2_000).keeps_promises(1));
    }

    #[test]
    fn growth_stops_at_half_and_is_denied_to_whoever_wants_it() {
        let range = BufferRange { min: 1, initial: 10, max: 1000 };
        for (taken, wanted, gets, denied) in
            [(79, 500, 500, false), (79, 5000, 1000, false), (80, 500, 100, true), (80, 50, 100, false)]
        {
            let mut growth = scarcity(taken, 160 - taken).growth(&range);
            assert_eq!((growth.grow(100, wanted), growth.was_denied()), (gets, denied));
        }
        let mut growth = scarcity(80, 80).growth(&range);
        assert_eq!((growth.grow(1000, 5000), growth.was_denied()), (1000, false), "it has all it may");
    }

    #[test]
    fn measures_begin_in_their_order() {
        use Measure::{CloseWindows, DropBeyond, DropPromised, RefuseConnections, ResetOrphans, StopGrowth};
        let order = [StopGrowth, CloseWindows, DropBeyond, ResetOrphans, RefuseConnections, DropPromised];
        let begin = order.map(|measure| (0..=160).find(|n| scarcity(*n, 160 - n).calls_for(measure)));
        assert_eq!(begin, [Some(80), Some(100), Some(110), Some(120), Some(130), Some(140)]);
    }
}
