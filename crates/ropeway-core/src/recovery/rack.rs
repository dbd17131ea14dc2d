//! RACK (RFC 8985): a segment is lost when one that was sent sufficiently later has arrived.

use std::time::Duration;

use ropeway_packet::SeqNum;

use crate::tcp::sender::flight::{Flight, Told, Verdict};
use crate::time::Timestamp;

/// Recoveries after which the reordering window shrinks back (RFC 8985 6.2, step 4).
const PERSIST: u8 = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rack {
    /// `RACK.xmit_ts` and `RACK.end_seq`: of what was sent last among all that has arrived.
    newest: Option<(Timestamp, SeqNum)>,
    /// `RACK.rtt`: its round trip, in microseconds; more than an hour is none.
    rtt: u32,
    /// Something newer has arrived since losses were looked for.
    advanced: bool,
    /// `RACK.reordering_seen`: how often.
    reorderings: u32,
    /// `RACK.reo_wnd_mult`, less one.
    widened: u8,
    /// `RACK.reo_wnd_persist`
    persist: u8,
    /// A D-SACK has come that is not accounted for yet.
    dsack_seen: bool,
    /// The reordering window stays a quarter of the smallest round trip.
    pub(super) is_static: bool,
    /// The reordering window is waited for, although so much was reported that the order would tell.
    pub(super) always_waits: bool,
    /// What had been delivered when the window was last widened: `RACK.dsack_round`, in bytes.
    widened_at: u64,
}

/// What the reordering window depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
    /// Recovery is under way.
    pub(crate) recovering: bool,
    /// As many segments were reported as there need to be duplicate acknowledgements.
    pub(crate) dup_thresh_met: bool,
    /// How coarse the clock is by which packets and timers are handled.
    pub(crate) granularity: Duration,
}

/// What came of a search for losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) looked: bool,
    pub(crate) lost: u32,
    /// When to look again, since more may be lost.
    pub(crate) again: Option<Timestamp>,
}

impl Rack {
    pub(crate) fn reorderings(&self) -> u32 {
        self.reorderings
    }

    // RFC 8985 6.2-1, RFC 8985 6.2-2
    /// A range has arrived that was sent at `sent_at` (RFC 8985 6.2, step 2). `ambiguous`: it was sent more than once, and
    /// this may be the acknowledgement of an earlier transmission.
    pub(crate) fn on_delivered(
        &mut self,
        (sent_at, end): (Timestamp, SeqNum),
        now: Timestamp,
        retransmitted: bool,
        is_earlier: bool,
        min_rtt: Option<Duration>,
    ) {
        let rtt = now.since(sent_at);
        if retransmitted && (is_earlier || min_rtt.is_some_and(|min| rtt < min)) {
            return;
        }
        self.advanced = true;
        self.rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let newer = self.newest.is_none_or(|(at, last)| sent_at > at || (sent_at == at && end.after(last)));
        if newer {
            self.newest = Some((sent_at, end));
        }
    }

    /// Something has arrived that was overtaken, and was not sent twice (step 3).
    pub(crate) fn on_reordering(&mut self) {
        self.reorderings = self.reorderings.saturating_add(1);
    }

    /// What was sent twice arrived twice, although it was sent because of what RACK said.
    pub(crate) fn on_dsack(&mut self) {
        if self.reorderings > 0 {
            self.dsack_seen = true;
        }
    }

    // RFC 8985 6.2-6
    /// Once a round trip at most, the window grows by a quarter of the smallest round trip (step 4).
    pub(crate) fn update_window(&mut self, prior_delivered: Option<u64>, delivered: u64) {
        let Some(prior) = prior_delivered.filter(|_| !self.is_static) else { return };
        if prior < self.widened_at {
            self.dsack_seen = false;
        }
        if self.dsack_seen {
            self.dsack_seen = false;
            self.widened = self.widened.saturating_add(1);
            self.widened_at = delivered;
            self.persist = PERSIST;
        } else if self.persist == 0 {
            self.widened = 0;
        }
    }

    /// A recovery has ended without being proved wrong.
    pub(crate) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
    }

    /// A recovery was proved wrong by D-SACK.
    pub(crate) fn on_undone(&mut self) {
        self.persist = self.persist.saturating_add(1).min(PERSIST);
    }

    /// Losses are to be looked for again, though nothing newer has arrived.
    pub(crate) fn look_again(&mut self) {
        self.advanced = true;
    }

    // RFC 8985 6.2-4, RFC 8985 6.2-5, RFC 8985 6.2-7, RFC 2018 5.1-1
    /// The reordering window (step 4), and how coarse the clock is on top: a packet that waited for a tick was not
    /// overtaken. Without reordering the order alone tells, and no time is measured.
    pub(crate) fn window(&self, path: &Path) -> Duration {
        let order_tells = path.recovering || (path.dup_thresh_met && !self.always_waits);
        if self.reorderings == 0 && order_tells {
            return Duration::ZERO;
        }
        let steps = u32::from(self.widened) + 1;
        let window = path.min_rtt.unwrap_or_default() / 4 * steps;
        window.min(path.srtt.unwrap_or_default()) + path.granularity
    }

    /// What was sent this long ago is lost, if something newer has arrived.
    fn age(&self, path: &Path) -> Duration {
        Duration::from_micros(u64::from(self.rtt)) + self.window(path)
    }

    // RFC 8985 6.2-8, RFC 8985 6.2-9
    /// RACK_detect_loss (step 5), as things stood at `as_of`: what a late timer adds to a packet's age says nothing.
    pub(crate) fn detect(
        &mut self,
        flight: &mut Flight,
        path: &Path,
        as_of: Timestamp,
        told: Told<'_>,
    ) -> Found {
        let Some((newest, newest_end)) = self.newest.filter(|_| self.advanced) else {
            return Found::default();
        };
        self.advanced = false;
        // Where all arrives in order, nobody asks for it.
        let mut known = None;
        let mut age = || *known.get_or_insert_with(|| self.age(path));
        let verdict = |sent_at: Timestamp, end: SeqNum| {
            if !(sent_at < newest || (sent_at == newest && end.before(newest_end))) {
                Verdict::After
            } else if sent_at + age() <= as_of {
                Verdict::Lost
            } else {
                Verdict::Later
            }
        };
        let (lost, waiting) = flight.lose_in_order(verdict, told);
        Found { looked: true, lost, again: waiting.map(|sent_at| sent_at + age()) }
    }

    // RFC 8985 6.3-1
    /// The retransmission timer went off: what was sent so long ago that RACK would take it for lost (RFC 8985 6.3).
    pub(crate) fn is_overdue(&self, sent_at: Timestamp, path: &Path, now: Timestamp) -> bool {
        sent_at + self.age(path) <= now
    }

    /// Nothing is known any more: all was acknowledged, or the path is another.
    pub(crate) fn forget(&mut self) {
        self.newest = None;
        self.advanced = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8985 6.2-7
    #[test]
    fn the_reordering_window_is_a_smoothed_round_trip_at_most() {
        let path = Path {
            min_rtt: Some(Duration::from_millis(100)),
            srtt: Some(Duration::from_millis(120)),
            recovering: false,
            dup_thresh_met: false,
            granularity: Duration::ZERO,
        };
        let mut rack = Rack::default();
        rack.on_reordering();
        let mut widths = Vec::new();
        for round in 0..8 {
            widths.push(rack.window(&path).as_millis());
            rack.on_dsack();
            rack.update_window(Some(round), round);
        }
        assert_eq!(widths, [25, 50, 75, 100, 120, 120, 120, 120]);
    }
    // RFC 8985 6.3-1
    #[test]
    fn what_is_younger_than_a_round_trip_is_not_overdue() {
        let path = Path {
            min_rtt: Some(Duration::from_millis(100)),
            srtt: Some(Duration::from_millis(100)),
            recovering: false,
            dup_thresh_met: true,
            granularity: Duration::ZERO,
        };
        let at = |millis| Timestamp::START + Duration::from_millis(millis);
        let mut rack = Rack::default();
        rack.on_delivered((at(0), SeqNum::new(1)), at(100), false, false, path.min_rtt);
        let overdue = [99, 100, 101, 200].map(|sent| rack.is_overdue(at(sent), &path, at(200)));
        assert_eq!(overdue, [true, true, false, false]);
        // What was seen to reorder gets a quarter more.
        rack.on_reordering();
        let overdue = [75, 76, 100].map(|sent| rack.is_overdue(at(sent), &path, at(200)));
        assert_eq!(overdue, [true, false, false]);
    }
}
