//! Memory that a stream is written to, and that is used again when what was written has arrived.
//!
//! An allocator gives memory of this size back to the system, and the system clears each page of it anew: that costs more than
//! all else that is done with the bytes. [`PacketPool`](crate::PacketPool) has slabs of its own, which it waits for: packets come
//! back in the order in which they came, and these do not.

use bytes::{Bytes, BytesMut};

/// The size of a slab: a train is in two of them at most.
pub(crate) const SLAB: usize = 64 * 1024;

/// Most bytes that wait.
const MOST: usize = 16 * 1024 * 1024;

/// Likewise, the part of the memory budget.
const PART: usize = 64;

/// After so many events during which nobody asked for a slab, bulk data is over for the time being.
const PATIENCE: u16 = 256;

/// Slabs that nobody writes to. What came last goes first: a cache may still have it.
#[derive(Debug, Default)]
pub(crate) struct Slabs {
    free: Vec<BytesMut>,
    most: usize,
    /// How often something happened since a slab was last asked for.
    unasked: u16,
}

impl Clone for Slabs {
    /// Nothing that is empty is worth a copy.
    fn clone(&self) -> Self {
        Self { free: Vec::new(), ..*self }
    }
}

impl Slabs {
    /// `budget`: what the stack's memory may come to.
    pub(crate) fn new(budget: usize) -> Self {
        Self { most: MOST.min(budget / PART) / SLAB, ..Self::default() }
    }

    /// An empty slab.
    pub(super) fn lend(&mut self) -> BytesMut {
        self.unasked = 0;
        self.free.pop().unwrap_or_else(|| BytesMut::with_capacity(SLAB))
    }

    /// The slab that `piece` lies in, if nobody else has a piece of it, and not too many wait.
    pub(super) fn take_back(&mut self, piece: Bytes) {
        if self.free.len() >= self.most {
            return;
        }
        if let Ok(mut slab) = piece.try_into_mut() {
            slab.clear();
            if slab.try_reclaim(SLAB) {
                self.free.push(slab);
            }
        }
    }

    /// Something happened, whatever it was.
    #[inline]
    pub(crate) fn note_event(&mut self) {
        if self.free.is_empty() {
            return;
        }
        self.unasked += 1;
        if self.unasked >= PATIENCE {
            self.unasked = 0;
            self.shrink();
        }
    }

    /// Lets go of some of them, the oldest.
    #[cold]
    pub(crate) fn shrink(&mut self) {
        self.free.drain(..self.free.len().div_ceil(8));
        if self.free.is_empty() {
            self.free = Vec::new();
        }
    }

    /// Lets go of all.
    pub(crate) fn clear(&mut self) {
        self.free = Vec::new();
    }

    /// The bytes that wait.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        self.free.len() * SLAB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(slabs: &mut Slabs) -> (usize, Bytes) {
        let mut slab = slabs.lend();
        slab.extend_from_slice(&[7; 1000]);
        (slab.as_ptr().addr(), slab.freeze())
    }

    #[test]
    fn a_slab_is_used_again_when_its_last_piece_comes_back() {
        let mut slabs = Slabs::new(usize::MAX);
        let (place, mut whole) = written(&mut slabs);
        let first = whole.split_to(600);
        slabs.take_back(first);
        assert_eq!(slabs.memory(), 0, "the rest is held");
        slabs.take_back(whole);
        assert_eq!(slabs.memory(), SLAB);
        let again = slabs.lend();
        assert_eq!((again.as_ptr().addr(), again.len(), again.capacity()), (place, 0, SLAB));
    }

    #[test]
    fn what_came_last_goes_first() {
        let mut slabs = Slabs::new(usize::MAX);
        let held: Vec<_> = (0..3).map(|_| written(&mut slabs)).collect();
        let places: Vec<_> = held.iter().map(|(place, _)| *place).collect();
        held.into_iter().for_each(|(_, piece)| slabs.take_back(piece));
        assert!(places.iter().rev().all(|place| slabs.lend().as_ptr().addr() == *place));
    }

    #[test]
    fn no_more_wait_than_a_part_of_the_budget() {
        for (budget, most) in [(1 << 20, 0), (64 << 20, 1 << 20), (4 << 30, MOST)] {
            let mut slabs = Slabs::new(budget);
            let held: Vec<_> = (0..2 * MOST / SLAB).map(|_| written(&mut slabs).1).collect();
            held.into_iter().for_each(|piece| slabs.take_back(piece));
            assert_eq!(slabs.memory(), most, "of {budget}");
        }
    }

    #[test]
    fn they_go_when_nobody_asks_for_them() {
        let mut slabs = Slabs::new(usize::MAX);
        let held: Vec<_> = (0..64).map(|_| written(&mut slabs).1).collect();
        held.into_iter().for_each(|piece| slabs.take_back(piece));
        for _ in 0..100 {
            (1..PATIENCE).for_each(|_| slabs.note_event());
            let slab = slabs.lend();
            slabs.take_back(slab.freeze());
        }
        assert!(slabs.memory() > 60 * SLAB);
        (0..40 * u32::from(PATIENCE)).for_each(|_| slabs.note_event());
        assert_eq!(slabs.memory(), 0);
    }
}
