//! What was sent, in the order of time: RACK asks in that order what is lost.

use std::collections::VecDeque;

use ropeway_packet::SeqNum;

use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transmission {
    pub(super) start: SeqNum,
    pub(super) end: SeqNum,
    pub(super) at: Timestamp,
}

/// Transmissions, each until its turn has come. Those that are not true any more are skipped then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order(VecDeque<Transmission>);

impl Order {
    pub(super) const EMPTY: Self = Self(VecDeque::new());

    /// The latest one. It joins the one before if that went out with it.
    pub(super) fn push(&mut self, sent: Transmission) {
        match self.0.back_mut().filter(|last| last.at == sent.at && last.end == sent.start) {
            Some(last) => last.end = sent.end,
            None => self.0.push_back(sent),
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<Transmission>()
    }

    pub(super) fn first(&self) -> Option<Transmission> {
        self.0.front().copied()
    }

    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// Their turn was over, and comes again.
    pub(super) fn put_back(&mut self, mut found: Vec<Transmission>) {
        if !found.is_empty() {
            found.extend(self.0.drain(..));
            found.sort_by_key(|transmission| transmission.at);
            self.0 = found.into();
        }
    }
}
