//! The largest values of late.

/// `BBR.ExtraAckedFilterLen`, in round trips.
const ROUNDS: usize = 10;

/// `BBR.max_bw_filter`: of the cycle before this one, and of this one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxBw {
    before: u64,
    now: u64,
}

impl MaxBw {
    pub(super) fn get(&self) -> u64 {
        self.before.max(self.now)
    }

    pub(super) fn update(&mut self, rate: u64) {
        self.now = self.now.max(rate);
    }

    /// A cycle is over. One without a sample tells nothing, and so the one before it counts on.
    pub(super) fn advance(&mut self) {
        if self.now > 0 {
            *self = Self { before: self.now, now: 0 };
        }
    }
}

/// `BBR.extra_acked_filter`: the largest value of each of the last round trips.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundsMax {
    /// Of this round, the one before it, and so on.
    rounds: [u32; ROUNDS],
}

impl RoundsMax {
    /// The largest of the last rounds, or of this one.
    pub(super) fn get(&self, only_this: bool) -> u32 {
        let rounds = if only_this { 1 } else { ROUNDS };
        self.rounds.iter().take(rounds).copied().max().unwrap_or_default()
    }

    pub(super) fn update(&mut self, value: u32) {
        if let Some(now) = self.rounds.first_mut() {
            *now = value.max(*now);
        }
    }

    /// A round trip begins.
    pub(super) fn advance(&mut self) {
        self.rounds.rotate_right(1);
        if let Some(now) = self.rounds.first_mut() {
            *now = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bandwidth_of_two_cycles_counts_and_no_more() {
        let mut filter = MaxBw::default();
        filter.update(10);
        filter.update(7);
        assert_eq!(filter.get(), 10);
        filter.advance();
        filter.advance();
        assert_eq!(filter.get(), 10, "there was no sample since");
        filter.update(5);
        filter.advance();
        assert_eq!(filter.get(), 5);
    }

    #[test]
    fn a_value_counts_for_ten_rounds_with_its_own() {
        let mut filter = RoundsMax::default();
        filter.update(9);
        filter.update(3);
        for _ in 0..9 {
            filter.advance();
            filter.update(1);
            assert_eq!((filter.get(false), filter.get(true)), (9, 1));
        }
        filter.advance();
        assert_eq!((filter.get(false), filter.get(true)), (1, 0));
    }
}
