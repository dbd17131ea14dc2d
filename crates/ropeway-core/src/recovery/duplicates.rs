//! Duplicate acknowledgements of a peer without SACK (RFC 5681 3.2, RFC 6582).

use super::News;
use crate::tcp::sender::flight::Flight;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Duplicates {
    /// So many in a row.
    count: u32,
    /// Bytes that they may stand for: no more than was out when the first came.
    budget: u32,
    /// A partial acknowledgement has come in this recovery.
    partial_seen: bool,
}

impl Duplicates {
    pub(super) const NONE: Self = Self { count: 0, budget: 0, partial_seen: false };

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn forget(&mut self) {
        self.count = 0;
    }

    /// The next ones may stand for all that is out.
    pub(super) fn begin(&mut self, flight: &Flight) {
        self.count = 0;
        self.budget = flight.outstanding();
    }

    /// Another one has come: something has arrived. Says how much.
    pub(super) fn on_duplicate(&mut self, flight: &mut Flight, news: &News) -> u32 {
        if self.count == 0 {
            self.budget = flight.outstanding();
        }
        self.count = self.count.saturating_add(1);
        flight.infer(news.mss, self.budget)
    }

    pub(super) fn begin_recovery(&mut self) {
        self.partial_seen = false;
    }

    /// Says whether it is the first one in this recovery.
    pub(super) fn on_partial(&mut self) -> bool {
        !std::mem::replace(&mut self.partial_seen, true)
    }
}
