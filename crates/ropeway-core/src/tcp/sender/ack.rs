//! An acknowledgement: what it says of the flight, of the path, and of what was lost.

use std::time::Duration;

use ropeway_packet::{SackBlocks, SeqNum};

use super::Sender;
use super::flight::{Marks, Sent};
use super::pacer::Pacer;
use super::rate::Newest;
use crate::buffer::slabs::Slabs;
use crate::congestion::Delivery;
use crate::recovery::{Dsack, Outcome};
use crate::tcp::ecn::accurate::Feedback;
use crate::time::Timestamp;

/// How long a peer that seems to have reneged gets at least to acknowledge what it has reported. As in Linux.
const RENEGING_MIN: Duration = Duration::from_millis(10);

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckNews {
    pub(crate) now: Timestamp,
    /// SEG.ACK
    pub(crate) ack: SeqNum,
    /// Its SACK blocks; none unless both ends use SACK.
    pub(crate) blocks: SackBlocks,
    /// The timestamp that it echoes, and how long ago we sent that.
    pub(crate) echo: Option<(u32, Duration)>,
    /// The five signs of a duplicate (RFC 5681 2), except for what else is known.
    pub(crate) duplicate: bool,
    /// It has no data, and leaves the window as it is.
    pub(crate) bare: bool,
    /// Lately, what held the sender back was the congestion window.
    pub(crate) window_limited: bool,
    pub(crate) max_pacing_rate: Option<u64>,
    pub(crate) paces: bool,
    /// What it tells of marks of congestion.
    pub(crate) signal: Signal,
}

/// What an acknowledgement tells of marks of congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    None,
    /// There was one (RFC 3168 6.1.2).
    Echo,
    /// So many, as far as it can be told by itself (RFC 9768). `fresh`: it is newer than any other, even if it acknowledges nothing new.
    Counted {
        feedback: Feedback,
        fresh: bool,
    },
}

impl Signal {
    /// How many packets had a mark, and bytes, when so many segments and bytes have arrived. What acknowledges nothing new repeats
    /// what others have said (RFC 9768 3.2.2.2-3).
    fn counted(&self, segments: u32, bytes: u32, mss: u32) -> (u32, u32) {
        match *self {
            Self::Echo if bytes > 0 => (segments, bytes),
            Self::Counted { feedback, fresh } if bytes > 0 || fresh => {
                let packets = feedback.packets(segments, mss);
                (packets, feedback.ce_bytes.unwrap_or(packets.saturating_mul(mss)).min(bytes))
            }
            _ => (0, 0),
        }
    }
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Bytes by which SND.UNA has moved.
    pub(crate) advanced: u32,
    /// Segments that were shown to have arrived.
    pub(crate) delivered: u32,
    /// Segments that had a mark.
    pub(crate) marked: u32,
    /// The retransmission timer starts anew, for so long.
    pub(crate) timer: Option<Duration>,
    pub(crate) outcome: Outcome,
}

/// What was seen to arrive, range by range.
#[derive(Default)]
struct Arrivals {
    delivered: u32,
    segments: u32,
    /// When the first and the last were sent of those that SND.UNA moved past and that were sent once.
    acked_sent: Option<(Timestamp, Timestamp)>,
    /// The same, of those that were reported.
    sacked_sent: Option<Timestamp>,
    /// SND.UNA moved past something that was sent again.
    acked_again: bool,
    original: bool,
    lowest: Option<SeqNum>,
    newest: Newest,
}

impl Sender {
    /// An acknowledgement that is neither old nor of what was never sent.
    pub(crate) fn on_ack(&mut self, news: &AckNews, slabs: &mut Slabs) -> Acked {
        let prior = (self.snd.una, self.flight.pipe(), self.flight.sacked(), self.flight.inferred());
        let prior_highest = self.flight.highest_sacked();
        let (prior_una, prior_pipe, _, prior_inferred) = prior;
        let advanced = if news.ack.after(prior_una) { news.ack.since(prior_una) } else { 0 };
        let mut arrivals = Arrivals::default();
        if advanced > 0 {
            self.advance(news, &mut arrivals, slabs);
        }
        let acked_bytes = arrivals.delivered;
        let dsack = self.take_blocks(news, &mut arrivals);
        let sacked = arrivals.delivered - acked_bytes;
        if arrivals.delivered > 0 {
            self.flight.course.deliver(self.rate.delivered(), news.now);
        }
        self.sample_round_trip(news, &arrivals, advanced > 0);
        let mut recovery = self.news(news.now);
        recovery.acked = advanced;
        recovery.sacked = sacked;
        recovery.duplicate = news.duplicate && advanced == 0;
        recovery.bare = news.bare && dsack.is_none();
        recovery.original = arrivals.original;
        recovery.overtaken =
            arrivals.lowest.filter(|low| prior_highest.is_some_and(|highest| low.before(highest)));
        recovery.dsack = dsack;
        recovery.tsecr = news.echo.map(|(tsecr, _)| tsecr).filter(|tsecr| *tsecr != 0);
        recovery.prior_delivered = arrivals.newest.delivered();
        recovery.can_send_new = self.can_send_new();
        let (marked, marked_bytes) = news.signal.counted(arrivals.segments, arrivals.delivered, self.mss());
        recovery.marked = marked > 0 || marked_bytes > 0;
        let outcome = self.recovery.on_ack(&mut self.flight, self.congestion.as_mut(), &recovery);
        // What duplicates said to have arrived is not new when it is acknowledged.
        let delivered = if prior_inferred > 0 && advanced > 0 {
            arrivals.delivered.saturating_sub(prior_inferred).max(arrivals.delivered.min(self.mss()))
        } else {
            arrivals.delivered + outcome.inferred
        };
        let mut delivery = Delivery::new(news.now);
        delivery.una = self.snd.una;
        delivery.nxt = self.snd.nxt;
        delivery.acked = advanced;
        delivery.sacked = sacked;
        delivery.delivered = delivered;
        delivery.lost = outcome.lost;
        delivery.rtt = arrivals.rtt(news.now);
        delivery.srtt = recovery.srtt;
        delivery.min_rtt = recovery.min_rtt;
        if arrivals.delivered > 0 {
            delivery.newest = arrivals.newest.departure(&self.flight.course);
            delivery.rate = self.rate.sample(&mut self.flight.course, &arrivals.newest, recovery.min_rtt);
        }
        delivery.sack = self.recovery.switches().sack;
        delivery.marked = marked_bytes;
        delivery.prior_in_flight = prior_pipe;
        delivery.in_flight = self.flight.pipe();
        delivery.window_limited = news.window_limited || self.is_window_limited(prior_una);
        delivery.reorders = self.recovery.reorders();
        delivery.spurious = outcome.undone;
        delivery.phase = self.recovery.phase();
        self.congestion.on_ack(&delivery);
        let (pipe, ssthresh, mss) = (self.flight.pipe(), self.congestion.ssthresh(), self.mss());
        self.recovery.pace_reduction((delivered, advanced), &outcome, (pipe, ssthresh), mss);
        self.set_pacing(news.now, news.paces, news.max_pacing_rate);
        if advanced > 0 {
            if self.flight.is_empty() {
                self.flight.clear();
            }
            self.retransmits = 0;
            // It must not fall behind by half the sequence space.
            self.window_limited = self.window_limited.max(self.snd.una);
        }
        Acked {
            advanced,
            delivered: arrivals.segments,
            marked,
            timer: (advanced > 0 && !outcome.keeps_timer).then(|| self.timeout_after_ack()),
            outcome,
        }
    }

    /// RFC 6298 5-3. But when what is next was reported and is not acknowledged, the peer has dropped it (RFC 2018 5-3), unless
    /// the acknowledgement is only late: no need to wait for a timeout to know.
    fn timeout_after_ack(&self) -> Duration {
        let rto = self.rto.current();
        if self.flight.is_reneged() {
            (self.rto.srtt().unwrap_or(rto) / 2).clamp(RENEGING_MIN, rto.max(RENEGING_MIN))
        } else {
            rto
        }
    }

    /// SND.UNA moves forward.
    fn advance(&mut self, news: &AckNews, arrivals: &mut Arrivals, slabs: &mut Slabs) {
        self.snd.una = news.ack;
        self.snd.small = self.snd.small.max(news.ack);
        self.buffer.acknowledge(news.ack, slabs);
        // What was to follow at once has not: as in Linux, MSG_MORE holds until the next acknowledgement.
        self.more_to_come = false;
        let Self { flight, rate, recovery, rto, .. } = self;
        let predates = recovery.predates_resending(news.echo.map(|(tsecr, _)| tsecr));
        let (high, min_rtt) = (recovery.high(), rto.min_rtt());
        flight.acknowledge(news.ack, |sent| {
            arrivals.see(sent, high);
            if sent.segments == 0 {
                // What is measured is a segment: a part of one says nothing of its round trip.
                rate.count(sent.len());
                return;
            }
            let again = sent.marks.has(Marks::EVER_RETRANSMITTED);
            if again {
                arrivals.acked_again = true;
            } else {
                let first = arrivals.acked_sent.map_or(sent.at, |(first, _)| first);
                arrivals.acked_sent = Some((first, sent.at));
            }
            rate.count(sent.len());
            recovery.on_delivered((sent.at, sent.end), again, predates, (news.now, min_rtt));
        });
    }

    // RFC 6675 4-1, RFC 6675 5.1-2
    /// Reads the SACK blocks (RFC 2018 5-1). Says which range the first reports to have arrived twice (RFC 2883 4).
    ///
    /// Four blocks at most are in a segment, so a segment costs at most eight searches and cuts, besides a step for each
    /// range that is reported for the first time.
    fn take_blocks(&mut self, news: &AckNews, arrivals: &mut Arrivals) -> Option<Dsack> {
        let blocks = news.blocks.as_slice();
        let (&first, _) = blocks.split_first()?;
        let dsack = self.dsack(news.ack, first, blocks.get(1).copied());
        let Self { flight, rate, recovery, rto, snd, .. } = self;
        let predates = recovery.predates_resending(news.echo.map(|(tsecr, _)| tsecr));
        let (high, min_rtt) = (recovery.high(), rto.min_rtt());
        for &(start, end) in blocks.get(usize::from(dsack.is_some())..).unwrap_or_default() {
            // Nobody can have what was not sent; what is acknowledged is no news.
            if !start.before(end) || end.after(snd.nxt) || start.before(snd.una) {
                continue;
            }
            flight.sack(start, end, |sent| {
                arrivals.see(sent, high);
                let again = sent.marks.has(Marks::EVER_RETRANSMITTED);
                if !again {
                    arrivals.sacked_sent = arrivals.sacked_sent.max(Some(sent.at));
                }
                rate.count(sent.len());
                recovery.on_delivered((sent.at, sent.end), again, predates, (news.now, min_rtt));
            });
        }
        dsack
    }

    // RFC 2883 5-1, RFC 2883 5-2
    /// Whether the first block reports what has arrived twice: it lies before SEG.ACK, or in the second block.
    /// Of an acknowledgement that comes late, SEG.ACK counts, and not what is acknowledged by now.
    fn dsack(&self, ack: SeqNum, first: (SeqNum, SeqNum), second: Option<(SeqNum, SeqNum)>) -> Option<Dsack> {
        let (start, end) = first;
        let inside = |(left, right): (SeqNum, SeqNum)| start.at_or_after(left) && end.at_or_before(right);
        let repeats = start.before(ack) || second.is_some_and(inside);
        if !repeats || !start.before(end) || end.after(self.snd.nxt) {
            return None;
        }
        let len = end.since(start);
        // No more can be under way at a time.
        (len <= self.snd.max_wnd.max(self.mss())).then(|| Dsack {
            start,
            end,
            segments: len.div_ceil(self.mss()),
        })
    }

    /// Every acknowledgement of something that was sent once is a sample (RFC 6298 3-1, Karn's rule; RFC 6298 3-2); otherwise
    /// timestamps tell which transmission is acknowledged (RFC 7323 4.1-2; RFC 9293 3.8.1 MUST-18).
    fn sample_round_trip(&mut self, news: &AckNews, arrivals: &Arrivals, advanced: bool) {
        let acked = arrivals.acked_sent.filter(|_| !arrivals.acked_again);
        let rtt = match (acked, arrivals.sacked_sent) {
            (Some((first, last)), _) => {
                self.rto.note_min(news.now.since(last), news.now);
                Some(news.now.since(first))
            }
            (None, Some(at)) => Some(news.now.since(at)),
            (None, None) if advanced => news.echo.map(|(_, rtt)| rtt),
            (None, None) => None,
        };
        if let Some(rtt) = rtt {
            let round = self.snd.una.at_or_after(self.round_end);
            if round {
                self.round_end = self.snd.nxt;
            }
            self.rto.sample(rtt, news.now, round);
        }
    }

    /// Whether the window was full when something was sent that was out until now.
    fn is_window_limited(&self, prior_una: SeqNum) -> bool {
        let cwnd = self.congestion.window();
        let slow_start = cwnd < self.congestion.ssthresh();
        prior_una.before(self.window_limited) || (slow_start && self.snd.fills_half_of(cwnd))
    }

    /// Sets the rate at which segments follow each other: the controller's, or one that follows from the window if the
    /// stack `paces`; and no more than the user allows.
    pub(crate) fn set_pacing(&mut self, now: Timestamp, paces: bool, most: Option<u64>) {
        let rate = self.congestion.pacing_rate().or_else(|| {
            let (window, ssthresh) = (self.congestion.window(), self.congestion.ssthresh());
            if paces { Pacer::rate_of(window, ssthresh, self.rto.srtt()) } else { None }
        });
        self.pacer.set_rate(now, rate, most);
    }

    /// What was just sent is all that is in flight: a controller that paces may have changed its rate because of that.
    pub(crate) fn set_pacing_after_idle(&mut self, now: Timestamp, most: Option<u64>) {
        if let Some(rate) = self.congestion.pacing_rate() {
            self.pacer.set_rate(now, Some(rate), most);
        }
    }

    fn can_send_new(&self) -> bool {
        self.buffer.end().after(self.snd.nxt) && self.snd.window_from(self.snd.nxt) > 0
    }
}

impl Arrivals {
    fn see(&mut self, sent: &Sent, high: SeqNum) {
        self.delivered += sent.len();
        self.segments += sent.segments;
        self.newest.see(sent);
        // A probe of the path's MTU is not like others: that it was overtaken says nothing of them.
        if !sent.marks.has_any(Marks::EVER_RETRANSMITTED.with(Marks::MTU_PROBE)) {
            self.original |= sent.end.at_or_before(high);
            self.lowest = Some(self.lowest.map_or(sent.start, |low| low.min(sent.start)));
        }
    }

    /// The round trip of the last that was sent: without the time for which an acknowledgement was delayed.
    fn rtt(&self, now: Timestamp) -> Option<Duration> {
        let acked = self.acked_sent.filter(|_| !self.acked_again).map(|(_, last)| last);
        acked.max(self.sacked_sent).map(|at| now.since(at))
    }
}
