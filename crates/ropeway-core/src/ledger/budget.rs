//! What several ledgers may hold together. They draw from it by leases, so that they seldom meet here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much is drawn, or given back, at a time.
const LEASE: usize = 256 * 1024;

/// How much memory there may be, and how much of that was drawn. This is a handle: the shards of a host have the same budget.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    drawn: Arc<AtomicUsize>,
}

impl Clone for Budget {
    /// A budget of its own, of which as much was drawn: whoever clones a stack gets another one.
    fn clone(&self) -> Self {
        Self { total: self.total, drawn: Arc::new(AtomicUsize::new(self.drawn.load(Ordering::Relaxed))) }
    }
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, drawn: Arc::default() }
    }

    /// Another handle.
    pub(crate) fn share(&self) -> Self {
        Self { total: self.total, drawn: Arc::clone(&self.drawn) }
    }

    /// What nobody has drawn.
    #[inline]
    pub(crate) fn rest(&self) -> usize {
        self.total.saturating_sub(self.drawn.load(Ordering::Relaxed))
    }

    /// A ledger that has drawn `leased` holds `held`. Gives what it has drawn from now on: leases for all that it holds, as
    /// far as there are any, and at most one that it does not need.
    #[inline]
    pub(crate) fn settle(&mut self, leased: usize, held: usize) -> usize {
        if held <= leased && leased - held <= LEASE {
            return leased;
        }
        self.draw(leased, held)
    }

    fn draw(&mut self, leased: usize, held: usize) -> usize {
        let needed = held.div_ceil(LEASE).saturating_mul(LEASE);
        if (needed..=needed.saturating_add(LEASE)).contains(&leased) {
            return leased;
        }
        if needed < leased {
            self.drawn.fetch_sub(leased - needed, Ordering::Relaxed);
            return needed;
        }
        let mut more = 0;
        // Others draw from it at the same time.
        let _always_some = self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |drawn| {
            more = (needed - leased).min(self.total.saturating_sub(drawn));
            Some(drawn + more)
        });
        leased + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_draw_leases_until_there_are_none() {
        let mut budget = Budget::new(5 * LEASE / 2);
        let one = budget.settle(0, 1);
        assert_eq!(one, LEASE);
        let other = budget.settle(0, 10 * LEASE);
        assert_eq!((other, budget.rest()), (3 * LEASE / 2, 0));
        assert_eq!(budget.settle(one, LEASE + 1), one, "there is no other");
        let other = budget.settle(other, 0);
        assert_eq!((other, budget.rest()), (0, 3 * LEASE / 2));
        assert_eq!(budget.settle(one, 0), one, "one is kept, so that a byte to and fro costs nothing");
    }
}
