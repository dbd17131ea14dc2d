//! What is lost: by time (RACK, RFC 8985) or by what SACK reports (RFC 6675), and what is known of reordering.

use super::rack::{Found, Path, Rack};
use super::{News, Switches};
use crate::congestion::Phase;
use crate::options::SocketOptions;
use crate::tcp::sender::Why;
use crate::tcp::sender::flight::{Flight, Told};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detection {
    pub(super) rack: Rack,
    /// DupThresh: how many duplicate acknowledgements mean a loss (RFC 5681 3.2).
    dup_thresh: u16,
    /// As long as nothing is known of reordering, so many (`tcp_reordering`).
    least: u16,
    /// More reordering than this is not believed (`tcp_max_reordering`).
    most: u16,
    /// D-SACKs, in segments, and retransmissions in all: more of the former is a lie.
    dsacked: u32,
    resent: u32,
}

impl Detection {
    pub(super) fn new(options: &SocketOptions) -> Self {
        let mut detection =
            Self { rack: Rack::default(), dup_thresh: 0, least: 0, most: 0, dsacked: 0, resent: 0 };
        detection.configure(options);
        detection
    }

    /// What the user says of reordering. What was seen of it stays known.
    pub(super) fn configure(&mut self, options: &SocketOptions) {
        let seen = if self.reorders() { self.dup_thresh } else { 0 };
        (self.least, self.most) = (options.reordering, options.max_reordering);
        self.dup_thresh = seen.min(self.most).max(self.least);
        self.rack.is_static = !options.rack_adapts;
        self.rack.always_waits = !options.rack_dup_thresh;
    }

    pub(super) fn dup_thresh(&self) -> u32 {
        self.dup_thresh.into()
    }

    /// More reordering was seen than what is taken for granted.
    pub(super) fn reorders(&self) -> bool {
        self.dup_thresh > self.least
    }

    pub(super) fn dsacked(&self) -> u32 {
        self.dsacked
    }

    pub(super) fn on_resent(&mut self) {
        self.resent = self.resent.saturating_add(1);
    }

    // RFC 8985 6.2-3
    /// Something has arrived that was overtaken and not sent again: the network reorders (RFC 8985 6.2, step 3).
    pub(super) fn take_reordering(&mut self, flight: &Flight, news: &News) {
        let Some(low) = news.overtaken else { return };
        self.rack.on_reordering();
        let high = flight.highest_sacked().map_or(news.una, |high| high.max(news.una));
        let metric = u16::try_from(high.since(low).div_ceil(news.mss)).unwrap_or(u16::MAX);
        self.dup_thresh = self.dup_thresh.max(metric.min(self.most));
    }

    /// So many segments are said to have arrived twice. Says whether that can be: more than was sent twice cannot have
    /// arrived twice (RFC 3708 2).
    pub(super) fn take_dsack(&mut self, segments: u32) -> bool {
        self.dsacked = self.dsacked.saturating_add(segments);
        self.dsacked <= self.resent
    }

    // RFC 8985 4-1, RFC 8985 9.2-1
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
            dup_thresh_met: flight.sacked_segments() >= self.dup_thresh(),
            granularity: news.granularity,
        }
    }

    // RFC 6675 4-2
    /// RFC 6675 4, IsLost: more than DupThresh - 1 segments behind it have been reported.
    fn find_by_blocks(&self, flight: &mut Flight, mss: u32, told: Told<'_>) -> u32 {
        let Some(high) = flight.highest_sacked() else { return 0 };
        if flight.sacked_segments() < self.dup_thresh() {
            return 0;
        }
        flight.lose_below(high - (self.dup_thresh() - 1) * mss, told)
    }

    // RFC 8985 6.3-1, RFC 2018 5-4, RFC 2018 5.1-2, RFC 5682 3.1-5
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
        flight.lose_first(Why::Timeout, told);
        flight.lose_sent(|sent_at| self.rack.is_overdue(sent_at, &path, news.now), told);
    }
}
