//! The one record of what is out: every range of sequence numbers from SND.UNA to SND.NXT, when it was sent, and what
//! became of it.

use std::collections::VecDeque;

use ropeway_packet::SeqNum;

use super::order::{Order, Transmission};
use super::rate::{Course, Stamp};
pub(crate) use super::sent::{Marks, Piece, Sent};
use super::sums::Sums;
use super::why::Why;
use crate::congestion::Departure;
use crate::spare::{Blank, Spare};
use crate::time::Timestamp;

/// A record with no more places than this is worth keeping when nothing is out.
const SMALL: usize = 4;

/// Hears of each range that is taken for lost.
pub(crate) type Told<'a> = &'a mut dyn FnMut(&Departure);

/// Segments that go out at the same moment share an entry, as long as it is no longer than this.
const LONGEST: u32 = 64 * 1024;

/// Ranges without gaps between them, in the order of their numbers.
///
/// An entry begins and ends where a segment did, unless an acknowledgement cuts its beginning off: so there are never
/// more entries than segments were sent, whatever blocks a peer reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flight {
    entries: VecDeque<Sent>,
    /// What was sent, in the order of time. Only RACK needs it.
    order: Order,
    sums: Sums,
    /// No entry before this is due.
    due_from: Option<SeqNum>,
    /// One more than the highest number that was reported by SACK.
    highest_sacked: Option<SeqNum>,
    /// How fast it goes.
    pub(crate) course: Course,
}

/// A flight that costs nothing while nothing is out.
pub(crate) type Aloft = Spare<Flight>;

impl Blank for Flight {
    const BLANK: &'static Self = &Self::EMPTY;
}

impl Flight {
    const EMPTY: Self = Self {
        entries: VecDeque::new(),
        order: Order::EMPTY,
        sums: Sums::NONE,
        due_from: None,
        highest_sacked: None,
        course: Course::NONE,
    };

    /// The memory that the record takes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Sent>() + self.order.memory()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// FlightSize: sequence numbers sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> u32 {
        self.sums.outstanding()
    }

    // RFC 6675 4-3
    /// What is thought to be on its way (RFC 6675 3).
    pub(crate) fn pipe(&self) -> u32 {
        self.sums.pipe()
    }

    pub(crate) fn sacked(&self) -> u32 {
        self.sums.sacked()
    }

    /// How many segments were reported.
    pub(crate) fn sacked_segments(&self) -> u32 {
        self.sums.sacked_segments()
    }

    pub(crate) fn inferred(&self) -> u32 {
        self.sums.inferred()
    }

    pub(crate) fn lost(&self) -> u32 {
        self.sums.lost()
    }

    pub(crate) fn retransmitted(&self) -> u32 {
        self.sums.retransmitted()
    }

    /// Nothing of what is out was reported, lost or sent again.
    pub(crate) fn is_untroubled(&self) -> bool {
        self.sums.is_untroubled()
    }

    /// One more than the highest number reported by SACK.
    pub(crate) fn highest_sacked(&self) -> Option<SeqNum> {
        self.highest_sacked
    }

    pub(crate) fn first(&self) -> Option<&Sent> {
        self.entries.front()
    }

    pub(crate) fn last(&self) -> Option<&Sent> {
        self.entries.back()
    }

    /// The first range was reported by SACK, and then not acknowledged: the peer has dropped it (RFC 2018 5-3).
    pub(crate) fn is_reneged(&self) -> bool {
        self.first().is_some_and(|first| first.marks.has(Marks::SACKED))
    }

    /// New data, or a FIN, behind everything else. `ordered`: RACK will ask for it. `joins`: what went before was full.
    pub(crate) fn push(&mut self, sent: Sent, ordered: bool, joins: bool) {
        self.sums.enters(&sent);
        if sent.marks.has(Marks::LOST) {
            self.note_due(sent.start);
        } else if ordered {
            self.order.push(Transmission::of(&sent));
        }
        if let Some(last) = self.entries.back_mut().filter(|_| joins)
            && last.end == sent.start
            && last.at == sent.at
            && last.stamp.is_like(&sent.stamp)
            && last.marks == sent.marks.without(Marks::FIN)
            && last.size == sent.size
            && last.len() + sent.len() <= LONGEST
        {
            last.end = sent.end;
            last.marks = sent.marks;
            last.segments += sent.segments;
            last.stamp = sent.stamp;
            return;
        }
        self.entries.push_back(sent);
    }

    /// SND.UNA has come to `una`. `seen` gets each range that is shown to have arrived for the first time.
    pub(crate) fn acknowledge(&mut self, una: SeqNum, mut seen: impl FnMut(&Sent)) {
        while let Some(first) = self.entries.front_mut() {
            if una.at_or_before(first.start) {
                break;
            }
            let whole = first.end.at_or_before(una);
            let mut gone = first.clone();
            gone.end_at(first.end.min(una));
            if whole {
                self.entries.pop_front();
            } else {
                first.start = una;
                // Whole segments only; and one, at least, is left.
                gone.segments = (gone.len() / gone.size()).min(first.segments - 1);
                first.segments -= gone.segments;
            }
            self.sums.leaves(&gone);
            if !gone.marks.has(Marks::SACKED) {
                seen(&gone);
            }
        }
        if self.entries.is_empty() {
            self.clear_record();
        }
    }

    /// Nothing is out. Only the places for what will be are left.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.clear_record();
        self.course = Course::NONE;
    }

    fn clear_record(&mut self) {
        self.order = Order::EMPTY;
        self.sums = Sums::NONE;
        self.due_from = None;
        self.highest_sacked = None;
    }

    /// Whether it has so few places that it may be kept for nothing.
    pub(crate) fn is_small(&self) -> bool {
        self.entries.capacity() <= SMALL
    }

    /// The peer reports that it has the range from `start` to `end`. `seen` gets each range of which that is news.
    ///
    /// A part of a segment does not count: what was sent as one arrives as one. It costs two searches, at most two cuts,
    /// and a step for each range that is new: ranges that are known stand together as one.
    pub(crate) fn sack(&mut self, start: SeqNum, end: SeqNum, mut seen: impl FnMut(&Sent)) {
        let mut index = self.entries.partition_point(|sent| sent.end.at_or_before(start));
        let first = index;
        while let Some(sent) = self.entries.get(index) {
            if end.at_or_before(sent.start) {
                break;
            }
            if sent.marks.has(Marks::SACKED) {
                index += 1;
                continue;
            }
            // Whole segments of it, from the first that begins in the block to the last that ends there.
            let size = sent.size();
            let skip =
                if start.after(sent.start) { start.since(sent.start).next_multiple_of(size) } else { 0 };
            let len = sent.len();
            let covered = if end.before(sent.end) { end.since(sent.start) / size * size } else { len };
            if skip >= covered || skip >= len {
                index += 1;
                continue;
            }
            let at = sent.start;
            if covered < len {
                self.cut(index, at + covered);
            }
            if skip > 0 {
                self.cut(index, at + skip);
                index += 1;
            }
            self.mark_sacked(index, &mut seen);
            index += 1;
        }
        self.join_sacked(first, index);
    }

    fn mark_sacked(&mut self, index: usize, seen: &mut impl FnMut(&Sent)) {
        let Some(sent) = self.entries.get_mut(index) else { return };
        seen(sent);
        let marks = sent.marks.without(Marks::LOST.with(Marks::RETRANSMITTED)).with(Marks::SACKED);
        self.sums.mark(sent, marks);
        let end = sent.end;
        self.highest_sacked = Some(self.highest_sacked.map_or(end, |highest| highest.max(end)));
    }

    /// Makes one of neighbours that were all reported: nobody will ask for them one by one.
    fn join_sacked(&mut self, first: usize, last: usize) {
        let mut index = last.min(self.entries.len().saturating_sub(1));
        let first = first.saturating_sub(1);
        while index > first {
            let (Some(left), Some(right)) = (self.entries.get(index - 1), self.entries.get(index)) else {
                break;
            };
            if left.marks.has(Marks::SACKED) && right.marks.has(Marks::SACKED) {
                let (end, marks, segments) = (right.end, left.marks.with(right.marks), right.segments);
                if let Some(left) = self.entries.get_mut(index - 1) {
                    left.end = end;
                    left.marks = marks;
                    left.segments += segments;
                }
                self.entries.remove(index);
            }
            index -= 1;
        }
    }

    /// Cuts an entry in two. A FIN stays with the second.
    fn cut(&mut self, index: usize, at: SeqNum) {
        let Some(sent) = self.entries.get_mut(index) else { return };
        debug_assert!(at.after(sent.start) && at.before(sent.end));
        let first = at.since(sent.start).div_ceil(sent.size());
        let second = Sent { start: at, segments: sent.segments.saturating_sub(first).max(1), ..sent.clone() };
        sent.end_at(at);
        sent.segments = first;
        sent.marks = sent.marks.without(Marks::FIN);
        self.entries.insert(index + 1, second);
    }

    fn note_due(&mut self, start: SeqNum) {
        self.due_from = Some(self.due_from.map_or(start, |from| from.min(start)));
    }

    /// What has become of a probe of the path's MTU from `start` to `end`. SND.UNA is `una`.
    pub(crate) fn fate_of_probe(&self, (start, end): (SeqNum, SeqNum), una: SeqNum) -> ProbeFate {
        if una.at_or_after(end) {
            return ProbeFate::Passed;
        }
        let index = self.entries.partition_point(|sent| sent.end.at_or_before(start));
        match self.entries.get(index).map(|sent| sent.marks) {
            Some(marks) if marks.has(Marks::SACKED) => ProbeFate::Passed,
            Some(marks) if marks.has(Marks::MTU_PROBE) => ProbeFate::Out,
            _ => ProbeFate::Lost,
        }
    }

    /// A router has refused a probe of the path's MTU that begins there.
    pub(crate) fn lose_probe(&mut self, start: SeqNum) {
        let index = self.entries.partition_point(|sent| sent.end.at_or_before(start));
        if self.entries.get(index).is_some_and(|sent| sent.marks.has(Marks::MTU_PROBE)) {
            self.lose(index, Why::PathMtu, &mut |_| {});
        }
    }

    /// Where the first begins that is to be sent again.
    pub(crate) fn first_due(&self) -> Option<SeqNum> {
        let from = self.due_from?;
        let index = self.entries.partition_point(|sent| sent.end.at_or_before(from));
        self.entries.range(index..).find(|sent| sent.marks.is_due()).map(|sent| sent.start)
    }

    /// A duplicate acknowledgement of a peer without SACK: another segment has arrived (RFC 5681 3.2). One at least is
    /// missing, so not all can have.
    pub(crate) fn infer(&mut self, len: u32, most: u32) -> u32 {
        let missing = self.first().map_or(0, Sent::len).min(len);
        self.sums.infer(len, most, missing)
    }

    /// SND.UNA has moved: what had been inferred is known now.
    pub(crate) fn infer_nothing(&mut self) {
        self.sums.infer_nothing();
    }

    /// Some of what was inferred is known now; and of what is left, the first is missing.
    pub(crate) fn infer_less(&mut self, len: u32, mss: u32) {
        let missing = self.first().map_or(0, Sent::len).min(mss);
        self.sums.infer_less(len, missing);
    }

    // RFC 4821 4-2, RFC 4821 7.6.2-1
    /// Takes an entry for lost, unless the peer has it. Says how much that is. What does not fit the path is no loss: neither is
    /// a probe of its MTU, unless nothing at all is heard.
    fn lose(&mut self, index: usize, why: Why, told: Told<'_>) -> u32 {
        let Some(sent) = self.entries.get_mut(index) else { return 0 };
        if !sent.marks.is_out() {
            return 0;
        }
        let probed = sent.marks.has(Marks::MTU_PROBE) && !matches!(why, Why::Timeout | Why::Reneging);
        let why = if probed { Why::PathMtu } else { why };
        let marks = sent.marks.without(Marks::RETRANSMITTED.with(Marks::MTU_PROBE)).with(Marks::LOST);
        self.sums.mark(sent, marks);
        sent.why = Some(why);
        let (start, len) = (sent.start, sent.len());
        if !matches!(why, Why::PathMtu | Why::FastOpen) {
            self.course.lose(len);
            told(&self.course.departure(sent));
        }
        self.note_due(start);
        if probed { 0 } else { len }
    }

    /// Takes the first segment for lost.
    pub(crate) fn lose_first(&mut self, why: Why, told: Told<'_>) -> u32 {
        let Some(first) = self.entries.front() else { return 0 };
        if !first.marks.is_out() {
            return 0;
        }
        if first.len() > first.size() {
            let at = first.start + first.size();
            self.cut(0, at);
        }
        self.lose(0, why, told)
    }

    /// Takes everything for lost that the peer has not reported (RFC 2018 5-2); and all of it if what it reported proved wrong.
    pub(crate) fn lose_all(&mut self, reneged: bool, why: Why, told: Told<'_>) -> u32 {
        let mut lost = 0;
        for index in 0..self.entries.len() {
            if reneged
                && let Some(sent) = self.entries.get_mut(index).filter(|sent| sent.marks.has(Marks::SACKED))
            {
                self.sums.mark(sent, sent.marks.without(Marks::SACKED));
            }
            lost += self.lose(index, why, told);
        }
        if reneged {
            self.highest_sacked = None;
        }
        lost
    }

    /// Takes for lost what begins before `edge` and was not sent again (RFC 6675 4).
    pub(crate) fn lose_below(&mut self, edge: SeqNum, told: Told<'_>) -> u32 {
        let mut lost = 0;
        for index in 0..self.entries.len() {
            let Some(sent) = self.entries.get(index) else { break };
            if sent.end.after(edge) {
                break;
            }
            if !sent.marks.has(Marks::RETRANSMITTED) {
                lost += self.lose(index, Why::Sack, told);
            }
        }
        lost
    }

    /// Takes for lost what was sent at a moment of which `overdue` says so.
    pub(crate) fn lose_sent(&mut self, overdue: impl Fn(Timestamp) -> bool, told: Told<'_>) -> u32 {
        let mut lost = 0;
        for index in 0..self.entries.len() {
            if self.entries.get(index).is_some_and(|sent| overdue(sent.at)) {
                lost += self.lose(index, Why::Timeout, told);
            }
        }
        lost
    }

    /// Nothing was lost after all. What has been sent again stays so. `ordered`: RACK asks for the rest anew.
    pub(crate) fn find_all(&mut self, ordered: bool) {
        let mut found = Vec::new();
        for sent in &mut self.entries {
            if ordered && sent.marks.is_due() {
                found.push(Transmission::of(sent));
            }
            self.sums.mark(sent, sent.marks.without(Marks::LOST));
        }
        self.due_from = None;
        self.order.put_back(&self.entries, found);
    }

    /// Asks of what is out, in the order in which it was sent, what is to be thought of it, until something is not lost.
    /// Says how much is, and when that was sent at which it ended, if that may be lost later.
    pub(crate) fn lose_in_order(
        &mut self,
        verdict: impl FnMut(Timestamp, SeqNum) -> Verdict,
        told: Told<'_>,
    ) -> (u32, Option<Timestamp>) {
        match self.order.turn() {
            Some(turn) => self.lose_by_number(turn, verdict, told),
            None => self.lose_by_time(verdict, told),
        }
    }

    /// Nothing was sent again. `turn`: all before this was asked of.
    fn lose_by_number(
        &mut self,
        turn: Option<SeqNum>,
        mut verdict: impl FnMut(Timestamp, SeqNum) -> Verdict,
        told: Told<'_>,
    ) -> (u32, Option<Timestamp>) {
        let mut lost = 0;
        let first = turn.map_or(0, |turn| self.entries.partition_point(|sent| sent.end.at_or_before(turn)));
        for index in first..self.entries.len() {
            let Some(sent) = self.entries.get(index) else { break };
            let (at, end) = (sent.at, sent.end);
            if sent.marks.is_out() {
                match verdict(at, end) {
                    Verdict::Lost => lost += self.lose(index, Why::Rack, told),
                    Verdict::Later => return (lost, Some(at)),
                    Verdict::After => return (lost, None),
                }
            }
            self.order.set_turn(end);
        }
        (lost, None)
    }

    fn lose_by_time(
        &mut self,
        mut verdict: impl FnMut(Timestamp, SeqNum) -> Verdict,
        told: Told<'_>,
    ) -> (u32, Option<Timestamp>) {
        let mut lost = 0;
        while let Some(next) = self.order.first() {
            let mut index = self.entries.partition_point(|sent| sent.end.at_or_before(next.start));
            while let Some(sent) = self.entries.get(index).filter(|sent| sent.start.before(next.end)) {
                if sent.marks.is_out() && sent.at == next.at {
                    match verdict(sent.at, sent.end) {
                        Verdict::Lost => lost += self.lose(index, Why::Rack, told),
                        Verdict::Later => return (lost, Some(next.at)),
                        Verdict::After => return (lost, None),
                    }
                }
                index += 1;
            }
            self.order.pop();
        }
        (lost, None)
    }

    // RFC 6675 4-4
    /// The first segment that is to be sent again, of at most `mss` bytes of data. Small neighbours go together.
    pub(crate) fn next_due(&mut self, mss: u32) -> Option<Piece> {
        let from = self.due_from?;
        let index = self.entries.partition_point(|sent| sent.end.at_or_before(from));
        let Some(index) = (index..self.entries.len())
            .find(|index| self.entries.get(*index).is_some_and(|sent| sent.marks.is_due()))
        else {
            self.due_from = None;
            return None;
        };
        let first = self.entries.get(index)?;
        self.due_from = Some(first.start);
        let probe = first.marks.has(Marks::PROBE);
        let mut piece = Piece { start: first.start, end: first.start, fin: false, probe, why: first.why };
        for sent in self.entries.range(index..) {
            let room = mss - piece.end.since(piece.start);
            if !sent.marks.is_due() || piece.fin {
                break;
            }
            let fin = sent.marks.has(Marks::FIN);
            let data = sent.len() - u32::from(fin);
            if data > room {
                piece.end += room;
                break;
            }
            piece.end = sent.end;
            piece.fin = fin;
        }
        Some(piece)
    }

    /// The last segment, to probe the tail of the flight with (RFC 8985 7.3).
    pub(crate) fn last_segment(&self, mss: u32) -> Option<Piece> {
        let last = self.last()?;
        let fin = last.marks.has(Marks::FIN);
        let data = last.len() - u32::from(fin);
        let len = if data == 0 { 0 } else { (data - 1) % last.size().min(mss) + 1 };
        Some(Piece { start: last.end - (len + u32::from(fin)), end: last.end, fin, probe: false, why: None })
    }

    // RFC 8985 6.1-1
    /// A piece has been sent again.
    pub(crate) fn resend(
        &mut self,
        piece: Piece,
        (at, size): (Timestamp, u16),
        (stamp, marks): (Stamp, Marks),
        ordered: bool,
    ) {
        if ordered {
            self.order.go_by_time(&self.entries);
        }
        let mut index = self.entries.partition_point(|sent| sent.end.at_or_before(piece.start));
        if self.entries.get(index).is_some_and(|sent| sent.start.before(piece.start)) {
            self.cut(index, piece.start);
            index += 1;
        }
        while let Some(sent) = self.entries.get(index).filter(|sent| sent.start.before(piece.end)) {
            if sent.end.after(piece.end) {
                self.cut(index, piece.end);
            }
            let Some(sent) = self.entries.get_mut(index) else { break };
            sent.at = at;
            sent.size = size;
            sent.stamp = stamp;
            let again = Marks::RETRANSMITTED.with(Marks::EVER_RETRANSMITTED).with(marks);
            self.sums.mark(
                sent,
                sent.marks.without(Marks::APP_LIMITED.with(Marks::PROBE).with(Marks::MTU_PROBE)).with(again),
            );
            index += 1;
        }
        if ordered {
            self.order.push(Transmission { start: piece.start, end: piece.end, at });
        }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Whether the sums are those of the marks, and the ranges have neither gaps nor overlaps.
    #[cfg(any(test, feature = "model"))]
    pub(crate) fn is_consistent(&self, una: SeqNum, nxt: SeqNum) -> bool {
        let gapless = self.entries.iter().zip(self.entries.iter().skip(1)).all(|(a, b)| a.end == b.start);
        let ends = match (self.first(), self.last()) {
            (Some(first), Some(last)) => (first.start, last.end) == (una, nxt),
            _ => una == nxt,
        };
        let due = self.entries.iter().find(|sent| sent.marks.is_due()).map(|sent| sent.start);
        let due_known = due.is_none_or(|due| self.due_from.is_some_and(|from| from.at_or_before(due)));
        gapless
            && ends
            && due_known
            && self.entries.iter().all(|sent| sent.end.after(sent.start))
            && self.sums.are_those_of(self.entries.iter())
    }
}

/// What has become of a probe of the path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeFate {
    Out,
    Passed,
    Lost,
}

/// What is to be thought of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Lost,
    /// It may be lost, but not yet.
    Later,
    /// It was sent after what has arrived: nothing is known of it, nor of what follows.
    After,
}
