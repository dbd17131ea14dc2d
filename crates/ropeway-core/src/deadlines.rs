//! One lazy queue of deadlines for all connections.
//!
//! A connection has one place in it, and only an earlier deadline moves it. One whose deadline moved to a
//! later time is found out when its place comes up, and enters anew then: an acknowledgement that restarts
//! the retransmission timer touches nothing that is shared.

use crate::time::Timestamp;

/// Marks a slot that has no place in the heap.
const NOWHERE: u32 = u32::MAX;

/// A binary heap that knows where each slot's entry is.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadlineQueue {
    heap: Vec<(Timestamp, u32)>,
    /// The place of each slot's entry in the heap.
    places: Vec<u32>,
}

impl DeadlineQueue {
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Enters a slot, or moves it forward if `at` is earlier than what is queued.
    pub(crate) fn advance(&mut self, slot: u32, at: Timestamp) {
        let index = slot as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, NOWHERE);
        }
        match self.place_of(slot) {
            None => {
                self.heap.push((at, slot));
                let last = self.heap.len() - 1;
                self.note(last);
                self.sift_up(last);
            }
            Some(place) => {
                if let Some(entry) = self.heap.get_mut(place).filter(|entry| at < entry.0) {
                    entry.0 = at;
                    self.sift_up(place);
                }
            }
        }
    }

    /// Takes the slot whose deadline is the earliest, if it is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let (_, slot) = *self.heap.first().filter(|(at, _)| *at <= now)?;
        self.remove(slot);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.place_of(slot) else { return };
        self.heap.swap_remove(place);
        if let Some(noted) = self.places.get_mut(slot as usize) {
            *noted = NOWHERE;
        }
        if place < self.heap.len() {
            self.note(place);
            self.sift_up(place);
            self.sift_down(place);
        }
    }

    fn place_of(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    /// Writes down where the entry at `place` is.
    fn note(&mut self, place: usize) {
        let slot = self.heap.get(place).map(|(_, slot)| *slot as usize);
        if let Some(noted) = slot.and_then(|slot| self.places.get_mut(slot)) {
            *noted = u32::try_from(place).unwrap_or(NOWHERE);
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        match (self.heap.get(a), self.heap.get(b)) {
            (Some(a), Some(b)) => a < b,
            _ => false,
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 && self.is_before(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if self.is_before(right, left) { right } else { left };
            if !self.is_before(child, place) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the obvious reference: a map from slot to deadline.
        #[test]
        fn behaves_like_a_map(ops in prop::collection::vec((0u8..4, 0u32..12, 1u64..100), 1..200)) {
            let mut queue = DeadlineQueue::default();
            let mut map: BTreeMap<u32, Timestamp> = BTreeMap::new();
            for (op, slot, at) in ops {
                let at = Timestamp::from_micros(at);
                match op {
                    0 | 1 => {
                        queue.advance(slot, at);
                        let known = map.entry(slot).or_insert(at);
                        *known = (*known).min(at);
                    }
                    2 => {
                        queue.remove(slot);
                        map.remove(&slot);
                    }
                    _ => {
                        let due = map.iter().map(|(slot, at)| (*at, *slot)).min().filter(|(due, _)| *due <= at);
                        prop_assert_eq!(queue.pop_due(at), due.map(|(_, slot)| slot));
                        if let Some((_, slot)) = due {
                            map.remove(&slot);
                        }
                    }
                }
                prop_assert_eq!(queue.earliest(), map.values().min().copied());
                prop_assert_eq!(queue.heap.len(), map.len());
            }
        }
    }
}
