//! Tables of small entries, each with its four-tuple: what SYN queue and TIME-WAIT are made of.
//!
//! There may be a million of them, so an IPv4 tuple takes 12 bytes and an IPv6 tuple 36, and the table grows
//! and shrinks by pages: nothing is ever copied, and no call does more than another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ropeway_packet::FourTuple;

/// Names an entry for as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TupleKey(u32);

impl TupleKey {
    /// The number it is made of, below 2^30.
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }

    fn is_v4(self) -> bool {
        self.0 & 1 == 0
    }

    fn index(self) -> u32 {
        self.0 >> 1
    }
}

/// A four-tuple of one family.
#[derive(Clone, Copy, Debug)]
struct Ends<A> {
    local: A,
    remote: A,
    local_port: u16,
    remote_port: u16,
}

impl<A: Copy + Into<IpAddr>> Ends<A> {
    fn tuple(&self) -> FourTuple {
        FourTuple {
            local_addr: self.local.into(),
            remote_addr: self.remote.into(),
            local_port: self.local_port,
            remote_port: self.remote_port,
        }
    }
}

#[derive(Clone, Debug)]
struct Entry<A, T> {
    ends: Ends<A>,
    value: T,
}

/// Slots of a page: as many as a word has bits.
const PAGE: u32 = u64::BITS;

#[derive(Clone, Debug)]
struct Page<E> {
    /// A bit for each slot that is taken.
    taken: u64,
    /// An `Option` of an entry is as large as the entry: it has a value to spare.
    slots: [Option<E>; PAGE as usize],
}

/// Slots in pages. A page is freed with its last entry, so that a table which empties gives its memory back
/// bit by bit, and no call pays for all.
#[derive(Clone, Debug)]
struct Pages<E> {
    pages: Vec<Option<Box<Page<E>>>>,
    /// The pages that have room, each once.
    vacant: Vec<u32>,
    len: usize,
}

impl<E> Pages<E> {
    const fn new() -> Self {
        Self { pages: Vec::new(), vacant: Vec::new(), len: 0 }
    }

    fn slot(&self, index: u32) -> Option<&E> {
        let page = self.pages.get((index / PAGE) as usize)?.as_ref()?;
        page.slots.get((index % PAGE) as usize)?.as_ref()
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut E> {
        let page = self.pages.get_mut((index / PAGE) as usize)?.as_mut()?;
        page.slots.get_mut((index % PAGE) as usize)?.as_mut()
    }

    fn insert(&mut self, entry: E) -> Option<u32> {
        let number = match self.vacant.last() {
            Some(number) => *number,
            None => {
                let number =
                    u32::try_from(self.pages.len()).ok().filter(|number| *number < (1 << 28) / PAGE)?;
                self.pages.push(None);
                self.vacant.push(number);
                number
            }
        };
        let page = self.pages.get_mut(number as usize)?;
        let page =
            page.get_or_insert_with(|| Box::new(Page { taken: 0, slots: [const { None }; PAGE as usize] }));
        let at = page.taken.trailing_ones();
        *page.slots.get_mut(at as usize)? = Some(entry);
        page.taken |= 1 << at;
        if page.taken == u64::MAX {
            self.vacant.pop();
        }
        self.len += 1;
        Some(number * PAGE + at)
    }

    fn remove(&mut self, index: u32) -> Option<E> {
        let (number, at) = (index / PAGE, index % PAGE);
        let home = self.pages.get_mut(number as usize)?;
        let page = home.as_mut()?;
        let entry = page.slots.get_mut(at as usize)?.take()?;
        if page.taken == u64::MAX {
            self.vacant.push(number);
        }
        page.taken &= !(1 << at);
        if page.taken == 0 {
            *home = None;
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        }
        Some(entry)
    }

    /// The slots that are taken among `pages` pages, from one on; and whether there are more pages.
    fn taken_from(&self, first: usize, pages: usize) -> (impl Iterator<Item = u32> + '_, bool) {
        let some = self.pages.iter().zip((0..).step_by(PAGE as usize)).skip(first).take(pages);
        let taken = some.filter_map(|(page, start)| Some((page.as_ref()?.taken, start)));
        let slots = taken.flat_map(|(taken, start)| {
            (0..PAGE).filter(move |at| taken & 1 << at != 0).map(move |at| start + at)
        });
        (slots, first + pages < self.pages.len())
    }
}

/// Entries with their tuples.
#[derive(Clone, Debug)]
pub(crate) struct TupleSlab<T> {
    v4: Pages<Entry<Ipv4Addr, T>>,
    v6: Pages<Entry<Ipv6Addr, T>>,
}

impl<T> TupleSlab<T> {
    pub(crate) const fn new() -> Self {
        Self { v4: Pages::new(), v6: Pages::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len + self.v6.len
    }

    pub(crate) fn insert(&mut self, tuple: &FourTuple, value: T) -> Option<TupleKey> {
        let (local_port, remote_port) = (tuple.local_port, tuple.remote_port);
        match (tuple.local_addr, tuple.remote_addr) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let ends = Ends { local, remote, local_port, remote_port };
                Some(TupleKey(self.v4.insert(Entry { ends, value })? << 1))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let ends = Ends { local, remote, local_port, remote_port };
                Some(TupleKey(self.v6.insert(Entry { ends, value })? << 1 | 1))
            }
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, key: TupleKey) -> Option<FourTuple> {
        if key.is_v4() {
            Some(self.v4.slot(key.index())?.ends.tuple())
        } else {
            Some(self.v6.slot(key.index())?.ends.tuple())
        }
    }

    pub(crate) fn get(&self, key: TupleKey) -> Option<&T> {
        if key.is_v4() {
            Some(&self.v4.slot(key.index())?.value)
        } else {
            Some(&self.v6.slot(key.index())?.value)
        }
    }

    pub(crate) fn get_mut(&mut self, key: TupleKey) -> Option<&mut T> {
        if key.is_v4() {
            Some(&mut self.v4.slot_mut(key.index())?.value)
        } else {
            Some(&mut self.v6.slot_mut(key.index())?.value)
        }
    }

    pub(crate) fn remove(&mut self, key: TupleKey) -> Option<(FourTuple, T)> {
        if key.is_v4() {
            self.v4.remove(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        } else {
            self.v6.remove(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        }
    }

    /// The entries in the next `slots` slots, and where to go on; `None` if that was all. What is entered meanwhile may
    /// be among them or not.
    pub(crate) fn keys_from(&self, cursor: Cursor, slots: u32) -> (Vec<TupleKey>, Option<Cursor>) {
        let pages = (slots / PAGE).max(1) as usize;
        let next = Cursor { page: cursor.page + pages, ..cursor };
        if cursor.v6 {
            let (indices, more) = self.v6.taken_from(cursor.page, pages);
            (indices.map(|index| TupleKey(index << 1 | 1)).collect(), more.then_some(next))
        } else {
            let (indices, more) = self.v4.taken_from(cursor.page, pages);
            let next = if more { next } else { Cursor { v6: true, page: 0 } };
            (indices.map(|index| TupleKey(index << 1)).collect(), Some(next))
        }
    }
}

/// Where a walk through a table has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    v6: bool,
    page: usize,
}

/// The size of a slot, for the tests that keep the promises of SYN queue and TIME-WAIT.
#[cfg(test)]
pub(crate) const fn slot_sizes<T>() -> (usize, usize) {
    (size_of::<Option<Entry<Ipv4Addr, T>>>(), size_of::<Option<Entry<Ipv6Addr, T>>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in_for_both_families() {
        let mut slab = TupleSlab::new();
        let tuples: Vec<FourTuple> = (0..1000u16)
            .map(|port| {
                let (local, remote) = if port % 3 == 0 {
                    ("[fd00::1]:80", "[fd00::2]:1")
                } else {
                    ("10.0.0.1:80", "10.0.0.2:1")
                };
                FourTuple {
                    remote_port: port,
                    ..FourTuple::new(local.parse().unwrap(), remote.parse().unwrap())
                }
            })
            .collect();
        let keys: Vec<_> =
            tuples.iter().map(|tuple| slab.insert(tuple, Box::new(tuple.remote_port)).unwrap()).collect();
        assert_eq!(slab.len(), 1000);
        for (key, tuple) in keys.iter().zip(&tuples) {
            assert_eq!(slab.tuple(*key).as_ref(), Some(tuple));
            assert_eq!(slab.get(*key).map(|port| **port), Some(tuple.remote_port));
        }
        let mut walked = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(here) = cursor {
            let (found, next) = slab.keys_from(here, 128);
            assert!(found.len() <= 128);
            walked.extend(found.iter().filter_map(|key| slab.tuple(*key)));
            cursor = next;
        }
        walked.sort_by_key(|tuple| tuple.remote_port);
        assert_eq!(walked, tuples);
        for (key, tuple) in keys.iter().zip(&tuples) {
            assert_eq!(slab.remove(*key).map(|(tuple, _)| tuple).as_ref(), Some(tuple));
            assert_eq!(slab.get(*key), None);
        }
        assert_eq!(slab.len(), 0);
        assert!(slab.v4.pages.is_empty() && slab.v6.pages.is_empty(), "an empty table holds no memory");
    }

    #[test]
    fn a_page_is_freed_with_its_last_entry_and_used_again() {
        let tuple = FourTuple::new("10.0.0.1:80".parse().unwrap(), "10.0.0.2:9".parse().unwrap());
        let mut slab = TupleSlab::new();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(&tuple, Box::new(n)).unwrap()).collect();
        let pages = |slab: &TupleSlab<Box<i32>>| slab.v4.pages.iter().filter(|page| page.is_some()).count();
        assert_eq!(pages(&slab), 16);
        for key in &keys[..700] {
            slab.remove(*key);
        }
        assert_eq!((pages(&slab), slab.len()), (6, 300));
        assert_eq!(slab.keys_from(Cursor::default(), 1024).0, keys[700..]);
        let again: Vec<_> = (0..700).map(|n| slab.insert(&tuple, Box::new(n)).unwrap()).collect();
        assert_eq!((pages(&slab), slab.len(), slab.v4.pages.len()), (16, 1000, 16));
        assert!(
            again
                .iter()
                .enumerate()
                .all(|(n, key)| slab.get(*key).is_some_and(|v| i32::try_from(n) == Ok(**v)))
        );
    }
}
