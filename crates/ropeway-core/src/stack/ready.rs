//! Connections that may have something to send, each in its turn.

use crate::queue::PagedQueue;
use crate::slab::Key;

/// So many bytes may a connection send before the next has its turn, where a device takes trains as they are: the peer's
/// system wakes a reader for all of them once. Elsewhere a turn is a train, or a segment.
const QUANTUM: usize = 256 * 1024;

/// A line, first come, first served.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    line: PagedQueue<Key>,
    /// Whose turn it is, or was last.
    turn: Option<Key>,
    /// What it has sent in this turn, in bytes.
    spent: usize,
    /// It has more to send, and goes on.
    goes_on: bool,
    quantum: usize,
}

impl Ready {
    /// `whole`: the device takes trains as they are.
    pub(super) fn new(whole: bool) -> Self {
        Self { quantum: if whole { QUANTUM } else { 0 }, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.goes_on && self.line.is_empty()
    }

    /// A connection may have something to send. It goes to the end of the line, unless its turn is not over.
    #[inline]
    pub(super) fn push(&mut self, key: Key) {
        if self.spent < self.quantum && self.turn == Some(key) {
            self.goes_on = true;
        } else {
            self.line.push_back(key);
        }
    }

    /// Whose turn it is now.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Key> {
        if std::mem::take(&mut self.goes_on) {
            return self.turn;
        }
        self.spent = 0;
        self.turn = self.line.pop_front();
        self.turn
    }

    /// Whose turn it is has sent so many bytes.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) {
        self.spent += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which two send trains of 64 KiB that have enough of them: eight in all.
    fn order(whole: bool) -> Vec<u32> {
        let mut ready = Ready::new(whole);
        for index in [1, 2] {
            ready.push(Key { index, generation: 1 });
        }
        let mut order = Vec::new();
        while let Some(key) = ready.pop().filter(|_| order.len() < 16) {
            ready.push(key);
            ready.spend(64 * 1024);
            order.push(key.index);
        }
        order
    }

    #[test]
    fn whole_trains_go_a_few_at_a_time_others_one_by_one() {
        assert_eq!(order(true), [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 2]);
        assert_eq!(order(false), [1, 2].repeat(8));
    }

    #[test]
    fn who_has_no_more_leaves_its_turn_to_others() {
        let mut ready = Ready::new(true);
        let [first, second] = [1, 2].map(|index| Key { index, generation: 1 });
        ready.push(first);
        assert_eq!(ready.pop(), Some(first));
        ready.spend(1000);
        ready.push(second);
        assert_eq!(ready.pop(), Some(second));
        ready.push(first);
        ready.push(second);
        assert!(!ready.is_empty());
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(second), Some(first), None]);
        assert!(ready.is_empty());
    }
}
