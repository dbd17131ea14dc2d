//! A value over time, in bounded memory.

/// So many points are kept: some for each column of a picture.
const MOST: usize = 4096;

/// What a value was while a point lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// In microseconds.
    pub(crate) at: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// A value that stays as it is until the next point. When there are too many points, neighbours become one that knows the
/// least and the most of both: nothing of that is seen once a point is narrower than a pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Series {
    points: Vec<Point>,
    /// Points within so many microseconds are one.
    width: u64,
}

impl Series {
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The last value.
    pub(crate) fn last(&self) -> Option<u64> {
        self.points.last().map(|point| point.last)
    }

    /// The greatest value.
    pub(crate) fn most(&self) -> Option<u64> {
        self.points.iter().map(|point| point.most).max()
    }

    /// Forgets what was before `at`, but not the value.
    pub(crate) fn begin_at(&mut self, at: u64) {
        let last = self.last();
        *self = Self::default();
        if let Some(value) = last {
            self.push(at, value);
        }
    }

    /// The value at `at`, which is no moment before the last point's.
    pub(crate) fn push(&mut self, at: u64, value: u64) {
        if self.last() == Some(value) {
            return;
        }
        self.take(Point { at, first: value, last: value, least: value, most: value });
        if self.points.len() > MOST {
            while self.points.len() > MOST / 2 {
                self.width = self.width.saturating_mul(2).max(1);
                self.coarsen();
            }
        }
    }

    fn take(&mut self, new: Point) {
        let width = self.width.max(1);
        match self.points.last_mut().filter(|last| last.at / width == new.at / width) {
            Some(last) => {
                last.last = new.last;
                last.least = last.least.min(new.least);
                last.most = last.most.max(new.most);
            }
            None => self.points.push(new),
        }
    }

    fn coarsen(&mut self) {
        for point in std::mem::take(&mut self.points) {
            self.take(point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_series_is_exact() {
        let mut series = Series::default();
        for (at, value) in [(5, 1), (5, 3), (7, 3), (9, 2)] {
            series.push(at, value);
        }
        let points: Vec<_> =
            series.points().iter().map(|point| (point.at, point.first, point.last)).collect();
        assert_eq!(points, [(5, 1, 3), (9, 2, 2)]);
    }

    #[test]
    fn a_long_series_keeps_its_peaks_and_its_bound() {
        let mut series = Series::default();
        for at in 0..1_000_000u64 {
            series.push(at * 1000, if at == 654_321 { 9_999 } else { at % 7 });
        }
        assert!((MOST / 4..=MOST).contains(&series.points().len()), "{}", series.points().len());
        assert_eq!(series.most(), Some(9_999));
        let peak = series.points().iter().find(|point| point.most == 9_999).unwrap();
        assert!(peak.at <= 654_321_000 && 654_321_000 - peak.at < 1_000_000, "{peak:?}");
        assert_eq!(series.last(), Some(999_999 % 7));
    }

    #[test]
    fn what_was_before_is_forgotten_but_not_the_value() {
        let mut series = Series::default();
        for (at, value) in [(5, 1), (6, 100), (7, 2)] {
            series.push(at, value);
        }
        series.begin_at(10);
        series.push(12, 3);
        let points: Vec<_> = series.points().iter().map(|point| (point.at, point.last)).collect();
        assert_eq!((points, series.most()), (vec![(10, 2), (12, 3)], Some(3)));
    }

    #[test]
    fn a_few_points_in_an_hour_stay_as_they_are() {
        let mut series = Series::default();
        for minute in 0..60u64 {
            series.push(minute * 60_000_000 + 1, minute);
        }
        assert_eq!(series.points().len(), 60);
        assert_eq!(series.points()[59].at, 59 * 60_000_000 + 1);
    }
}
