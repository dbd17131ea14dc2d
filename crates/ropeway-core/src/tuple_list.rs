//! Lists through a table of small entries: each entry has its place in one list, and names its neighbours there.
//!
//! Entries that wait equally long enter at the end and are due from the front, whatever leaves in between. Nothing is ever
//! searched or moved, and a whole list joins another in one step.

use crate::tuple_slab::{TupleKey, TupleSlab};

/// A neighbour, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link(u32);

impl Link {
    const NONE: Self = Self(u32::MAX);

    fn to(key: TupleKey) -> Self {
        Self(key.get())
    }

    fn key(self) -> Option<TupleKey> {
        (self != Self::NONE).then(|| TupleKey::from_number(self.0))
    }
}

/// The neighbours of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Links {
    older: Link,
    newer: Link,
}

impl Links {
    pub(crate) const NONE: Self = Self { older: Link::NONE, newer: Link::NONE };
}

/// An entry that can be in a list.
pub(crate) trait Linked {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// The two ends of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TupleList {
    oldest: Link,
    newest: Link,
}

impl Default for TupleList {
    fn default() -> Self {
        Self { oldest: Link::NONE, newest: Link::NONE }
    }
}

impl TupleList {
    pub(crate) fn oldest(&self) -> Option<TupleKey> {
        self.oldest.key()
    }

    /// Whether an entry may be in this list: one that is at an end of another is not.
    pub(crate) fn may_hold<T: Linked>(&self, entries: &TupleSlab<T>, key: TupleKey) -> bool {
        let Some(links) = entries.get(key).map(Linked::links) else { return false };
        (links.older != Link::NONE || self.oldest == Link::to(key))
            && (links.newer != Link::NONE || self.newest == Link::to(key))
    }

    /// Enters an entry that is in no list, as the newest.
    pub(crate) fn push<T: Linked>(&mut self, entries: &mut TupleSlab<T>, key: TupleKey) {
        let before = std::mem::replace(&mut self.newest, Link::to(key));
        self.join(entries, before, Link::to(key));
        self.join(entries, Link::to(key), Link::NONE);
    }

    /// Takes an entry out.
    pub(crate) fn remove<T: Linked>(&mut self, entries: &mut TupleSlab<T>, key: TupleKey) {
        if let Some(Links { older, newer }) = entries.get(key).map(Linked::links) {
            self.join(entries, older, newer);
        }
    }

    /// Takes over all of another list, behind its own.
    pub(crate) fn append<T: Linked>(&mut self, entries: &mut TupleSlab<T>, other: &mut Self) {
        let Self { oldest, newest } = std::mem::take(other);
        if oldest != Link::NONE {
            self.join(entries, self.newest, oldest);
            self.newest = newest;
        }
    }

    /// Makes two neighbours, the ends of the list included.
    fn join<T: Linked>(&mut self, entries: &mut TupleSlab<T>, older: Link, newer: Link) {
        match older.key() {
            None => self.oldest = newer,
            Some(key) => {
                if let Some(entry) = entries.get_mut(key) {
                    entry.links_mut().newer = newer;
                }
            }
        }
        match newer.key() {
            None => self.newest = older,
            Some(key) => {
                if let Some(entry) = entries.get_mut(key) {
                    entry.links_mut().older = older;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use ropeway_packet::FourTuple;

    use super::*;

    #[derive(Clone, Debug)]
    struct Entry(Links);

    impl Linked for Entry {
        fn links(&self) -> Links {
            self.0
        }

        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn keys(entries: &TupleSlab<Entry>, list: TupleList) -> VecDeque<TupleKey> {
        let next = |key: &TupleKey| entries.get(*key).and_then(|entry| entry.0.newer.key());
        std::iter::successors(list.oldest(), next).collect()
    }

    proptest! {
        /// Against the obvious reference: two queues.
        #[test]
        fn behave_like_two_queues(ops in prop::collection::vec((0u8..8, 0usize..20), 1..200)) {
            let tuple = FourTuple::new("10.0.0.1:80".parse().unwrap(), "10.0.0.2:9".parse().unwrap());
            let mut entries = TupleSlab::new();
            let mut lists = [TupleList::default(); 2];
            let mut queues = [VecDeque::new(), VecDeque::new()];
            for (op, place) in ops {
                match op {
                    0..=3 => {
                        let which = usize::from(op % 2);
                        let key = entries.insert(&tuple, Entry(Links::NONE)).unwrap();
                        lists[which].push(&mut entries, key);
                        queues[which].push_back(key);
                    }
                    7 => {
                        let [first, second] = &mut lists;
                        second.append(&mut entries, first);
                        let moved = std::mem::take(&mut queues[0]);
                        queues[1].extend(moved);
                    }
                    _ => {
                        let which = usize::from(op % 2);
                        let Some(key) = queues[which].remove(place) else { continue };
                        prop_assert!(lists[which].may_hold(&entries, key));
                        lists[which].remove(&mut entries, key);
                        entries.remove(key);
                    }
                }
                for (list, queue) in lists.iter().zip(&queues) {
                    prop_assert_eq!(&keys(&entries, *list), queue);
                    prop_assert_eq!(list.newest.key(), queue.back().copied());
                    let elsewhere = lists.iter().find(|other| *other != list).map(|other| keys(&entries, *other));
                    for end in elsewhere.iter().flat_map(|keys| [keys.front(), keys.back()]).flatten() {
                        prop_assert!(!list.may_hold(&entries, *end));
                    }
                }
            }
        }
    }
}
