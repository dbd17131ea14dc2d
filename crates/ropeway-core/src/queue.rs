//! A queue in pages: first in, first out, whatever its length, and no call moves what waits.

use std::collections::{LinkedList, VecDeque};

/// Entries of a page.
const PAGE: usize = 64;

/// Only the last page takes entries, and only the first gives them.
#[derive(Clone, Debug)]
pub(crate) struct PagedQueue<T> {
    pages: LinkedList<VecDeque<T>>,
    len: usize,
}

impl<T> Default for PagedQueue<T> {
    fn default() -> Self {
        Self { pages: LinkedList::new(), len: 0 }
    }
}

impl<T> PagedQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.len += 1;
        match self.pages.back_mut().filter(|last| last.len() < PAGE) {
            Some(last) => last.push_back(value),
            None => self.pages.push_back(VecDeque::from([value])),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.pages.front_mut()?;
        let value = first.pop_front()?;
        // The last page stays, for what comes next.
        if first.is_empty() && self.pages.len() > 1 {
            self.pages.pop_front();
        }
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.pages.front_mut()?.front_mut()
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
                prop_assert!(queue.pages.len() <= reference.len() / PAGE + 2);
            }
        }
    }
}
