//! What is lost: by time (RACK, RFC 8985) or by what SACK reports (RFC 6675), and what is known of reordering.

use super::rack::{Found, Path, Rack};
use super::{News, Switches};
use crate::congestion::Phase;
use crate::tcp::sender::Why;
use crate::tcp::sender::flight::{Flight, Told};
use crate::time::Timestamp;

/// Duplicate acknowledgements that mean a loss (RFC 5681 3.2), as long as nothing is known of reordering.
const DUP_THRESH: u32 = 3;

/// More reordering than this is not believed (`tcp_max_reordering`).
const MOST_REORDERING: u32 = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detection {
    pub(super) rack: Rack,
    /// DupThresh: how many of them mean a loss.
    dup_thresh: u32,
    /// D-SACKs, in segments, and retransmissions in all: more of the former is a lie.
    dsacked: u32,
    resent: u32,
}

impl Detection {
    pub(super) fn new() -> Self {
        Self { rack: Rack::default(), dup_thresh: DUP_THRESH, dsacked: 0, resent: 0 }
    }

    pub(super) fn dup_thresh(&self) -> u32 {
        self.dup_thresh
    }

    /// More reordering was seen than three segments' worth.
    pub(super) fn reorders(&self) -> bool {
        self.dup_thresh > DUP_THRESH
    }

    pub(super) fn dsacked(&self) -> u32 {
        self.dsacked
    }

    pub(super) fn on_resent(&mut self) {
        self.resent = self.resent.saturating_add(1);
    }

    /// Something has arrived that was overtaken and not sent again: the network reorders (RFC 8985 6.2, step 3).
    pub(super) fn take_reordering(&mut self, flight: &Flight, news: &News) {
        let Some(low) = news.overtaken else { return };
        self.rack.on_reordering();
        let high = flight.highest_sacked().map_or(news.una, |high| high.max(news.una));
        let metric = high.since(low).div_ceil(news.mss).min(MOST_REORDERING);
        self.dup_thresh = self.dup_thresh.max(metric);
    }

    /// So many segments are said to have arrived twice. Says whether that can be: more than was sent twice cannot have
    /// arrived twice (RFC 3708 2).
    pub(super) fn take_dsack(&mut self, segments: u32) -> bool {
        self.dsacked = self.dsacked.saturating_add(segments);
        self.dsacked <= self.resent
    }

    /// Marks what is lost as things stood at `as_of`.
    pub(super) fn find(
        &mut self,
        flight: &mut Flight,
        news: &News,
        (switches, phase): (Switches, Phase),
        as_of: Timestamp,
        told: Told<'_>,
    ) -> Found {
        if !switches.sack {
            return Found::default();
        }
        if !switches.rack {
            return Found { lost: self.find_by_blocks(flight, news.mss, told), ..Found::default() };
        }
        let path = self.path(flight, phase, news);
        self.rack.detect(flight, &path, as_of, told)
    }

    fn path(&self, flight: &Flight, phase: Phase, news: &News) -> Path {
        Path {
            min_rtt: news.min_rtt,
            srtt: news.srtt,
            recovering: matches!(phase, Phase::Recovery | Phase::Loss),
            dup_thresh_met: flight.sacked_segments() >= self.dup_thresh,
            granularity: news.granularity,
        }
    }

    /// RFC 6675 4, IsLost: more than DupThresh - 1 segments behind it have been reported.
    fn find_by_blocks(&self, flight: &mut Flight, mss: u32, told: Told<'_>) -> u32 {
        let Some(high) = flight.highest_sacked() else { return 0 };
        if flight.sacked_segments() < self.dup_thresh {
            return 0;
        }
        flight.lose_below(high - (self.dup_thresh - 1) * mss, told)
    }

    /// The retransmission timer went off: everything is lost, or what RACK would take for lost (RFC 8985 6.3).
    pub(super) fn time_out(
        &self,
        flight: &mut Flight,
        news: &News,
        (switches, phase): (Switches, Phase),
        told: Told<'_>,
    ) {
        let reneged = flight.is_reneged();
        if reneged || !switches.needs_order() {
            flight.lose_all(reneged, if reneged { Why::Reneging } else { Why::Timeout }, told);
            return;
        }
        let path = self.path(flight, phase, news);
        // What was sent lately may well be on its way.
        flight.lose_first(news.mss, Why::Timeout, told);
        flight.lose_sent(|sent_at| self.rack.is_overdue(sent_at, &path, news.now), told);
    }
}
