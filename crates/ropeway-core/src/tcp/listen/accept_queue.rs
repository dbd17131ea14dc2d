//! The accept queue: connections whose handshake is complete, in that order.

use std::collections::VecDeque;

use crate::event::ConnectionId;

#[derive(Clone, Debug)]
pub(crate) struct AcceptQueue {
    queue: VecDeque<ConnectionId>,
    capacity: usize,
}

impl AcceptQueue {
    /// As in Linux, it is full with one more than the backlog: `listen(0)` has room for one.
    pub(crate) fn new(backlog: usize) -> Self {
        Self { queue: VecDeque::new(), capacity: backlog.saturating_add(1) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= self.capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, id: ConnectionId) {
        self.queue.push_back(id);
    }

    pub(crate) fn pop(&mut self) -> Option<ConnectionId> {
        self.queue.pop_front()
    }

    /// Takes the first one that is wanted, out of turn.
    pub(crate) fn take(&mut self, wanted: impl Fn(&ConnectionId) -> bool) -> Option<ConnectionId> {
        let at = self.queue.iter().position(wanted)?;
        self.queue.remove(at)
    }

    pub(crate) fn drain(self) -> impl Iterator<Item = ConnectionId> {
        self.queue.into_iter()
    }
}
