//! One lazy queue of deadlines for all connections.
//!
//! A connection has one place in it, and only an earlier deadline moves it. One whose deadline moved to a
//! later time is found out when its place comes up, and enters anew then: an acknowledgement that restarts
//! the retransmission timer touches nothing that is shared.
//!
//! It is a heap and not a timer wheel: deadlines are exact to the microsecond, and `earliest` must be one that is due then,
//! or a simulation would stop at moments at which nothing happens. A wheel as exact has eleven levels, and moves a
//! level's whole slot down at once; a heap takes ten steps for a million.

use std::num::NonZeroU32;

use crate::pages::Pages;
use crate::time::Timestamp;

/// Children of a place in the heap: half as many levels as with two.
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

/// The children of one place: four entries, and one line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Siblings([Entry; CHILDREN as usize]);

/// Where no entry is. It comes after all.
const NOBODY: Entry = Entry { at: Timestamp::END, slot: Number(NonZeroU32::MAX) };

/// The place of what is due first. It is the last of the first four, so that the children of each place are a
/// whole [`Siblings`].
const ROOT: u32 = CHILDREN - 1;

/// A heap that knows where each slot's entry is.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadlineQueue {
    heap: Pages<Siblings>,
    /// How many entries there are.
    len: u32,
    /// The place of each slot's entry in the heap.
    places: Pages<Number>,
}

/// The parent of a place that is not the root.
fn above(place: u32) -> u32 {
    place / CHILDREN + ROOT - 1
}

/// Which siblings are the children of a place.
fn below(place: u32) -> u32 {
    place - ROOT + 1
}

impl DeadlineQueue {
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.entry(ROOT).map(|entry| entry.at)
    }

    /// Enters a slot, or moves it forward if `at` is earlier than what is queued.
    pub(crate) fn advance(&mut self, slot: u32, at: Timestamp) {
        let entry = Entry { at, slot: Number::new(slot) };
        match self.places.get(slot).copied().map(Number::get) {
            None => {
                let place = ROOT + self.len;
                if self.len == 0 || place.is_multiple_of(CHILDREN) {
                    self.heap.put(place / CHILDREN, Siblings([NOBODY; CHILDREN as usize]));
                }
                self.len += 1;
                self.places.put(slot, Number::new(place));
                self.rise(place, entry);
            }
            Some(place) if self.entry(place).is_some_and(|queued| at < queued.at) => self.rise(place, entry),
            Some(_) => {}
        }
    }

    /// Takes the slot whose deadline is the earliest, if it is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let slot = self.entry(ROOT).filter(|entry| entry.at <= now)?.slot.get();
        self.remove(slot);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.take(slot).map(Number::get) else { return };
        let Some(last) = self.take_last() else { return };
        if last.slot.get() != slot {
            // The last one takes the place, and moves on from there.
            let hole = self.sink(place, last);
            self.rise(hole, last);
        }
    }

    fn take_last(&mut self) -> Option<Entry> {
        let place = ROOT + self.len.checked_sub(1)?;
        let last = *self.entry(place)?;
        self.len -= 1;
        if self.len == 0 || place.is_multiple_of(CHILDREN) {
            self.heap.take(place / CHILDREN);
        } else if let Some(home) = self.entry_mut(place) {
            *home = NOBODY;
        }
        Some(last)
    }

    fn entry(&self, place: u32) -> Option<&Entry> {
        let Siblings(siblings) = self.heap.get(place / CHILDREN)?;
        siblings.get((place % CHILDREN) as usize)
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry> {
        let Siblings(siblings) = self.heap.get_mut(place / CHILDREN)?;
        siblings.get_mut((place % CHILDREN) as usize)
    }

    /// Writes an entry down at a place that the heap has.
    #[inline]
    fn set(&mut self, place: u32, entry: Entry) {
        if let Some(home) = self.entry_mut(place) {
            *home = entry;
        }
        if let Some(noted) = self.places.get_mut(entry.slot.get()) {
            *noted = Number::new(place);
        }
    }

    /// Puts an entry at this place, or as far above as it comes before those that are there.
    fn rise(&mut self, mut place: u32, entry: Entry) {
        while place > ROOT
            && let Some(parent) = self.entry(above(place)).copied().filter(|parent| entry < *parent)
        {
            self.set(place, parent);
            place = above(place);
        }
        self.set(place, entry);
    }

    /// Makes room for an entry at this place, or as far below as others come before it. Gives where.
    fn sink(&mut self, mut place: u32, entry: Entry) -> u32 {
        while let Some(Siblings(children)) = self.heap.get(below(place))
            && let Some((child, nth)) = children.iter().copied().zip(0..).min()
            && child < entry
        {
            self.set(place, child);
            place = below(place) * CHILDREN + nth;
        }
        place
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
                prop_assert_eq!((queue.len as usize, queue.places.len()), (map.len(), map.len()));
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
        assert_eq!((queue.len, queue.heap.pages(), queue.places.pages()), (0, 1, 1));
        assert_eq!((size_of::<Option<Siblings>>(), size_of::<Option<Number>>()), (64, 4));
    }
}
