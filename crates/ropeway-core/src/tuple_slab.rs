//! Tables of small entries, each with its four-tuple: what SYN queue and TIME-WAIT are made of.
//!
//! There may be a million of them, so an IPv4 tuple takes 12 bytes and an IPv6 tuple 36.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ropeway_packet::FourTuple;

use crate::pages::Pages;

/// Names an entry for as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TupleKey(u32);

impl TupleKey {
    /// The number it is made of, below 2^30.
    #[inline]
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
        self.v4.len() + self.v6.len()
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }

    pub(crate) fn insert(&mut self, tuple: &FourTuple, value: T) -> Option<TupleKey> {
        let (local_port, remote_port) = (tuple.local_port, tuple.remote_port);
        match (tuple.local_addr, tuple.remote_addr) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let ends = Ends { local, remote, local_port, remote_port };
                Some(TupleKey(self.v4.insert_with(|_| Entry { ends, value })? << 1))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let ends = Ends { local, remote, local_port, remote_port };
                Some(TupleKey(self.v6.insert_with(|_| Entry { ends, value })? << 1 | 1))
            }
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, key: TupleKey) -> Option<FourTuple> {
        if key.is_v4() {
            Some(self.v4.get(key.index())?.ends.tuple())
        } else {
            Some(self.v6.get(key.index())?.ends.tuple())
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: TupleKey) -> Option<&T> {
        if key.is_v4() {
            Some(&self.v4.get(key.index())?.value)
        } else {
            Some(&self.v6.get(key.index())?.value)
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: TupleKey) -> Option<&mut T> {
        if key.is_v4() {
            Some(&mut self.v4.get_mut(key.index())?.value)
        } else {
            Some(&mut self.v6.get_mut(key.index())?.value)
        }
    }

    pub(crate) fn remove(&mut self, key: TupleKey) -> Option<(FourTuple, T)> {
        if key.is_v4() {
            self.v4.take(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        } else {
            self.v6.take(key.index()).map(|entry| (entry.ends.tuple(), entry.value))
        }
    }

    /// The entries in the next `pages` pages; and where to go on, `None` if that was all. What is entered meanwhile may
    /// be among them or not.
    pub(crate) fn keys_from(&self, cursor: Cursor, pages: u32) -> (Vec<TupleKey>, Option<Cursor>) {
        if cursor.v6 {
            let (slots, next) = self.v6.taken_from(cursor.page, pages);
            let keys = slots.into_iter().map(|index| TupleKey(index << 1 | 1)).collect();
            (keys, next.map(|page| Cursor { v6: true, page }))
        } else {
            let (slots, next) = self.v4.taken_from(cursor.page, pages);
            let keys = slots.into_iter().map(|index| TupleKey(index << 1)).collect();
            (keys, Some(next.map_or(Cursor { v6: true, page: 0 }, |page| Cursor { v6: false, page })))
        }
    }
}

/// Where a walk through a table has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    v6: bool,
    page: u32,
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
            let (found, next) = slab.keys_from(here, 2);
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
        assert_eq!((slab.v4.pages(), slab.v6.pages()), (1, 1));
    }
}
