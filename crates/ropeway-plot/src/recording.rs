//! What is kept of one end of a connection.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::event::{Segment, Sender, Told};
use crate::marks::Marks;
use crate::series::Series;

/// So many SYNs, FINs and RSTs are told apart.
const MOST_SIGNS: usize = 16;

/// The names of what a sender may be about, in the order of their numbers.
pub(crate) const PHASES: [&str; 5] = ["Open", "Disorder", "Cwr", "Recovery", "Loss"];

/// One end of a connection. Memory is bounded, whatever it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    /// When the first event was, in microseconds on the stack's clock; all other times count from it.
    start: Option<u64>,
    /// What is to be kept.
    span: Range<u64>,
    has_begun: bool,
    /// The last event that is kept.
    end: u64,
    pub(crate) sent: Direction,
    pub(crate) received: Direction,
    pub(crate) cwnd: Series,
    pub(crate) ssthresh: Series,
    pub(crate) in_flight: Series,
    pub(crate) srtt: Series,
    pub(crate) min_rtt: Series,
    pub(crate) pacing_rate: Series,
    pub(crate) delivery_rate: Series,
    /// What the sender was about: an index of [`PHASES`].
    pub(crate) phase: Series,
    /// When the retransmission timer went off, and when a reduction was proved wrong.
    pub(crate) timeouts: Marks,
    pub(crate) undone: Marks,
}

/// What crosses in one direction, and what comes back about it. Numbers are relative: a SYN has 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Direction {
    /// The sender's initial sequence number.
    origin: Option<u32>,
    /// What was acknowledged when the recording began.
    floor: i64,
    /// One more than the highest number that was seen.
    high: i64,
    /// That of the FIN, if it was seen.
    fin: Option<i64>,
    /// The highest acknowledgement.
    acked: i64,
    /// What crosses for the first time, as far as this end can tell.
    pub(crate) new: Marks,
    /// What this end has sent again, or as a probe, by its cause.
    pub(crate) again: BTreeMap<String, Marks>,
    /// What has arrived behind something later: sent again, or overtaken.
    pub(crate) late: Marks,
    /// What has arrived although it had been acknowledged.
    pub(crate) twice: Marks,
    pub(crate) ack: Series,
    /// The right edge of the window.
    pub(crate) edge: Series,
    pub(crate) sack: Marks,
    /// Blocks that report what came twice (RFC 2883).
    pub(crate) dsack: Marks,
    /// SYN, FIN and RST: when, where and what.
    pub(crate) signs: Vec<(u64, i64, &'static str)>,
}

impl Recording {
    /// A recording of a span of time, in microseconds since the first event.
    pub(crate) fn of(span: Range<u64>) -> Self {
        Self {
            start: None,
            has_begun: span.start == 0,
            end: span.start,
            span,
            sent: Direction::default(),
            received: Direction::default(),
            cwnd: Series::default(),
            ssthresh: Series::default(),
            in_flight: Series::default(),
            srtt: Series::default(),
            min_rtt: Series::default(),
            pacing_rate: Series::default(),
            delivery_rate: Series::default(),
            phase: Series::default(),
            timeouts: Marks::default(),
            undone: Marks::default(),
        }
    }

    /// Whether something happened in its span.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// When it begins and when the last event was, in microseconds since the first event of the connection.
    pub(crate) fn time(&self) -> (u64, u64) {
        (self.span.start, self.end)
    }

    /// Whether this can be an event of the same connection: another SYN begins another one.
    pub(crate) fn is_of(&self, told: &Told) -> bool {
        let Told::Segment(segment) = told else { return true };
        let direction = if segment.is_sent { &self.sent } else { &self.received };
        !segment.syn || direction.origin.is_none_or(|origin| origin == segment.seq)
    }

    pub(crate) fn hear(&mut self, told: &Told) {
        let at = match told {
            Told::Segment(segment) => segment.at,
            Told::Sender(sender) => sender.at,
        };
        let at = at.saturating_sub(*self.start.get_or_insert(at));
        if at >= self.span.end {
            return;
        }
        if at >= self.span.start && !self.has_begun {
            self.begin();
        }
        self.end = self.end.max(at);
        match told {
            Told::Segment(segment) if segment.is_sent => {
                self.sent.send(at, segment);
                self.received.acknowledge(at, segment);
            }
            Told::Segment(segment) => {
                self.received.arrive(at, segment);
                self.sent.acknowledge(at, segment);
            }
            Told::Sender(sender) => self.change(at, sender),
        }
    }

    /// Forgets what was before the span, but not how things stand.
    fn begin(&mut self) {
        self.has_begun = true;
        let at = self.span.start;
        self.sent.begin_at(at);
        self.received.begin_at(at);
        let all = [
            &mut self.cwnd,
            &mut self.ssthresh,
            &mut self.in_flight,
            &mut self.srtt,
            &mut self.min_rtt,
            &mut self.pacing_rate,
            &mut self.delivery_rate,
            &mut self.phase,
        ];
        for series in all {
            series.begin_at(at);
        }
        self.timeouts = Marks::default();
        self.undone = Marks::default();
    }

    fn change(&mut self, at: u64, sender: &Sender) {
        let values = [
            (&mut self.cwnd, Some(sender.cwnd)),
            (&mut self.ssthresh, sender.ssthresh),
            (&mut self.in_flight, Some(sender.in_flight)),
            (&mut self.srtt, sender.srtt),
            (&mut self.min_rtt, sender.min_rtt),
            (&mut self.pacing_rate, sender.pacing_rate),
            (&mut self.delivery_rate, sender.delivery_rate),
            (
                &mut self.phase,
                PHASES.iter().zip(0..).find(|(name, _)| **name == sender.ca_state).map(|(_, n)| n),
            ),
        ];
        for (series, value) in values {
            if let Some(value) = value {
                series.push(at, value);
            }
        }
        if sender.cause == "rto" {
            self.timeouts.push(at, 0, 0);
        }
        if sender.undone {
            self.undone.push(at, 0, 0);
        }
    }
}

impl Direction {
    /// Bytes of data, each counted once.
    pub(crate) fn bytes(&self) -> u64 {
        unsigned(self.fin.unwrap_or(self.high) - 1)
    }

    /// The lowest number that matters.
    pub(crate) fn floor(&self) -> i64 {
        self.floor
    }

    fn begin_at(&mut self, at: u64) {
        *self = Self {
            origin: self.origin,
            floor: self.acked,
            high: self.high,
            fin: self.fin,
            acked: self.acked,
            ack: std::mem::take(&mut self.ack),
            edge: std::mem::take(&mut self.edge),
            ..Self::default()
        };
        self.ack.begin_at(at);
        self.edge.begin_at(at);
    }

    /// The highest number that anything but the window reaches.
    pub(crate) fn top(&self) -> i64 {
        self.high.max(self.acked)
    }

    fn send(&mut self, at: u64, segment: &Segment) {
        let Some((start, end)) = self.place(at, segment) else { return };
        if !segment.cause.is_empty() || segment.again {
            let cause = if segment.cause.is_empty() { "again" } else { &segment.cause };
            // The names are the stack's: there are few.
            self.again.entry(cause.to_owned()).or_default().push(at, start, end);
        }
        if !segment.again && end > start {
            self.new.push(at, start, end);
        }
        self.high = self.high.max(end);
    }

    fn arrive(&mut self, at: u64, segment: &Segment) {
        let Some((start, end)) = self.place(at, segment) else { return };
        if end > start {
            let marks = match () {
                () if end > self.high && start >= self.high => &mut self.new,
                () if end <= self.acked => &mut self.twice,
                () if end > self.high => &mut self.new,
                () => &mut self.late,
            };
            marks.push(at, start, end);
        }
        self.high = self.high.max(end);
    }

    /// Where a segment begins and ends, if it is more than an acknowledgement.
    fn place(&mut self, at: u64, segment: &Segment) -> Option<(i64, i64)> {
        let signs = [(segment.syn, "SYN"), (segment.fin, "FIN"), (segment.rst, "RST")];
        let empty = segment.len == 0 && signs.iter().all(|(is_set, _)| !is_set);
        if empty && segment.cause.is_empty() {
            return None;
        }
        let before = if segment.syn { segment.seq } else { segment.seq.wrapping_sub(1) };
        let origin = *self.origin.get_or_insert(before);
        let start = self.relative(origin, segment.seq);
        let end = start + i64::from(segment.len) + i64::from(segment.syn) + i64::from(segment.fin);
        for (_, name) in signs.into_iter().filter(|(is_set, _)| *is_set) {
            if self.signs.len() < MOST_SIGNS {
                self.signs.push((at, end, name));
            }
        }
        if segment.fin {
            self.fin = Some(end - 1);
        }
        (!segment.rst).then_some((start, end))
    }

    /// What the other end of this direction says.
    fn acknowledge(&mut self, at: u64, segment: &Segment) {
        let Some(ack) = segment.ack.filter(|_| !segment.rst) else { return };
        let origin = *self.origin.get_or_insert(ack.wrapping_sub(1));
        let acked = self.relative(origin, ack);
        if acked >= self.acked {
            self.acked = acked;
            self.ack.push(at, unsigned(acked));
            if let Some(window) = segment.window {
                self.edge.push(at, unsigned(acked + i64::from(window)));
            }
        }
        let blocks: Vec<(i64, i64)> = segment
            .sack
            .iter()
            .map(|(left, right)| (self.relative(origin, *left), self.relative(origin, *right)))
            .collect();
        for (number, &(left, right)) in blocks.iter().enumerate() {
            let inside = |&(start, end): &(i64, i64)| start <= left && right <= end;
            let twice = number == 0 && (left < acked || blocks.get(1).is_some_and(inside));
            let marks = if twice { &mut self.dsack } else { &mut self.sack };
            marks.push(at, left, right);
        }
    }

    /// A number of the wire, counted from the SYN: the one next to what was seen last.
    fn relative(&self, origin: u32, number: u32) -> i64 {
        let near = self.high.max(self.acked);
        let near_on_wire = (i64::from(origin) + near).rem_euclid(1 << 32);
        let ahead = i64::from(number) - near_on_wire;
        // The shorter way round.
        near + (ahead + (1 << 31)).rem_euclid(1 << 32) - (1 << 31)
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(at: u64, seq: u32, len: u32) -> Told {
        Told::Segment(Segment { at, is_sent: true, seq, len, ..Segment::default() })
    }

    fn syn(at: u64, seq: u32) -> Told {
        Told::Segment(Segment { at, is_sent: true, seq, syn: true, ..Segment::default() })
    }

    #[test]
    fn numbers_are_relative_and_go_on_beyond_four_gigabytes() {
        let mut recording = Recording::of(0..u64::MAX);
        let iss = u32::MAX - 1000;
        recording.hear(&syn(1, iss));
        let mut seq = iss.wrapping_add(1);
        for at in 0..50 {
            recording.hear(&sent(at, seq, 100_000_000));
            seq = seq.wrapping_add(100_000_000);
        }
        assert_eq!(recording.sent.bytes(), 5_000_000_000);
        assert_eq!(recording.sent.new.iter().map(|mark| mark.end).max(), Some(5_000_000_001));
    }

    #[test]
    fn of_a_span_only_what_is_in_it_is_kept_and_how_things_stood() {
        let mut recording = Recording::of(10..20);
        let ack = Told::Segment(Segment { at: 5, ack: Some(101), ..Segment::default() });
        for told in [syn(0, 0), sent(1, 1, 100), ack, sent(6, 101, 100)] {
            recording.hear(&told);
        }
        assert!(!recording.has_begun());
        for told in [sent(12, 201, 50), sent(20, 251, 50)] {
            recording.hear(&told);
        }
        let marks: Vec<_> = recording.sent.new.iter().map(|mark| (mark.at, mark.start, mark.end)).collect();
        assert_eq!(marks, [(12, 201, 251)]);
        assert_eq!((recording.time(), recording.sent.floor()), ((10, 12), 101));
        assert_eq!(recording.sent.ack.points()[0].at, 10);
        assert!(recording.sent.signs.is_empty());
    }

    #[test]
    fn another_syn_is_another_connection_and_the_same_one_again_is_not() {
        let mut recording = Recording::of(0..u64::MAX);
        recording.hear(&syn(1, 7));
        assert!(recording.is_of(&syn(2, 7)));
        assert!(!recording.is_of(&syn(2, 8)));
        assert!(recording.is_of(&sent(2, 100, 5)));
    }

    #[test]
    fn what_arrives_is_new_late_or_twice() {
        let mut recording = Recording::of(0..u64::MAX);
        let arrive = |at, seq, len| Told::Segment(Segment { at, seq, len, ..Segment::default() });
        let ack =
            |at, ack| Told::Segment(Segment { at, is_sent: true, ack: Some(ack), ..Segment::default() });
        for told in [arrive(1, 1, 10), arrive(2, 21, 10), arrive(3, 11, 10), ack(3, 31), arrive(4, 11, 10)] {
            recording.hear(&told);
        }
        let received = &recording.received;
        assert_eq!((received.new.count(), received.late.count(), received.twice.count()), (2, 1, 1));
        assert_eq!((received.bytes(), received.ack.last()), (30, Some(31)));
    }

    #[test]
    fn a_block_below_the_acknowledgement_or_inside_the_second_tells_of_what_came_twice() {
        let mut recording = Recording::of(0..u64::MAX);
        recording.hear(&sent(1, 1, 1000));
        let blocks = |sack: &[(u32, u32)]| {
            Told::Segment(Segment { at: 2, ack: Some(101), sack: sack.to_vec(), ..Segment::default() })
        };
        recording.hear(&blocks(&[(1, 101)]));
        recording.hear(&blocks(&[(301, 401), (201, 501)]));
        recording.hear(&blocks(&[(301, 401), (601, 701)]));
        assert_eq!((recording.sent.dsack.count(), recording.sent.sack.count()), (2, 3));
    }
}
