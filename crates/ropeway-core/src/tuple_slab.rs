//! Tables of small entries, each with its four-tuple: what SYN queue and TIME-WAIT are made of.
//!
//! There may be a million of them, so an IPv4 tuple takes 12 bytes and an IPv6 tuple 36, and the table grows
//! by pages: nothing is ever copied to make it larger.

use std::fmt;
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

/// Entries to a page.
const PAGE: u32 = 256;

/// Slots in pages. An `Option` of an entry is as large as the entry: `T` has a value to spare.
#[derive(Clone)]
struct Pages<E> {
    pages: Vec<Box<[Option<E>]>>,
    free: Vec<u32>,
    used: u32,
}

/// Without the slots that are empty.
impl<E: fmt::Debug> fmt::Debug for Pages<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).entry(&"free", &self.free).entry(&"used", &self.used).finish()
    }
}

impl<E> Pages<E> {
    const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), used: 0 }
    }

    fn slot(&self, index: u32) -> Option<&Option<E>> {
        self.pages.get((index / PAGE) as usize)?.get((index % PAGE) as usize)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Option<E>> {
        self.pages.get_mut((index / PAGE) as usize)?.get_mut((index % PAGE) as usize)
    }

    fn insert(&mut self, entry: E) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = self.used;
                if index.is_multiple_of(PAGE) {
                    self.pages.push((0..PAGE).map(|_| None).collect());
                }
                self.used = index.checked_add(1).filter(|used| *used < 1 << 28)?;
                index
            }
        };
        *self.slot_mut(index)? = Some(entry);
        Some(index)
    }

    fn remove(&mut self, index: u32) -> Option<E> {
        let entry = self.slot_mut(index)?.take()?;
        self.free.push(index);
        if self.len() == 0 {
            // The flood is over: give the memory back.
            *self = Self::new();
        }
        Some(entry)
    }

    fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &E)> {
        (0..self.used).filter_map(|index| Some((index, self.slot(index)?.as_ref()?)))
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

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
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
            Some(self.v4.slot(key.index())?.as_ref()?.ends.tuple())
        } else {
            Some(self.v6.slot(key.index())?.as_ref()?.ends.tuple())
        }
    }

    pub(crate) fn get(&self, key: TupleKey) -> Option<&T> {
        if key.is_v4() {
            Some(&self.v4.slot(key.index())?.as_ref()?.value)
        } else {
            Some(&self.v6.slot(key.index())?.as_ref()?.value)
        }
    }

    pub(crate) fn get_mut(&mut self, key: TupleKey) -> Option<&mut T> {
        if key.is_v4() {
            Some(&mut self.v4.slot_mut(key.index())?.as_mut()?.value)
        } else {
            Some(&mut self.v6.slot_mut(key.index())?.as_mut()?.value)
        }
    }

    pub(crate) fn remove(&mut self, key: TupleKey) -> Option<(FourTuple, T)> {
        if key.is_v4() {
            self.v4.remove(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        } else {
            self.v6.remove(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TupleKey, FourTuple, &T)> {
        let v4 =
            self.v4.iter().map(|(index, entry)| (TupleKey(index << 1), entry.ends.tuple(), &entry.value));
        let v6 =
            self.v6.iter().map(|(index, entry)| (TupleKey(index << 1 | 1), entry.ends.tuple(), &entry.value));
        v4.chain(v6)
    }
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
        assert_eq!(slab.iter().count(), 1000);
        for (key, tuple) in keys.iter().zip(&tuples) {
            assert_eq!(slab.remove(*key).map(|(tuple, _)| tuple).as_ref(), Some(tuple));
            assert_eq!(slab.get(*key), None);
        }
        assert_eq!(slab.len(), 0);
        assert!(slab.v4.pages.is_empty() && slab.v6.pages.is_empty(), "an empty table holds no memory");
    }
}
