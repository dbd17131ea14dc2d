//! Which states an end enters with which segments.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ropeway::State;

use super::crossings::{Change, Crossings};
use super::observer::Observer;

/// The states that an end enters, by the number of the segment that explains it.
#[derive(Debug, Default)]
pub(super) struct Labels(BTreeMap<usize, Vec<State>>);

impl Labels {
    /// The states that the end at `local` must enter, by what RFC 9293 says about the segments.
    pub(super) fn infer(crossings: &Crossings, local: SocketAddr, start: State) -> Self {
        let mut observer = Observer::new(start);
        let mut labels = Self::default();
        for (number, crossing) in crossings.kept().0 {
            let entered = if crossing.from == local {
                observer.sends(&crossing.header, crossing.len)
            } else {
                observer.receives(&crossing.header)
            };
            if let Some(state) = entered {
                labels.add(number, state);
            }
        }
        labels
    }

    /// The states that the end reported, each beside the segment that explains it. A batch of segments is seen
    /// to cross before its changes are reported, so that a report alone does not tell which segment it was.
    pub(super) fn correct<'a>(&self, reported: impl Iterator<Item = &'a Change>) -> Self {
        let mut labels = Self::default();
        let mut next = 0;
        for change in reported {
            // A change by a call of the application is reported before its segment has crossed, so look ahead.
            let mut inferred = self.0.range(next..);
            let explained = inferred.find(|(_, states)| states.contains(&change.to));
            next = explained.map_or_else(|| change.after.saturating_sub(1).max(next), |(number, _)| *number);
            labels.add(next, change.to);
        }
        labels
    }

    pub(super) fn at(&self, number: usize) -> &[State] {
        self.0.get(&number).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, number: usize, state: State) {
        self.0.entry(number).or_default().push(state);
    }
}
