//! How much of what is out has which mark.

use super::sent::{Marks, Sent};

/// In sequence numbers, if not said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    outstanding: u32,
    sacked: u32,
    lost: u32,
    retransmitted: u32,
    /// The segments that were reported.
    sacked_segments: u32,
    /// What duplicate acknowledgements of a peer without SACK say to have arrived, nobody knows which.
    inferred: u32,
}

impl Sums {
    pub(super) const NONE: Self =
        Self { outstanding: 0, sacked: 0, lost: 0, retransmitted: 0, sacked_segments: 0, inferred: 0 };

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    pub(super) fn retransmitted(&self) -> u32 {
        self.retransmitted
    }

    pub(super) fn sacked_segments(&self) -> u32 {
        self.sacked_segments
    }

    pub(super) fn inferred(&self) -> u32 {
        self.inferred
    }

    /// Nothing but transmissions that nothing is known of.
    pub(super) fn is_untroubled(&self) -> bool {
        self.sacked | self.lost | self.retransmitted | self.inferred == 0
    }

    /// What is thought to be on its way (RFC 6675 3).
    pub(super) fn pipe(&self) -> u32 {
        let arrived = self.sacked.saturating_add(self.inferred);
        let gone = arrived.saturating_add(self.lost);
        (self.outstanding.saturating_add(self.retransmitted)).saturating_sub(gone)
    }

    /// A range is sent for the first time.
    pub(super) fn enters(&mut self, sent: &Sent) {
        self.outstanding += sent.len();
        self.count(sent);
    }

    /// A range is acknowledged, or the beginning of one.
    pub(super) fn leaves(&mut self, gone: &Sent) {
        self.outstanding -= gone.len();
        self.discount(gone);
    }

    /// A range gets other marks.
    pub(super) fn mark(&mut self, sent: &mut Sent, marks: Marks) {
        self.discount(sent);
        sent.marks = marks;
        self.count(sent);
    }

    fn count(&mut self, sent: &Sent) {
        let len = sent.len();
        if sent.marks.has(Marks::SACKED) {
            self.sacked += len;
            self.sacked_segments += sent.segments;
        }
        if sent.marks.has(Marks::LOST) {
            self.lost += len;
        }
        if sent.marks.has(Marks::RETRANSMITTED) {
            self.retransmitted += len;
        }
    }

    fn discount(&mut self, sent: &Sent) {
        let len = sent.len();
        if sent.marks.has(Marks::SACKED) {
            self.sacked -= len;
            self.sacked_segments -= sent.segments;
        }
        if sent.marks.has(Marks::LOST) {
            self.lost -= len;
        }
        if sent.marks.has(Marks::RETRANSMITTED) {
            self.retransmitted -= len;
        }
    }

    /// Another segment of `len` bytes has arrived, and so many are `missing` at least. No more than `most` in all.
    pub(super) fn infer(&mut self, len: u32, most: u32, missing: u32) -> u32 {
        let room = self.outstanding.saturating_sub(self.lost.max(missing)).min(most);
        let news = len.min(room.saturating_sub(self.inferred));
        self.inferred += news;
        news
    }

    pub(super) fn infer_nothing(&mut self) {
        self.inferred = 0;
    }

    /// `len` bytes of it are known now, and of what is left so many are `missing` at least.
    pub(super) fn infer_less(&mut self, len: u32, missing: u32) {
        let most = self.outstanding.saturating_sub(missing);
        self.inferred = self.inferred.saturating_sub(len).min(most);
    }

    /// Whether they are the sums of the marks of these ranges.
    #[cfg(any(test, feature = "model"))]
    pub(super) fn are_those_of<'a>(&self, ranges: impl Iterator<Item = &'a Sent>) -> bool {
        let mut anew = Self::NONE;
        ranges.for_each(|sent| anew.enters(sent));
        *self == Self { inferred: self.inferred, ..anew }
    }
}
