//! One lazy queue of deadlines for all connections.
//!
//! Only an earlier deadline is queued. A connection whose deadline moved to a later time is found out when
//! its old entry comes up, and queued anew then: an acknowledgement that restarts the retransmission timer
//! touches nothing that is shared.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slab::Key;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct DeadlineQueue {
    heap: BinaryHeap<Reverse<(Timestamp, u32, u32)>>,
}

impl DeadlineQueue {
    pub(crate) fn push(&mut self, at: Timestamp, key: Key) {
        self.heap.push(Reverse((at, key.index, key.generation)));
    }

    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the earliest entry if it is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Key)> {
        let Reverse((at, index, generation)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, Key { index, generation }))
    }
}
