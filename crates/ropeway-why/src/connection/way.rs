//! One direction of a connection: the data of one end, and what the other acknowledges of it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::TcpFlags;

use super::distance::Distance;
use super::flight::{Flight, Sent};
use super::graph::Points;
use super::limit::{Limit, Limits, Span};
use super::offsets::Offsets;
use super::ranges::Ranges;
use super::retransmission::{Cause, Counts, Needed, Retransmission};
use super::{Room, Seen};
use crate::grade::Grade;

/// Acknowledgements that are remembered, to know what the sender knew when it sent.
const MOST_ACKS: usize = 4096;
/// Ranges that have been acknowledged, and are remembered, because they may come again.
const RETIRED: usize = 64;
/// A sequence number further off than this belongs to another connection, or was made up.
const FAR_OFF: u64 = 1 << 30;

/// What is known around one direction when a segment is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// From the place of the capture to the sender of the data, and back.
    pub(crate) near: Distance,
    /// To the receiver.
    pub(crate) far: Distance,
    /// The largest segment that the receiver takes, in bytes of data.
    pub(crate) mss: u32,
    pub(crate) room: Room,
}

impl Around {
    /// The least round-trip time from end to end.
    pub(crate) fn total(&self) -> Duration {
        self.near.least() + self.far.least()
    }
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) at: Duration,
    pub(crate) frame: u64,
    pub(crate) una: u64,
    /// The right edge of the window, if its scale is known.
    pub(crate) edge: Option<u64>,
    /// It carries data.
    pub(crate) data: bool,
}

/// The last segment with data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    pub(crate) at: Duration,
    pub(crate) frame: u64,
    pub(crate) len: u64,
}

/// Who told of a gap: the first segment behind it.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    end: u64,
    frame: u64,
    at: Duration,
    tsval: Option<u32>,
    id: Option<u16>,
}

/// How fast the clock of the timestamps runs.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    first: Option<(u32, Duration)>,
}

impl Ticks {
    /// How often the clock ticks in a time; once a millisecond, as long as that is not known.
    fn in_time(&self, time: Duration, seen: &Seen) -> u128 {
        const ENOUGH: Duration = Duration::from_millis(300);
        let since = self
            .first
            .zip(seen.tsval())
            .map(|((tsval, at), now)| (now.wrapping_sub(tsval), seen.at.saturating_sub(at)));
        match since {
            Some((ticks, elapsed)) if elapsed >= ENOUGH => {
                time.as_nanos() * u128::from(ticks) / elapsed.as_nanos()
            }
            _ => time.as_millis(),
        }
    }
}

/// How the acknowledgements of a range stand.
#[derive(Clone, Copy, Debug, Default)]
struct Duplicates {
    count: u32,
    first: u64,
    last: u64,
    at: Duration,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    offsets: Offsets,
    /// The offset of the first byte of data.
    pub(crate) origin: u64,
    pub(crate) nxt: u64,
    pub(crate) una: u64,
    pub(crate) edge: Option<u64>,
    una_frame: u64,
    flight: Flight,
    retired: VecDeque<(u64, Sent)>,
    sacked: Ranges,
    gaps: Vec<Gap>,
    pub(crate) acks: VecDeque<Ack>,
    duplicates: Duplicates,
    /// What was out when losses were noticed, or the timer went off.
    pub(crate) recovery: Option<u64>,
    pub(crate) loss: Option<u64>,
    too_big: Option<(u64, Duration)>,
    ticks: Ticks,
    pub(crate) last: Option<Last>,
    pub(crate) first_data: Option<Duration>,
    pub(crate) last_data: Option<Duration>,
    /// The peer's window: the largest, and since when it is closed.
    pub(crate) peak_window: u64,
    raw_window: u16,
    closed: Option<(Duration, u64)>,
    pub(crate) closed_for: Duration,
    pub(crate) zero_windows: u64,
    pub(crate) zero_window_frames: Vec<u64>,
    pub(crate) limits: Limits,
    limit: Option<Limit>,
    pub(crate) retransmissions: Vec<Retransmission>,
    undecided: Vec<Undecided>,
    pub(crate) counts: Counts,
    pub(crate) unneeded: u64,
    pub(crate) retransmitted_bytes: u64,
    pub(crate) reordered: u64,
    pub(crate) reordered_frames: Vec<u64>,
    pub(crate) keep_alives: u64,
    pub(crate) window_probes: u64,
    /// Bytes that were acknowledged and are not in the capture.
    pub(crate) unseen: u64,
    pub(crate) unseen_frames: Vec<u64>,
    pub(crate) largest: u32,
    /// How often two segments of that size were out together.
    in_a_row: u32,
    /// A frame with more data than a segment may have.
    pub(crate) merged: Option<u64>,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    pub(crate) marked: u64,
    pub(crate) fin: Option<(u64, u64, Duration)>,
    pub(crate) graph: Graph,
}

/// A retransmission of which it is not known yet whether it was needed.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    /// Its place in the list.
    at: usize,
    start: u64,
    end: u64,
    sent: Duration,
    tsval: Option<u32>,
    original_tsval: Option<u32>,
    /// Nothing before it was missing.
    was_first: bool,
}

/// What the pictures show.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Data: its first and last offset, and whether it was sent again.
    pub(crate) data: Points<(u64, u64, bool)>,
    pub(crate) acks: Points<(u64, Option<u64>)>,
    pub(crate) rtt: Points<Duration>,
    pub(crate) flight: Points<u64>,
}

impl Way {
    /// A SYN: numbers begin.
    pub(crate) fn begin(&mut self, seq: u32) {
        self.offsets.begin(seq);
        let first = self.offsets.of(seq) + 1;
        (self.origin, self.nxt, self.una) = (first, first, first);
        self.edge = None;
    }

    /// The capture begins in the middle: with this number.
    fn join(&mut self, seq: u32) {
        if !self.offsets.is_known() {
            let first = self.offsets.of(seq);
            (self.origin, self.nxt, self.una) = (first, first, first);
        }
    }

    /// Whether anything is out.
    pub(crate) fn is_waiting(&self) -> bool {
        self.nxt > self.una
    }

    /// A router said that a packet was too large.
    pub(crate) fn too_big(&mut self, frame: u64, at: Duration) {
        self.too_big = Some((frame, at));
    }

    /// A segment of the sender.
    pub(crate) fn on_segment(&mut self, seen: &Seen, around: &Around) {
        let segment = &seen.segment;
        if segment.flags.contains(TcpFlags::RST) || segment.flags.contains(TcpFlags::SYN) {
            return;
        }
        self.join(segment.seq);
        let Some(start) = self.offsets.peek(segment.seq).filter(|start| start.abs_diff(self.nxt) < FAR_OFF)
        else {
            return;
        };
        let fin = u64::from(segment.flags.contains(TcpFlags::FIN));
        let end = start + u64::from(segment.len) + fin;
        self.marked += u64::from(segment.ce);
        if segment.len > 0 {
            self.segments += 1;
            self.size(segment.len, start);
            if segment.len > around.mss.saturating_add(12) && around.mss > 0 {
                self.merged.get_or_insert(seen.frame);
            }
        }
        if fin > 0 {
            self.fin.get_or_insert((end, seen.frame, seen.at));
        }
        if segment.len <= 1
            && fin == 0
            && start + 1 == self.nxt
            && self.una == self.nxt
            && self.nxt > self.origin
        {
            if self.edge.is_some_and(|edge| edge <= self.nxt) {
                self.window_probes += 1;
            } else {
                self.keep_alives += 1;
            }
            return;
        }
        if start == end {
            return;
        }
        if self.edge.is_some_and(|edge| start >= edge) && end <= start + 1 && self.nxt >= start {
            self.window_probes += 1;
            if end <= self.nxt {
                return;
            }
        }
        self.graph.data.add(seen.at, (start, end, start < self.nxt), around.room.points);
        let nxt = self.nxt;
        if start < nxt {
            self.again(start, end.min(nxt), seen, around);
        }
        if end > nxt {
            self.new_data(start.max(nxt), end, seen, around);
        }
        self.last = Some(Last { at: seen.at, frame: seen.frame, len: u64::from(segment.len) });
        self.first_data.get_or_insert(seen.at);
        self.last_data = Some(seen.at);
        self.graph.flight.add(seen.at, self.nxt - self.una, around.room.points);
    }

    /// The size of full segments: that of several in a row that did not wait for each other.
    fn size(&mut self, len: u32, start: u64) {
        let alike = u64::from(len) == self.last.map_or(0, |last| last.len) && self.una < start;
        match len.cmp(&self.largest) {
            Ordering::Greater => (self.largest, self.in_a_row) = (len, 0),
            Ordering::Equal if alike => self.in_a_row += 1,
            _ => {}
        }
    }

    /// The size of full segments, if that shows.
    pub(crate) fn full_size(&self) -> Option<u32> {
        (self.in_a_row >= 3).then_some(self.largest)
    }

    fn new_data(&mut self, start: u64, end: u64, seen: &Seen, around: &Around) {
        self.ticks.first = self.ticks.first.or_else(|| Some((seen.tsval()?, seen.at)));
        for span in self.waited_for(start, end - start, seen, around).into_iter().flatten() {
            self.limit = Some(span.limit);
            self.limits.add(span, around.room.spans);
        }
        let tsval = seen.tsval();
        if start > self.nxt {
            let (frame, at, id) = (seen.frame, seen.at, seen.segment.id);
            if self.gaps.len() < around.room.ranges {
                self.gaps.push(Gap { start: self.nxt, end: start, frame, at, tsval, id });
            }
        }
        self.bytes += end - start;
        let now = (seen.frame, seen.at);
        let sent = Sent {
            end,
            first: now,
            last: now,
            tsval: (tsval, tsval),
            id: seen.segment.id,
            again: 0,
            waited: Duration::ZERO,
        };
        self.flight.add(start, sent, around.room.ranges);
        self.nxt = end;
        let _ = self.offsets.of(seen.segment.seq);
    }

    /// Data that lies before what was sent last.
    fn again(&mut self, start: u64, end: u64, seen: &Seen, around: &Around) {
        if let Some(at) = self.gaps.iter().position(|gap| gap.start < end && start < gap.end) {
            self.fill(at, start, end, seen, around);
            return;
        }
        let retired =
            || self.retired.iter().rev().find(|(from, sent)| *from < end && start < sent.end).copied();
        let original = self.flight.find(start, end).or_else(retired);
        let (tsval, id) = (seen.tsval(), seen.segment.id);
        let doubled = original.and_then(|(_, sent)| {
            let soon = seen.at.saturating_sub(sent.last.1);
            let same_id = id.is_some_and(|id| id != 0) && id == sent.id;
            let alike = id.is_none()
                && tsval == sent.tsval.1
                && soon < Duration::from_micros(200).min(around.total() / 4);
            (same_id && soon < Duration::from_secs(1))
                .then_some(Grade::Shown)
                .or(alike.then_some(Grade::Likely))
        });
        let original_frame = original.map(|(_, sent)| sent.last.0);
        let evidence: Vec<u64> = original_frame.into_iter().collect();
        if let Some(grade) = doubled {
            self.record(
                start,
                end,
                seen,
                original_frame,
                (Cause::Doubled, grade, evidence),
                (Needed::No, grade, vec![]),
                around,
            );
            return;
        }
        let waited = original.map(|(_, sent)| seen.at.saturating_sub(sent.last.1));
        let cause = self.cause(start, end, seen, waited, original, around);
        let needed = if end <= self.una {
            (Needed::No, Grade::Shown, vec![self.una_frame])
        } else if let Some(frame) = self.sacked.covers(start.max(self.una), end) {
            (Needed::No, Grade::Shown, vec![frame])
        } else {
            (Needed::Unknown, Grade::Unknown, vec![])
        };
        self.after_cause(cause.0, seen, around);
        let undecided = needed.0 == Needed::Unknown;
        let at = self.record(start, end, seen, original_frame, cause, needed, around);
        if undecided && let Some(at) = at {
            let original_tsval = original.and_then(|(_, sent)| sent.tsval.1);
            let was_first = start <= self.una;
            self.undecided.push(Undecided {
                at,
                start,
                end,
                sent: seen.at,
                tsval,
                original_tsval,
                was_first,
            });
        }
        let now = (seen.frame, seen.at);
        self.flight.change(start, end, |sent| {
            sent.waited = seen.at.saturating_sub(sent.last.1);
            sent.last = now;
            sent.tsval.1 = tsval;
            sent.id = id;
            sent.again += 1;
        });
    }

    /// What was missing in the capture comes: late, or again.
    fn fill(&mut self, at: usize, start: u64, end: u64, seen: &Seen, around: &Around) {
        let gap = self.gaps.swap_remove(at);
        for (from, to) in [(gap.start, start), (end, gap.end)] {
            if from < to {
                self.gaps.push(Gap { start: from, end: to, ..gap });
            }
        }
        let tsval = seen.tsval();
        let later = tsval.zip(gap.tsval).map(|(here, there)| here.wrapping_sub(there).cast_signed());
        let behind = seen.segment.id.zip(gap.id).map(|(here, there)| here.wrapping_sub(there).cast_signed());
        let waited = seen.at.saturating_sub(gap.at);
        let overtaken = match (later, behind) {
            (Some(..=-1), _) => Some(Grade::Shown),
            (Some(1..), _) => None,
            // Sent within a tick of what overtook it: nobody hears of a loss that soon.
            (Some(0), _) if self.ticks.in_time(around.total(), seen) >= 2 => Some(Grade::Likely),
            (_, Some(..=-1)) => Some(Grade::Likely),
            (_, Some(1..)) => None,
            _ => (waited < Duration::from_millis(3).min(around.total() / 4)).then_some(Grade::Likely),
        };
        let now = (seen.frame, seen.at);
        let again = u32::from(overtaken.is_none());
        let sent =
            Sent { end, first: now, last: now, tsval: (tsval, tsval), id: seen.segment.id, again, waited };
        self.flight.add(start, sent, around.room.ranges);
        if overtaken.is_some() {
            self.reordered += 1;
            push_few(&mut self.reordered_frames, seen.frame);
            return;
        }
        let cause = self.cause(start, end, seen, Some(waited), None, around);
        self.after_cause(cause.0, seen, around);
        let sure = later.is_some_and(|later| later > 0);
        let grade = if sure { Grade::Shown } else { Grade::Likely };
        self.record(start, end, seen, None, cause, (Needed::Yes, grade, vec![gap.frame]), around);
    }

    /// Why `start..end` was sent again.
    fn cause(
        &self,
        start: u64,
        end: u64,
        seen: &Seen,
        waited: Option<Duration>,
        original: Option<(u64, Sent)>,
        around: &Around,
    ) -> (Cause, Grade, Vec<u64>) {
        let total = around.total();
        if let Some((frame, at)) = self.too_big
            && seen.at.saturating_sub(at) < total + Duration::from_millis(50)
        {
            return (Cause::PathMtu, Grade::Shown, vec![frame]);
        }
        let told = self.sacked.beyond(end.max(self.una));
        let quiet = self.last.map_or(Duration::MAX, |last| seen.at.saturating_sub(last.at));
        let since_ack =
            self.acks.back().map(|ack| seen.at.saturating_sub(ack.at).saturating_sub(around.near.least()));
        let prompt = since_ack.is_some_and(|since| since <= (total / 8).max(Duration::from_millis(4)));
        let last_frame = original.map(|(_, sent)| sent.last.0);
        let doubled = original.filter(|(_, sent)| {
            sent.again > 0
                && start <= self.una
                && !prompt
                && waited.is_some_and(|waited| {
                    waited >= sent.waited * 17 / 10 && waited > Duration::from_millis(150)
                })
        });
        if let Some((_, sent)) = doubled {
            return (Cause::Timeout, Grade::Shown, vec![sent.first.0, sent.last.0]);
        }
        // A timer: nothing has come, and nothing was sent, for a round trip and more.
        let slow = quiet >= total.max(Duration::from_millis(10)) && !prompt;
        if slow && told.is_none() {
            let frames: Vec<u64> = last_frame.into_iter().collect();
            if start > self.una && end >= self.nxt && self.loss.is_none() {
                return (Cause::TailLossProbe, Grade::Likely, frames);
            }
            if start <= self.una && end < self.nxt {
                return (Cause::Timeout, Grade::Likely, frames);
            }
            if start <= self.una {
                let again = original.is_some_and(|(_, sent)| sent.again > 0);
                let cause = if again { Cause::Timeout } else { Cause::Timer };
                return (cause, Grade::Likely, frames);
            }
        }
        if self.loss.is_some_and(|until| start < until) {
            return (Cause::AfterTimeout, Grade::Likely, vec![]);
        }
        let enough = u64::from(around.mss.max(1)) * 3;
        if slow
            && start <= self.una
            && since_ack.is_some_and(|since| since > total * 2 + Duration::from_millis(150))
        {
            return (Cause::Timeout, Grade::Likely, last_frame.into_iter().collect());
        }
        match (told, self.duplicates) {
            (Some((bytes, first)), _) => {
                let grade =
                    if bytes >= enough || self.recovery.is_some() { Grade::Shown } else { Grade::Likely };
                (Cause::Fast, grade, vec![first])
            }
            (None, Duplicates { count, first, last, .. }) if count >= 3 && start <= self.una => {
                (Cause::Fast, Grade::Shown, vec![first, last])
            }
            (None, Duplicates { count: 1.., first, .. }) if start <= self.una && prompt => {
                (Cause::Fast, Grade::Likely, vec![first])
            }
            _ if self.recovery.is_some_and(|until| start < until) && prompt => {
                (Cause::Fast, Grade::Likely, self.acks.back().map(|ack| ack.frame).into_iter().collect())
            }
            _ => (Cause::Unknown, Grade::Unknown, vec![]),
        }
    }

    /// What follows from the cause for what comes next.
    fn after_cause(&mut self, cause: Cause, seen: &Seen, around: &Around) {
        let limit = match cause {
            Cause::Timeout | Cause::Timer => {
                if cause == Cause::Timeout {
                    self.loss = Some(self.nxt);
                }
                Limit::Timeout
            }
            Cause::Fast => {
                self.recovery.get_or_insert(self.nxt);
                Limit::Recovery
            }
            Cause::Doubled => return,
            _ => Limit::Recovery,
        };
        if let Some(last) = self.last {
            self.limit = Some(limit);
            let span = Span { limit, from: last.at, to: seen.at, frames: (last.frame, seen.frame) };
            self.limits.add(span, around.room.spans);
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of a record
    fn record(
        &mut self,
        start: u64,
        end: u64,
        seen: &Seen,
        original: Option<u64>,
        (cause, cause_grade, cause_frames): (Cause, Grade, Vec<u64>),
        (needed, needed_grade, needed_frames): (Needed, Grade, Vec<u64>),
        around: &Around,
    ) -> Option<usize> {
        self.counts.count(cause);
        self.retransmitted_bytes += end - start;
        if needed == Needed::No {
            self.unneeded += 1;
        }
        if self.retransmissions.len() >= around.room.retransmissions {
            return None;
        }
        self.retransmissions.push(Retransmission {
            frame: seen.frame,
            at: seen.at,
            seq: start.saturating_sub(self.origin) + 1,
            len: end - start,
            original,
            cause,
            cause_grade,
            cause_frames,
            needed,
            needed_grade,
            needed_frames,
        });
        Some(self.retransmissions.len() - 1)
    }

    /// An acknowledgement by the receiver. Returns a sample of the round-trip time to it.
    pub(crate) fn on_ack(&mut self, seen: &Seen, scale: Option<u8>, around: &Around) -> Option<Duration> {
        let segment = &seen.segment;
        let number = segment.ack.filter(|_| !segment.flags.contains(TcpFlags::RST))?;
        self.join(number);
        let ack = self.offsets.peek(number).filter(|ack| ack.abs_diff(self.nxt) < FAR_OFF)?;
        if ack < self.una {
            self.blocks(seen, around);
            return None;
        }
        if ack > self.nxt {
            // A FIN takes a number, and a SYN-ACK of a capture that begins behind the SYN.
            if ack > self.nxt + 1 || self.fin.is_some() {
                self.unseen += ack - self.nxt;
                push_few(&mut self.unseen_frames, seen.frame);
            }
            self.nxt = ack;
            let _ = self.offsets.of(number);
        }
        let scaled = match scale {
            Some(_) if segment.flags.contains(TcpFlags::SYN) => Some(u64::from(segment.window)),
            Some(scale) => Some(u64::from(segment.window) << scale.min(14)),
            None if segment.window == 0 => Some(0),
            None => None,
        };
        let edge = scaled.map(|window| ack + window);
        let is_duplicate = ack == self.una
            && segment.len == 0
            && self.is_waiting()
            && segment.window == self.raw_window
            && !segment.flags.intersects(TcpFlags::FIN | TcpFlags::SYN);
        let mut sample = None;
        if ack > self.una {
            sample = self.advance(ack, seen, around);
        } else if is_duplicate {
            let duplicates = &mut self.duplicates;
            duplicates.count += 1;
            if duplicates.count == 1 {
                duplicates.first = seen.frame;
            }
            (duplicates.last, duplicates.at) = (seen.frame, seen.at);
        }
        self.blocks(seen, around);
        self.raw_window = segment.window;
        self.window(scaled, seen);
        self.edge = edge;
        let data = segment.len > 0;
        self.acks.push_back(Ack { at: seen.at, frame: seen.frame, una: self.una, edge, data });
        if self.acks.len() > MOST_ACKS.min(around.room.ranges.max(64)) {
            self.acks.pop_front();
        }
        self.graph.acks.add(seen.at, (ack, edge), around.room.points);
        sample
    }

    fn window(&mut self, scaled: Option<u64>, seen: &Seen) {
        let Some(window) = scaled else { return };
        self.peak_window = self.peak_window.max(window);
        match (window, self.closed) {
            (0, None) => {
                self.closed = Some((seen.at, seen.frame));
                self.zero_windows += 1;
                push_few(&mut self.zero_window_frames, seen.frame);
            }
            (1.., Some((since, _))) => {
                self.closed = None;
                self.closed_for += seen.at.saturating_sub(since);
            }
            _ => {}
        }
    }

    fn advance(&mut self, ack: u64, seen: &Seen, around: &Around) -> Option<Duration> {
        self.decide(ack, seen, around);
        let unseen: u64 =
            self.gaps.iter().filter(|gap| gap.start < ack).map(|gap| gap.end.min(ack) - gap.start).sum();
        if unseen > 0 {
            self.unseen += unseen;
            push_few(&mut self.unseen_frames, seen.frame);
            self.gaps.retain(|gap| gap.end > ack);
        }
        let last = self.flight.acknowledge(ack);
        self.una = ack;
        self.una_frame = seen.frame;
        self.sacked.cut(ack);
        self.duplicates = Duplicates::default();
        if self.recovery.is_some_and(|until| ack >= until) {
            self.recovery = None;
        }
        if self.loss.is_some_and(|until| ack >= until) {
            self.loss = None;
        }
        let (start, sent) = last?;
        self.retired.push_back((start, sent));
        if self.retired.len() > RETIRED {
            self.retired.pop_front();
        }
        // What was reported before is not acknowledged when it arrives; and see Karn (RFC 6298 3).
        let clean = sent.end == ack && sent.again == 0 && self.recovery.is_none() && self.loss.is_none();
        let rtt = clean.then(|| seen.at.saturating_sub(sent.first.1))?;
        self.graph.rtt.add(seen.at, rtt + around.near.least(), around.room.points);
        Some(rtt)
    }

    /// SACK blocks: what they report, and what they say has come twice (RFC 2883).
    fn blocks(&mut self, seen: &Seen, around: &Around) {
        let blocks: Vec<(u64, u64)> = (seen.segment.options.sack.as_slice().iter())
            .filter_map(|(start, end)| Some((self.offsets.peek(start.get())?, self.offsets.peek(end.get())?)))
            .filter(|(start, end)| start < end && end.abs_diff(self.nxt) < FAR_OFF)
            .collect();
        let ack = seen.segment.ack.and_then(|ack| self.offsets.peek(ack)).unwrap_or(self.una);
        for (at, &(start, end)) in blocks.iter().enumerate() {
            let within = at == 0 && blocks.get(1).is_some_and(|second| second.0 <= start && end <= second.1);
            if at == 0 && (end <= ack || within) {
                self.came_twice(start, end, seen.frame);
                continue;
            }
            if start >= self.una && end <= self.nxt && self.sacked.len() < around.room.ranges {
                self.decide_reported(start, end, seen, around);
                self.sacked.add(start, end, seen.frame);
            }
        }
    }

    /// A range has come twice, the receiver says.
    fn came_twice(&mut self, start: u64, end: u64, frame: u64) {
        let origin = self.origin;
        let at = |record: &Retransmission| (record.seq + origin).saturating_sub(1);
        let record = (self.retransmissions.iter_mut().rev().take(256))
            .filter(|record| at(record) < end && start < at(record) + record.len)
            .find(|record| record.needed != Needed::No || record.needed_grade < Grade::Shown);
        let Some(record) = record else { return };
        if record.needed != Needed::No {
            self.unneeded += 1;
        }
        (record.needed, record.needed_grade) = (Needed::No, Grade::Shown);
        record.needed_frames = vec![frame];
    }

    /// What an acknowledgement up to `ack` says of retransmissions.
    fn decide(&mut self, ack: u64, seen: &Seen, around: &Around) {
        let (done, rest): (Vec<_>, Vec<_>) = self.undecided.drain(..).partition(|one| one.end <= ack);
        self.undecided = rest;
        let tsecr = seen.segment.options.timestamps.map(|timestamps| timestamps.tsecr);
        for one in done {
            let echo = tsecr.zip(one.tsval).filter(|_| one.was_first && one.start <= self.una);
            let echoed = echo.map(|(tsecr, tsval)| tsecr.wrapping_sub(tsval).cast_signed());
            let told_apart = one.tsval != one.original_tsval;
            let verdict = match echoed {
                // RFC 3522: the echo is older than the retransmission, so the original had arrived.
                Some(..=-1) => (Needed::No, Grade::Shown),
                Some(0..) if told_apart => (Needed::Yes, Grade::Shown),
                _ => self.by_time(&one, seen, around),
            };
            self.set(one.at, verdict, seen.frame);
        }
    }

    /// What a SACK block says of retransmissions.
    fn decide_reported(&mut self, start: u64, end: u64, seen: &Seen, around: &Around) {
        let (done, rest): (Vec<_>, Vec<_>) =
            self.undecided.drain(..).partition(|one| start <= one.start && one.end <= end);
        self.undecided = rest;
        for one in done {
            let verdict = self.by_time(&one, seen, around);
            self.set(one.at, verdict, seen.frame);
        }
    }

    /// An acknowledgement that comes sooner than the way there and back takes is not for the retransmission.
    fn by_time(&self, one: &Undecided, seen: &Seen, around: &Around) -> (Needed, Grade) {
        let since = seen.at.saturating_sub(one.sent);
        let far = around.far.least();
        if far < Duration::from_millis(1) || far * 8 < around.total() {
            return (Needed::Unknown, Grade::Unknown);
        }
        if since < far * 9 / 10 { (Needed::No, Grade::Likely) } else { (Needed::Yes, Grade::Likely) }
    }

    fn set(&mut self, at: usize, (needed, grade): (Needed, Grade), frame: u64) {
        if let Some(record) = self.retransmissions.get_mut(at) {
            (record.needed, record.needed_grade) = (needed, grade);
            record.needed_frames = if grade == Grade::Unknown { vec![] } else { vec![frame] };
            self.unneeded += u64::from(needed == Needed::No);
        }
    }

    /// The connection is over, or forgotten: what is only of use while it goes on is let go.
    pub(crate) fn finish(&mut self, now: Duration) {
        if let Some((since, _)) = self.closed.take() {
            self.closed_for += now.saturating_sub(since);
        }
        self.flight.clear();
        self.retired = VecDeque::new();
        self.sacked.clear();
        self.gaps = Vec::new();
        self.acks = VecDeque::new();
        self.undecided = Vec::new();
    }

    /// The limit that was found last.
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// The last range that is out, and how often and when it was sent: what remains unanswered.
    pub(crate) fn unanswered(&self) -> Option<(u64, u32, Duration)> {
        let (_, sent) = self.flight.first()?;
        Some((sent.last.0, sent.again, sent.last.1))
    }
}

/// Adds a frame to a list of examples.
pub(crate) fn push_few(frames: &mut Vec<u64>, frame: u64) {
    if frames.len() < 6 {
        frames.push(frame);
    }
}
