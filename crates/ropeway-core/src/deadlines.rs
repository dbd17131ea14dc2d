//! One lazy queue of deadlines for all connections.
//!
//! A connection has one place in it, and only an earlier deadline moves it. One whose deadline moved to a
//! later time is found out when its place comes up, and enters anew then: an acknowledgement that restarts
//! the retransmission timer touches nothing that is shared.
//!
//! It is a heap and not a timer wheel: deadlines are exact to the nanosecond, and `earliest` must be one that is due then,
//! or a simulation would stop at moments at which nothing happens. A wheel as exact has eleven levels, and moves a
//! level's whole slot down at once; a heap takes ten steps for a million.

use std::num::NonZeroU32;

use crate::pages::Pages;
use crate::time::Timestamp;

/// Children of a place in the heap: half as many levels as with two, and their entries lie side by side.
const CHILDREN: u32 = 4;

/// A number below `u32::MAX` that leaves a value to spare, so that an `Option` of what has it takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Number(NonZeroU32);

impl Number {
    fn new(number: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// When a slot is due. Of two that are due at once, the lower slot comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    at: Timestamp,
    slot: Number,
}

/// A heap that knows where each slot's entry is.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadlineQueue {
    heap: Pages<Entry>,
    /// The place of each slot's entry in the heap.
    places: Pages<Number>,
}

impl DeadlineQueue {
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.heap.get(0).map(|entry| entry.at)
    }

    /// Enters a slot, or moves it forward if `at` is earlier than what is queued.
    pub(crate) fn advance(&mut self, slot: u32, at: Timestamp) {
        let entry = Entry { at, slot: Number::new(slot) };
        match self.place_of(slot) {
            None => {
                let last = self.len();
                self.heap.put(last, entry);
                self.rise(last, entry);
            }
            Some(place) if self.heap.get(place).is_some_and(|queued| at < queued.at) => {
                self.rise(place, entry)
            }
            Some(_) => {}
        }
    }

    /// Takes the slot whose deadline is the earliest, if it is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let slot = self.heap.get(0).filter(|entry| entry.at <= now)?.slot.get();
        self.remove(slot);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.take(slot).map(Number::get) else { return };
        let Some(last) = self.len().checked_sub(1).and_then(|last| self.heap.take(last)) else { return };
        if place < self.len() {
            // The last one takes the place, and moves on from there.
            let hole = self.sink(place, last);
            self.rise(hole, last);
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.heap.len()).unwrap_or(u32::MAX)
    }

    fn place_of(&self, slot: u32) -> Option<u32> {
        self.places.get(slot).copied().map(Number::get)
    }

    /// Writes an entry down at a place that the heap has.
    fn set(&mut self, place: u32, entry: Entry) {
        if let Some(home) = self.heap.get_mut(place) {
            *home = entry;
        }
        let (slot, place) = (entry.slot.get(), Number::new(place));
        match self.places.get_mut(slot) {
            Some(noted) => *noted = place,
            None => drop(self.places.put(slot, place)),
        }
    }

    /// Puts an entry at this place, or as far above as it comes before those that are there.
    fn rise(&mut self, mut place: u32, entry: Entry) {
        while let Some(above) = place.checked_sub(1).map(|below| below / CHILDREN)
            && let Some(parent) = self.heap.get(above).copied().filter(|parent| entry < *parent)
        {
            self.set(place, parent);
            place = above;
        }
        self.set(place, entry);
    }

    /// Makes room for an entry at this place, or as far below as others come before it. Gives where.
    fn sink(&mut self, mut place: u32, entry: Entry) -> u32 {
        loop {
            let first = place * CHILDREN + 1;
            let children = (first..first + CHILDREN).map_while(|child| Some((*self.heap.get(child)?, child)));
            match children.min().filter(|(child, _)| *child < entry) {
                None => return place,
                Some((child, below)) => {
                    self.set(place, child);
                    place = below;
                }
            }
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
        fn behaves_like_a_map(ops in prop::collection::vec((0u8..4, 0u32..40, 1u64..100), 1..400)) {
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
                prop_assert_eq!((queue.heap.len(), queue.places.len()), (map.len(), map.len()));
            }
        }
    }

    #[test]
    fn a_hundred_thousand_leave_in_order_and_nothing_behind() {
        let mut queue = DeadlineQueue::default();
        let at = |slot: u32| Timestamp::from_micros(u64::from(slot.wrapping_mul(2_654_435_761) % 50_000));
        for slot in 0..100_000 {
            queue.advance(slot, at(slot));
        }
        let mut reference: Vec<_> = (0..100_000).map(|slot| (at(slot), slot)).collect();
        reference.sort_unstable();
        for (at, slot) in reference {
            assert_eq!(queue.earliest(), Some(at));
            assert_eq!(queue.pop_due(at), Some(slot));
        }
        assert_eq!((queue.heap.pages(), queue.places.pages()), (1, 1));
        assert_eq!((size_of::<Option<Entry>>(), size_of::<Option<Number>>()), (16, 4));
    }
}
