//! Pieces of the sequence space at moments, in bounded memory.

/// So many are kept.
const MOST: usize = 8192;

/// The sequence space between the least and the most that was seen has so many steps, when marks become too many.
const STEPS: u64 = 2048;

/// A piece of the sequence space, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// In microseconds.
    pub(crate) at: u64,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Marks of one kind. When there are too many, those that lie closest become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    marks: Vec<Mark>,
    /// How many there were.
    count: u64,
    /// Marks within so many microseconds may be one.
    width: u64,
}

impl Marks {
    /// In the order of time, and of their beginnings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.iter().copied()
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, at: u64, start: i64, end: i64) {
        self.count += 1;
        if let Some(last) = self.marks.last_mut().filter(|last| last.at == at && last.end == start) {
            last.end = end;
            return;
        }
        self.marks.push(Mark { at, start, end });
        if self.marks.len() > MOST {
            self.coarsen();
            while self.marks.len() > MOST / 2 {
                self.width = self.width.saturating_mul(2).max(1);
                self.coarsen();
            }
        }
    }

    fn coarsen(&mut self) {
        let (least, most) = self
            .marks
            .iter()
            .fold((i64::MAX, i64::MIN), |(least, most), mark| (least.min(mark.start), most.max(mark.end)));
        let step = i64::try_from(most.abs_diff(least) / STEPS).unwrap_or(i64::MAX);
        let width = self.width.max(1);
        self.marks.sort_unstable_by_key(|mark| (mark.at / width, mark.start));
        self.marks.dedup_by(|next, kept| {
            let near = next.at / width == kept.at / width && next.start <= kept.end.saturating_add(step);
            if near {
                kept.end = kept.end.max(next.end);
            }
            near
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the highest.
    fn most(marks: &Marks) -> i64 {
        marks.iter().map(|mark| mark.end).max().unwrap()
    }

    /// Whether both ends of each mark are within a thousandth of the whole of what the line is at its moment.
    fn lies_on_a_line(marks: &[Mark], per_microsecond: f64) -> bool {
        let whole = marks.iter().map(|mark| mark.end).max().unwrap() as f64;
        let far = |at: u64, number: i64| (at as f64 * per_microsecond - number as f64).abs() > whole / 1000.0;
        !marks.iter().any(|mark| far(mark.at, mark.start) || far(mark.at, mark.end))
    }

    #[test]
    fn a_train_at_one_moment_is_one_mark() {
        let mut marks = Marks::default();
        for segment in 0..10 {
            marks.push(7, segment * 100, segment * 100 + 100);
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), [Mark { at: 7, start: 0, end: 1000 }]);
        assert_eq!(marks.count(), 10);
    }

    #[test]
    fn a_million_marks_keep_their_bound_and_their_shape() {
        let mut marks = Marks::default();
        for number in 0..1_000_000u64 {
            // A band of holes: each third segment, in the order of time.
            let start = i64::try_from(number * 3000).unwrap();
            marks.push(number * 50, start, start + 1000);
        }
        let kept: Vec<Mark> = marks.iter().collect();
        assert!((MOST / 8..=MOST).contains(&kept.len()), "{}", kept.len());
        assert_eq!((marks.count(), most(&marks)), (1_000_000, 2_999_998_000));
        assert!(lies_on_a_line(&kept, 60.0));
    }

    #[test]
    fn a_million_marks_without_holes_keep_their_shape_too() {
        let mut marks = Marks::default();
        for number in 0..1_000_000u64 {
            let start = i64::try_from(number * 1448).unwrap();
            marks.push(number, start, start + 1448);
        }
        let kept: Vec<Mark> = marks.iter().collect();
        assert!((MOST / 8..=MOST).contains(&kept.len()), "{}", kept.len());
        assert!(lies_on_a_line(&kept, 1448.0));
    }

    #[test]
    fn marks_at_one_moment_keep_the_bound_too() {
        let mut marks = Marks::default();
        for number in 0..100_000 {
            marks.push(1, number * 20, number * 20 + 10);
        }
        assert!(marks.iter().count() <= MOST);
        assert_eq!((marks.count(), most(&marks)), (100_000, 1_999_990));
    }
}
