//! What several ledgers may hold together. They draw from it by leases, so that they seldom meet here.

/// So much is drawn, or given back, at a time.
const LEASE: usize = 256 * 1024;

/// How much memory there may be, and how much of that was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    total: usize,
    drawn: usize,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, drawn: 0 }
    }

    /// What nobody has drawn.
    pub(crate) fn rest(&self) -> usize {
        self.total - self.drawn
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
        let drawn = needed.min(leased + self.rest());
        self.drawn = self.drawn - leased + drawn;
        drawn
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
