//! A queue in pages: first in, first out, whatever its length, and no call moves what waits.

use std::collections::{LinkedList, VecDeque};

/// Entries of a page.
const PAGE: usize = 64;

/// Only the first page gives entries, and only the last one takes them.
#[derive(Clone, Debug)]
pub(crate) struct PagedQueue<T> {
    /// It is empty only if there is nothing at all. It stays then, for what comes next.
    first: VecDeque<T>,
    /// All others. All but the last are full.
    more: LinkedList<VecDeque<T>>,
}

impl<T> Default for PagedQueue<T> {
    fn default() -> Self {
        Self { first: VecDeque::new(), more: LinkedList::new() }
    }
}

impl<T> PagedQueue<T> {
    pub(crate) fn len(&self) -> usize {
        let last = self.more.back().map_or(0, VecDeque::len);
        self.first.len() + self.more.len().saturating_sub(1) * PAGE + last
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, value: T) {
        if self.more.is_empty() && self.first.len() < PAGE {
            self.first.push_back(value);
        } else {
            self.push_behind(value);
        }
    }

    fn push_behind(&mut self, value: T) {
        match self.more.back_mut().filter(|last| last.len() < PAGE) {
            Some(last) => last.push_back(value),
            None => self.more.push_back(VecDeque::from([value])),
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let value = self.first.pop_front()?;
        if self.first.is_empty() && !self.more.is_empty() {
            self.turn_page();
        }
        Some(value)
    }

    fn turn_page(&mut self) {
        if let Some(next) = self.more.pop_front() {
            self.first = next;
        }
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.front_mut()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the obvious reference.
        #[test]
        fn behaves_like_a_queue(runs in prop::collection::vec((any::<bool>(), 0usize..300), 1..40)) {
            let (mut queue, mut reference) = (PagedQueue::default(), VecDeque::new());
            let mut next = 0;
            for (push, run) in runs {
                for _ in 0..run {
                    if push {
                        queue.push_back(next);
                        reference.push_back(next);
                        next += 1;
                    } else {
                        prop_assert_eq!(queue.front_mut(), reference.front_mut());
                        prop_assert_eq!(queue.pop_front(), reference.pop_front());
                    }
                    prop_assert_eq!(queue.len(), reference.len());
                    prop_assert_eq!(queue.is_empty(), reference.is_empty());
                }
                prop_assert!(queue.more.len() <= reference.len() / PAGE + 1);
            }
        }
    }
}
