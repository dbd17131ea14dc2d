//! What one end has sent and the other has not acknowledged, as far as the capture shows.

use std::collections::BTreeMap;
use std::time::Duration;

/// A range of offsets that was sent at once, perhaps several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) end: u64,
    /// The frame that had it first, and when.
    pub(crate) first: (u64, Duration),
    /// The frame that had it last, and when.
    pub(crate) last: (u64, Duration),
    /// TSval of the first and of the last.
    pub(crate) tsval: (Option<u32>, Option<u32>),
    /// IPv4's identification of the last.
    pub(crate) id: Option<u16>,
    /// How often it was sent again.
    pub(crate) again: u32,
    /// How long the sender had waited before it was sent again the last time.
    pub(crate) waited: Duration,
}

/// The ranges, by their start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight(BTreeMap<u64, Sent>);

impl Flight {
    /// Adds what is new.
    pub(crate) fn add(&mut self, start: u64, sent: Sent, room: usize) {
        if start < sent.end {
            if self.0.len() >= room {
                self.0.pop_first();
            }
            self.0.insert(start, sent);
        }
    }

    /// Takes out what lies below `una`; returns the last range that this completes.
    pub(crate) fn acknowledge(&mut self, una: u64) -> Option<(u64, Sent)> {
        self.split(una);
        let behind = self.0.split_off(&una);
        std::mem::replace(&mut self.0, behind).pop_last()
    }

    /// The first of the ranges that have something of `start..end`.
    pub(crate) fn find(&self, start: u64, end: u64) -> Option<(u64, Sent)> {
        let before = self.0.range(..=start).next_back().filter(|(_, sent)| sent.end > start);
        let (at, sent) = before.or_else(|| self.0.range(start..end).next())?;
        Some((*at, *sent))
    }

    /// The first range.
    pub(crate) fn first(&self) -> Option<(u64, Sent)> {
        self.0.first_key_value().map(|(start, sent)| (*start, *sent))
    }

    /// Changes what lies within `start..end`.
    pub(crate) fn change(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Sent)) {
        self.split(start);
        self.split(end);
        for (_, sent) in self.0.range_mut(start..end) {
            change(sent);
        }
    }

    fn split(&mut self, at: u64) {
        if let Some((_, sent)) = self.0.range_mut(..at).next_back().filter(|(_, sent)| sent.end > at) {
            let behind = *sent;
            sent.end = at;
            self.0.insert(at, behind);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
