//! A set of ports: a bitmap of which only the words that have a bit are kept.

use std::ops::RangeInclusive;

const BITS: u16 = 64;

/// At most 1024 words, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortSet {
    words: Vec<(u16, u64)>,
}

impl PortSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Says whether the port is new.
    pub(crate) fn insert(&mut self, port: u16) -> bool {
        let (index, bit) = (port / BITS, 1 << (port % BITS));
        match self.place_of(index) {
            Ok(place) => self.words.get_mut(place).is_some_and(|(_, word)| {
                let new = *word & bit == 0;
                *word |= bit;
                new
            }),
            Err(place) => {
                self.words.insert(place, (index, bit));
                true
            }
        }
    }

    /// Says whether the port was there.
    pub(crate) fn remove(&mut self, port: u16) -> bool {
        let (index, bit) = (port / BITS, 1 << (port % BITS));
        let Ok(place) = self.place_of(index) else { return false };
        let Some((_, word)) = self.words.get_mut(place) else { return false };
        let was_there = *word & bit != 0;
        *word &= !bit;
        if *word == 0 {
            self.words.remove(place);
        }
        was_there
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.word(port / BITS) & 1 << (port % BITS) != 0
    }

    /// The bits of sixty-four ports.
    fn word(&self, index: u16) -> u64 {
        self.place_of(index).ok().and_then(|place| self.words.get(place)).map_or(0, |(_, word)| *word)
    }

    fn place_of(&self, index: u16) -> Result<usize, usize> {
        self.words.binary_search_by_key(&index, |(index, _)| *index)
    }
}

/// The ports of a range that are in none of some sets, from one of them on and around: each once, and sixty-four in a
/// step.
pub(crate) struct FreePorts<'a> {
    taken: Vec<&'a PortSet>,
    /// What is left to be searched, in this order.
    ahead: [Option<RangeInclusive<u16>>; 2],
    steps: u64,
}

impl<'a> FreePorts<'a> {
    pub(crate) fn new(range: &RangeInclusive<u16>, offset: u32, taken: Vec<&'a PortSet>) -> Self {
        let (first, last) = (*range.start(), *range.end());
        let start = u16::try_from(u32::from(first) + offset).unwrap_or(last).min(last);
        let before = start.checked_sub(1).filter(|before| *before >= first).map(|before| first..=before);
        Self { taken, ahead: [(first <= last).then_some(start..=last), before], steps: 0 }
    }

    /// How many words and ports were looked at.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The next free port between these two, both included.
    fn next_between(&mut self, first: u16, last: u16) -> Option<u16> {
        for index in first / BITS..=last / BITS {
            self.steps += 1;
            let taken = self.taken.iter().fold(0, |taken, set| taken | set.word(index));
            let from = if index == first / BITS { u64::MAX << (first % BITS) } else { u64::MAX };
            let until = if index == last / BITS { u64::MAX >> (BITS - 1 - last % BITS) } else { u64::MAX };
            let free = !taken & from & until;
            if free != 0 {
                return Some(index * BITS + u16::try_from(free.trailing_zeros()).unwrap_or(0));
            }
        }
        None
    }
}

impl Iterator for FreePorts<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        for half in 0..2 {
            let Some(range) = self.ahead.get_mut(half).and_then(Option::take) else { continue };
            let (first, last) = range.into_inner();
            if let Some(port) = self.next_between(first, last) {
                if let (Some(next), Some(ahead)) = (port.checked_add(1), self.ahead.get_mut(half)) {
                    *ahead = (next <= last).then_some(next..=last);
                }
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the obvious reference: a set of ports, and every port tried in turn.
        #[test]
        fn behaves_like_a_set(
            ports in prop::collection::vec((any::<bool>(), 0u16..400), 0..600),
            (first, len, offset) in (0u16..400, 0u16..200, 0u32..300),
        ) {
            let (mut set, mut reference) = (PortSet::default(), BTreeSet::new());
            for (insert, port) in ports {
                if insert {
                    prop_assert_eq!(set.insert(port), reference.insert(port));
                } else {
                    prop_assert_eq!(set.remove(port), reference.remove(&port));
                }
                prop_assert_eq!(set.contains(port), reference.contains(&port));
            }
            prop_assert_eq!(set.is_empty(), reference.is_empty());
            let last = first + len;
            let start = u16::try_from((u32::from(first) + offset).min(u32::from(last))).unwrap();
            let tried = (start..=last).chain(first..start);
            let free: Vec<u16> = tried.filter(|port| !reference.contains(port)).collect();
            let found: Vec<u16> = FreePorts::new(&(first..=last), offset, vec![&set]).collect();
            prop_assert_eq!(found, free);
        }
    }

    #[test]
    fn the_first_and_the_last_port_there_are() {
        let mut set = PortSet::default();
        let free =
            |set: &PortSet, offset| FreePorts::new(&(0..=u16::MAX), offset, vec![set]).collect::<Vec<_>>();
        assert_eq!(free(&set, 65_535).iter().take(3).collect::<Vec<_>>(), [&65_535, &0, &1]);
        for port in 0..=u16::MAX {
            assert!(set.insert(port));
        }
        assert_eq!(free(&set, 77), []);
        assert!(set.remove(u16::MAX));
        assert_eq!(free(&set, 77), [u16::MAX]);
        #[allow(clippy::reversed_empty_ranges, reason = "a range without a port")]
        let none = FreePorts::new(&(10..=9), 0, vec![&set]).next();
        assert_eq!(none, None);
    }

    #[test]
    fn a_search_among_all_ports_takes_a_thousand_steps_at_most() {
        let mut set = PortSet::default();
        (0..=u16::MAX).for_each(|port| {
            set.insert(port);
        });
        let mut search = FreePorts::new(&(0..=u16::MAX), 40_000, vec![&set, &set]);
        assert_eq!(search.next(), None);
        assert!(search.steps() <= 1025, "{}", search.steps());
    }
}
