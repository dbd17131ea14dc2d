//! Sets of ranges of offsets, each with the frame that told of it first.

use std::collections::BTreeMap;

/// Disjoint ranges. Ranges that touch stay apart only if their frames differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, (u64, u64)>);

impl Ranges {
    /// Adds what is not in the set yet, as told by `frame`.
    pub(crate) fn add(&mut self, start: u64, end: u64, frame: u64) {
        let mut at = start;
        while at < end {
            let covering =
                self.0.range(..=at).next_back().filter(|(_, (to, _))| *to > at).map(|(_, (to, _))| *to);
            if let Some(to) = covering {
                at = to;
                continue;
            }
            let next = self.0.range(at..).next().map_or(end, |(from, _)| (*from).min(end));
            self.0.insert(at, (next, frame));
            at = next;
        }
    }

    /// Takes out what lies below `edge`.
    pub(crate) fn cut(&mut self, edge: u64) {
        let behind = self.0.split_off(&edge);
        let last = self.0.last_key_value().map(|(_, range)| *range).filter(|(end, _)| *end > edge);
        self.0 = behind;
        if let Some(range) = last {
            self.0.insert(edge, range);
        }
    }

    /// The frame that told of all of a range, the last of them; `None` if some of it is not in the set.
    pub(crate) fn covers(&self, start: u64, end: u64) -> Option<u64> {
        let mut at = start;
        let mut told = None;
        while at < end {
            let (_, (to, frame)) = self.0.range(..=at).next_back().filter(|(_, (to, _))| *to > at)?;
            told = told.max(Some(*frame));
            at = *to;
        }
        told
    }

    /// How many bytes lie in the set from `from` on, and the frame that told of the first of them.
    pub(crate) fn beyond(&self, from: u64) -> Option<(u64, u64)> {
        let mut bytes = 0;
        let mut first = u64::MAX;
        for (start, (end, frame)) in self.0.range(from..) {
            bytes += end - start;
            first = first.min(*frame);
        }
        (bytes > 0).then_some((bytes, first))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_apart_by_the_frame_that_told_first() {
        let mut set = Ranges::default();
        set.add(10, 20, 1);
        set.add(5, 30, 2);
        assert_eq!(set.covers(12, 18), Some(1));
        assert_eq!(set.covers(5, 30), Some(2));
        assert_eq!(set.covers(5, 31), None);
        assert_eq!(set.beyond(0), Some((25, 1)));
        set.cut(15);
        assert_eq!(set.covers(15, 30), Some(2));
        assert_eq!(set.covers(14, 30), None);
    }
}
