//! One direction of a connection: the data of one end, and what the other acknowledges of it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::TcpFlags;

use super::cause::Evidence;
use super::distance::Distance;
use super::flight::{Flight, Sent};
use super::gaps::{Gap, Gaps, Order};
use super::graph::Points;
use super::limit::{Limit, Limits, Span};
use super::offsets::Offsets;
use super::ranges::Ranges;
use super::records::{Again, Records};
use super::retransmission::{Cause, Finding, Needed};
use super::window::Window;
use super::{Room, Seen};
use crate::grade::Grade;

/// Acknowledgements that are remembered, to know what the sender knew when it sent.
const MOST_ACKS: usize = 4096;
/// Ranges that have been acknowledged, and are remembered, because they may come again.
const RETIRED: usize = 64;
/// Ranges that SACK has reported, likewise.
const MOST_REPORTED: usize = 4096;
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

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    offsets: Offsets,
    /// The offset of the first byte of data.
    pub(crate) origin: u64,
    pub(crate) nxt: u64,
    pub(crate) una: u64,
    /// The receiver's.
    pub(crate) window: Window,
    una_frame: u64,
    flight: Flight,
    retired: VecDeque<(u64, Sent)>,
    sacked: Ranges,
    gaps: Gaps,
    pub(crate) acks: VecDeque<Ack>,
    /// Duplicate acknowledgements: how many, the first and the last.
    duplicates: (u32, u64, u64),
    /// What was out when losses were noticed, or the timer went off.
    pub(crate) recovery: Option<u64>,
    pub(crate) loss: Option<u64>,
    too_big: Option<(u64, Duration)>,
    pub(crate) last: Option<Last>,
    pub(crate) first_data: Option<Duration>,
    pub(crate) last_data: Option<Duration>,
    pub(crate) limits: Limits,
    limit: Option<Limit>,
    pub(crate) records: Records,
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
        self.window.edge = None;
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
            if self.window.is_full_at(self.nxt) {
                self.window_probes += 1;
            } else {
                self.keep_alives += 1;
            }
            return;
        }
        if start == end {
            return;
        }
        if self.window.is_full_at(start) && end <= start + 1 && self.nxt >= start {
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
        self.gaps.stamp(seen);
        for span in self.waited_for(start, end - start, seen, around).into_iter().flatten() {
            self.limit = Some(span.limit);
            self.limits.add(span, around.room.spans);
        }
        let tsval = seen.tsval();
        if start > self.nxt {
            self.gaps.open(self.nxt, start, seen);
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
        if let Some(gap) = self.gaps.fill(start, end) {
            self.fill(&gap, start, end, seen, around);
            return;
        }
        let retired =
            || self.retired.iter().rev().find(|(from, sent)| *from < end && start < sent.end).copied();
        let original = self.flight.find(start, end).or_else(retired).map(|(_, sent)| sent);
        let again = Again {
            start,
            end,
            original: original.map(|sent| sent.last.0),
            original_tsval: original.and_then(|sent| sent.tsval.1),
            is_first: start <= self.una,
        };
        if let Some(grade) = original.and_then(|sent| doubled(&sent, seen, around)) {
            let (cause, needed) =
                (Finding::new(Cause::Doubled, grade, again.original), Finding::new(Needed::No, grade, []));
            self.records.add(again, cause, needed, self.origin, seen, around);
            return;
        }
        let waited = original.map(|sent| seen.at.saturating_sub(sent.last.1));
        let cause = self.evidence(start, end, original, waited, seen, around).cause();
        let reported = || self.sacked.covers(start.max(self.una), end);
        let had = if end <= self.una { Some(self.una_frame) } else { reported() };
        let needed = match had {
            Some(frame) => Finding::new(Needed::No, Grade::Shown, [frame]),
            None => Finding::new(Needed::Unknown, Grade::Unknown, []),
        };
        self.after_cause(cause.what, seen, around);
        self.records.add(again, cause, needed, self.origin, seen, around);
        self.flight.change(start, end, |sent| {
            sent.waited = seen.at.saturating_sub(sent.last.1);
            sent.last = (seen.frame, seen.at);
            sent.tsval.1 = seen.tsval();
            sent.id = seen.segment.id;
            sent.again += 1;
        });
    }

    /// What was missing in the capture comes: late, or again.
    fn fill(&mut self, gap: &Gap, start: u64, end: u64, seen: &Seen, around: &Around) {
        let order = self.gaps.order(gap, seen, around.total());
        let (tsval, now) = (seen.tsval(), (seen.frame, seen.at));
        let waited = seen.at.saturating_sub(gap.at);
        let again = u32::from(order != Order::Overtaken);
        let id = seen.segment.id;
        let sent = Sent { end, first: now, last: now, tsval: (tsval, tsval), id, again, waited };
        self.flight.add(start, sent, around.room.ranges);
        let Order::Again(grade) = order else {
            self.reordered += 1;
            push_few(&mut self.reordered_frames, seen.frame);
            return;
        };
        let cause = self.evidence(start, end, None, Some(waited), seen, around).cause();
        self.after_cause(cause.what, seen, around);
        let again = Again { start, end, original: None, original_tsval: None, is_first: start <= self.una };
        let needed = Finding::new(Needed::Yes, grade, [gap.frame]);
        self.records.add(again, cause, needed, self.origin, seen, around);
    }

    /// What is known when a range is sent again.
    fn evidence<'a>(
        &self,
        start: u64,
        end: u64,
        original: Option<Sent>,
        waited: Option<Duration>,
        seen: &Seen,
        around: &'a Around,
    ) -> Evidence<'a> {
        let since = |at: Duration| seen.at.saturating_sub(at);
        Evidence {
            start,
            end,
            una: self.una,
            nxt: self.nxt,
            original,
            waited,
            too_big: self.too_big.map(|(frame, at)| (frame, since(at))),
            told: self.sacked.beyond(end.max(self.una)),
            duplicates: self.duplicates,
            quiet: self.last.map_or(Duration::MAX, |last| since(last.at)),
            last_ack: self.acks.back().map(|ack| (ack.frame, since(ack.at + around.near.least()))),
            recovery: self.recovery,
            loss: self.loss,
            around,
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
        let is_duplicate = ack == self.una
            && segment.len == 0
            && self.is_waiting()
            && self.window.is_same(seen)
            && !segment.flags.intersects(TcpFlags::FIN | TcpFlags::SYN);
        let mut sample = None;
        if ack > self.una {
            sample = self.advance(ack, seen, around);
        } else if is_duplicate {
            let (count, first, _) = self.duplicates;
            self.duplicates = (count + 1, if count == 0 { seen.frame } else { first }, seen.frame);
        }
        self.blocks(seen, around);
        self.window.update(ack, scale, seen);
        let edge = self.window.edge;
        let data = segment.len > 0;
        self.acks.push_back(Ack { at: seen.at, frame: seen.frame, una: self.una, edge, data });
        if self.acks.len() > MOST_ACKS.min(around.room.ranges.max(64)) {
            self.acks.pop_front();
        }
        self.graph.acks.add(seen.at, (ack, edge), around.room.points);
        sample
    }

    fn advance(&mut self, ack: u64, seen: &Seen, around: &Around) -> Option<Duration> {
        self.records.acknowledged(ack, self.una, seen, around);
        let unseen = self.gaps.acknowledge(ack);
        if unseen > 0 {
            self.unseen += unseen;
            push_few(&mut self.unseen_frames, seen.frame);
        }
        let last = self.flight.acknowledge(ack);
        self.una = ack;
        self.una_frame = seen.frame;
        self.sacked.cut(ack);
        self.duplicates = (0, 0, 0);
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
                self.records.came_twice(start, end, self.origin, seen.frame);
                continue;
            }
            if start >= self.una
                && end <= self.nxt
                && self.sacked.len() < MOST_REPORTED.min(around.room.ranges)
            {
                self.records.reported(start, end, seen, around);
                self.sacked.add(start, end, seen.frame);
            }
        }
    }

    /// The connection is over, or forgotten: what is only of use while it goes on is let go.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.window.finish(now);
        self.records.finish();
        self.gaps.clear();
        self.flight.clear();
        self.retired = VecDeque::new();
        self.sacked.clear();
        self.acks = VecDeque::new();
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

/// Whether a packet is one that was seen before: doubled by the network or by the capture.
fn doubled(before: &Sent, seen: &Seen, around: &Around) -> Option<Grade> {
    let since = seen.at.saturating_sub(before.last.1);
    let same_id = seen.segment.id.is_some_and(|id| id != 0) && seen.segment.id == before.id;
    if same_id && since < Duration::from_secs(1) {
        return Some(Grade::Shown);
    }
    let soon = Duration::from_micros(200).min(around.total() / 4);
    let alike = seen.segment.id.is_none() && seen.tsval() == before.tsval.1 && since < soon;
    alike.then_some(Grade::Likely)
}

/// Adds a frame to a list of examples.
pub(crate) fn push_few(frames: &mut Vec<u64>, frame: u64) {
    if frames.len() < 6 {
        frames.push(frame);
    }
}
