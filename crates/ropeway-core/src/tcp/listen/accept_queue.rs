//! The accept queue: connections whose handshake is complete, in that order.

use std::collections::BTreeMap;

use ropeway_packet::FourTuple;

use crate::event::ConnectionId;
use crate::slab::{Key, Slab};

/// A connection in the queue, with its neighbours there.
#[derive(Clone, Debug)]
struct Waiting {
    id: ConnectionId,
    /// Its tuple, if it may be asked for out of turn.
    tuple: Option<FourTuple>,
    older: Option<Key>,
    newer: Option<Key>,
}

#[derive(Clone, Debug)]
pub(crate) struct AcceptQueue {
    waiting: Slab<Waiting>,
    oldest: Option<Key>,
    newest: Option<Key>,
    by_tuple: BTreeMap<FourTuple, Key>,
    capacity: usize,
}

impl AcceptQueue {
    /// As in Linux, it is full with one more than the backlog: `listen(0)` has room for one.
    pub(crate) fn new(backlog: usize) -> Self {
        Self {
            waiting: Slab::new(),
            oldest: None,
            newest: None,
            by_tuple: BTreeMap::new(),
            capacity: backlog.saturating_add(1),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// A connection waits to be accepted; with a tuple, it can be asked for by that. Of two with the same tuple, the first
    /// is over: it is given back.
    pub(crate) fn push(&mut self, id: ConnectionId, tuple: Option<FourTuple>) -> Option<ConnectionId> {
        let before = tuple.and_then(|tuple| self.take(&tuple));
        let older = self.newest;
        let Some(key) = self.waiting.insert_with(|_| Waiting { id, tuple, older, newer: None }) else {
            return Some(id);
        };
        match older.and_then(|older| self.waiting.get_mut(older)) {
            Some(older) => older.newer = Some(key),
            None => self.oldest = Some(key),
        }
        self.newest = Some(key);
        if let Some(tuple) = tuple {
            self.by_tuple.insert(tuple, key);
        }
        before
    }

    pub(crate) fn pop(&mut self) -> Option<ConnectionId> {
        self.remove(self.oldest?)
    }

    /// Takes the one with this tuple, out of turn.
    pub(crate) fn take(&mut self, tuple: &FourTuple) -> Option<ConnectionId> {
        self.remove(*self.by_tuple.get(tuple)?)
    }

    fn remove(&mut self, key: Key) -> Option<ConnectionId> {
        let Waiting { id, tuple, older, newer } = self.waiting.remove(key)?;
        match older.and_then(|older| self.waiting.get_mut(older)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.waiting.get_mut(newer)) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        if let Some(tuple) = tuple {
            self.by_tuple.remove(&tuple);
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_leave_in_order_or_by_their_tuple() {
        let id = |index| ConnectionId { index, generation: 0 };
        let tuple = |port| {
            let remote = ("10.0.0.2".parse::<std::net::IpAddr>().unwrap(), port).into();
            FourTuple::new("10.0.0.1:80".parse().unwrap(), remote)
        };
        let mut queue = AcceptQueue::new(5);
        for port in 0..6u16 {
            assert!(!queue.is_full());
            assert_eq!(queue.push(id(port.into()), Some(tuple(port))), None);
        }
        assert!(queue.is_full());
        for (port, found) in [(5, Some(id(5))), (0, Some(id(0))), (3, Some(id(3))), (3, None), (9, None)] {
            assert_eq!(queue.take(&tuple(port)), found);
        }
        assert_eq!(queue.push(id(7), Some(tuple(2))), Some(id(2)), "its tuple is that of a new one");
        assert_eq!(queue.push(id(8), None), None);
        assert_eq!(queue.pop(), Some(id(1)));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [id(4), id(7), id(8)]);
    }
}
