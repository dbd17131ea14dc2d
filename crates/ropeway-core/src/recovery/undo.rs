//! Was a retransmission needed? By timestamps (RFC 3522) and by D-SACK (RFC 3708) it can be known that it was not.

use ropeway_packet::SeqNum;

use super::{Dsack, News};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undo {
    /// SND.UNA when the window was reduced, as long as that may be undone.
    marker: Option<SeqNum>,
    /// Retransmissions since, less those that have arrived twice.
    resent: u32,
    /// Something was sent again since.
    any: bool,
    /// Our timestamp in the first retransmission (`RetransmitTS`).
    stamp: Option<u32>,
    /// The reduction was right, whatever becomes of what was sent again: the network has marked packets, too.
    forbidden: bool,
}

impl Undo {
    pub(super) const NONE: Self = Self { marker: None, resent: 0, any: false, stamp: None, forbidden: false };

    /// The window is reduced. `out`: so many segments had been sent again before, and nobody knows what became of them.
    pub(super) fn begin(&mut self, una: SeqNum, out: u32) {
        let stamp = self.stamp.filter(|_| out > 0);
        *self = Self { marker: Some(una), resent: out, any: out > 0, stamp, forbidden: false };
    }

    /// Nothing is given back, until the window is reduced anew.
    pub(super) fn forbid(&mut self) {
        self.forget();
        self.forbidden = true;
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.forbidden
    }

    pub(super) fn forget(&mut self) {
        self.marker = None;
        self.stamp = None;
    }

    /// Nothing that was sent again is out any more.
    pub(super) fn nothing_out(&mut self) {
        self.stamp = None;
    }

    pub(super) fn is_possible(&self) -> bool {
        self.marker.is_some()
    }

    pub(super) fn on_resent(&mut self, tsval: Option<u32>) {
        self.resent = self.resent.saturating_add(1);
        self.any = true;
        if self.stamp.is_none() {
            self.stamp = tsval;
        }
    }

    /// A D-SACK of what is acknowledged.
    pub(super) fn on_dsack(&mut self, dsack: Dsack, una: SeqNum) {
        let Some(marker) = self.marker else { return };
        if dsack.end.at_or_before(una) && dsack.end.after(marker) {
            self.resent = self.resent.saturating_sub(dsack.segments);
        }
    }

    /// All that was sent again has arrived twice.
    pub(super) fn is_disproved(&self) -> bool {
        self.marker.is_some() && self.any && self.resent == 0
    }

    /// Whether what is acknowledged was late, and not lost.
    pub(super) fn is_late(&self, news: &News) -> bool {
        self.is_earlier(news.tsecr) || self.is_premature(news)
    }

    /// Nothing was sent again yet, but the first that was missing is there (as in Linux since 6.12).
    fn is_premature(&self, news: &News) -> bool {
        !self.any && news.original && self.marker.is_some_and(|marker| news.una.after(marker))
    }

    /// Whether an echo is of something that was sent before the first retransmission.
    pub(super) fn is_earlier(&self, tsecr: Option<u32>) -> bool {
        match (self.marker, self.stamp, tsecr) {
            (Some(_), Some(stamp), Some(tsecr)) => SeqNum::new(tsecr).before(SeqNum::new(stamp)),
            _ => false,
        }
    }
}
