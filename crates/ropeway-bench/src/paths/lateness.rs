//! How late things happened: a histogram.

/// Nanoseconds of a step of the histogram.
const STEP: u64 = 100;
/// Steps; what is later counts as the last one, and for the maximum.
const STEPS: usize = 100_000;

/// Durations, to a tenth of a microsecond up to ten milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness {
    counts: Vec<u32>,
    total: u64,
    most: u64,
}

impl Lateness {
    /// Counts one of so many nanoseconds.
    pub(crate) fn note(&mut self, nanos: u64) {
        let step = usize::try_from(nanos / STEP).unwrap_or(STEPS).min(STEPS - 1);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(step) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.most = self.most.max(nanos);
    }

    /// What so many of a thousand were not later than, in microseconds.
    pub(crate) fn permille(&self, permille: u64) -> f64 {
        let wanted = (self.total * permille).div_ceil(1000).max(1);
        let mut passed = 0;
        let steps = self.counts.iter().zip(1_u64..).find(|(count, _)| {
            passed += u64::from(**count);
            passed >= wanted
        });
        steps.map_or(0.0, |(_, step)| (step * STEP).min(self.most) as f64 / 1000.0)
    }

    /// The latest one, in microseconds.
    pub(crate) fn most(&self) -> f64 {
        self.most as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let mut late = Lateness::default();
        assert_eq!((late.permille(500), late.most()), (0.0, 0.0));
        (1..=1000).for_each(|micros| late.note(micros * 1000 - 50));
        assert_eq!((late.permille(500), late.permille(990)), (500.0, 990.0));
        late.note(3_000_000_000);
        assert_eq!((late.permille(1000), late.most()), (10_000.0, 3_000_000.0));
    }
}
